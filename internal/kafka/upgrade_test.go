package kafka

import (
	"slices"
	"testing"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// speaking makes a process one of an older version, or of both.
func speaking(protocols ...string) func(*Transport, *Settings, *engine.Membership) {
	return func(tr *Transport, _ *Settings, _ *engine.Membership) {
		if tr != nil {
			tr.c.protocols = protocols
		}
	}
}

// TestRollingUpgrade replaces two processes of the first protocol one after the
// other. Meanwhile all speak the first one, whoever leads; every task has a home
// in each step; at the end the second one is spoken, and copies are kept.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel() // it mostly waits
	onBoth(t, func(e *env) {
		f := e.fleet(4, engine.Membership{Workers: 1, AcceptableLag: 100, Standbys: 1})
		old, both := speaking(protocolOne), speaking(protocolTwo, protocolOne)
		a := f.start("a", old)
		a.until("alone", has(4, 0))
		b := f.start("b", old)
		a.until("half", has(2, 0))
		b.until("half", has(2, 0))
		// An old leader deals in a new member.
		c := f.start("c", both)
		given := func(n int) func(engine.GroupEvent) bool {
			return func(ev engine.GroupEvent) bool {
				if len(ev.Standbys) > 0 || ev.Members != nil {
					e.Fatalf("the second protocol, with an old member: %+v", ev)
				}
				return len(ev.Tasks) == n
			}
		}
		rest := a.until("lets go", func(ev engine.GroupEvent) bool { return ev.Meta.Generation > b.last.Meta.Generation })
		_ = rest
		b.until("goes on", func(ev engine.GroupEvent) bool {
			return len(ev.Tasks) > 0 && ev.Meta.Generation >= a.last.Meta.Generation
		})
		c.until("is dealt in", given(1))
		// The old leader goes: a new member leads an old one.
		if err := a.c.Leave(e.ctx(), false); err != nil {
			e.Fatal(err)
		}
		b.until("goes on", func(ev engine.GroupEvent) bool { return len(ev.Tasks) == 2 })
		c.until("goes on", given(2))
		a = f.start("a", both)
		b.until("lets go", func(ev engine.GroupEvent) bool { return ev.Meta.Generation > c.last.Meta.Generation })
		c.until("lets go", func(ev engine.GroupEvent) bool { return ev.Meta.Generation >= b.last.Meta.Generation })
		a.until("is dealt in", given(1))
		// The last old one goes: the second protocol.
		if err := b.c.Leave(e.ctx(), false); err != nil {
			e.Fatal(err)
		}
		two := func(ev engine.GroupEvent) bool {
			return len(ev.Tasks) == 2 && len(ev.Standbys) == 2 && len(ev.Members) == 2
		}
		a.until("upgraded", two)
		c.until("upgraded", two)
		if slices.ContainsFunc(a.last.Tasks, func(id engine.TaskID) bool { return slices.Contains(c.last.Tasks, id) }) {
			e.Errorf("a has %v, c has %v", a.last.Tasks, c.last.Tasks)
		}
	})
}

// TestFirstProtocol holds the data of the first protocol to what its members
// sent and understood: no other bytes.
func TestFirstProtocol(t *testing.T) {
	tasks := tasksOf("in", 2)
	self := memberData{
		Work: work{Tasks: tasksHash(tasks)}, Name: "one", Host: "host-1", Rack: "r", Self: engine.Member{Instance: "x", Workers: 3},
		Standbys: 1, Owned: []engine.TaskID{tasks[1].ID}, Standby: []engine.TaskID{tasks[0].ID},
	}
	want := `{"v":1,"tasks":"` + hashText(self.Work.Tasks) + `","owned":[{"Sub":"main","Partition":1}],"name":"one","host":"host-1"}`
	if got := string(encodeMember(protocolOne, self)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err := readMember(protocolOne, []byte(want))
	if err != nil || got.Work != self.Work || got.Name != "one" || !slices.Equal(got.Owned, self.Owned) {
		t.Errorf("%+v, %v", got, err)
	}
	dealt := distribute(protocolOne, self.Work, tasks, map[string]sarama.ConsumerGroupMemberMetadata{
		"m1": {UserData: []byte(want)},
		"m2": {UserData: []byte(`{"v":1,"tasks":"00000000000000ff","name":"two","host":"host-2"}`)},
		"m3": {UserData: []byte(`{"v":7}`)},
	}).assignments()
	for id, want := range map[string]string{
		"m1": `{"v":1,"tasks":"` + hashText(self.Work.Tasks) + `","owned":[{"Sub":"main","Partition":0},{"Sub":"main","Partition":1}]}`,
		"m2": `{"v":1,"tasks":"` + hashText(self.Work.Tasks) + `","refused":"it runs another version of the pipeline, or sees other partitions, than the leader of the group"}`,
		"m3": `{"v":1,"tasks":"` + hashText(self.Work.Tasks) + `","refused":"the leader of the group cannot read membership data: version 7, tasks \"\""}`,
	} {
		if got := string(dealt[id].UserData); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", id, got, want)
		}
	}
	if got := dealt["m1"].Topics["in"]; !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("partitions for the tools: %v", got)
	}
}
