package reliability

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/internal/testkit"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

const (
	partitions = 3
	viewers    = 40
	profiles   = 30 // the other viewers have none
	// patience is how long one life of a process may take.
	patience = 90 * time.Second
)

// seeds calls run for every seed as a subtest. STREAMCTL_SEEDS gives their
// number, STREAMCTL_SEED one of them.
func seeds(t *testing.T, short int, run func(t *testing.T, seed uint64)) {
	t.Helper()
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

// world is a cluster in memory, a pipeline, and what it must give.
type world struct {
	t        *testing.T
	rand     *rand.Rand
	clock    *memlog.Clock
	log      *memlog.Log
	topology *operators.Topology
	data     *testkit.Data
	edits    []testkit.Message
	said     journal // by all processes
	// workers stays the same: a transaction left open by a worker that is no more
	// would only end by its timeout.
	workers int
	faults  atomic.Pointer[memlog.Faults] // nil = nothing fails
}

// newWorld compiles a pipeline, makes its topics NAME: partitions, and lets
// time flow, a hundred times as fast as outside.
func newWorld(t *testing.T, seed uint64, text string, topics map[string]int32) *world {
	t.Helper()
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 7)), clock: memlog.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		data: testkit.NewData(testkit.DataConfig{Seed: seed, Profiles: profiles, Viewers: viewers}),
	}
	w.log = memlog.New(memlog.Config{Clock: w.clock, FetchRecords: 1 + w.rand.IntN(50), FetchBytes: 500 + w.rand.IntN(20_000), Faults: w.fault})
	w.topology, w.workers = compile(t, text), 1+w.rand.IntN(3)
	for name, n := range topics {
		w.createTopic(name, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var flowing sync.WaitGroup
	flowing.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			w.clock.Advance(100 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); flowing.Wait() })
	return w
}

// fault asks the test what shall go wrong.
func (w *world) fault(op memlog.Op) memlog.Fault {
	if f := w.faults.Load(); f != nil {
		return (*f)(op)
	}
	return memlog.Fault{}
}

func compile(t *testing.T, text string) *operators.Topology {
	t.Helper()
	r, list := pipeline.Compile("test.yaml", []byte(text), pipeline.ParseOptions{})
	if list.HasErrors() {
		t.Fatalf("compile: %v", list)
	}
	return r.Topology
}

// running and joining are the worlds of the two pipelines that have models.
func running(t *testing.T, seed uint64) *world {
	t.Helper()
	return newWorld(t, seed, fmt.Sprintf(testkit.RunningPipeline, "p"), map[string]int32{"p-views": partitions, "p-out": partitions})
}

func joining(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(t, seed, fmt.Sprintf(testkit.JoinPipeline, "p"), map[string]int32{"p-views": partitions, "p-profiles": partitions, "p-out": partitions})
	for version := range 3 {
		for member := 1; member <= profiles; member++ {
			switch {
			case version == 0 || member%3 == version:
				w.edit(testkit.ProfileEdit(member, version, 1_000_000+int64(version)*1000))
			case version == 2 && member%5 == 0:
				w.edit(testkit.Tombstone(member, 1_002_000))
			}
		}
	}
	return w
}

func (w *world) createTopic(name string, n int32) {
	w.t.Helper()
	configs := map[string]string{"cleanup.policy": "delete"}
	if strings.HasSuffix(name, "profiles") || strings.HasSuffix(name, "names") {
		configs["cleanup.policy"] = "compact"
	}
	if err := w.log.CreateTopic(name, n, configs); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) edit(m testkit.Message) {
	w.edits = append(w.edits, m)
	w.log.Produce("p-profiles", -1, m.Key, m.Value, m.Time)
}

// views produces n more views.
func (w *world) views(n int) {
	for range n {
		v := w.data.View()
		w.log.Produce("p-views", -1, v.Key, v.Value, v.Time)
	}
}

// process is what a life of the product is made of.
type process struct {
	store     engine.Store
	transport *memlog.Transport
	opts      engine.Options
}

// process makes one that runs to the end of what is there now. tune changes it.
func (w *world) process(store engine.Store, tune ...func(*engine.Options)) *process {
	p := &process{store: store, transport: w.log.Transport(memlog.TransportConfig{Group: "p", Instance: "one"})}
	p.opts = engine.Options{
		Topology: w.topology, Transport: p.transport, Clock: w.clock, ExactlyOnce: true, UntilEnd: true, Instance: "one",
		Workers: w.workers, CommitInterval: time.Duration(1+w.rand.IntN(200)) * time.Millisecond, MaxBuffered: 1000 + w.rand.IntN(1<<20),
		Logger: slog.New(slog.NewTextHandler(&w.said, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range tune {
		f(&p.opts)
	}
	return p
}

// live runs a process until its end.
func (w *world) live(p *process) (engine.Stats, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stats, err := engine.Supervise(ctx, p.store, p.opts)
	if ctx.Err() != nil {
		w.t.Fatalf("it came to no end; it said:\n%s", w.said.tail())
	}
	return stats, err
}

// mustLive is live for a process that must come to its end.
func (w *world) mustLive(store engine.Store, tune ...func(*engine.Options)) engine.Stats {
	w.t.Helper()
	stats, err := w.live(w.process(store, tune...))
	if err != nil {
		w.t.Fatalf("it failed: %v; it said:\n%s", err, w.said.tail())
	}
	return stats
}

// begin runs a process in the background; end stops it and gives what it returned.
func (w *world) begin(p *process) (end func() (engine.Stats, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	p.opts.UntilEnd = false
	var stats engine.Stats
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		stats, err = engine.Supervise(ctx, p.store, p.opts)
	}()
	stop := func() (engine.Stats, error) {
		cancel()
		<-done
		return stats, err
	}
	w.t.Cleanup(func() { _, _ = stop() })
	return stop
}

// outcome waits for the process to end by itself.
func (w *world) outcome(p *process) (engine.Stats, error) {
	w.t.Helper()
	p.opts.UntilEnd = false
	return w.live(p)
}

// await returns when cond holds.
func (w *world) await(what string, cond func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not so after %s; they said:\n%s", what, patience, w.said.tail())
		}
	}
}

// lag is how many records of topic the group has not committed.
func (w *world) lag(topic string) int64 {
	committed := w.log.Committed("p")
	high, _ := w.log.Ends(topic)
	var sum int64
	for p, end := range high {
		sum += end - committed[record.TopicPartition{Topic: topic, Partition: int32(p)}]
	}
	return sum
}

// directory is a state on the real disk, with memory so small that its files
// are written all the time.
func (w *world) directory() state.Directory {
	w.t.Helper()
	return state.Directory{Options: smallState(filepath.Join(w.t.TempDir(), "state"), nil), ProbeBytes: 64 << 10}
}

func smallState(dir string, fs state.FS) state.Options {
	return state.Options{Dir: dir, FS: fs, MemTableBytes: 64 << 10, LoadBytes: 4 << 10, CacheBytes: 16 << 10}
}

// memory is a state that lies on a file system of the test.
type memory struct{ opts state.Options }

func (m memory) Open() (*state.DB, error) { return state.Open(m.opts) }
func (memory) Quarantine() (string, []string, error) {
	return "", nil, fmt.Errorf("quarantine: not expected here")
}
func (m memory) Probe() error { return state.Directory{Options: m.opts, ProbeBytes: 64 << 10}.Probe() }

// model is a view's output.
type model func(testkit.Message) (testkit.Output, error)

func (w *world) joinModel() model {
	w.t.Helper()
	m := testkit.NewJoinModel()
	for _, e := range w.edits {
		if err := m.Edit(e); err != nil {
			w.t.Fatal(err)
		}
	}
	return m.View
}

// check compares what is in the output with what the model makes of the views,
// record by record in every partition.
func (w *world) check(m model) {
	w.t.Helper()
	w.checkWithout(m, func(memlog.Rec) bool { return false })
}

// checkWithout is check for a model that never sees some of the views.
func (w *world) checkWithout(m model, gone func(memlog.Rec) bool) {
	w.t.Helper()
	w.compare(m, w.log.ReadCommitted("p-views"), gone)
}

// compare checks the output against what the model makes of views.
func (w *world) compare(m model, views [][]memlog.Rec, gone func(memlog.Rec) bool) {
	w.t.Helper()
	want, got := make(testkit.Sequences), make(testkit.Sequences)
	for p, records := range views {
		for _, r := range records {
			if gone(r) {
				continue
			}
			o, err := m(testkit.Message{Key: r.Key, Value: r.Value})
			if err != nil {
				w.t.Fatal(err)
			}
			want[place(p)] = append(want[place(p)], o)
		}
	}
	for p, records := range w.log.ReadCommitted("p-out") {
		for _, r := range records {
			got[place(p)] = append(got[place(p)], testkit.Output{Key: string(r.Key), Value: string(r.Value)})
		}
	}
	if diff := testkit.Diff(want, got); diff != "" {
		w.t.Errorf("%s; they said:\n%s", diff, w.said.tail())
	}
}

func place(p int) string { return fmt.Sprint("partition ", p) }

// rows are those of all tables: sub-topology/partition/table/key.
type rows map[string]string

// dump reads the tables of a state that nobody uses.
func (w *world) dump(store engine.Store) rows {
	w.t.Helper()
	db, err := store.Open()
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	out := make(rows)
	for _, sub := range w.topology.Subs {
		if len(sub.Tables) == 0 {
			continue
		}
		for p := range int32(partitions) {
			task, err := db.OpenTask(sub.Name, p, sub.Tables)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, spec := range sub.Tables {
				err := task.Table(spec.Name).Scan(nil, nil, func(key []byte, r *state.Row) (bool, error) {
					out[fmt.Sprintf("%s/%d/%s/%s", sub.Name, p, spec.Name, key)] = string(r.Value)
					return true, nil
				})
				if err != nil {
					w.t.Fatal(err)
				}
			}
			task.Abandon()
		}
	}
	return out
}

// checkState holds the tables of a state to what a restore from nothing makes
// of the topics, and to the last rows in their changelogs.
func (w *world) checkState(store engine.Store) {
	w.t.Helper()
	kept := w.dump(store)
	fresh := w.directory()
	w.mustLive(fresh)
	same(w.t, "state against a fresh restore", w.dump(fresh), kept)
	replay := make(rows)
	logged := make(rows)
	for _, sub := range w.topology.Subs {
		for _, spec := range sub.Tables {
			if spec.Changelog == "" {
				continue
			}
			prefix := func(p int) string { return fmt.Sprintf("%s/%d/%s/", sub.Name, p, spec.Name) }
			for p, records := range w.log.ReadCommitted(spec.Changelog) {
				for key, row := range kept {
					if strings.HasPrefix(key, prefix(p)) {
						logged[key] = row
					}
				}
				for _, r := range records {
					row, err := state.DecodeChangelog(r.Value)
					if err != nil {
						w.t.Fatal(err)
					}
					if replay[prefix(p)+string(r.Key)] = string(row); row == nil {
						delete(replay, prefix(p)+string(r.Key))
					}
				}
			}
		}
	}
	same(w.t, "state against the replay of changelogs", replay, logged)
}

// same compares rows.
func same(t *testing.T, what string, want, got rows) {
	t.Helper()
	wrong := 0
	for key, row := range want {
		if got[key] != row {
			if wrong++; wrong < 5 {
				t.Errorf("%s: %s is %q, want %q", what, key, got[key], row)
			}
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			if wrong++; wrong < 5 {
				t.Errorf("%s: there is %s, %q", what, key, got[key])
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d rows differ", what, wrong, len(want))
	}
}

// journal keeps what processes log.
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

// tail is its end.
func (j *journal) tail() string {
	text := j.text()
	return text[max(0, len(text)-8000):]
}

// count is how often it says text.
func (j *journal) count(text string) int { return strings.Count(j.text(), text) }

func newRunning() model { return testkit.NewRunningModel().View }

func keysOf(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
