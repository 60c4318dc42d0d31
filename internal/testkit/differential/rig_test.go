package differential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/internal/testkit/model"
	"streamctl/state"
)

// patience is how long the engine may take to come to the end of what it was given. It is
// long, because it says that something hangs, and not that the machine is busy.
const patience = 2 * time.Minute

// soon is how long nothing must come in stepIdle.
const soon = 20 * time.Millisecond

// outcome is what the engine has made of a case.
type outcome struct {
	records map[string][][]memlog.Rec // by topic of a sink and partition
	drops   map[string]int            // "definition reason"; nil = work was done again and counted twice
	log     string
}

// rig is one case on its way.
type rig struct {
	pipe     *compiled
	set      settings
	log      *memlog.Log
	moved    chan struct{} // something has been committed
	readied  chan struct{} // a process is ready
	nodes    []*node
	disks    map[string]state.FS
	drops    map[string]int
	recount  bool          // something was done again: it is counted twice
	crashAt  atomic.Int32  // so many commits from now a process dies, 0 = none does
	idle     time.Duration // the timeout of processes that start, -1 = they wait for ever
	messages bytes.Buffer
}

// node is one process.
type node struct {
	name      string
	transport *memlog.Transport
	db        *state.DB
	fs        state.FS
	cancel    context.CancelFunc
	ready     chan struct{}
	ended     chan struct{}
	err       error
	stats     engine.Stats
}

// execute runs a case on the engine; m has run it already.
func execute(m *model.Model, pipe *compiled, c *testCase) (out outcome, err error) {
	r := &rig{pipe: pipe, set: c.settings, moved: make(chan struct{}, 1), readied: make(chan struct{}, 1), disks: map[string]state.FS{}, drops: map[string]int{}, idle: -1}
	r.log = memlog.New(memlog.Config{Clock: engine.SystemClock{}, FetchRecords: c.settings.Fetch, Faults: r.fault, Audit: func(memlog.Committing) { tell(r.moved) }})
	defer func() {
		for _, n := range r.nodes {
			n.kill()
		}
		out.log = r.messages.String()
	}()
	if err := r.createTopics(); err != nil {
		return out, err
	}
	for _, step := range c.script(pipe) {
		if err := r.do(step); err != nil {
			return out, err
		}
	}
	if strings.Contains(c.text, "every:") {
		r.await(func() bool { return reached(m, pipe, c, r.log) })
	}
	if err := r.stopAll(); err != nil {
		return out, err
	}
	out.records = map[string][][]memlog.Rec{}
	if !r.recount {
		out.drops = r.drops
	}
	if letters := pipe.result.Plan.DeadLetterTopic(); slices.Contains(r.log.Topics(), letters) {
		out.records[letters] = r.log.ReadCommitted(letters)
	}
	for _, sub := range pipe.topology.Subs {
		for _, o := range sub.Outputs {
			if !o.Internal {
				out.records[o.Topic] = r.log.ReadCommitted(o.Topic)
			}
		}
	}
	return out, nil
}

// await waits until a condition holds, or for as long as it ought to take.
func (r *rig) await(holds func() bool) {
	deadline := time.After(patience / 4)
	for !holds() {
		select {
		case <-r.moved:
		case <-deadline:
			return
		}
	}
}

// tell wakes who waits on c.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// createTopics makes the topics of the user's.
func (r *rig) createTopics() error {
	own := map[string]bool{}
	for _, t := range r.pipe.topology.Internal {
		own[t.Name] = true
	}
	made := map[string]bool{}
	create := func(topic string, configs map[string]string) error {
		if own[topic] || made[topic] {
			return nil
		}
		made[topic] = true
		return r.log.CreateTopic(topic, r.set.Partitions, configs)
	}
	for _, sub := range r.pipe.topology.Subs {
		for _, in := range sub.Inputs {
			configs := map[string]string{}
			if in.Table != "" {
				configs["cleanup.policy"] = "compact"
			}
			if err := create(in.Topic, configs); err != nil {
				return err
			}
		}
		for _, o := range sub.Outputs {
			if err := create(o.Topic, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// do makes one step of the script.
func (r *rig) do(s step) error {
	switch s.kind {
	case stepRecords:
		for _, rec := range s.records {
			if _, err := r.topicParts(rec.Topic); err != nil {
				continue // nobody reads it in this pipeline
			}
			r.log.Produce(rec.Topic, rec.Partition, rec.Key, rec.Value, rec.Time)
		}
		if len(r.nodes) == 0 {
			return nil
		}
		r.crashAt.Store(s.crash)
		defer r.crashAt.Store(0)
		return r.drain()
	case stepStart, stepIdle:
		began := time.Now()
		if s.kind == stepIdle {
			r.idle = soon
		}
		for i := range r.set.Processes {
			if err := r.start(fmt.Sprint("process-", i)); err != nil {
				return err
			}
		}
		if err := r.awaitReady(); err != nil {
			return err
		}
		if err := r.drain(); err != nil || s.kind == stepStart {
			return err
		}
		return r.awaitTime(began)
	case stepStop:
		return r.stopAll()
	case stepKill:
		for _, n := range r.nodes {
			r.kill(n, s.percent)
		}
		r.nodes = nil
	case stepLose:
		r.disks = map[string]state.FS{}
	}
	return nil
}

func (r *rig) topicParts(topic string) (int, error) {
	if !slices.Contains(r.log.Topics(), topic) {
		return 0, errors.New("no such topic")
	}
	return int(r.set.Partitions), nil
}

// start begins a process on its disk.
func (r *rig) start(name string) error {
	fs := r.disks[name]
	if fs == nil {
		fs = state.NewCrashFS()
	}
	db, err := state.Open(state.Options{Dir: "state", FS: fs, CacheBytes: r.set.Cache, MemTableBytes: 256 << 10, BlockCacheBytes: 256 << 10})
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	n := &node{name: name, fs: fs, db: db, ready: make(chan struct{}), ended: make(chan struct{}), transport: r.log.Transport(memlog.TransportConfig{Group: r.pipe.topology.Pipeline})}
	opts := engine.Options{
		Topology: r.pipe.topology, Transport: n.transport, State: db, ExactlyOnce: !r.set.AtLeastOnce, Instance: name,
		Workers: r.set.Workers, CommitInterval: r.set.Commit, IdleTimeout: r.idle,
		Ready:  func() { close(n.ready); tell(r.readied) },
		Logger: slog.New(slog.NewTextHandler(&r.messages, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(n.ended)
		n.stats, n.err = engine.Run(ctx, opts)
	}()
	r.nodes = append(r.nodes, n)
	r.disks[name] = fs
	return nil
}

// kill ends a process without a goodbye.
func (n *node) kill() {
	n.transport.Crash()
	n.cancel()
	<-n.ended
	_ = n.db.Close()
}

// kill ends a process and leaves its disk as a power cut would.
func (r *rig) kill(n *node, percent int) {
	n.kill()
	r.recount = true
	r.disks[n.name] = state.CrashClone(n.fs, percent, uint64(percent))
}

// fault kills the process whose commit it is when its time has come.
func (r *rig) fault(op memlog.Op) memlog.Fault {
	if op.Kind != memlog.OpCommit || r.crashAt.Load() <= 0 || r.crashAt.Add(-1) != 0 {
		return memlog.Fault{}
	}
	if op.N%2 == 0 {
		return memlog.Fault{Outcome: memlog.CrashAfter}
	}
	return memlog.Fault{Outcome: memlog.CrashBefore}
}

// revive starts the processes anew that have died of a fault.
func (r *rig) revive() error {
	for i, n := range r.nodes {
		if !n.transport.Crashed() {
			continue
		}
		r.kill(n, 50)
		r.nodes = slices.Delete(r.nodes, i, i+1)
		if err := r.start(n.name); err != nil {
			return err
		}
		return r.awaitReady()
	}
	return nil
}

// stopAll ends all processes in order.
func (r *rig) stopAll() error {
	for _, n := range r.nodes {
		n.cancel()
	}
	var failed error
	for _, n := range r.nodes {
		<-n.ended
		if errors.Is(n.err, context.Canceled) { // while it was starting
			n.err = nil
		}
		failed = errors.Join(failed, n.err, n.db.Close())
		r.recount = r.recount || n.stats.Aborts > 0
		for k, count := range n.stats.Counters.Drops {
			r.drops[k.Operator+" "+k.Reason] += int(count)
		}
	}
	r.nodes = nil
	return failed
}

// awaitReady waits until tasks run: of all processes, for one that gets none
// does not say so.
func (r *rig) awaitReady() error {
	deadline := time.After(patience)
	for {
		for _, n := range r.nodes {
			select {
			case <-n.ready:
				return nil
			case <-n.ended:
				return fmt.Errorf("a process ended: %w", n.err)
			default:
			}
		}
		select {
		case <-r.readied:
		case <-r.nodes[0].ended:
		case <-deadline:
			return fmt.Errorf("tasks do not run within %v", patience)
		}
	}
}

// drain waits until everything that is in the topics has been processed, and all tasks
// know how far those before them are.
func (r *rig) drain() error {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond) // a crash may tell nobody
	defer tick.Stop()
	for {
		if err := r.revive(); err != nil {
			return err
		}
		lag := r.lagging()
		if lag == "" {
			var err error
			if lag, err = r.untold(); err != nil {
				return fmt.Errorf("look what has been told of time: %w", err)
			}
		}
		if lag == "" {
			return nil
		}
		for _, n := range r.nodes {
			select {
			case <-n.ended:
				if !n.transport.Crashed() {
					return fmt.Errorf("a process ended: %w", n.err)
				}
			default:
			}
		}
		select {
		case <-r.moved:
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("no end within %v: %s", patience, lag)
		}
	}
}

// lagging says what has not been processed, "" = nothing.
func (r *rig) lagging() string {
	topics := r.log.Topics()
	committed := r.log.Committed(r.pipe.topology.Pipeline)
	for _, topic := range r.pipe.topics {
		if !slices.Contains(topics, topic) {
			return topic + " does not exist yet"
		}
		high, _ := r.log.Ends(topic)
		for p := range high {
			if at := committed[record.TopicPartition{Topic: topic, Partition: int32(p)}]; at != high[p] {
				return fmt.Sprintf("%s/%d is committed to %d of %d", topic, p, at, high[p])
			}
		}
	}
	return ""
}
