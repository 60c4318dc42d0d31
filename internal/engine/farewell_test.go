package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
)

// TestStopWithoutAnswer: a process that is told to stop while its commit gets no
// answer ends in time and without an error; what it did is done again. (It used
// to go on trying for minutes, and then to fail.)
func TestStopWithoutAnswer(t *testing.T) {
	const partitions, keys = 2, 4
	var silent, asked atomic.Bool
	f := newFleet(t, countTopology(), memlog.Config{Faults: func(op memlog.Op) memlog.Fault {
		if op.Kind != memlog.OpCommit || !silent.Load() {
			return memlog.Fault{}
		}
		asked.Store(true)
		return memlog.Fault{Delay: 24 * time.Hour}
	}}, partitions, "in", "out")
	f.options = func(o *engine.Options) { o.Workers = 1 }
	a := f.start("a", nil)
	f.feed(keys, 5, partitions)
	f.eventually("a has counted", []*node{a}, f.counted(keys, 5))
	silent.Store(true)
	f.feed(keys, 5, partitions)
	f.eventually("a commits", []*node{a}, asked.Load)
	began := f.clock.Now()
	a.stop()
	if took := f.clock.Now().Sub(began); took > time.Minute {
		t.Errorf("it took %s to stop", took)
	}
	silent.Store(false)
	a = f.start("a", a.fs)
	f.eventually("a has counted again", []*node{a}, f.counted(keys, 10))
	a.stop()
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 10)
}

// TestStopWhileTasksAreTakenAway: the same, when it is told to stop while it
// waits for the end of a commit because its tasks were taken away.
func TestStopWhileTasksAreTakenAway(t *testing.T) {
	const partitions, keys = 2, 4
	var silent, revoked atomic.Bool
	f := newFleet(t, countTopology(), memlog.Config{Faults: func(op memlog.Op) memlog.Fault {
		if op.Kind != memlog.OpCommit || !silent.Load() {
			return memlog.Fault{}
		}
		return memlog.Fault{Delay: 24 * time.Hour}
	}}, partitions, "in", "out")
	f.options = func(o *engine.Options) {
		o.Workers = 1
		o.Crash = func(step string) {
			if step == engine.CrashBeforeRevoke {
				revoked.Store(true)
			}
		}
	}
	a := f.start("a", nil)
	f.feed(keys, 5, partitions)
	f.eventually("a has counted", []*node{a}, f.counted(keys, 5))
	silent.Store(true)
	f.feed(keys, 5, partitions)
	b := f.start("b", nil) // takes tasks from a, which cannot commit
	f.eventually("tasks are taken from a", []*node{a, b}, revoked.Load)
	began := f.clock.Now()
	a.stop()
	if took := f.clock.Now().Sub(began); took > time.Minute {
		t.Errorf("it took %s to stop", took)
	}
	silent.Store(false)
	f.eventually("b has counted all", []*node{b}, f.counted(keys, 10))
	b.stop()
	wantCounts(t, committedPerKey(t, f.log, "out"), keys, 10)
}
