package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// The tests of this file run hand-made sub-topologies, so that what they show
// is the engine's and nobody else's.

// counter counts records per key and emits every count as "key=n".
type counter struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (c *counter) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	c.rec = *rec
	return rec.Time, false, nil
}

func (c *counter) Process() error {
	row, err := c.tc.Tables["counts"].Get(c.rec.Key)
	if err != nil {
		return err
	}
	n := 0
	if row != nil {
		n, _ = strconv.Atoi(string(row.Value))
	}
	value := []byte(strconv.Itoa(n + 1))
	if _, err := c.tc.Tables["counts"].Put(c.rec.Key, value); err != nil {
		return err
	}
	c.tc.Emitter.Emit(0, c.tc.Partition, record.Record{Key: c.rec.Key, Value: value, Time: c.rec.Time})
	return nil
}

// countTopology counts the records of topic "in" to topic "out".
func countTopology() *operators.Topology {
	return &operators.Topology{
		Pipeline: "p",
		Subs: []*operators.SubTopology{{
			Name:    "count",
			Inputs:  []operators.InputSpec{{Topic: "in"}},
			Outputs: []operators.OutputSpec{{Topic: "out"}},
			Tables:  []state.TableSpec{{Name: "counts", Changelog: "p.counts.changelog"}},
			Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
				return []operators.Input{&counter{tc: tc}}, nil
			},
		}},
		Internal: []operators.InternalTopic{{Name: "p.counts.changelog", PartitionsLike: []string{"in"}, Configs: map[string]string{"cleanup.policy": "compact"}}},
	}
}

// rekey sends every record on, to the internal topic, under the key before ":".
type rekey struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (r *rekey) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	r.rec = *rec
	return rec.Time, false, nil
}

func (r *rekey) Process() error {
	r.tc.Emitter.Emit(0, r.tc.Partition, r.rec)
	return nil
}

// tableInput keeps the last value per key.
type tableInput struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (t *tableInput) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	t.rec = *rec
	return rec.Time, false, nil
}

func (t *tableInput) Process() error {
	_, err := t.tc.Tables["names"].Put(t.rec.Key, t.rec.Value)
	return err
}

func (t *tableInput) Load(rec *record.Record, _ record.TopicPartition, _ bool) (key, row []byte, skip bool, err error) {
	return rec.Key, rec.Value, false, nil
}

// joiner emits the stream's value with the table's.
type joiner struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (j *joiner) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	j.rec = *rec
	return rec.Time, false, nil
}

func (j *joiner) Process() error {
	row, err := j.tc.Tables["names"].Get(j.rec.Key)
	if err != nil {
		return err
	}
	name := "?"
	if row != nil {
		name = string(row.Value)
	}
	value := []byte(string(j.rec.Value) + "/" + name)
	j.tc.Emitter.Emit(0, j.tc.Partition, record.Record{Key: j.rec.Key, Value: value, Time: j.rec.Time})
	return nil
}

// joinTopology re-keys "edits" through an internal topic and joins "views" with it.
func joinTopology() *operators.Topology {
	return &operators.Topology{
		Pipeline: "p",
		Subs: []*operators.SubTopology{
			{
				Name:    "names-rekey",
				Inputs:  []operators.InputSpec{{Topic: "edits"}},
				Outputs: []operators.OutputSpec{{Topic: "p.names.changelog", Internal: true}},
				Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
					return []operators.Input{&rekey{tc: tc}}, nil
				},
			},
			{
				Name:    "join",
				Inputs:  []operators.InputSpec{{Topic: "views"}, {Topic: "p.names.changelog", Table: "names", Internal: true}},
				Outputs: []operators.OutputSpec{{Topic: "out"}},
				Tables:  []state.TableSpec{{Name: "names"}},
				Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
					return []operators.Input{&joiner{tc: tc}, &tableInput{tc: tc}}, nil
				},
			},
		},
		Internal: []operators.InternalTopic{{Name: "p.names.changelog", PartitionsLike: []string{"views"}, Configs: map[string]string{"cleanup.policy": "compact"}}},
	}
}

// openState opens a state on fs that is closed with the test.
func openState(t *testing.T, fs state.FS) *state.DB {
	t.Helper()
	db, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func options(topology *operators.Topology, transport engine.Transport, db *state.DB) engine.Options {
	return engine.Options{
		Topology: topology, Transport: transport, State: db, ExactlyOnce: true, UntilEnd: true, Instance: "one", Workers: 2,
		CommitInterval: 5 * time.Millisecond,
	}
}

// run runs to the end, within a minute.
func run(t *testing.T, opts engine.Options) engine.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stats, err := engine.Run(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the run did not come to its end")
	}
	return stats
}

// wantCounts checks that every key's values are 1..n.
func wantCounts(t *testing.T, got map[string][]string, keys, each int) {
	t.Helper()
	if len(got) != keys {
		t.Fatalf("%d keys, want %d", len(got), keys)
	}
	for key, values := range got {
		for i, v := range values {
			if v != strconv.Itoa(i+1) {
				t.Fatalf("key %s: value %d is %s: %s", key, i, v, strings.Join(values, " "))
			}
		}
		if len(values) != each {
			t.Fatalf("key %s: %d values, want %d", key, len(values), each)
		}
	}
}

func key(i int) []byte { return []byte(fmt.Sprintf("k%03d", i)) }

// countLog has topic "in" with each records of every key, over three partitions.
func countLog(t *testing.T, cfg memlog.Config, keys, each int) *memlog.Log {
	t.Helper()
	cfg.Clock = engine.SystemClock{}
	log := memlog.New(cfg)
	create(t, log, "in", 3)
	create(t, log, "out", 3)
	for n := range each {
		for k := range keys {
			produce(t, log, "in", int32(k%3), key(k), []byte("x"), int64(1000+n))
		}
	}
	return log
}

func create(t *testing.T, log *memlog.Log, topic string, partitions int32) {
	t.Helper()
	if err := log.CreateTopic(topic, partitions, nil); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, log *memlog.Log, topic string, partition int32, key, value []byte, time int64) {
	t.Helper()
	log.Produce(topic, partition, key, value, time)
}

// committedPerKey reads topic as a consumer with read_committed does.
func committedPerKey(t *testing.T, log *memlog.Log, topic string) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	for _, partition := range log.ReadCommitted(topic) {
		for _, r := range partition {
			out[string(r.Key)] = append(out[string(r.Key)], string(r.Value))
		}
	}
	return out
}

func process(log *memlog.Log) *memlog.Transport {
	return log.Transport(memlog.TransportConfig{Group: "p", Instance: "one"})
}

func TestCountUntilEnd(t *testing.T) {
	for _, exactly := range []bool{true, false} {
		log := countLog(t, memlog.Config{}, 20, 50)
		opts := options(countTopology(), process(log), openState(t, state.NewMemFS()))
		opts.ExactlyOnce = exactly
		stats := run(t, opts)
		wantCounts(t, committedPerKey(t, log, "out"), 20, 50)
		if stats.Processed != 1000 || stats.Emitted != 1000 {
			t.Errorf("stats: %+v", stats)
		}
	}
}

// TestSecondRunGoesOn runs twice with new input between: counts go on where they stood.
func TestSecondRunGoesOn(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 10)
	db := openState(t, state.NewMemFS())
	run(t, options(countTopology(), process(log), db))
	for n := range 5 {
		for k := range 6 {
			produce(t, log, "in", int32(k%3), key(k), []byte("x"), int64(2000+n))
		}
	}
	stats := run(t, options(countTopology(), process(log), db))
	wantCounts(t, committedPerKey(t, log, "out"), 6, 15)
	if stats.FullRestores != 0 || stats.Restored != 0 {
		t.Errorf("a restart with all its state read %d records back, %d tables in full", stats.Restored, stats.FullRestores)
	}
}

// TestStateLost deletes the state between two runs.
func TestStateLost(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 10)
	run(t, options(countTopology(), process(log), openState(t, state.NewMemFS())))
	for k := range 6 {
		produce(t, log, "in", int32(k%3), key(k), []byte("x"), 2000)
	}
	stats := run(t, options(countTopology(), process(log), openState(t, state.NewMemFS())))
	wantCounts(t, committedPerKey(t, log, "out"), 6, 11)
	if stats.FullRestores != 3 {
		t.Errorf("%d tables restored in full, want 3", stats.FullRestores)
	}
}

// TestCommitOutcomes lets every one of the first commits end in every way that
// does not kill the process; the result is always the same.
func TestCommitOutcomes(t *testing.T) {
	for _, outcome := range []memlog.Outcome{memlog.Aborted, memlog.UnknownCommitted, memlog.UnknownAborted, memlog.Fenced} {
		for n := 1; n <= 6; n++ {
			script := memlog.Script{{Kind: memlog.OpCommit, N: n}: {Outcome: outcome}}
			log := countLog(t, memlog.Config{FetchRecords: 7, Faults: script.Faults}, 6, 40)
			opts := options(countTopology(), process(log), openState(t, state.NewMemFS()))
			opts.CommitInterval = time.Microsecond
			run(t, opts)
			wantCounts(t, committedPerKey(t, log, "out"), 6, 40)
		}
	}
}

// TestCrashAtEveryCommit kills the process at each of its first commits, before
// and after it took effect, and goes on with the state that was on disk, or without any.
func TestCrashAtEveryCommit(t *testing.T) {
	for _, outcome := range []memlog.Outcome{memlog.CrashBefore, memlog.CrashAfter} {
		for _, keep := range []bool{true, false} {
			for n := 1; n <= 8; n++ {
				script := memlog.Script{{Kind: memlog.OpCommit, N: n}: {Outcome: outcome}}
				log := countLog(t, memlog.Config{FetchRecords: 7, Faults: script.Faults}, 6, 40)
				fs := state.NewCrashFS()
				opts := options(countTopology(), process(log), openState(t, fs))
				opts.CommitInterval = time.Microsecond
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				stats, err := engine.Run(ctx, opts)
				cancel()
				if err == nil && int(stats.Commits) >= n {
					t.Fatalf("commit %d: the process survived its crash", n)
				}
				after := state.CrashClone(fs, 50, uint64(n))
				if !keep {
					after = state.NewMemFS()
				}
				opts = options(countTopology(), process(log), openState(t, after))
				run(t, opts)
				wantCounts(t, committedPerKey(t, log, "out"), 6, 40)
			}
		}
	}
}

// joinLog has edits and views of the same keys, all there before the start.
func joinLog(t *testing.T, cfg memlog.Config, keys, each int) *memlog.Log {
	t.Helper()
	cfg.Clock = engine.SystemClock{}
	log := memlog.New(cfg)
	create(t, log, "edits", 4)
	create(t, log, "views", 4)
	create(t, log, "out", 4)
	for k := range keys { // partition 3 stays empty; the edits are younger than the views
		produce(t, log, "edits", int32(k%3), key(k), []byte("old"), int64(9000+k))
	}
	for k := range keys {
		produce(t, log, "edits", int32(k%3), key(k), []byte("name"), int64(9500+k))
	}
	for range each {
		for k := range keys {
			produce(t, log, "views", int32(k%3), key(k), []byte("v"), 1000)
		}
	}
	return log
}

func TestTablesBeforeStreams(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		log := joinLog(t, memlog.Config{FetchRecords: 3}, 9, 5)
		txn := log.Begin()
		txn.Produce("edits", 0, key(0), []byte("name"), 9900)
		txn.Commit()
		aborted := log.Begin()
		aborted.Produce("edits", 1, key(1), []byte("wrong"), 9901)
		aborted.Abort()
		if compacted {
			log.Compact("edits", true)
		}
		run(t, options(joinTopology(), process(log), openState(t, state.NewMemFS())))
		got := committedPerKey(t, log, "out")
		if len(got) != 9 {
			t.Fatalf("%d keys, want 9: %v", len(got), got)
		}
		for k, values := range got {
			if len(values) != 5 || strings.Join(values, " ") != strings.TrimSpace(strings.Repeat("v/name ", 5)) {
				t.Errorf("compacted=%v key %s: %v", compacted, k, values)
			}
		}
	}
}

// TestFirstLoadInterrupted crashes during the first load; after the restart no
// view may come before its table.
func TestFirstLoadInterrupted(t *testing.T) {
	for n := 1; n <= 5; n++ {
		script := memlog.Script{{Kind: memlog.OpCommit, N: n}: {Outcome: memlog.CrashAfter}}
		log := joinLog(t, memlog.Config{FetchRecords: 3, Faults: script.Faults}, 30, 3)
		fs := state.NewCrashFS()
		opts := options(joinTopology(), process(log), openState(t, fs))
		opts.CommitInterval = time.Microsecond
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		stats, err := engine.Run(ctx, opts)
		cancel()
		if err == nil && int(stats.Commits) >= n {
			t.Fatalf("commit %d: the process survived its crash", n)
		}
		run(t, options(joinTopology(), process(log), openState(t, state.CrashClone(fs, 0, 1))))
		for k, values := range committedPerKey(t, log, "out") {
			if strings.Join(values, " ") != "v/name v/name v/name" {
				t.Errorf("crash at commit %d: key %s: %v", n, k, values)
			}
		}
	}
}

// TestGracefulStop ends a run from outside: what was done is committed, and the
// next run goes on from there.
func TestGracefulStop(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 50)
	db := openState(t, state.NewMemFS())
	ctx, cancel := context.WithCancel(context.Background())
	opts := options(countTopology(), process(log), db)
	opts.UntilEnd = false
	opts.Ready = cancel
	if _, err := engine.Run(ctx, opts); err != nil {
		t.Fatal(err)
	}
	stats := run(t, options(countTopology(), process(log), db))
	wantCounts(t, committedPerKey(t, log, "out"), 6, 50)
	if stats.Restored != 0 {
		t.Errorf("%d records were read back after a graceful stop", stats.Restored)
	}
}

// TestRandomFaults lets commits, sends and fetches fail at random, over and
// over, with restarts on the disk as a power loss leaves it or on an empty
// one, until everything has been processed. The result is that of a run in peace.
func TestRandomFaults(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			var lock sync.Mutex
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			chance := func(p float64) bool {
				lock.Lock()
				defer lock.Unlock()
				return rng.Float64() < p
			}
			faults := func(op memlog.Op) memlog.Fault {
				switch {
				case op.Kind == memlog.OpCommit && chance(0.25):
					lock.Lock()
					defer lock.Unlock()
					outcomes := []memlog.Outcome{memlog.Aborted, memlog.UnknownCommitted, memlog.UnknownAborted, memlog.CrashBefore, memlog.CrashAfter}
					return memlog.Fault{Outcome: outcomes[rng.IntN(len(outcomes))]}
				case op.Kind == memlog.OpFetch && chance(0.2):
					return memlog.Fault{Skip: true}
				case op.Kind == memlog.OpSend && chance(0.2):
					return memlog.Fault{Hold: true}
				case op.Kind == memlog.OpSend && chance(0.001):
					return memlog.Fault{Crash: true}
				}
				return memlog.Fault{}
			}
			log := countLog(t, memlog.Config{FetchRecords: 5, Faults: faults}, 7, 40)
			disk := state.NewCrashFS()
			for attempt := 0; ; attempt++ {
				if attempt == 500 {
					t.Fatal("no end after 500 restarts")
				}
				opts := options(countTopology(), process(log), openState(t, disk))
				opts.CommitInterval = 50 * time.Microsecond
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				_, err := engine.Run(ctx, opts)
				cancel()
				if err == nil {
					break
				}
				lock.Lock()
				disk = state.CrashClone(disk, rng.IntN(101), rng.Uint64())
				if rng.IntN(4) == 0 {
					disk = state.NewCrashFS()
				}
				lock.Unlock()
			}
			wantCounts(t, committedPerKey(t, log, "out"), 7, 40)
		})
	}
}

// TestStateWithoutOffsets: somebody has taken the group's offsets away, but the
// counts are still there. To count again from the beginning would count twice.
func TestStateWithoutOffsets(t *testing.T) {
	for _, keep := range []bool{true, false} {
		log := countLog(t, memlog.Config{}, 6, 10)
		db := openState(t, state.NewMemFS())
		run(t, options(countTopology(), process(log), db))
		if !keep {
			db = openState(t, state.NewMemFS())
		}
		opts := options(countTopology(), log.Transport(memlog.TransportConfig{Group: "other", Instance: "one"}), db)
		_, err := engine.Run(context.Background(), opts)
		if err == nil || !strings.Contains(err.Error(), "reset-offsets") {
			t.Errorf("keep=%v: got %v, want an error that names reset-offsets", keep, err)
		}
		wantCounts(t, committedPerKey(t, log, "out"), 6, 10)
	}
}

// laterClock is the system's clock, some time on.
type laterClock struct {
	engine.SystemClock
	by time.Duration
}

func (c laterClock) Now() time.Time { return time.Now().Add(c.by) }

// TestOldStateIsRebuilt: a state that is older than its topic keeps deletions
// may hold rows whose deletion has come and gone.
func TestOldStateIsRebuilt(t *testing.T) {
	for _, c := range []struct {
		later time.Duration
		full  int64
	}{{time.Hour, 0}, {25 * time.Hour, 3}} {
		log := countLog(t, memlog.Config{}, 6, 10)
		db := openState(t, state.NewMemFS())
		run(t, options(countTopology(), process(log), db))
		opts := options(countTopology(), process(log), db)
		opts.Clock = laterClock{by: c.later}
		if stats := run(t, opts); stats.FullRestores != c.full {
			t.Errorf("%s later: %d tables rebuilt, want %d", c.later, stats.FullRestores, c.full)
		}
		for k := range 6 {
			produce(t, log, "in", int32(k%3), key(k), []byte("x"), 2000)
		}
		opts = options(countTopology(), process(log), db)
		opts.Clock = laterClock{by: c.later + time.Hour}
		if stats := run(t, opts); stats.FullRestores != 0 {
			t.Errorf("%s later: rebuilt again", c.later)
		}
		wantCounts(t, committedPerKey(t, log, "out"), 6, 11)
	}
}
