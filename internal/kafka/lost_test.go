package kafka

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"streamctl/internal/engine"
)

// said collects what a process logs.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) contains(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.buf.String(), text)
}

// logging sends the logs of a process there.
func (s *said) logging(_ *Transport, set *Settings, _ *engine.Membership) {
	set.Logger = slog.New(slog.NewTextHandler(s, nil))
}

// stateless is a fleet whose tasks move at once.
func (e *env) stateless(partitions int32) *fleet {
	f := e.fleet(partitions, engine.Membership{Workers: 1})
	for i := range f.tasks {
		f.tasks[i].State = false
	}
	return f
}

// TestSlowRevoke acknowledges too late that tasks were let go: the group goes
// on without the process, which is told so, with the setting that matters, and
// then is dealt in again.
func TestSlowRevoke(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, instance := range []string{"", "a"} {
		t.Run("instance="+instance, func(t *testing.T) {
			onBoth(t, func(e *env) {
				f := e.stateless(2)
				var log said
				short := func(_ *Transport, set *Settings, _ *engine.Membership) { set.RebalanceTimeout = 2 * time.Second }
				a := f.start("a", short, log.logging, func(_ *Transport, set *Settings, _ *engine.Membership) { set.Instance = instance })
				a.until("alone", has(2, 0))
				b := f.start("b", short)
				late := e.next(a.c)
				if len(late.Tasks) != 1 {
					e.Fatalf("a has %v", late.Tasks)
				}
				b.until("all of them", func(ev engine.GroupEvent) bool { return len(ev.Tasks) > 0 })
				a.until("lost", func(ev engine.GroupEvent) bool { return ev.Lost })
				if !log.contains("kafka.rebalance_timeout (2s)") {
					e.Errorf("said: %s", log.buf.String())
				}
				late.Ack()
				if len(b.last.Tasks) == 2 {
					b.until("let go", has(1, 0))
				}
				a.until("dealt in", has(1, 0))
				if a.tr.Incidents()[engine.IncidentMembershipLost] != 1 {
					e.Errorf("incidents: %v", a.tr.Incidents())
				}
			})
		})
	}
}

// TestLeaderLost ends the leader of the group between JoinGroup and SyncGroup:
// the others deal the tasks without it when its session is over.
func TestLeaderLost(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.stateless(2)
		brief := func(s *Settings) {
			s.Group, s.SessionTimeout, s.RebalanceTimeout = f.group, 6*time.Second, 8*time.Second
			if e.real {
				s.SessionTimeout = time.Second
			}
		}
		lost := newGroup(e.open(brief).c, f.who)
		defer lost.stop()
		l, err := lost.link(e.ctx())
		if err != nil {
			e.Fatal(err)
		}
		var meta engine.GroupMeta
		joined, err := lost.sendJoin(l, &meta, lost.describe())
		if err != nil || joined.LeaderId != meta.Member {
			e.Fatalf("%+v, %v", joined, err)
		}
		b := f.start("b", func(_ *Transport, set *Settings, _ *engine.Membership) { set.RebalanceTimeout = 8 * time.Second })
		if joined, err = lost.sendJoin(l, &meta, lost.describe()); err != nil || joined.LeaderId != meta.Member {
			e.Fatalf("%+v, %v", joined, err)
		}
		e.await("both", func() bool { // the other one waits for the leader, or is about to
			state, err := b.tr.Control().Group(e.ctx())
			return err == nil && len(state.Members) >= 1
		})
		b.until("goes on alone", has(2, 0))
	})
}

// TestSilence cuts a process off: when its session is over it knows by itself
// that it has lost its tasks, and says which setting that was.
func TestSilence(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.stateless(2)
		var log said
		var cut atomic.Bool
		var broken atomic.Int64
		a := f.start("a", log.logging, func(tr *Transport, set *Settings, _ *engine.Membership) {
			if tr != nil {
				tr.c.dialer.wrap = func(c net.Conn) net.Conn { return &cable{Conn: c, cut: &cut, broken: &broken} }
			} else if e.real {
				set.SessionTimeout = 2 * time.Second
			}
		})
		a.until("alone", has(2, 0))
		cut.Store(true)
		a.until("lost", func(ev engine.GroupEvent) bool { return ev.Lost })
		if !log.contains("no contact to the group's coordinator for kafka.session_timeout") {
			e.Errorf("said: %s", log.buf.String())
		}
		cut.Store(false)
		a.until("back", has(2, 0))
	})
}

// TestReconnectWhileLettingGo breaks the connection of a process that has not
// closed yet what it is to let go of: it must not come back as if it had.
func TestReconnectWhileLettingGo(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.stateless(2)
		var cut atomic.Bool
		var broken atomic.Int64
		a := f.start("a", func(tr *Transport, _ *Settings, _ *engine.Membership) {
			if tr != nil {
				tr.c.dialer.wrap = func(c net.Conn) net.Conn { return &cable{Conn: c, cut: &cut, broken: &broken} }
			}
		})
		a.until("alone", has(2, 0))
		b := f.start("b")
		b.until("nothing yet", has(0, 0))
		ev := e.next(a.c)
		if len(ev.Tasks) != 1 {
			e.Fatalf("a has %v", ev.Tasks)
		}
		cut.Store(true)
		e.await("a broken connection", func() bool { return broken.Load() > 2 })
		cut.Store(false)
		began := time.Now()
		b.quiet("a still has both", func() bool { return time.Since(began) > 3*time.Second })
		ev.Ack()
		b.until("the other one", has(1, 0))
	})
}

// TestLongJoin breaks a connection on which a process has waited for longer
// than its session to join: who waits is alive, and goes on with its tasks. (To
// the fake who waits is not.)
func TestLongJoin(t *testing.T) {
	t.Parallel() // it mostly waits
	onReal(t, func(e *env) {
		f := e.stateless(2)
		var cut atomic.Bool
		var broken atomic.Int64
		session := 2 * time.Second
		var conns conns
		a := f.start("a", func(tr *Transport, set *Settings, _ *engine.Membership) {
			set.SessionTimeout = session
			if tr != nil {
				tr.c.dialer.wrap = func(c net.Conn) net.Conn { return conns.add(&cable{Conn: c, cut: &cut, broken: &broken}) }
			}
		})
		a.until("alone", has(2, 0))
		// Somebody joins, and holds up the next rebalance.
		slow := newGroup(e.open(func(s *Settings) {
			s.Group, s.SessionTimeout, s.RebalanceTimeout = f.group, 30*time.Second, 30*time.Second
		}).c, f.who)
		defer slow.stop()
		var meta engine.GroupMeta
		if _, err := slow.joinAndSync(&meta, slow.describe()); err != nil {
			e.Fatal(err)
		}
		a.until("shares", has(1, 0))
		joins := time.Now()
		a.quiet("waits", func() bool { return time.Since(joins) > session+session/2 })
		cut.Store(true)
		conns.close()
		e.await("a broken connection", func() bool { return broken.Load() > 0 })
		cut.Store(false)
		if _, err := slow.joinAndSync(&meta, slow.describe()); err != nil {
			e.Fatal(err)
		}
		if ev := a.until("the next round", func(engine.GroupEvent) bool { return true }); ev.Lost {
			e.Error("the membership was lost")
		}
	})
}

// conns collects connections, to break them.
type conns struct {
	mu  sync.Mutex
	all []net.Conn
}

func (c *conns) add(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, conn)
	return conn
}

func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.all {
		_ = conn.Close()
	}
}

// cable is a connection that can be cut.
type cable struct {
	net.Conn
	cut    *atomic.Bool
	broken *atomic.Int64 // how often somebody has noticed
}

func (c *cable) Write(p []byte) (int, error) {
	if c.cut.Load() {
		c.broken.Add(1)
		_ = c.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

// TestCoordinatorMoves lets another broker become the group's coordinator: the
// group goes on as it was.
func TestCoordinatorMoves(t *testing.T) {
	t.Parallel() // it mostly waits
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.DefaultNumPartitions(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	e := &env{T: t, addr: c.ListenAddrs()[0], fake: c}
	f := e.stateless(2)
	a := f.start("a")
	a.until("alone", has(2, 0))
	before := c.CoordinatorFor(f.group)
	for c.CoordinatorFor(f.group) == before {
		c.RehashCoordinators()
	}
	e.await("the new coordinator", func() bool { return a.tr.Incidents()[engine.IncidentCoordinatorMoved] > 0 })
	b := f.start("b")
	a.until("lets go", func(ev engine.GroupEvent) bool { return len(ev.Tasks) == 1 })
	b.until("is dealt in", has(1, 0))
}

// TestJoinRefused names the settings that matter.
func TestJoinRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.stateless(1)
		p := f.start("a", func(_ *Transport, set *Settings, _ *engine.Membership) { set.SessionTimeout = 24 * time.Hour })
		ev := <-p.c.Events()
		if ev.Err == nil || !strings.Contains(ev.Err.Error(), "kafka.session_timeout is 24h0m0s") || !strings.Contains(ev.Err.Error(), "group.max.session.timeout.ms") {
			e.Errorf("%v", ev.Err)
		}
		other := f.who
		other.Tasks = withState("other", 3)
		first := f.start("b")
		first.until("alone", has(1, 0))
		f.who = other
		if ev = <-f.start("c").c.Events(); !errors.Is(ev.Err, engine.ErrOtherPlan) {
			e.Errorf("%v", ev.Err)
		}
	})
}
