package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
)

// TestHandOverUnderLoad: a worker gives a task up although the task beside it has
// new records after every commit. (It used to wait for a commit after which
// nothing at all was left to commit, and under load there is none.)
func TestHandOverUnderLoad(t *testing.T) {
	const partitions = 2
	var f *fleet
	var calm atomic.Bool
	f = newFleet(t, countTopology(), memlog.Config{Faults: func(op memlog.Op) memlog.Fault {
		if op.Kind != memlog.OpCommit || calm.Load() {
			return memlog.Fault{}
		}
		for p := range int32(partitions) {
			f.log.Produce("in", p, key(int(p)), []byte("x"), 1000)
		}
		return memlog.Fault{Delay: 200 * time.Millisecond}
	}}, partitions, "in", "out")
	f.options = func(o *engine.Options) { o.Workers = 1 }
	a := f.start("a", nil)
	f.feed(partitions, 10, partitions)
	f.eventually("all is counted", []*node{a}, f.counted(partitions, 10))
	b := f.start("b", nil)
	t.Cleanup(func() { calm.Store(true) }) // before the processes end
	f.eventually("each has a task", []*node{a, b}, func() bool { return a.now().Running == 1 && b.now().Running == 1 })
}
