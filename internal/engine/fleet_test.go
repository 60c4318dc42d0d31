package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// What the tests of several processes share: a clock that runs fast, and a
// fleet of engines on one log, each with a disk of its own.

// fastClock runs twenty times as fast as the system's.
type fastClock struct{ start time.Time }

const clockSpeed = 20

func newFastClock() fastClock { return fastClock{start: time.Now()} }

func (c fastClock) Now() time.Time { return c.start.Add(clockSpeed * time.Since(c.start)) }

func (c fastClock) AfterFunc(d time.Duration, f func()) func() {
	timer := time.AfterFunc(d/clockSpeed, f)
	return func() { timer.Stop() }
}

// sessionTimeout of the fleet's members, on its clock.
const sessionTimeout = 2 * time.Second

type fleet struct {
	t        *testing.T
	log      *memlog.Log
	clock    fastClock
	topology *operators.Topology
	options  func(*engine.Options)
	static   bool // processes join under their names
}

// newFleet makes a log with the topics named, of so many partitions.
func newFleet(t *testing.T, topology *operators.Topology, cfg memlog.Config, partitions int32, topics ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, clock: newFastClock(), topology: topology}
	cfg.Clock, cfg.SessionTimeout = f.clock, sessionTimeout
	f.log = memlog.New(cfg)
	for _, topic := range topics {
		create(t, f.log, topic, partitions)
	}
	return f
}

// node is one process of the fleet.
type node struct {
	f         *fleet
	name      string
	transport *memlog.Transport
	fs        state.FS
	db        *state.DB
	cancel    context.CancelFunc
	ended     chan struct{}
	err       error
	monitor   engine.Monitor
	result    engine.Stats
}

// start runs a process on a disk, nil = an empty one.
func (f *fleet) start(name string, fs state.FS) *node {
	f.t.Helper()
	if fs == nil {
		fs = state.NewCrashFS()
	}
	db, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		f.t.Fatal(err)
	}
	who := memlog.TransportConfig{Name: name, Group: "p"}
	if f.static {
		who.Instance = name
	}
	n := &node{f: f, name: name, fs: fs, db: db, ended: make(chan struct{}), transport: f.log.Transport(who)}
	opts := engine.Options{
		Topology: f.topology, Transport: n.transport, State: db, ExactlyOnce: true, Instance: name, Workers: 2,
		CommitInterval: 100 * time.Millisecond, Clock: f.clock, AcceptableLag: 20,
		Monitor: &n.monitor,
	}
	if f.options != nil {
		f.options(&opts)
	}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(n.ended)
		n.result, n.err = engine.Run(ctx, opts)
	}()
	f.t.Cleanup(n.crash)
	return n
}

// now is what the process has said last.
func (n *node) now() engine.Stats { return n.monitor.Snapshot().Stats }

// crash kills the process and waits until nothing of it is left.
func (n *node) crash() {
	n.transport.Crash()
	n.cancel()
	<-n.ended
	_ = n.db.Close()
}

// stop ends the process in an orderly way.
func (n *node) stop() engine.Stats {
	n.f.t.Helper()
	n.cancel()
	<-n.ended
	if n.err != nil {
		n.f.t.Fatalf("process %s: %v", n.name, n.err)
	}
	if err := n.db.Close(); err != nil {
		n.f.t.Fatal(err)
	}
	return n.result
}

// eventually waits for a condition, and fails the test when it does not come,
// or when a process of alive ends by itself.
func (f *fleet) eventually(what string, alive []*node, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		for _, n := range alive {
			select {
			case <-n.ended:
				f.t.Fatalf("process %s ended while waiting for %s: %v", n.name, what, n.err)
			default:
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			for _, n := range alive {
				f.t.Logf("%s: %+v", n.name, n.now().WorkerStats)
			}
			f.t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// counted says whether out holds each counts of every one of the keys.
func (f *fleet) counted(keys, each int) func() bool {
	return func() bool {
		n := 0
		for _, p := range f.log.ReadCommitted("out") {
			n += len(p)
		}
		return n >= keys*each
	}
}

// feed produces each records of every key over the partitions of "in".
func (f *fleet) feed(keys, each int, partitions int32) {
	f.t.Helper()
	for n := range each {
		for k := range keys {
			produce(f.t, f.log, "in", int32(k)%partitions, key(k), []byte("x"), int64(1000+n))
		}
	}
}

// positions lists what a process has stored of a sub-topology, by partition and topic.
func (n *node) positions(sub string) map[int32]map[string]int64 {
	n.f.t.Helper()
	stored, err := n.db.Stored()
	if err != nil && !errors.Is(err, state.ErrClosed) {
		n.f.t.Fatal(err)
	}
	out := make(map[int32]map[string]int64)
	for _, s := range stored {
		if s.Sub != sub {
			continue
		}
		out[s.Partition] = make(map[string]int64)
		for tp, at := range s.Positions {
			out[s.Partition][tp.Topic] = at
		}
	}
	return out
}

// TestStandbyIsPromoted: of two processes with standbys one dies in the middle
// of a commit, whose transaction no time-out ends. The other goes on with all
// its tasks from the copies it has, and reads the tail only.
func TestStandbyIsPromoted(t *testing.T) {
	var armed atomic.Bool
	faults := func(op memlog.Op) memlog.Fault {
		if op.Kind == memlog.OpCommit && op.Transport == "a" && armed.Load() {
			return memlog.Fault{Outcome: memlog.CrashBefore}
		}
		return memlog.Fault{}
	}
	const partitions, keys = 4, 40
	f := newFleet(t, countTopology(), memlog.Config{Faults: faults}, partitions, "in", "out")
	f.options = func(o *engine.Options) { o.Standbys = 1 }
	a, b := f.start("a", nil), f.start("b", nil)
	both := []*node{a, b}
	f.feed(keys, 50, partitions)
	f.eventually("all is counted", both, f.counted(keys, 50))
	f.eventually("both run and keep copies", both, func() bool {
		return a.now().Running == 2 && b.now().Running == 2 && a.now().Standbys == 2 && b.now().Standbys == 2
	})
	f.feed(keys, 5, partitions)
	f.eventually("both have counted", both, f.counted(keys, 55))
	f.eventually("copies have caught up", both, func() bool {
		have := b.positions("count")
		for p := range f.log.ReadCommitted("p.counts.changelog") {
			if len(have) < partitions || have[int32(p)]["p.counts.changelog"] < f.end("p.counts.changelog", p)-2 {
				return false
			}
		}
		return true
	})
	before := b.now()
	armed.Store(true)
	f.feed(keys, 10, partitions)
	f.eventually("a is dead", []*node{b}, a.transport.Crashed)
	f.eventually("the rest is counted", []*node{b}, f.counted(keys, 65))
	stats := b.stop()
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 65)
	if stats.FullRestores != before.FullRestores {
		t.Errorf("%d tables were restored in full by a process that had copies of them", stats.FullRestores-before.FullRestores)
	}
	// What a had committed since b looked last, at most ten of each of its keys.
	if tail := stats.Restored - before.Restored; tail > keys/2*10 {
		t.Errorf("%d records were read at the promotion", tail)
	}
	if stats.Followed == 0 || stats.Incidents[engine.IncidentLostMemberFenced] == 0 {
		t.Errorf("stats: %+v", stats)
	}
}

// end is the last offset of a partition that readers of committed data have seen, and one.
func (f *fleet) end(topic string, partition int) int64 {
	recs := f.log.ReadCommitted(topic)[partition]
	if len(recs) == 0 {
		return 0
	}
	return recs[len(recs)-1].Offset + 1
}

// TestWarmUpThenMove: a process that joins one with state gets tasks only when
// it has copies of them; what it reads for that it does not read again.
func TestWarmUpThenMove(t *testing.T) {
	const partitions, keys = 4, 40
	f := newFleet(t, countTopology(), memlog.Config{}, partitions, "in", "out")
	a := f.start("a", nil)
	f.feed(keys, 50, partitions)
	f.eventually("all is counted", []*node{a}, f.counted(keys, 50))
	b := f.start("b", nil)
	both := []*node{a, b}
	f.feed(keys, 5, partitions)
	f.eventually("b has its share", both, func() bool { return a.now().Running == 2 && b.now().Running == 2 })
	f.feed(keys, 5, partitions)
	f.eventually("all is counted by both", both, f.counted(keys, 60))
	if stats := b.stop(); stats.FullRestores != 0 || stats.Followed < keys/2 {
		t.Errorf("b restored %d tables in full and followed %d records", stats.FullRestores, stats.Followed)
	}
	if stats := a.stop(); stats.Aborts != 0 {
		t.Errorf("%d commits were aborted by plain rebalances", stats.Aborts)
	}
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 60)
}

// TestDemotion: who gives tasks to a process that joins keeps copies of them,
// from where it stood, and has them back without a restore when that one dies.
func TestDemotion(t *testing.T) {
	const partitions, keys = 4, 40
	f := newFleet(t, countTopology(), memlog.Config{}, partitions, "in", "out")
	f.options = func(o *engine.Options) { o.Standbys = 1 }
	a := f.start("a", nil)
	f.feed(keys, 50, partitions)
	f.eventually("all is counted", []*node{a}, f.counted(keys, 50))
	b := f.start("b", nil)
	both := []*node{a, b}
	f.eventually("tasks are shared and copied", both, func() bool {
		return a.now().Running == 2 && b.now().Running == 2 && a.now().Standbys == 2 && b.now().Standbys == 2
	})
	f.feed(keys, 10, partitions)
	f.eventually("all is counted by both", both, f.counted(keys, 60))
	f.eventually("the demoted tasks have followed", both, func() bool { return a.now().Followed > 0 })
	b.crash()
	f.feed(keys, 5, partitions)
	f.eventually("all is counted by a", []*node{a}, f.counted(keys, 65))
	if stats := a.stop(); stats.FullRestores != 0 {
		t.Errorf("a restored %d tables in full", stats.FullRestores)
	}
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 65)
}

// TestStandbyStaysBehindCommitted watches a standby of a table fed by a topic:
// it must never have read more than the group has committed, or the merge by
// time could not be taken up where it was.
func TestStandbyStaysBehindCommitted(t *testing.T) {
	const partitions = 2
	f := newFleet(t, joinTopology(), memlog.Config{FetchRecords: 7}, partitions, "edits", "views", "out")
	f.options = func(o *engine.Options) { o.Standbys, o.CommitInterval = 1, 2*time.Second }
	a, b := f.start("a", nil), f.start("b", nil)
	both := []*node{a, b}
	f.eventually("all is assigned", both, func() bool { return a.now().Running+b.now().Running == 4 && a.now().Standbys+b.now().Standbys == 2 })
	const topic = "p.names.changelog"
	check := func() {
		for _, n := range both {
			for p, at := range n.positions("join") {
				for tp, committed := range f.log.Committed("p") {
					if tp.Topic == topic && tp.Partition == p && at[topic] > committed {
						t.Fatalf("%s has read %s/%d to %d, committed is %d", n.name, topic, p, at[topic], committed)
					}
				}
			}
		}
	}
	for round := range 60 {
		for k := range 6 {
			produce(t, f.log, "edits", int32(k)%partitions, key(k), fmt.Append(nil, "e", round), int64(1000*round))
			produce(t, f.log, "views", int32(k)%partitions, key(k), fmt.Append(nil, "v", round), int64(1000*round))
		}
		f.eventually("a round", both, func() bool { check(); return len(flat(f.log, "out")) >= 6*(round-2) })
	}
	f.eventually("standbys move", both, func() bool { check(); return a.now().Followed+b.now().Followed > 100 })
	for _, n := range both {
		n.crash()
	}
	for _, n := range both {
		n.wantReplay(topic)
	}
}

// wantReplay checks that the disk of a process that is dead holds of every
// partition of topic what it has read of it.
func (n *node) wantReplay(topic string) {
	t := n.f.t
	t.Helper()
	db, err := state.Open(state.Options{Dir: "state", FS: n.fs})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for p, recs := range n.f.log.ReadCommitted(topic) {
		task, err := db.OpenTask("join", int32(p), []state.TableSpec{{Name: "names"}})
		if err != nil {
			t.Fatal(err)
		}
		at, _ := task.Position(record.TopicPartition{Topic: topic, Partition: int32(p)})
		want, got := make(map[string]string), make(map[string]string)
		for _, r := range recs {
			if r.Offset < at {
				want[string(r.Key)] = string(r.Value)
			}
		}
		err = task.Table("names").Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
			got[string(key)] = string(row.Value)
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 || !maps.Equal(got, want) {
			t.Errorf("%s has %v of partition %d up to %d, want %v", n.name, got, p, at, want)
		}
	}
}

func flat(log *memlog.Log, topic string) []memlog.Rec {
	return slices.Concat(log.ReadCommitted(topic)...)
}

// TestHandOverWhoseCommitFails: while some tasks of a worker are handed over,
// the commit that does so fails. Those that stay must go on.
func TestHandOverWhoseCommitFails(t *testing.T) {
	for _, outcome := range []memlog.Outcome{memlog.Aborted, memlog.UnknownCommitted, memlog.Fenced} {
		var armed atomic.Bool
		faults := func(op memlog.Op) memlog.Fault {
			if op.Kind == memlog.OpCommit && op.Transport == "a" && armed.CompareAndSwap(true, false) {
				return memlog.Fault{Outcome: outcome}
			}
			return memlog.Fault{}
		}
		const partitions, keys = 4, 12
		f := newFleet(t, countTopology(), memlog.Config{Faults: faults}, partitions, "in", "out")
		f.options = func(o *engine.Options) { o.Workers, o.CommitInterval, o.AcceptableLag = 1, time.Hour, 1_000_000 }
		a := f.start("a", nil)
		f.eventually("a runs", []*node{a}, func() bool { return a.now().Running == partitions })
		f.feed(keys, 5, partitions)
		f.eventually("a has work to commit", []*node{a}, func() bool { return len(flatAll(f.log, "out")) >= keys*5 })
		armed.Store(true)
		b := f.start("b", nil)
		both := []*node{a, b}
		f.eventually("both run", both, func() bool { return !armed.Load() && a.now().Running == 2 && b.now().Running == 2 })
		a.stop()
		f.eventually("b has all", []*node{b}, func() bool { return b.now().Running == partitions })
		b.stop()
		c := f.start("c", nil)
		f.eventually("c has all", []*node{c}, func() bool { return c.now().Running == partitions })
		c.stop()
		wantCounts(t, committedPerKey(t, f.log, "out"), keys, 5)
	}
}

func flatAll(log *memlog.Log, topic string) []memlog.Rec {
	return slices.Concat(log.ReadUncommitted(topic)...)
}

// TestZombies: members lose their membership again and again in the middle of
// their work, without knowing it at once. What they commit then must not
// count, and they go on as members anew.
func TestZombies(t *testing.T) {
	const partitions, keys, rounds = 6, 30, 25
	f := newFleet(t, countTopology(), memlog.Config{FetchRecords: 5}, partitions, "in", "out")
	f.options = func(o *engine.Options) { o.Standbys, o.Workers, o.CommitInterval = 1, 4, 20*time.Millisecond }
	nodes := []*node{f.start("a", nil), f.start("b", nil), f.start("c", nil)}
	for round := range rounds {
		f.feed(keys, 4, partitions)
		f.log.Kick(nodes[round%len(nodes)].transport)
		f.eventually("some progress", nodes, f.counted(keys, 4*round+1))
	}
	f.eventually("all is counted", nodes, f.counted(keys, 4*rounds))
	for _, n := range nodes {
		n.stop()
	}
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 4*rounds)
}

// TestFewerWorkers: a process dies with a transaction open in each of its
// workers and comes back with one worker. What the others left open must be ended.
func TestFewerWorkers(t *testing.T) {
	var armed atomic.Bool
	faults := func(op memlog.Op) memlog.Fault {
		if op.Kind == memlog.OpCommit && armed.Load() {
			return memlog.Fault{Outcome: memlog.CrashBefore}
		}
		return memlog.Fault{}
	}
	const partitions, keys = 4, 12
	f := newFleet(t, countTopology(), memlog.Config{Faults: faults}, partitions, "in", "out")
	workers := 4
	f.options = func(o *engine.Options) { o.Workers, o.CommitInterval = workers, 200*time.Millisecond }
	a := f.start("a", nil)
	f.feed(keys, 5, partitions)
	f.eventually("a has counted", []*node{a}, f.counted(keys, 5))
	f.feed(keys, 5, partitions)
	f.eventually("every worker has sent", []*node{a}, func() bool {
		for _, p := range f.log.ReadUncommitted("out") {
			if len(p) < 2*5*keys/partitions {
				return false
			}
		}
		armed.Store(true)
		return true
	})
	f.feed(keys, 1, partitions) // or all may be committed by now
	f.eventually("a is dead", nil, a.transport.Crashed)
	a.crash()
	armed.Store(false)
	workers = 1
	a = f.start("a", nil)
	f.eventually("a has counted again", []*node{a}, f.counted(keys, 11))
	a.stop()
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 11)
}

// TestUntilEndOfKeptPlaces: two processes have stopped and kept their places.
// One that comes back to process what is there must not end with its own half
// of it: the other half is nobody's until the session of the other one ends.
func TestUntilEndOfKeptPlaces(t *testing.T) {
	const partitions, keys = 4, 12
	f := newFleet(t, countTopology(), memlog.Config{}, partitions, "in", "out")
	f.static = true
	f.options = func(o *engine.Options) { o.KeepPlace = true }
	f.feed(keys, 5, partitions)
	a, b := f.start("a", nil), f.start("b", nil)
	f.eventually("both have counted", []*node{a, b}, f.counted(keys, 5))
	f.eventually("both have tasks", []*node{a, b}, func() bool { return a.now().Running == 2 && b.now().Running == 2 })
	a.stop()
	b.stop()
	f.feed(keys, 5, partitions)
	f.options = func(o *engine.Options) { o.UntilEnd = true }
	a = f.start("a", nil)
	<-a.ended
	a.stop()
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 10)
}

// TestFirstLoadIsNotRepeatedElsewhere: a process has loaded a table to the end
// it found, and dies before there was any stream record. Another one, without
// its disk, must take the table as it was, not as it is when that one starts.
func TestFirstLoadIsNotRepeatedElsewhere(t *testing.T) {
	f := newFleet(t, joinTopology(), memlog.Config{}, 1, "edits", "views", "out")
	produce(t, f.log, "edits", 0, key(1), []byte("old"), 500)
	a := f.start("a", nil)
	f.eventually("a has loaded", []*node{a}, func() bool { return a.now().Running == 2 && len(f.log.Committed("p")) == 3 })
	a.crash()
	produce(t, f.log, "edits", 0, key(1), []byte("new"), 9000)
	produce(t, f.log, "views", 0, key(1), []byte("v"), 1000)
	b := f.start("b", nil)
	f.eventually("b has joined", []*node{b}, func() bool { return len(flat(f.log, "out")) == 1 })
	b.stop()
	if got := string(flat(f.log, "out")[0].Value); got != "v/old" {
		t.Errorf("a view of a time before the edit got %s", got)
	}
}

// TestStateIsCleanedUp: what has moved to another process is deleted some time
// later, and what is at home here is not.
func TestStateIsCleanedUp(t *testing.T) {
	const partitions, keys = 4, 12
	f := newFleet(t, countTopology(), memlog.Config{}, partitions, "in", "out")
	f.options = func(o *engine.Options) { o.StateCleanup, o.AcceptableLag = 20*time.Second, 1_000_000 }
	a := f.start("a", nil)
	f.feed(keys, 5, partitions)
	f.eventually("all is counted", []*node{a}, f.counted(keys, 5))
	f.eventually("a has stored all", []*node{a}, func() bool { return len(a.positions("count")) == partitions })
	b := f.start("b", nil)
	both := []*node{a, b}
	f.eventually("tasks are shared", both, func() bool { return a.now().Running == 2 && b.now().Running == 2 })
	if n := len(a.positions("count")); n != partitions {
		t.Errorf("a has the state of %d tasks right after two have moved, want all", n)
	}
	f.eventually("a has cleaned up", both, func() bool { return len(a.positions("count")) == 2 })
	f.feed(keys, 5, partitions)
	f.eventually("all is counted by both", both, f.counted(keys, 10))
	if n := len(b.positions("count")); n != 2 {
		t.Errorf("b has the state of %d tasks, want its own 2", n)
	}
	b.crash()
	f.eventually("a has all again", []*node{a}, func() bool { return a.now().Running == partitions })
	a.stop()
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 10)
}

// reports records what processes say of their state.
type reports struct {
	mu     sync.Mutex
	last   map[string][]engine.Held
	joined map[string][]engine.Held // with which it joined last
}

func (r *reports) of(name string) map[engine.TaskID]engine.Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[engine.TaskID]engine.Held)
	for _, h := range r.last[name] {
		out[h.Task] = h
	}
	return out
}

// reporting is a transport that lets reports be seen.
type reporting struct {
	engine.Transport
	name string
	to   *reports
}

type reportingMember struct {
	engine.Coordinator
	r *reporting
}

func (r *reporting) Join(ctx context.Context, m engine.Membership) (engine.Coordinator, error) {
	r.to.mu.Lock()
	r.to.joined[r.name] = m.Held
	r.to.mu.Unlock()
	c, err := r.Transport.Join(ctx, m)
	if err != nil {
		return nil, err
	}
	return reportingMember{c, r}, nil
}

func (m reportingMember) Report(held []engine.Held) {
	m.r.say(held)
	m.Coordinator.Report(held)
}

func (r *reporting) say(held []engine.Held) {
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	r.to.last[r.name] = held
}

// TestReports: what a process says it holds. Before it has joined it tells of its
// disk, how far behind that is; of what runs here, nothing is behind.
func TestReports(t *testing.T) {
	const partitions, keys = 2, 10
	said := &reports{last: make(map[string][]engine.Held), joined: make(map[string][]engine.Held)}
	f := newFleet(t, countTopology(), memlog.Config{}, partitions, "in", "out")
	f.options = func(o *engine.Options) {
		o.Transport = &reporting{Transport: o.Transport, name: o.Instance, to: said}
	}
	a := f.start("a", nil)
	f.feed(keys, 5, partitions)
	f.eventually("all is counted", []*node{a}, f.counted(keys, 5))
	f.eventually("a reports what runs", []*node{a}, func() bool {
		held := said.of("a")
		for _, h := range held {
			if h.Lag != 0 {
				t.Fatalf("a running task lags: %+v", h)
			}
		}
		return len(held) == partitions
	})
	a.stop()
	b := f.start("b", nil)
	f.eventually("b has it all", []*node{b}, func() bool { return b.now().Running == partitions })
	f.feed(keys, 5, partitions)
	f.eventually("all is counted by b", []*node{b}, f.counted(keys, 10))
	a = f.start("a", a.fs)
	f.eventually("a has joined", []*node{a, b}, func() bool { return len(said.disk("a")) == partitions })
	for _, h := range said.disk("a") {
		// Each of the five keys of a partition was changed once more at least, five times at most.
		if h.Lag < 5 || h.Lag > 5*5+10 {
			t.Errorf("task %s lags %d, want from 5 to 35", h.Task, h.Lag)
		}
	}
}

// disk is what a process has said of its disk when it joined last.
func (r *reports) disk(name string) []engine.Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.joined[name]
}
