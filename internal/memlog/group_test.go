package memlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

func tasks(n int32) []engine.TaskInfo {
	var out []engine.TaskInfo
	for i := range n {
		out = append(out, engine.TaskInfo{ID: engine.TaskID{Sub: "s", Partition: i}})
	}
	return out
}

func join(t *testing.T, tr *Transport) engine.Coordinator {
	t.Helper()
	c, err := tr.Join(context.Background(), engine.Membership{Tasks: tasks(2)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// next takes the event that must be there already.
func next(t *testing.T, c engine.Coordinator) engine.GroupEvent {
	t.Helper()
	select {
	case ev, ok := <-c.Events():
		if !ok {
			t.Fatal("events are closed")
		}
		return ev
	default:
		t.Fatal("no event")
	}
	panic("not reached")
}

func none(t *testing.T, c engine.Coordinator) {
	t.Helper()
	select {
	case ev := <-c.Events():
		t.Fatalf("event %+v, want none", ev)
	default:
	}
}

func parts(ev engine.GroupEvent) string {
	s := ""
	for _, id := range ev.Tasks {
		s += fmt.Sprint(id.Partition)
	}
	return s
}

func TestSecondMemberTakesTasksOnlyAfterAck(t *testing.T) {
	e := newEnv(t)
	a := join(t, e.tr)
	ev := next(t, a)
	ev.Ack()
	if parts(ev) != "01" || ev.Meta.Generation != 1 {
		t.Fatalf("first member got %+v", ev)
	}
	b := join(t, e.log.Transport(TransportConfig{Name: "p2", Group: "g"}))
	taken := next(t, a)
	if parts(taken) != "1" || len(taken.Members) != 2 {
		t.Fatalf("first member got %+v", taken)
	}
	if ev = next(t, b); parts(ev) != "" {
		t.Fatalf("second member got %q before the first let go of it", parts(ev))
	}
	none(t, b)
	taken.Ack()
	taken.Ack() // a second one must not count
	if ev = next(t, b); parts(ev) != "0" || ev.Meta.Generation != 3 {
		t.Errorf("second member got %+v", ev)
	}
	if ev = next(t, a); parts(ev) != "1" {
		t.Errorf("first member got %+v", ev)
	}
	if err := b.Leave(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if ev = next(t, a); parts(ev) != "01" {
		t.Errorf("after leaving, first member got %+v", ev)
	}
	if _, open := <-b.Events(); open {
		t.Error("events of a member that left are open")
	}
}

func TestThirdMemberDuringRebalance(t *testing.T) {
	e := newEnv(t)
	a := join(t, e.tr)
	next(t, a).Ack()
	b := join(t, e.log.Transport(TransportConfig{Name: "p2", Group: "g"}))
	taken := next(t, a)
	next(t, b)
	c := join(t, e.log.Transport(TransportConfig{Name: "p3", Group: "g"}))
	none(t, b)
	none(t, c)
	taken.Ack()
	if got := parts(next(t, b)); got != "0" {
		t.Errorf("b got %q", got)
	}
	if got := parts(next(t, c)); got != "" {
		t.Errorf("c got %q", got)
	}
}

func TestCrashedMemberKeepsItsTasksUntilItsSessionEnds(t *testing.T) {
	e := newEnvWith(t, Config{SessionTimeout: 10 * time.Second})
	a := join(t, e.tr)
	next(t, a).Ack()
	e.tr.Crash()
	b := join(t, e.log.Transport(TransportConfig{Name: "p2", Group: "g"}))
	if got := parts(next(t, b)); got != "" {
		t.Errorf("b got %q beside the dead one", got)
	}
	none(t, b)
	e.clk.Advance(10 * time.Second)
	ev := next(t, b)
	if parts(ev) != "01" || len(ev.Members) != 1 {
		t.Errorf("b got %+v after the session", ev)
	}
}

// TestWarmUpBeforeMove: a task with state stays where it runs until the one it
// moves to has caught up, and goes there then.
func TestWarmUpBeforeMove(t *testing.T) {
	e := newEnv(t)
	who := engine.Membership{Tasks: tasks(2), Instance: "a", AcceptableLag: 10}
	for i := range who.Tasks {
		who.Tasks[i].State = true
	}
	a, err := e.tr.Join(context.Background(), who)
	if err != nil {
		t.Fatal(err)
	}
	next(t, a).Ack()
	a.Report([]engine.Held{{Task: who.Tasks[0].ID, Bytes: 100}, {Task: who.Tasks[1].ID, Bytes: 100}})
	none(t, a)
	who.Instance = "b"
	b, err := e.log.Transport(TransportConfig{Name: "p2", Group: "g"}).Join(context.Background(), who)
	if err != nil {
		t.Fatal(err)
	}
	if ev := next(t, a); parts(ev) != "01" {
		t.Fatalf("a keeps %q while b warms up", parts(ev))
	}
	ev := next(t, b)
	if parts(ev) != "" || len(ev.Standbys) != 1 {
		t.Fatalf("b got %+v, want one warm-up", ev)
	}
	warm := ev.Standbys[0]
	for _, lag := range []int64{1000, 11} {
		b.Report([]engine.Held{{Task: warm, Lag: lag, Bytes: 10}})
		none(t, a)
	}
	b.Report([]engine.Held{{Task: warm, Lag: 10, Bytes: 99}})
	if ev = next(t, a); len(ev.Tasks) != 1 || ev.Tasks[0] == warm {
		t.Fatalf("a got %+v, want to let go of %v", ev, warm)
	}
	none(t, b.(*member).without(t))
	ev.Ack()
	if ev = next(t, b); len(ev.Tasks) != 1 || ev.Tasks[0] != warm {
		t.Errorf("b got %+v, want %v", ev, warm)
	}
	generation := e.log.Generation("g")
	b.Report([]engine.Held{{Task: warm, Bytes: 99}})
	if e.log.Generation("g") != generation {
		t.Error("a report that changes nothing made a generation")
	}
}

// without takes the event that says to b that it waits still.
func (m *member) without(t *testing.T) engine.Coordinator {
	t.Helper()
	if ev := next(t, m); len(ev.Tasks) != 0 {
		t.Fatalf("got %+v before it was let go of", ev)
	}
	return m
}

// TestStandbyTakesOver: with standbys wanted, every task has a copy with the
// other member, which gets the task when the first one is gone.
func TestStandbyTakesOver(t *testing.T) {
	e := newEnvWith(t, Config{SessionTimeout: 10 * time.Second})
	who := engine.Membership{Tasks: tasks(4), AcceptableLag: 10, Standbys: 1}
	for i := range who.Tasks {
		who.Tasks[i].State = true
	}
	second := e.log.Transport(TransportConfig{Name: "p2", Group: "g"})
	var joined []engine.Coordinator
	for i, tr := range []*Transport{e.tr, second} {
		who.Instance = fmt.Sprint(i)
		c, err := tr.Join(context.Background(), who)
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, c)
	}
	// Both do as they are told, and catch up at once, until nothing comes any more.
	last := make([]engine.GroupEvent, 2)
	for round := 0; ; round++ {
		if round == 50 {
			t.Fatal("the group does not come to rest")
		}
		quiet := true
		for i, c := range joined {
			for more := true; more; {
				select {
				case ev := <-c.Events():
					quiet, last[i] = false, ev
					ev.Ack()
				default:
					more = false
				}
			}
			var held []engine.Held
			for _, id := range append(slices.Clone(last[i].Tasks), last[i].Standbys...) {
				held = append(held, engine.Held{Task: id, Bytes: 50})
			}
			c.Report(held)
		}
		if quiet {
			break
		}
	}
	if len(last[0].Tasks) != 2 || len(last[1].Tasks) != 2 || len(last[0].Standbys) != 2 || len(last[1].Standbys) != 2 {
		t.Fatalf("members have %+v and %+v, want two tasks and two standbys each", last[0], last[1])
	}
	e.tr.Crash()
	e.clk.Advance(10 * time.Second)
	if ev := next(t, joined[1]); len(ev.Tasks) != 4 || len(ev.Standbys) != 0 {
		t.Errorf("the one that is left got %+v", ev)
	}
}

func TestCrashedMemberGivesWayAtOnceWithoutSessions(t *testing.T) {
	e := newEnv(t)
	next(t, join(t, e.tr)).Ack()
	e.tr.Crash()
	b := join(t, e.log.Transport(TransportConfig{Name: "p2", Group: "g"}))
	if got := parts(next(t, b)); got != "01" {
		t.Errorf("b got %q", got)
	}
}

func TestStaticMemberComesBackToItsTasks(t *testing.T) {
	e := newEnvWith(t, Config{SessionTimeout: 10 * time.Second})
	first := e.log.Transport(TransportConfig{Name: "p1", Group: "g", Instance: "i1"})
	a := join(t, first)
	ev := next(t, a)
	ev.Ack()
	first.Crash()
	b := join(t, e.log.Transport(TransportConfig{Name: "p1", Group: "g", Instance: "i1"}))
	back := next(t, b)
	if parts(back) != "01" || back.Meta.Generation != ev.Meta.Generation {
		t.Errorf("got %+v, want the same tasks in the same generation", back)
	}
	e.clk.Advance(time.Minute)
	none(t, b)
	if err := e.log.group("g").admits(ev.Meta); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("former self: %v", err)
	}
}

func staleGeneration(t *testing.T, e *env) {
	a := join(t, e.tr)
	old := next(t, a)
	old.Ack()
	join(t, e.log.Transport(TransportConfig{Name: "p2", Group: "g"}))
	next(t, a).Ack()
	next(t, a).Ack()
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	// A rebalance has overtaken it; it is a member still.
	if res := <-start(p, engine.Commit{Group: old.Meta, Offsets: map[record.TopicPartition]int64{in1: 1}}); res.Err != nil {
		t.Errorf("got %v", res.Err)
	}
	e.expectValues("out", "0:1 ")
}

func kickedMember(t *testing.T, e *env) {
	a := join(t, e.tr)
	ev := next(t, a)
	ev.Ack()
	e.log.Kick(e.tr)
	lost := next(t, a)
	if !lost.Lost {
		t.Errorf("got %+v", lost)
	}
	p := e.producer("a")
	if res := <-start(p, engine.Commit{Group: ev.Meta, Offsets: map[record.TopicPartition]int64{in1: 1}}); !errors.Is(res.Err, engine.ErrExpelled) {
		t.Errorf("got %v", res.Err)
	}
	none(t, a)
	lost.Ack()
	lost.Ack() // a second one must not count
	if back := next(t, a); parts(back) != "01" || back.Meta.Member == ev.Meta.Member {
		t.Errorf("joined anew, it got %+v", back)
	}
	none(t, a)
}

func commitWhileRevoking(t *testing.T, e *env) {
	a := join(t, e.tr)
	old := next(t, a)
	old.Ack()
	join(t, e.log.Transport(TransportConfig{Name: "p2", Group: "g"}))
	p := e.producer("a")
	if res := <-start(p, engine.Commit{Group: old.Meta, Offsets: map[record.TopicPartition]int64{in1: 4}}); res.Err != nil {
		t.Errorf("got %v", res.Err)
	}
	if got := e.log.Committed("g")[in1]; got != 4 {
		t.Errorf("offset %d", got)
	}
}

func offsetsSurvive(t *testing.T, e *env) {
	a := join(t, e.tr)
	meta := next(t, a).Meta
	p := e.producer("a")
	if res := <-start(p, engine.Commit{Group: meta, Offsets: map[record.TopicPartition]int64{in1: 4}}); res.Err != nil {
		t.Fatal(res.Err)
	}
	if err := e.tr.Close(); err != nil {
		t.Fatal(err)
	}
	again := e.log.Transport(TransportConfig{Group: "g"})
	got, err := again.Admin().Committed(context.Background(), []record.TopicPartition{in0, in1})
	if err != nil || len(got) != 1 || got[in1] != 4 {
		t.Errorf("got %v, %v", got, err)
	}
}
