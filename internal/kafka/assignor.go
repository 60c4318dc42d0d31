package kafka

import (
	"cmp"
	"slices"

	"streamctl/internal/engine"
)

// candidate is a member as the assignor sees it.
type candidate struct {
	name  string // stable across restarts where possible: decides ties
	id    string // member id
	owned []engine.TaskID
}

// assign deals tasks over members. It is a pure function of its arguments, the
// same whatever their order:
//
//   - every task has one member, and counts differ by one at most;
//   - a member keeps what it owns as far as that allows, tasks with state first;
//   - the tasks of one sub-topology are spread before those of another.
//
// The result is by member id.
func assign(members []candidate, tasks []engine.TaskInfo) map[string][]engine.TaskID {
	out := make(map[string][]engine.TaskID, len(members))
	if len(members) == 0 {
		return out
	}
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
	})
	tasks = slices.Clone(tasks)
	slices.SortFunc(tasks, func(a, b engine.TaskInfo) int { return compareTasks(a.ID, b.ID) })

	d := dealer{members: members, out: out, taken: make(map[engine.TaskID]bool), same: make(map[memberSub]int)}
	d.keep(tasks)
	d.deal(tasks)
	for _, m := range members {
		slices.SortFunc(out[m.id], compareTasks)
	}
	return out
}

func compareTasks(a, b engine.TaskID) int {
	return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
}

type memberSub struct{ member, sub string }

// dealer holds the state of one assign.
type dealer struct {
	members []candidate
	out     map[string][]engine.TaskID
	taken   map[engine.TaskID]bool
	same    map[memberSub]int
}

func (d *dealer) give(m *candidate, id engine.TaskID) {
	d.taken[id] = true
	d.out[m.id] = append(d.out[m.id], id)
	d.same[memberSub{m.id, id.Sub}]++
}

// keep leaves members what they own, up to their share. The shares that are
// one greater go to those that own more.
func (d *dealer) keep(tasks []engine.TaskInfo) {
	state := make(map[engine.TaskID]bool, len(tasks))
	known := make(map[engine.TaskID]bool, len(tasks))
	for _, t := range tasks {
		state[t.ID], known[t.ID] = t.State, true
	}
	share, extra := len(tasks)/len(d.members), len(tasks)%len(d.members)
	owned := make([][]engine.TaskID, len(d.members))
	claimed := make(map[engine.TaskID]bool)
	for i := range d.members {
		for _, id := range d.members[i].owned {
			if known[id] && !claimed[id] {
				claimed[id] = true
				owned[i] = append(owned[i], id)
			}
		}
		slices.SortFunc(owned[i], func(a, b engine.TaskID) int {
			if state[a] != state[b] {
				if state[a] {
					return -1
				}
				return 1
			}
			return compareTasks(a, b)
		})
	}
	order := make([]int, len(d.members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(owned[b]) - len(owned[a]) })
	for _, i := range order {
		most := share
		if extra > 0 && len(owned[i]) > share {
			most++
			extra--
		}
		for _, id := range owned[i][:min(most, len(owned[i]))] {
			d.give(&d.members[i], id)
		}
	}
}

// deal gives each task that is left to the member with the fewest tasks, among
// those to the one with the fewest of the same sub-topology.
func (d *dealer) deal(tasks []engine.TaskInfo) {
	for _, t := range tasks {
		if d.taken[t.ID] {
			continue
		}
		best := &d.members[0]
		for i := range d.members[1:] {
			m := &d.members[i+1]
			less := cmp.Or(
				cmp.Compare(len(d.out[m.id]), len(d.out[best.id])),
				cmp.Compare(d.same[memberSub{m.id, t.ID.Sub}], d.same[memberSub{best.id, t.ID.Sub}]),
			)
			if less < 0 {
				best = m
			}
		}
		d.give(best, t.ID)
	}
}

// withhold takes out of a target what another member still owns: it is given
// when that one has let go of it and rejoined.
func withhold(target map[string][]engine.TaskID, members []candidate) map[string][]engine.TaskID {
	owner := make(map[engine.TaskID]string)
	for _, m := range members {
		for _, id := range m.owned {
			owner[id] = m.id
		}
	}
	out := make(map[string][]engine.TaskID, len(target))
	for id, tasks := range target {
		out[id] = slices.DeleteFunc(slices.Clone(tasks), func(t engine.TaskID) bool {
			o, owned := owner[t]
			return owned && o != id
		})
	}
	return out
}
