package kafka

import (
	"slices"
	"testing"
	"time"

	"streamctl/internal/engine"
)

// TestStaticRestart ends processes that keep their place, the leader of the
// group and another one, and starts them anew with other contents of their
// disks. Each gets what it had. On Kafka the others hear nothing of it; the
// fake rebalances when what a member says of itself has changed.
func TestStaticRestart(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(4, engine.Membership{Workers: 2, AcceptableLag: 100, Standbys: 1})
		a := f.start("a")
		all := a.until("alone", has(4, 0)).Tasks
		a.holds(0, all...)
		b := f.start("b")
		warm := b.until("copies", has(0, 4)).Standbys
		b.holds(0, warm...)
		a.until("let go", has(2, 2))
		moved := b.until("took over", has(2, 2))
		a.holds(0, all...)
		b.holds(0, all...)
		kept := a.until("settled", func(ev engine.GroupEvent) bool { return ev.Meta.Generation == moved.Meta.Generation })
		restart := func(p *process, name string, was engine.GroupEvent) *process {
			if err := p.c.Leave(e.ctx(), true); err != nil {
				e.Fatal(err)
			}
			young := f.start(name, func(_ *Transport, _ *Settings, who *engine.Membership) {
				for _, id := range all {
					who.Held = append(who.Held, engine.Held{Task: id, Lag: 50, Bytes: 200 << 20})
				}
			})
			ev := young.until("back", func(engine.GroupEvent) bool { return true })
			if !slices.Equal(ev.Tasks, was.Tasks) || !slices.Equal(ev.Standbys, was.Standbys) || len(ev.Members) != 2 {
				e.Errorf("%s had %v and %v, has %v and %v of %v", name, was.Tasks, was.Standbys, ev.Tasks, ev.Standbys, ev.Members)
			}
			return young
		}
		for range 2 {
			a = restart(a, "a", kept)
			b = restart(b, "b", moved)
		}
		if e.real {
			if a.last.Meta.Generation != kept.Meta.Generation || b.last.Meta.Generation != kept.Meta.Generation {
				e.Errorf("generation %d before, %d and %d after", kept.Meta.Generation, a.last.Meta.Generation, b.last.Meta.Generation)
			}
			began := time.Now()
			for _, p := range []*process{a, b} {
				p.quiet("the other's restart", func() bool { return time.Since(began) > 2*time.Second })
			}
		}
		// The group is alive: a third one is dealt in.
		c := f.start("c")
		ids := c.until("joins", func(ev engine.GroupEvent) bool { return len(ev.Standbys) > 0 }).Standbys
		c.holds(0, ids...)
		for _, p := range []*process{a, b} {
			p.until("sees it", func(ev engine.GroupEvent) bool { return len(ev.Members) == 3 })
		}
	})
}

// TestStaticRestartChanged comes back with more workers: the group deals anew.
func TestStaticRestartChanged(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(6, engine.Membership{Workers: 1})
		for i := range f.tasks {
			f.tasks[i].State = false
		}
		a := f.start("a")
		a.until("alone", has(6, 0))
		b := f.start("b")
		a.until("let go", has(3, 0))
		b.until("half", has(3, 0))
		if err := b.c.Leave(e.ctx(), true); err != nil {
			e.Fatal(err)
		}
		b = f.start("b", func(_ *Transport, _ *Settings, who *engine.Membership) { who.Workers = 2 })
		a.until("let go", has(2, 0))
		b.until("two thirds", has(4, 0))
	})
}

// TestStaticRestartWhileLettingGo ends a process that was told to let a task
// go before it did. Its new self was given the assignment without that task, by
// Kafka, and has nothing to let go of: the task must not stay with nobody.
func TestStaticRestartWhileLettingGo(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, protocols := range [][]string{{protocolTwo, protocolOne}, {protocolOne}} {
		t.Run(protocols[0], func(t *testing.T) {
			onBoth(t, func(e *env) {
				f := e.fleet(2, engine.Membership{Workers: 1})
				for i := range f.tasks {
					f.tasks[i].State = false
				}
				speak := func(tr *Transport, _ *Settings, _ *engine.Membership) {
					if tr != nil {
						tr.c.protocols = protocols
					}
				}
				a := f.start("a", speak)
				a.until("alone", has(2, 0))
				b := f.start("b", speak)
				b.until("nothing yet", has(0, 0))
				if ev := e.next(a.c); len(ev.Tasks) != 1 { // and no Ack
					e.Fatalf("a has %v", ev.Tasks)
				}
				if err := a.c.Leave(e.ctx(), true); err != nil {
					e.Fatal(err)
				}
				a = f.start("a", speak)
				a.until("back", has(1, 0))
				b.until("the other one", has(1, 0))
			})
		})
	}
}
