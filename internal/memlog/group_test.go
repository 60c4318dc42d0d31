package memlog

import (
	"context"
	"errors"
	"fmt"
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
	if parts(taken) != "0" {
		t.Fatalf("first member keeps %q", parts(taken))
	}
	none(t, b)
	taken.Ack()
	taken.Ack() // a second one must not count
	if ev = next(t, b); parts(ev) != "1" || ev.Meta.Generation != 3 {
		t.Errorf("second member got %+v", ev)
	}
	if ev = next(t, a); parts(ev) != "0" {
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
	c := join(t, e.log.Transport(TransportConfig{Name: "p3", Group: "g"}))
	none(t, b)
	taken.Ack()
	if got := parts(next(t, b)); got != "1" {
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
	if got := parts(next(t, b)); got != "1" {
		t.Errorf("b got %q beside the dead one", got)
	}
	e.clk.Advance(10 * time.Second)
	if got := parts(next(t, b)); got != "01" {
		t.Errorf("b got %q after the session", got)
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
	res := <-start(p, engine.Commit{Group: old.Meta, Offsets: map[record.TopicPartition]int64{in1: 1}})
	if !errors.Is(res.Err, engine.ErrFenced) {
		t.Errorf("got %v", res.Err)
	}
	e.expectValues("out", "")
}

func kickedMember(t *testing.T, e *env) {
	a := join(t, e.tr)
	ev := next(t, a)
	ev.Ack()
	e.log.Kick(e.tr)
	if lost := next(t, a); !lost.Lost {
		t.Errorf("got %+v", lost)
	}
	p := e.producer("a")
	if res := <-start(p, engine.Commit{Group: ev.Meta, Offsets: map[record.TopicPartition]int64{in1: 1}}); !errors.Is(res.Err, engine.ErrFenced) {
		t.Errorf("got %v", res.Err)
	}
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
