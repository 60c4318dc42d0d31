package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/testkit"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

const (
	partitions = 3
	views      = 600
	viewers    = 40
	profiles   = 30               // the other viewers have none
	patience   = 20 * time.Second // with one life of the process
	// maxLives bounds the restarts: faults end long before.
	maxLives = 400
)

// simulation is one run of one pipeline under one seed.
type simulation struct {
	t        *testing.T
	topology *operators.Topology
	log      *memlog.Log
	exactly  bool
	// workers stays the same: a transaction left open by a worker that is no
	// more would only end by its timeout.
	workers int

	mu   sync.Mutex // guards rand: faults are asked for on several goroutines
	rand *rand.Rand
	left int // faults still to come
}

// seeds calls run for every seed as a subtest.
func seeds(t *testing.T, short int, run func(t *testing.T, seed uint64)) {
	n := short
	if s := os.Getenv("STREAMCTL_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("STREAMCTL_SEEDS: %v", err)
		}
	}
	only := os.Getenv("STREAMCTL_SEED")
	for seed := range uint64(n) {
		if only == "" || only == fmt.Sprint(seed) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel() // most of a run is waiting
				run(t, seed)
			})
		}
	}
}

func newSimulation(t *testing.T, seed uint64, text string, exactly bool) *simulation {
	t.Helper()
	if !exactly {
		text += "guarantee: at_least_once\n"
	}
	r, list := pipeline.Compile("test.yaml", []byte(text), pipeline.ParseOptions{})
	if list.HasErrors() {
		t.Fatalf("compile: %v", list)
	}
	s := &simulation{t: t, topology: r.Topology, exactly: exactly,
		rand: rand.New(rand.NewPCG(seed, 1)), left: 60}
	s.workers = 1 + s.rand.IntN(3)
	s.log = memlog.New(memlog.Config{
		Clock: engine.SystemClock{}, FetchRecords: 1 + s.rand.IntN(50), FetchBytes: 500 + s.rand.IntN(20_000), Faults: s.faults,
	})
	for _, topic := range []string{"views", "profiles", "out"} {
		if err := s.log.CreateTopic("p-"+topic, partitions, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// faults decides what fails. There is an end to it, so that the run has one.
func (s *simulation) faults(op memlog.Op) memlog.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	dice := s.rand.Float64()
	switch {
	case op.Kind == memlog.OpFetch && dice < 0.2:
		return memlog.Fault{Skip: true}
	case op.Kind == memlog.OpSend && dice < 0.2:
		return memlog.Fault{Hold: true}
	case s.left == 0:
	case op.Kind == memlog.OpSend && dice > 0.9995, op.Kind == memlog.OpPurge && dice < 0.1, op.Kind == memlog.OpCommitted && dice < 0.02:
		s.left--
		return memlog.Fault{Crash: true}
	case op.Kind == memlog.OpCommit && dice < 0.3:
		s.left--
		outcomes := []memlog.Outcome{memlog.Aborted, memlog.UnknownCommitted, memlog.UnknownAborted, memlog.CrashBefore, memlog.CrashAfter}
		return memlog.Fault{Outcome: outcomes[s.rand.IntN(len(outcomes))]}
	}
	return memlog.Fault{}
}

// number draws under the lock.
func (s *simulation) number(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.IntN(n)
}

// finish starts the pipeline again and again until it has come to its end.
func (s *simulation) finish() {
	s.t.Helper()
	disk := state.NewCrashFS()
	for range maxLives {
		if s.live(disk) {
			return
		}
		disk = state.CrashClone(disk, s.number(101), uint64(s.number(1<<30)))
		if s.number(5) == 0 {
			disk = state.NewCrashFS()
		}
		s.compact()
	}
	s.t.Fatalf("no end after %d lives", maxLives)
}

// compact cleans some of the compacted topics. Without transactions the end of
// a changelog may hold rows that were not committed; a cleaner that removed the
// committed ones for them would take rows away, so, as in Kafka, where it leaves
// the newest segment alone, it does not come so soon.
func (s *simulation) compact() {
	for _, topic := range s.log.Topics() {
		changelog := strings.HasSuffix(topic, "changelog") && s.exactly
		if (changelog || topic == "p-profiles") && s.number(4) == 0 {
			s.log.Compact(topic, false)
		}
	}
}

// live is one life of the process; it says whether all was done.
func (s *simulation) live(disk state.FS) bool {
	s.t.Helper()
	db, err := state.Open(state.Options{Dir: "state", FS: disk})
	if err != nil {
		s.t.Fatal(err)
	}
	transport := s.log.Transport(memlog.TransportConfig{Group: "p", Instance: "one"})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var said journal
	_, err = engine.Run(ctx, engine.Options{
		Logger:   slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Topology: s.topology, Transport: transport, State: db, ExactlyOnce: s.exactly, UntilEnd: true, Instance: "one",
		Workers: s.workers, CommitInterval: time.Duration(20+s.number(2000)) * time.Microsecond, MaxBuffered: 1000 + s.number(1<<20),
	})
	if ctx.Err() != nil {
		s.t.Fatalf("it came to no end; it said:\n%s", said.text())
	}
	if err != nil && !errors.Is(err, memlog.ErrCrashed) && !transport.Crashed() {
		s.t.Fatalf("it failed by itself: %v", err)
	}
	if err := db.Close(); err != nil && !transport.Crashed() {
		s.t.Fatal(err)
	}
	return err == nil
}

// journal keeps what the engine logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// fill produces profiles in several versions, with tombstones, and views
// after them in event time. key gives a view's key; the partition is by it.
func (s *simulation) fill(seed uint64, key func(view testkit.Message, n int) []byte) (edits []testkit.Message) {
	data := testkit.NewData(testkit.DataConfig{Seed: seed, Profiles: profiles, Viewers: viewers})
	for version := range 3 {
		for member := 1; member <= profiles; member++ {
			switch {
			case version == 0 || member%3 == version:
				edits = append(edits, testkit.ProfileEdit(member, version, 1_000_000+int64(version)*1000))
			case version == 2 && member%5 == 0:
				edits = append(edits, testkit.Tombstone(member, 1_002_000))
			}
		}
	}
	for _, e := range edits {
		s.log.Produce("p-profiles", -1, e.Key, e.Value, e.Time)
	}
	for n := range views {
		v := data.View()
		s.log.Produce("p-views", -1, key(v, n), v.Value, v.Time)
	}
	return edits
}

func ownKey(view testkit.Message, _ int) []byte { return view.Key }

// model is a view's output.
type model func(testkit.Message) (testkit.Output, error)

// sequences gives what must be in the output and what is, by partition.
func (s *simulation) sequences(m model) (want, got testkit.Sequences) {
	s.t.Helper()
	want, got = make(testkit.Sequences), make(testkit.Sequences)
	for p, records := range s.log.ReadCommitted("p-views") {
		for _, r := range records {
			o, err := m(testkit.Message{Key: r.Key, Value: r.Value})
			if err != nil {
				s.t.Fatal(err)
			}
			want[place(p)] = append(want[place(p)], o)
		}
	}
	for p, records := range s.log.ReadCommitted("p-out") {
		for _, r := range records {
			got[place(p)] = append(got[place(p)], testkit.Output{Key: string(r.Key), Value: string(r.Value)})
		}
	}
	return want, got
}

func place(p int) string { return fmt.Sprint("partition ", p) }

// check compares record by record, or allows repetitions.
func (s *simulation) check(m model) {
	s.t.Helper()
	want, got := s.sequences(m)
	if s.exactly {
		if diff := testkit.Diff(want, got); diff != "" {
			s.t.Error(diff)
		}
		return
	}
	for place, outputs := range want {
		if problem, _ := testkit.Repeats(outputs, got[place]); problem != "" {
			s.t.Errorf("%s: %s", place, problem)
		}
	}
}

func joinModel(t *testing.T, edits []testkit.Message) model {
	m := testkit.NewJoinModel()
	for _, e := range edits {
		if err := m.Edit(e); err != nil {
			t.Fatal(err)
		}
	}
	return m.View
}

func text(pipeline string) string { return fmt.Sprintf(pipeline, "p") }

func TestRunningAggregates(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed, text(testkit.RunningPipeline), true)
		s.fill(seed, ownKey)
		s.finish()
		s.check(testkit.NewRunningModel().View)
	})
}

func TestRunningAggregatesAtLeastOnce(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed, text(testkit.RunningPipeline), false)
		s.fill(seed, ownKey)
		s.finish()
		s.check(testkit.NewRunningModel().View)
	})
}

func TestJoin(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed, text(testkit.JoinPipeline), true)
		edits := s.fill(seed, ownKey)
		s.finish()
		s.check(joinModel(t, edits))
	})
}

func TestJoinAtLeastOnce(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed, text(testkit.JoinPipeline), false)
		edits := s.fill(seed, ownKey)
		s.finish()
		s.check(joinModel(t, edits))
	})
}

// sessionKey keys views by something else than the join and the groups need,
// so that the stream goes through a repartition topic.
func sessionKey(_ testkit.Message, n int) []byte { return fmt.Appendf(nil, "session-%d", n%17) }

// moved is a pipeline whose views are not where they are needed.
func moved(pipeline string) string {
	return strings.ReplaceAll(text(pipeline), "    partitioned_by: viewerId\n", "")
}

// TestJoinOfMovedViews: behind a repartition the order of a viewer's views is
// that of each partition they came from; what comes out is the same set.
func TestJoinOfMovedViews(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed, moved(testkit.JoinPipeline), true)
		edits := s.fill(seed, sessionKey)
		s.finish()
		want, got := s.sequences(joinModel(t, edits))
		if diff := testkit.Diff(byValue(want), byValue(got)); diff != "" {
			t.Error(diff)
		}
		for p, outputs := range want {
			if diff := testkit.Diff(byKey(outputs), byKey(keep(got, outputs))); diff != "" {
				t.Errorf("views of %s: %s", p, diff)
			}
		}
	})
}

// TestRunningAggregatesOfMovedViews: each viewer's views are counted one by
// one, and the last row is that of the model.
func TestRunningAggregatesOfMovedViews(t *testing.T) {
	seeds(t, 25, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed, moved(testkit.RunningPipeline), true)
		s.fill(seed, sessionKey)
		s.finish()
		want, got := s.sequences(testkit.NewRunningModel().View)
		wantKeys, gotKeys := byKey(all(want)), byKey(all(got))
		for key, rows := range wantKeys {
			seen := gotKeys[key]
			if len(seen) != len(rows) {
				t.Errorf("viewer %s: %d rows, want %d", key, len(seen), len(rows))
				continue
			}
			for i, row := range seen {
				if !strings.Contains(row.Value, fmt.Sprintf(`"views":%d,`, i+1)) {
					t.Errorf("viewer %s: row %d is %s", key, i, row.Value)
				}
			}
			if last := seen[len(seen)-1]; last != rows[len(rows)-1] {
				t.Errorf("viewer %s: last row %s, want %s", key, last.Value, rows[len(rows)-1].Value)
			}
		}
		if len(gotKeys) != len(wantKeys) {
			t.Errorf("%d viewers, want %d", len(gotKeys), len(wantKeys))
		}
	})
}

// all joins the sequences, in the order of partitions.
func all(s testkit.Sequences) []testkit.Output {
	var out []testkit.Output
	for p := range partitions {
		out = append(out, s[place(p)]...)
	}
	return out
}

func byKey(outputs []testkit.Output) testkit.Sequences {
	s := make(testkit.Sequences)
	for _, o := range outputs {
		s.Add(o)
	}
	return s
}

// byValue makes a set of outputs that all differ comparable.
func byValue(s testkit.Sequences) testkit.Sequences {
	out := make(testkit.Sequences)
	for _, o := range all(s) {
		out[o.Value] = append(out[o.Value], o)
	}
	return out
}

// keep leaves those of got that are among outputs, in their order.
func keep(got testkit.Sequences, outputs []testkit.Output) []testkit.Output {
	among := make(map[testkit.Output]bool, len(outputs))
	for _, o := range outputs {
		among[o] = true
	}
	var out []testkit.Output
	for _, o := range all(got) {
		if among[o] {
			out = append(out, o)
		}
	}
	return out
}
