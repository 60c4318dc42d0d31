package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"streamctl/internal/engine"
)

// drawGroup makes members that own tasks of which some may be gone or doubled.
func drawGroup(t *rapid.T) ([]candidate, []engine.TaskInfo) {
	var tasks []engine.TaskInfo
	for sub := range rapid.IntRange(1, 3).Draw(t, "subs") {
		for p := range rapid.Int32Range(1, 9).Draw(t, "partitions") {
			tasks = append(tasks, engine.TaskInfo{ID: engine.TaskID{Sub: fmt.Sprint("s", sub), Partition: p}, State: sub%2 == 0})
		}
	}
	var members []candidate
	for i := range rapid.IntRange(1, 6).Draw(t, "members") {
		m := candidate{name: fmt.Sprint("m", i), id: fmt.Sprint("id", rapid.IntRange(0, 1000).Draw(t, "id"), "-", i)}
		for range rapid.IntRange(0, 8).Draw(t, "owned") {
			m.owned = append(m.owned, tasks[rapid.IntRange(0, len(tasks)-1).Draw(t, "task")].ID)
		}
		if rapid.Bool().Draw(t, "stale") {
			m.owned = append(m.owned, engine.TaskID{Sub: "gone", Partition: 1})
		}
		members = append(members, m)
	}
	return members, tasks
}

// TestAssign checks what assign promises for any group.
func TestAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, tasks := drawGroup(t)
		got := assign(members, tasks)
		owners := make(map[engine.TaskID]int)
		least, most := len(tasks), 0
		for _, m := range members {
			least, most = min(least, len(got[m.id])), max(most, len(got[m.id]))
			for _, id := range got[m.id] {
				owners[id]++
			}
		}
		if most-least > 1 {
			t.Fatalf("not balanced: %v", got)
		}
		if len(owners) != len(tasks) {
			t.Fatalf("%d of %d tasks given: %v", len(owners), len(tasks), got)
		}
		for id, n := range owners {
			if n != 1 {
				t.Fatalf("task %v given %d times", id, n)
			}
		}
		mixed, others := slices.Clone(members), slices.Clone(tasks)
		slices.Reverse(mixed)
		slices.Reverse(others)
		if again := assign(mixed, others); !reflect.DeepEqual(got, again) {
			t.Fatalf("the order of the arguments matters: %v, %v", got, again)
		}
		// What was assigned stays, as long as the group stays.
		for i := range members {
			members[i].owned = got[members[i].id]
		}
		if again := assign(members, tasks); !reflect.DeepEqual(got, again) {
			t.Fatalf("not sticky: %v, %v", got, again)
		}
		if held := withhold(got, members); !reflect.DeepEqual(held, got) {
			t.Fatalf("withheld from its owner: %v, %v", held, got)
		}
	})
}

// TestAssignMovesLittle adds and removes a member of a balanced group: no more
// moves than needed.
func TestAssignMovesLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "tasks")
		var tasks []engine.TaskInfo
		for p := range n {
			tasks = append(tasks, engine.TaskInfo{ID: engine.TaskID{Sub: "s", Partition: int32(p)}})
		}
		k := rapid.IntRange(1, 6).Draw(t, "members")
		var members []candidate
		for i := range k {
			members = append(members, candidate{name: fmt.Sprint(i), id: fmt.Sprint(i)})
		}
		first := assign(members, tasks)
		for i := range members {
			members[i].owned = first[members[i].id]
		}
		grown := assign(append(slices.Clone(members), candidate{name: "new", id: "new"}), tasks)
		moved := 0
		for _, m := range members {
			for _, id := range m.owned {
				if !slices.Contains(grown[m.id], id) {
					moved++
				}
			}
		}
		if want := len(grown["new"]); moved != want {
			t.Fatalf("%d tasks moved for a new member that has %d", moved, want)
		}
		// In the first round the new member gets nothing that others still hold.
		if held := withhold(grown, members); len(held["new"]) != 0 {
			t.Fatalf("given while others own it: %v", held["new"])
		}
	})
}

// TestAssignPrefersState gives up tasks without state first.
func TestAssignPrefersState(t *testing.T) {
	var tasks []engine.TaskInfo
	var all []engine.TaskID
	for p := range int32(4) {
		for _, sub := range []string{"a-plain", "b-state"} {
			id := engine.TaskID{Sub: sub, Partition: p}
			tasks = append(tasks, engine.TaskInfo{ID: id, State: sub == "b-state"})
			all = append(all, id)
		}
	}
	got := assign([]candidate{{name: "old", id: "old", owned: all}, {name: "new", id: "new"}}, tasks)
	for _, id := range got["old"] {
		if id.Sub != "b-state" {
			t.Errorf("the owner of all kept %v", got["old"])
		}
	}
	if len(assign(nil, tasks)) != 0 {
		t.Error("tasks for nobody")
	}
}
