package assign

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

func taskList(sub string, n int32, state bool) []engine.TaskInfo {
	var out []engine.TaskInfo
	for p := range n {
		out = append(out, engine.TaskInfo{
			ID: engine.TaskID{Sub: sub, Partition: p}, State: state, Inputs: []record.TopicPartition{{Topic: sub, Partition: p}},
		})
	}
	return out
}

func ids(tasks []engine.TaskInfo) []engine.TaskID {
	var out []engine.TaskID
	for _, t := range tasks {
		out = append(out, t.ID)
	}
	return out
}

func held(lag, bytes int64, tasks ...engine.TaskID) []engine.Held {
	var out []engine.Held
	for _, t := range tasks {
		out = append(out, engine.Held{Task: t, Lag: lag, Bytes: bytes})
	}
	return out
}

// TestHandOver follows one task with state from its owner to a new member.
func TestHandOver(t *testing.T) {
	tasks := taskList("s", 2, true)
	all := ids(tasks)
	set := Settings{AcceptableLag: 100}
	old := Member{Name: "old", ID: "old", Active: all, Held: held(0, 1<<30, all...)}
	young := Member{Name: "young", ID: "young"}

	r := Assign(tasks, []Member{old, young}, set)
	if !slices.Equal(r.Active["old"], all) || len(r.Standby["young"]) != 1 || r.Settled || !slices.Equal(r.Awaited["young"], r.Standby["young"]) {
		t.Fatalf("a new member: %+v", r)
	}
	moving := r.Standby["young"][0]
	young.Standby, young.Held = r.Standby["young"], held(101, 1<<29, moving)
	if r = Assign(tasks, []Member{old, young}, set); !slices.Equal(r.Active["old"], all) || r.Settled {
		t.Fatalf("not caught up yet: %+v", r)
	}
	young.Held = held(100, 1<<30, moving)
	r = Assign(tasks, []Member{old, young}, set)
	if len(r.Active["old"]) != 1 || len(r.Active["young"]) != 0 || !slices.Equal(r.Standby["young"], []engine.TaskID{moving}) || r.Settled {
		t.Fatalf("caught up: %+v", r)
	}
	old.Active, old.Standby = r.Active["old"], r.Standby["old"]
	r = Assign(tasks, []Member{old, young}, set)
	if len(r.Active["old"]) != 1 || !slices.Equal(r.Active["young"], []engine.TaskID{moving}) || len(r.Standby["young"]) != 0 || !r.Settled {
		t.Fatalf("let go: %+v", r)
	}
}

// TestExample is the example of docs/assignment.md.
func TestExample(t *testing.T) {
	tasks := taskList("s", 4, true)
	all := ids(tasks)
	h := held(0, 1<<30, all...)
	members := []Member{
		{Name: "A", ID: "A", Active: all[:2], Standby: all[2:], Held: h},
		{Name: "B", ID: "B", Active: all[2:], Standby: all[:2], Held: h},
		{Name: "C", ID: "C"},
	}
	set := Settings{Standbys: 1, AcceptableLag: 100}
	for _, want := range []string{
		"A runs 0 1 keeps 2 3, B runs 2 3 keeps 0 1, C runs keeps 0 2, settled false",
		"A runs 1 keeps 3, B runs 2 3 keeps 0 1, C runs keeps 0 2, settled false",
		"A runs 1 keeps 3, B runs 2 3 keeps 0 1, C runs 0 keeps 2, settled true",
		"A runs 1 3 keeps 0 2, C runs 0 2 keeps 1 3, settled true", // B is killed
	} {
		if !strings.Contains(want, "B runs") {
			members = slices.DeleteFunc(members, func(m Member) bool { return m.ID == "B" })
		}
		r := Assign(tasks, members, set)
		got := ""
		for i := range members {
			m := &members[i]
			m.Active, m.Standby = r.Active[m.ID], r.Standby[m.ID]
			m.Held = held(0, 1<<30, slices.Concat(m.Active, m.Standby)...)
			got += m.ID + " runs" + partitions(m.Active) + " keeps" + partitions(m.Standby) + ", "
		}
		if got += fmt.Sprint("settled ", r.Settled); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func partitions(tasks []engine.TaskID) string {
	out := ""
	for _, id := range tasks {
		out += fmt.Sprint(" ", id.Partition)
	}
	return out
}

// TestCrashWithStandby lets the one take over that has caught up.
func TestCrashWithStandby(t *testing.T) {
	tasks := taskList("s", 1, true)
	id := tasks[0].ID
	r := Assign(tasks, []Member{
		{Name: "a", ID: "a"},
		{Name: "b", ID: "b", Standby: []engine.TaskID{id}, Held: held(7, 1<<30, id)},
		{Name: "c", ID: "c", Held: held(5000, 1<<31, id)},
	}, Settings{Standbys: 1, AcceptableLag: 100})
	if !slices.Equal(r.Active["b"], []engine.TaskID{id}) || !slices.Equal(r.Standby["c"], []engine.TaskID{id}) || len(r.Standby["a"]) != 0 {
		t.Fatalf("%+v", r)
	}
}

// TestCrashWithoutStandby gives a task to who has least to read, else most on disk.
func TestCrashWithoutStandby(t *testing.T) {
	tasks := taskList("s", 1, true)
	id := tasks[0].ID
	for _, c := range []struct {
		a, b []engine.Held
		want string
	}{
		{held(5000, 1, id), held(4999, 1, id), "b"},
		{held(-1, 1<<30, id), held(4999, 1, id), "b"},
		{held(-1, 1<<30, id), held(-1, 1<<20, id), "a"},
		{nil, held(1<<40, 0, id), "b"},
	} {
		r := Assign(tasks, []Member{{Name: "a", ID: "a", Held: c.a}, {Name: "b", ID: "b", Held: c.b}}, Settings{AcceptableLag: 100})
		if !slices.Equal(r.Active[c.want], []engine.TaskID{id}) {
			t.Errorf("a %v, b %v: %+v", c.a, c.b, r)
		}
	}
}

// TestRacks puts copies elsewhere, and mends what stands badly without losing a copy meanwhile.
func TestRacks(t *testing.T) {
	tasks := taskList("s", 1, true)
	id := tasks[0].ID
	members := []Member{
		{Name: "a", ID: "a", Rack: "1", Active: ids(tasks), Held: held(0, 1<<30, id)},
		{Name: "b", ID: "b", Rack: "1", Standby: ids(tasks), Held: held(0, 1<<30, id)},
		{Name: "c", ID: "c", Rack: "2"},
	}
	set := Settings{Standbys: 1, AcceptableLag: 100}
	r := Assign(tasks, members, set)
	if len(r.Standby["b"]) != 1 || len(r.Standby["c"]) != 1 || r.Settled {
		t.Fatalf("%+v", r)
	}
	members[2].Standby, members[2].Held = ids(tasks), held(3, 1<<30, id)
	r = Assign(tasks, members, set)
	if len(r.Standby["b"]) != 0 || len(r.Standby["c"]) != 1 || !r.Settled {
		t.Fatalf("%+v", r)
	}
}

// TestCapacity gives a member with more workers more, one that says nothing the
// median, and more members than tasks at most one each.
func TestCapacity(t *testing.T) {
	tasks := taskList("s", 12, false)
	r := Assign(tasks, []Member{{Name: "a", ID: "a", Workers: 8}, {Name: "b", ID: "b", Workers: 2}, {Name: "c", ID: "c"}}, Settings{})
	if len(r.Active["a"]) != 8 || len(r.Active["b"]) != 2 || len(r.Active["c"]) != 2 {
		t.Errorf("%v", r.Active)
	}
	var many []Member
	for i := range 20 {
		many = append(many, Member{Name: fmt.Sprintf("m%02d", i), ID: fmt.Sprint(i)})
	}
	for id, given := range Assign(tasks, many, Settings{}).Active {
		if len(given) > 1 {
			t.Errorf("%s has %v", id, given)
		}
	}
}

// TestSpread deals every sub-topology over all members, not one to each.
func TestSpread(t *testing.T) {
	tasks := append(taskList("a", 4, false), taskList("b", 4, true)...)
	r := Assign(tasks, []Member{{Name: "x", ID: "x"}, {Name: "y", ID: "y"}}, Settings{})
	for id, given := range r.Active {
		of := map[string]int{}
		for _, task := range given {
			of[task.Sub]++
		}
		if of["a"] != 2 || of["b"] != 2 {
			t.Errorf("%s has %v", id, given)
		}
	}
}

// TestDoubleClaim believes the later generation; the other one lets go.
func TestDoubleClaim(t *testing.T) {
	tasks := taskList("s", 1, false)
	for _, reverse := range []bool{false, true} {
		members := []Member{{Name: "a", ID: "a", Active: ids(tasks), Generation: 3}, {Name: "b", ID: "b", Active: ids(tasks), Generation: 4}}
		if reverse {
			slices.Reverse(members)
		}
		if r := Assign(tasks, members, Settings{}); len(r.Active["a"]) != 0 || len(r.Active["b"]) != 1 {
			t.Errorf("%+v", r)
		}
	}
}

// TestWithoutWarmups moves tasks with state at once, those without first.
func TestWithoutWarmups(t *testing.T) {
	tasks := append(taskList("a-plain", 4, false), taskList("b-state", 4, true)...)
	r := Assign(tasks, []Member{{Name: "old", ID: "old", Active: ids(tasks)}, {Name: "new", ID: "new"}}, Settings{Standbys: 1, WithoutWarmups: true})
	if !slices.Equal(r.Active["old"], ids(tasks[4:])) || len(r.Active["new"])+len(r.Standby["new"])+len(r.Standby["old"]) != 0 {
		t.Errorf("%+v", r)
	}
	r = Assign(tasks[4:], []Member{{Name: "old", ID: "old", Active: ids(tasks[4:])}, {Name: "new", ID: "new"}}, Settings{WithoutWarmups: true})
	if len(r.Active["old"]) != 2 || len(r.Standby["new"]) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestNobody has no members, or no tasks.
func TestNobody(t *testing.T) {
	if r := Assign(taskList("s", 3, true), nil, Settings{}); len(r.Active)+len(r.Standby) != 0 {
		t.Errorf("%+v", r)
	}
	r := Assign(nil, []Member{{ID: "a", Active: []engine.TaskID{{Sub: "gone"}}}}, Settings{Standbys: 1})
	if given, known := r.Active["a"]; !known || len(given) != 0 || !r.Settled {
		t.Errorf("%+v", r)
	}
}

// TestAnyInput deals for members that say anything whatever: also what no
// history leads to must be dealt, once, in any order.
func TestAnyInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks := append(taskList("a", rapid.Int32Range(0, 6).Draw(t, "a"), true), taskList("b", rapid.Int32Range(0, 6).Draw(t, "b"), false)...)
		task := rapid.Custom(func(t *rapid.T) engine.TaskID {
			return engine.TaskID{Sub: rapid.SampledFrom([]string{"a", "b", "gone"}).Draw(t, "sub"), Partition: rapid.Int32Range(0, 6).Draw(t, "partition")}
		})
		var members []Member
		for i := range rapid.IntRange(1, 5).Draw(t, "members") {
			m := Member{
				Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), ID: fmt.Sprint(i),
				Rack: rapid.SampledFrom([]string{"", "r"}).Draw(t, "rack"), Workers: rapid.IntRange(-1, 1<<20).Draw(t, "workers"),
				Active: rapid.SliceOfN(task, 0, 5).Draw(t, "active"), Standby: rapid.SliceOfN(task, 0, 5).Draw(t, "standby"),
				Generation: rapid.Int32Range(0, 3).Draw(t, "generation"),
			}
			for _, id := range rapid.SliceOfN(task, 0, 5).Draw(t, "held") {
				m.Held = append(m.Held, engine.Held{Task: id, Lag: rapid.Int64().Draw(t, "lag"), Bytes: rapid.Int64().Draw(t, "bytes")})
			}
			members = append(members, m)
		}
		set := Settings{
			Standbys: rapid.IntRange(-1, 3).Draw(t, "standbys"), AcceptableLag: rapid.Int64Range(0, 1<<40).Draw(t, "acceptable"),
			WithoutWarmups: rapid.Bool().Draw(t, "without"),
		}
		r := Assign(tasks, members, set)
		owners := make(map[engine.TaskID]int)
		for _, given := range r.Active {
			for _, id := range given {
				owners[id]++
			}
		}
		for id, n := range owners {
			if n != 1 {
				t.Fatalf("%v is given %d times", id, n)
			}
		}
		for _, task := range tasks {
			claimed := slices.ContainsFunc(members, func(m Member) bool { return slices.Contains(m.Active, task.ID) })
			if owners[task.ID] == 0 && !claimed {
				t.Fatalf("%v is given to nobody", task.ID)
			}
		}
		slices.Reverse(members)
		if again := Assign(tasks, members, set); !reflect.DeepEqual(again, r) {
			t.Fatalf("the order of members matters:\n%+v\n%+v", r, again)
		}
	})
}

// BenchmarkAssign deals 5000 tasks over 50 members when one more joins.
func BenchmarkAssign(b *testing.B) {
	tasks := taskList("s", 5000, true)
	members := []Member{{Name: "new", ID: "new", Workers: 4}}
	for i := range 50 {
		var given []engine.TaskID
		for p := i * 100; p < i*100+100; p++ {
			given = append(given, tasks[p].ID)
		}
		members = append(members, Member{Name: fmt.Sprint(i), ID: fmt.Sprint(i), Workers: 4, Active: given, Held: held(0, 1<<30, given...)})
	}
	for b.Loop() {
		Assign(tasks, members, Settings{Standbys: 1, AcceptableLag: 1000})
	}
}
