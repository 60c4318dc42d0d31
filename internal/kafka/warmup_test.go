package kafka

import (
	"slices"
	"testing"
	"time"

	"streamctl/internal/engine"
)

// withState is tasksOf with tables in every task.
func withState(topic string, partitions int32) []engine.TaskInfo {
	out := tasksOf(topic, partitions)
	for i := range out {
		out[i].State = true
	}
	return out
}

// fleet is a group of processes under test.
type fleet struct {
	*env
	group string
	tasks []engine.TaskInfo
	who   engine.Membership
}

func (e *env) fleet(partitions int32, who engine.Membership) *fleet {
	tr := e.open()
	topic := e.topic(tr, partitions, nil)
	who.Tasks = withState(topic, partitions)
	return &fleet{env: e, group: tr.c.set.Group, tasks: who.Tasks, who: who}
}

// process is one of them: a transport, its membership, and what it was told last.
type process struct {
	f    *fleet
	tr   *Transport
	c    engine.Coordinator
	last engine.GroupEvent
}

// start opens a process. change may alter its settings and what it says of itself.
func (f *fleet) start(name string, change ...func(*Transport, *Settings, *engine.Membership)) *process {
	f.Helper()
	who := f.who
	who.Instance = name
	set := f.settings()
	set.Group, set.Instance, set.SessionTimeout = f.group, name, 6*time.Second
	for _, c := range change {
		c(nil, &set, &who)
	}
	tr, err := Open(f.ctx(), set)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { tr.Close() })
	tr.c.probing.least = 50 * time.Millisecond
	for _, c := range change {
		c(tr, &set, &who)
	}
	c, err := tr.Join(f.ctx(), who)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Leave(f.ctx(), false) })
	return &process{f: f, tr: tr, c: c}
}

// until takes events, acknowledging each at once, until one is as wanted.
func (p *process) until(what string, wanted func(engine.GroupEvent) bool) engine.GroupEvent {
	p.f.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case ev, open := <-p.c.Events():
			if !open || ev.Err != nil {
				p.f.Fatalf("%s: the membership ended: %+v", what, ev)
			}
			p.last = ev
			ev.Ack()
			if wanted(ev) {
				return ev
			}
		case <-deadline:
			p.f.Fatalf("%s: waited in vain, last was %+v", what, p.last)
		}
	}
}

// has is wanted by until: so many tasks run here, so many copies are kept.
func has(tasks, standbys int) func(engine.GroupEvent) bool {
	return func(ev engine.GroupEvent) bool { return len(ev.Tasks) == tasks && len(ev.Standbys) == standbys }
}

// holds reports the same lag for some tasks.
func (p *process) holds(lag int64, tasks ...engine.TaskID) {
	var held []engine.Held
	for _, id := range tasks {
		held = append(held, engine.Held{Task: id, Lag: lag, Bytes: 200 << 20})
	}
	p.c.Report(held)
}

// quiet fails when the process is told anything before the group of another
// process has come so far as done says.
func (p *process) quiet(what string, done func() bool) {
	p.f.Helper()
	p.f.await(what, func() bool {
		select {
		case ev := <-p.c.Events():
			p.f.Fatalf("%s: an event: %+v", what, ev)
		default:
		}
		return done()
	})
}

// TestWarmUp hands a task over through the protocol: the old owner runs it
// until the new one has caught up, and says so by itself.
func TestWarmUp(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(4, engine.Membership{Workers: 2, AcceptableLag: 100})
		a := f.start("a")
		all := a.until("alone", has(4, 0)).Tasks
		a.holds(0, all...)
		b := f.start("b")
		young := b.until("warming up", has(0, 2))
		if !slices.Equal(young.Members, []engine.Member{{Instance: "a", Workers: 2}, {Instance: "b", Workers: 2}}) {
			e.Errorf("members: %+v", young.Members)
		}
		if len(a.until("still all", has(4, 0)).Members) != 2 {
			e.Errorf("members: %+v", a.last)
		}
		b.holds(101, young.Standbys...)
		b.holds(100, young.Standbys...)
		kept := a.until("lets go", has(2, 0)).Tasks
		took := b.until("took over", has(2, 0)).Tasks
		if slices.ContainsFunc(took, func(id engine.TaskID) bool { return slices.Contains(kept, id) }) {
			e.Errorf("a has %v, b has %v", kept, took)
		}
		if !slices.Equal(took, young.Standbys) {
			e.Errorf("warmed up %v, took over %v", young.Standbys, took)
		}
		if n := a.tr.Incidents()[engine.IncidentRebalance]; n < 2 {
			e.Errorf("%d rebalances counted", n)
		}
	})
}

// TestStandbyTakesOver ends one of three processes, as a crash does: whoever
// has its state goes on at once, and another one becomes the standby.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(1, engine.Membership{Workers: 1, AcceptableLag: 100, Standbys: 1})
		racks := map[string]string{"a": "east", "b": "east", "c": "west"}
		start := func(name string) *process {
			return f.start(name, func(_ *Transport, _ *Settings, who *engine.Membership) { who.Rack = racks[name] })
		}
		a := start("a")
		id := a.until("alone", has(1, 0)).Tasks[0]
		b := start("b")
		b.until("standby", has(0, 1))
		b.holds(0, id)
		c := start("c") // another rack: the replica moves there, and b keeps its own until it has
		c.until("standby elsewhere", has(0, 1))
		b.until("keeps its copy meanwhile", has(0, 1))
		c.holds(1, id)
		b.until("is not needed", has(0, 0))
		b.holds(50_000, id)
		if err := a.c.Leave(e.ctx(), false); err != nil {
			e.Fatal(err)
		}
		c.until("took over", has(1, 0))
		b.until("standby again", has(0, 1))
	})
}

// TestProbing lets a warm-up catch up and its report get lost: the assignment
// that is not settled is asked for anew after a while.
func TestProbing(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(2, engine.Membership{Workers: 1, AcceptableLag: 100})
		often := func(tr *Transport, _ *Settings, _ *engine.Membership) {
			if tr != nil {
				tr.c.probing.most = 500 * time.Millisecond
			}
		}
		a := f.start("a", often)
		a.until("alone", has(2, 0))
		b := f.start("b", often)
		warm := b.until("warming up", has(0, 1))
		generation := warm.Meta.Generation
		b.until("asked anew", func(ev engine.GroupEvent) bool { return has(0, 1)(ev) && ev.Meta.Generation > generation+1 })
		b.holds(0, warm.Standbys...)
		a.until("let go", has(1, 0))
		b.until("took over", has(1, 0))
	})
}

// TestQuietWhenSettled reports without end: nothing is asked for that nobody waits for.
func TestQuietWhenSettled(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(2, engine.Membership{Workers: 1, AcceptableLag: 100})
		a := f.start("a")
		ev := a.until("alone", has(2, 0))
		state := func() int64 { return a.tr.Incidents()[engine.IncidentRebalance] }
		before, began := state(), time.Now()
		a.quiet("reports", func() bool {
			a.holds(0, ev.Tasks...)
			return time.Since(began) > time.Second
		})
		if state() != before {
			e.Errorf("%d rebalances", state()-before)
		}
	})
}
