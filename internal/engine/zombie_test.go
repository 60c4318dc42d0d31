package engine_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
)

// TestRowsOfAZombie: at least once, a process that lost its membership while it sent the rows
// of a commit finishes sending them when another has gone on with its task. A
// restore must not take them for the newer ones, since they are the later ones.
func TestRowsOfAZombie(t *testing.T) {
	t.Run("restored", func(t *testing.T) { rowsOfAZombie(t, 0) })
	t.Run("followed by a standby", func(t *testing.T) { rowsOfAZombie(t, 1) })
}

func rowsOfAZombie(t *testing.T, standbys int) {
	var armed, released atomic.Bool
	release, held := make(chan struct{}), make(chan struct{})
	faults := func(op memlog.Op) memlog.Fault {
		if op.Kind == memlog.OpSend && op.Transport == "a" && strings.HasSuffix(op.TP.Topic, "changelog") && armed.CompareAndSwap(true, false) {
			close(held)
			<-release
			released.Store(true)
		}
		return memlog.Fault{}
	}
	const keys = 5
	in := record.TopicPartition{Topic: "in"}
	f := newFleet(t, countTopology(), memlog.Config{Faults: faults}, 1, "in", "out")
	f.options = func(o *engine.Options) {
		o.Standbys, o.ExactlyOnce, o.Workers, o.CommitInterval, o.AcceptableLag = standbys, false, 1, 50*time.Millisecond, 1_000_000
	}
	a := f.start("a", nil)
	f.eventually("a runs", []*node{a}, func() bool { return a.now().Running == 1 })
	f.feed(keys, 3, 1)
	f.eventually("a has committed", []*node{a}, func() bool { return f.log.Committed("p")[in] == keys*3 })
	armed.Store(true)
	f.feed(keys, 2, 1)
	<-held
	f.log.Kick(a.transport)
	b := f.start("b", nil)
	f.eventually("b has the task", []*node{b}, func() bool { return b.now().Running == 1 })
	f.feed(keys, 4, 1)
	f.eventually("b has gone on", []*node{b}, func() bool { return f.log.Committed("p")[in] == keys*9 })
	both := []*node{b}
	var c *node
	if standbys > 0 {
		c = f.start("c", nil)
		both = append(both, c)
		f.eventually("c has a copy", both, func() bool { return c.now().Standbys == 1 && c.now().Followed > 0 })
	}
	close(release)
	f.eventually("a has sent its rows", both, func() bool { return released.Load() && a.now().Running == 0 })
	a.stop()
	b.stop()
	if c == nil {
		c = f.start("c", nil)
	}
	f.eventually("c has the task", []*node{c}, func() bool { return c.now().Running == 1 })
	f.feed(keys, 1, 1)
	f.eventually("c has gone on", []*node{c}, func() bool { return f.log.Committed("p")[in] == keys*10 })
	c.stop()
	wantRepeating(t, committedPerKey(t, f.log, "out"), keys, 10)
}
