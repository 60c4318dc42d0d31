package pipetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// The settings of a process in a test. It has one worker, so that things happen
// in one order. A commit is due with the smallest step of the clock: the test
// takes that step itself when nothing else is left to do.
const (
	commitInterval = time.Nanosecond
	instance       = "test"

	cacheBytes    = 4 << 20
	memTableBytes = 1 << 20
)

// life is one process of a pipeline, from its start to its end.
type life struct {
	of        *running
	transport *memlog.Transport
	disk      state.FS
	gate      *gate
	cancel    context.CancelFunc
	inputs    []string // topics that it reads
	over      chan struct{}
}

// errUnrest: the process does not come to rest although it should.
var errUnrest = errors.New("the pipeline does not come to rest")

// Another goroutine of the engine may be at work while the worker rests. After
// someNaps, half a second of real time, it is taken to wait for the clock, which then moves to its
// next timer; after allNaps it is said that it does not come to an end.
const (
	someNaps = 25
	allNaps  = 500
)

// start begins a life on a disk and returns when all its tasks run, or with the
// error that ended it.
func (r *running) start(disk state.FS) (*life, error) {
	l := &life{
		of: r, disk: disk, gate: newGate(), over: make(chan struct{}),
		transport: r.world.log.Transport(memlog.TransportConfig{Group: r.name()}),
	}
	db, err := state.Open(state.Options{
		Dir: "state", FS: disk, CacheBytes: cacheBytes, BlockCacheBytes: memTableBytes, MemTableBytes: memTableBytes, LoadBytes: memTableBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	seen := make(map[string]bool)
	for _, sub := range r.topology.Subs {
		for _, in := range sub.Inputs {
			if !seen[in.Topic] {
				seen[in.Topic] = true
				l.inputs = append(l.inputs, in.Topic)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.run(ctx, db)
	return l, l.settle()
}

// run is the process.
func (l *life) run(ctx context.Context, db *state.DB) {
	defer close(l.over)
	_, err := engine.Run(ctx, engine.Options{
		Topology: l.of.topology, Transport: ports{l.transport, l.gate}, State: db, Clock: l.of.world.clock, Workers: 1,
		IdleTimeout: l.of.idleTimeout, Asked: func(n int) { l.gate.note(func() { l.gate.asked += n }) },
		ExactlyOnce: l.of.exactlyOnce, CommitInterval: commitInterval, Instance: instance, Yield: l.gate.hold, Monitor: l.of.monitor,
		Ready: func() { l.gate.note(func() { l.gate.ready = true }) },
	})
	err = errors.Join(err, db.Close())
	l.gate.note(func() { l.gate.err, l.gate.ended = err, true })
}

// settle lets the process do what there is to do, and returns when nothing is
// left: everything in its topics has been processed and committed. It returns the
// error that has ended the process, if one has.
func (l *life) settle() error {
	for naps := 0; naps < allNaps; {
		wait, ended := l.gate.await()
		if ended {
			return l.gate.err
		}
		if wait < time.Microsecond {
			l.of.world.clock.Advance(max(wait, commitInterval))
			l.gate.release()
			continue
		}
		if l.gate.answer() {
			continue
		}
		if l.gate.isReady() && l.behind() == "" {
			return nil
		}
		// When tasks start, or a first load ends, another goroutine is at work.
		if l.gate.nap() {
			continue
		}
		if naps++; naps%someNaps == 0 {
			clock := l.of.world.clock
			if due, ok := clock.Next(); ok {
				clock.Advance(max(due.Sub(clock.Now()), 0))
			}
			l.gate.release()
		}
	}
	if behind := l.behind(); behind != "" {
		return fmt.Errorf("%w: %s", errUnrest, behind)
	}
	return errUnrest
}

func (g *gate) isReady() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ready
}

// behind says which input is not processed and committed to its end, "" = all are.
func (l *life) behind() string {
	committed := l.of.world.log.Committed(l.of.name())
	for _, topic := range l.inputs {
		if l.of.world.log.Partitions(topic) == 0 {
			return topic + " is not made yet"
		}
		high, _ := l.of.world.log.Ends(topic)
		for p, end := range high {
			if at := committed[record.TopicPartition{Topic: topic, Partition: int32(p)}]; at < end {
				return fmt.Sprintf("%s/%d is read up to %d of %d", topic, p, at, end)
			}
		}
	}
	return ""
}

// stop ends the process in an orderly way.
func (l *life) stop() error {
	l.cancel()
	<-l.over
	return l.gate.err
}

// crash ends it at once and gives what a power cut leaves of its disk.
func (l *life) crash() state.FS {
	left := state.CrashClone(l.disk, 0, 1)
	l.abandon()
	return left
}

// abandon ends it at once; nobody will look at its disk.
func (l *life) abandon() {
	l.transport.Crash()
	l.cancel()
	l.gate.letGo()
	<-l.over
}

// running says whether the process has not ended by itself.
func (l *life) running() bool {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	return !l.gate.ended
}

// recordError gives the failure of a record in err, nil when it is of another kind.
func recordError(err error) *operators.RecordError {
	var re *operators.RecordError
	if errors.As(err, &re) {
		return re
	}
	return nil
}
