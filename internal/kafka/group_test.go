package kafka

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// tasksOf makes one task per partition of a topic.
func tasksOf(topic string, partitions int32) []engine.TaskInfo {
	var out []engine.TaskInfo
	for p := range partitions {
		out = append(out, engine.TaskInfo{ID: engine.TaskID{Sub: "main", Partition: p}, Inputs: []record.TopicPartition{tp(topic, p)}})
	}
	return out
}

// next waits for the next event of a membership.
func (e *env) next(c engine.Coordinator) engine.GroupEvent {
	e.Helper()
	select {
	case ev, ok := <-c.Events():
		if !ok {
			e.Fatal("the membership ended")
		}
		if ev.Err != nil {
			e.Fatalf("membership: %v", ev.Err)
		}
		return ev
	case <-time.After(30 * time.Second):
		e.Fatal("no event of the group")
		panic("not reached")
	}
}

func (e *env) join(t *Transport, tasks []engine.TaskInfo) engine.Coordinator {
	e.Helper()
	c, err := t.Join(e.ctx(), engine.Membership{Tasks: tasks})
	if err != nil {
		e.Fatal(err)
	}
	return c
}

func partitionsOf(tasks []engine.TaskID) []int32 {
	out := []int32{}
	for _, t := range tasks {
		out = append(out, t.Partition)
	}
	slices.Sort(out)
	return out
}

// TestJoinCommitLeave is the life of a single process, with and without a
// name, exactly once and at least once.
func TestJoinCommitLeave(t *testing.T) {
	for _, instance := range []string{"", "one"} {
		for _, exactly := range []bool{true, false} {
			t.Run(fmt.Sprintf("instance=%q,exactly=%v", instance, exactly), func(t *testing.T) {
				onBoth(t, func(e *env) {
					tr := e.open(func(s *Settings) { s.Instance = instance })
					topic := e.topic(tr, 3, nil)
					tasks := tasksOf(topic, 3)
					tps := []record.TopicPartition{tp(topic, 0), tp(topic, 1), tp(topic, 2)}
					member := e.join(tr, tasks)
					ev := e.next(member)
					if got := partitionsOf(ev.Tasks); !slices.Equal(got, []int32{0, 1, 2}) || ev.Lost {
						e.Fatalf("first event: %+v", ev)
					}
					ev.Ack()
					id := ""
					if exactly {
						id = e.name("id")
					}
					p := e.producer(tr, id)
					p.Send(tp(topic, 0), rec("k", "v"))
					e.mustCommit(p, engine.Commit{Group: ev.Meta, Offsets: map[record.TopicPartition]int64{tps[0]: 7, tps[1]: 0}})
					got, err := tr.Admin().Committed(e.ctx(), tps)
					if err != nil || len(got) != 2 || got[tps[0]] != 7 || got[tps[1]] != 0 {
						e.Fatalf("committed: %v, %v", got, err)
					}
					// Offsets without records commit as well.
					e.mustCommit(p, engine.Commit{Group: ev.Meta, Offsets: map[record.TopicPartition]int64{tps[0]: 9, tps[1]: 0}})
					if got, err = tr.Admin().Committed(e.ctx(), tps); err != nil || got[tps[0]] != 9 {
						e.Fatalf("committed: %v, %v", got, err)
					}
					// From outside nothing is changed while the member is there.
					state, err := tr.Control().Group(e.ctx())
					if err != nil || !state.Active() || state.Members[0].Instance != instance {
						e.Errorf("group: %+v, %v", state, err)
					}
					other := map[record.TopicPartition]int64{tps[0]: 1}
					if err := tr.Control().SetGroupOffsets(e.ctx(), other); !errors.Is(err, ErrGroupActive) {
						e.Errorf("set offsets of an active group: %v", err)
					}
					if err := member.Leave(e.ctx(), false); err != nil {
						e.Fatal(err)
					}
					if _, open := <-member.Events(); open {
						e.Error("an event after Leave")
					}
					if state, err = tr.Control().Group(e.ctx()); err != nil || state.Active() || state.State != "Empty" {
						e.Errorf("group after Leave: %+v, %v", state, err)
					}
					if err := tr.Control().SetGroupOffsets(e.ctx(), other); err != nil {
						e.Errorf("set offsets of an empty group: %v", err)
					}
					all, err := tr.Control().GroupOffsets(e.ctx())
					if err != nil || len(all) != 2 || all[tps[0]] != 1 {
						e.Errorf("all offsets: %v, %v", all, err)
					}
					if err := tr.Control().DeleteGroup(e.ctx()); err != nil {
						e.Errorf("delete group: %v", err)
					}
					if all, err = tr.Control().GroupOffsets(e.ctx()); err != nil || len(all) != 0 {
						e.Errorf("offsets after deletion: %v, %v", all, err)
					}
				})
			})
		}
	}
}

// TestStaticRejoin abandons a static member, as a kill does, and joins under
// its name: at once, with the same tasks; the former self is fenced.
func TestStaticRejoin(t *testing.T) {
	onBoth(t, func(e *env) {
		static := func(s *Settings) { s.Instance = "one"; s.SessionTimeout = 45 * time.Second }
		var group string
		first := e.open(static, func(s *Settings) { group = s.Group })
		topic := e.topic(first, 2, nil)
		old := e.join(first, tasksOf(topic, 2))
		before := e.next(old)
		second := e.open(static, func(s *Settings) { s.Group = group })
		began := time.Now()
		young := e.join(second, tasksOf(topic, 2))
		after := e.next(young)
		if took := time.Since(began); took > 5*time.Second {
			e.Errorf("rejoining took %v", took)
		}
		if got := partitionsOf(after.Tasks); !slices.Equal(got, []int32{0, 1}) {
			e.Fatalf("tasks after rejoin: %v", got)
		}
		if before.Meta.Member == after.Meta.Member {
			e.Error("the member id did not change")
		}
		// The former self is told, and its commits are refused.
		p := e.producer(first, e.name("id"))
		p.Send(tp(topic, 0), rec("k", "zombie"))
		r := e.commit(p, engine.Commit{Group: before.Meta, Offsets: map[record.TopicPartition]int64{tp(topic, 0): 1}})
		if !errors.Is(r.Err, engine.ErrFenced) {
			e.Errorf("commit of the former self: %v, want fenced", r.Err)
		}
		var events []engine.GroupEvent
		e.await("fencing of the former self", func() bool {
			select {
			case ev := <-old.Events():
				events = append(events, ev)
			default:
			}
			return len(events) == 2
		})
		if !events[0].Lost || !errors.Is(events[1].Err, errFencedInstance) {
			e.Errorf("events of the former self: %+v", events)
		}
		if got := e.readAll(first, tp(topic, 0)); len(got) != 0 {
			e.Errorf("the zombie's records are visible: %q", values(got))
		}
		if err := young.Leave(e.ctx(), false); err != nil {
			e.Error(err)
		}
		_ = old.Leave(e.ctx(), false) // it is not a member any more
	})
}

// TestOtherTasks comes back under a static name with other tasks: the
// assignment of the former life does not count.
func TestOtherTasks(t *testing.T) {
	onBoth(t, func(e *env) {
		static := func(s *Settings) { s.Instance = "one" }
		var group string
		first := e.open(static, func(s *Settings) { group = s.Group })
		topic := e.topic(first, 3, nil)
		e.next(e.join(first, tasksOf(topic, 2)))
		second := e.open(static, func(s *Settings) { s.Group = group })
		member := e.join(second, tasksOf(topic, 3))
		if got := partitionsOf(e.next(member).Tasks); !slices.Equal(got, []int32{0, 1, 2}) {
			e.Errorf("tasks: %v", got)
		}
		if err := member.Leave(e.ctx(), false); err != nil {
			e.Error(err)
		}
	})
}

// TestRebalance lets a second member join and leave. Tasks move only after
// they are given up; commits go on meanwhile under the newer generation.
func TestRebalance(t *testing.T) {
	onBoth(t, func(e *env) {
		var group string
		first := e.open(func(s *Settings) { group = s.Group; s.SessionTimeout = 6 * time.Second; s.Instance = "a" })
		topic := e.topic(first, 4, nil)
		tasks := tasksOf(topic, 4)
		a := e.join(first, tasks)
		ev := e.next(a)
		if len(ev.Tasks) != 4 {
			e.Fatalf("alone: %v", ev.Tasks)
		}
		stale := ev.Meta
		second := e.open(func(s *Settings) { s.Group = group; s.SessionTimeout = 6 * time.Second; s.Instance = "b" })
		b := e.join(second, tasks)
		ev = e.next(a)
		if len(ev.Tasks) != 2 {
			e.Fatalf("with a second member: %v", ev.Tasks)
		}
		if got := e.next(b); len(got.Tasks) != 0 {
			e.Fatalf("the second member got %v before they were given up", got.Tasks)
		}
		p := e.producer(first, e.name("id"))
		e.mustCommit(p, engine.Commit{Group: stale, Offsets: map[record.TopicPartition]int64{tp(topic, 0): 3}})
		kept := partitionsOf(ev.Tasks)
		ev.Ack()
		moved := e.next(b)
		if got := partitionsOf(moved.Tasks); len(got) != 2 || slices.Contains(kept, got[0]) || slices.Contains(kept, got[1]) {
			e.Fatalf("first keeps %v, second has %v", kept, got)
		}
		if got := partitionsOf(e.next(a).Tasks); !slices.Equal(got, kept) {
			e.Errorf("first now has %v, had %v", got, kept)
		}
		if err := b.Leave(e.ctx(), false); err != nil {
			e.Fatal(err)
		}
		if got := e.next(a); len(got.Tasks) != 4 {
			e.Errorf("alone again: %v", got.Tasks)
		}
		if err := a.Leave(e.ctx(), false); err != nil {
			e.Fatal(err)
		}
	})
}

// TestZombieGeneration commits as a member that the group has never had.
func TestZombieGeneration(t *testing.T) {
	onBoth(t, func(e *env) {
		for _, exactly := range []bool{true, false} {
			tr := e.open()
			topic := e.topic(tr, 1, nil)
			member := e.join(tr, tasksOf(topic, 1))
			meta := e.next(member).Meta
			zombie := meta
			zombie.Member = "somebody-else"
			id := ""
			if exactly {
				id = e.name("id")
			}
			p := e.producer(tr, id)
			offsets := map[record.TopicPartition]int64{tp(topic, 0): 5}
			if r := e.commit(p, engine.Commit{Group: zombie, Offsets: offsets}); !errors.Is(r.Err, engine.ErrFenced) {
				e.Errorf("exactly=%v: commit as a stranger: %v, want fenced", exactly, r.Err)
			}
			p.Discard()
			if got, err := tr.Admin().Committed(e.ctx(), []record.TopicPartition{tp(topic, 0)}); err != nil || len(got) != 0 {
				e.Errorf("exactly=%v: committed %v, %v", exactly, got, err)
			}
			e.mustCommit(p, engine.Commit{Group: meta, Offsets: offsets})
			if err := member.Leave(e.ctx(), false); err != nil {
				e.Error(err)
			}
		}
	})
}
