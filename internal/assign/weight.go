package assign

import (
	"cmp"
	"slices"
)

// weight of a task, in millionths of what an average task costs for its inputs.
type weight struct {
	total int64
	state int64 // the part that comes from the size of the state, which wobbles
}

const (
	oneTask   = 1_000_000 // the weight of an average task without state
	mostBytes = 1 << 50   // of one state; more is not believed
	// smallState: a state of this size weighs as much as an average task's inputs,
	// unless the average state is larger: then that one does.
	smallState  = 64 << 20
	mostWorkers = 1 << 10
)

// weigh sets the weights of the tasks and the capacities of the members.
func (p *plan) weigh() {
	var inputs, bytes, states int64
	sizes := make([]int64, len(p.tasks))
	for t := range p.tasks {
		inputs += int64(max(len(p.tasks[t].Inputs), 1))
		if p.tasks[t].State {
			sizes[t] = p.size(t)
			bytes += sizes[t]
			states++
		}
	}
	unit := float64(smallState)
	if states > 0 {
		unit = max(unit, float64(bytes)/float64(states))
	}
	p.weight = make([]weight, len(p.tasks))
	for t := range p.tasks {
		w := &p.weight[t]
		w.state = int64(float64(sizes[t]) / unit * oneTask)
		w.total = w.state + int64(max(len(p.tasks[t].Inputs), 1))*oneTask*int64(len(p.tasks))/inputs
	}
	p.capacity = capacities(p.members)
}

// size is how much state a task has: what its owner says, else the most that anybody holds.
func (p *plan) size(t int) int64 {
	var most int64
	for _, c := range p.copies[t] {
		if c.member == p.owner[t] && c.bytes > 0 {
			return c.bytes
		}
		most = max(most, c.bytes)
	}
	return most
}

func capacities(members []Member) []int64 {
	var known []int
	for _, m := range members {
		if m.Workers > 0 {
			known = append(known, min(m.Workers, mostWorkers))
		}
	}
	median := 1
	if len(known) > 0 {
		slices.Sort(known)
		median = known[(len(known)-1)/2]
	}
	out := make([]int64, len(members))
	for i, m := range members {
		out[i] = int64(median)
		if m.Workers > 0 {
			out[i] = int64(min(m.Workers, mostWorkers))
		}
	}
	return out
}

// pile is what the tasks given to each member add up to.
type pile struct {
	p    *plan
	load []weight
	sub  []map[string]int // how many tasks of each sub-topology
}

func newPile(p *plan) pile {
	l := pile{p: p, load: make([]weight, len(p.members)), sub: make([]map[string]int, len(p.members))}
	for m := range l.sub {
		l.sub[m] = make(map[string]int)
	}
	return l
}

func (l *pile) add(t, m int) { l.change(t, m, 1) }

func (l *pile) move(t, from, to int) {
	l.change(t, from, -1)
	l.change(t, to, 1)
}

func (l *pile) change(t, m, sign int) {
	w := l.p.weight[t]
	l.load[m].total += int64(sign) * w.total
	l.load[m].state += int64(sign) * w.state
	l.sub[m][l.p.tasks[t].ID.Sub] += sign
}

// less compares how full two members would be with t.
func (l *pile) less(t, a, b int) int {
	w := l.p.weight[t].total
	sub := l.p.tasks[t].ID.Sub
	return cmp.Or(
		cmp.Compare((l.load[a].total+w)*l.p.capacity[b], (l.load[b].total+w)*l.p.capacity[a]),
		cmp.Compare(l.sub[a][sub], l.sub[b][sub]),
	)
}

// relieves says whether moving t from a to b leaves both of them less full than
// a is, by more than the wobble of the sizes of their states. The list of all
// loads, fullest first, then becomes less in the order of dictionaries, so that
// no sequence of such moves comes back to where it began; and as the margin is
// wider than what sizes wobble by, neither does one that looks at wobbling sizes.
func (l *pile) relieves(t, a, b int) bool {
	ca, cb, w := l.p.capacity[a], l.p.capacity[b], l.p.weight[t]
	gain := l.load[a].total*cb - (l.load[b].total+w.total)*ca
	return gain > 0 && wobbleParts*gain > l.load[a].state*cb+(l.load[b].state+w.state)*ca
}

// wobbleParts: sizes that change by less than one part in so many move nothing.
const wobbleParts = 16

// fullness ranks what a move leads to: the fuller of the two members after it.
func (l *pile) fullness(t, a, b int) float64 {
	w := l.p.weight[t].total
	return max(float64(l.load[a].total-w)/float64(l.p.capacity[a]), float64(l.load[b].total+w)/float64(l.p.capacity[b]))
}

// compare compares how full two members are.
func (l *pile) compare(a, b int) int {
	return cmp.Compare(l.load[a].total*l.p.capacity[b], l.load[b].total*l.p.capacity[a])
}

// byFullness lists the members, the fullest first.
func (l *pile) byFullness() []int {
	out := make([]int, len(l.load))
	for m := range out {
		out[m] = m
	}
	slices.SortStableFunc(out, func(a, b int) int { return l.compare(b, a) })
	return out
}
