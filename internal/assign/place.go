package assign

import (
	"cmp"
	"slices"
)

// place begins the targets: a task that somebody runs stays there, one that
// nobody runs goes where its state is.
func (p *plan) place() {
	var orphans []int
	for t, o := range p.owner {
		if o == nobody {
			orphans = append(orphans, t)
			continue
		}
		p.put(t, o)
	}
	options := make([]int, len(p.tasks))
	for _, t := range orphans {
		options[t] = p.options(t)
	}
	slices.SortStableFunc(orphans, func(a, b int) int {
		return cmp.Or(cmp.Compare(options[a], options[b]), cmp.Compare(p.weight[b].total, p.weight[a].total))
	})
	for _, t := range orphans {
		if options[t] == 0 {
			p.put(t, p.nearest(t))
			continue
		}
		best := nobody
		for m := range p.members {
			if p.ready(t, m) && (best == nobody || p.active.less(t, m, best) < 0) {
				best = m
			}
		}
		p.put(t, best)
	}
}

// put sets where t runs to begin with.
func (p *plan) put(t, m int) {
	p.base[t], p.target[t] = m, m
	p.active.add(t, m)
}

// options counts the members on which t could run at once.
func (p *plan) options(t int) int {
	n := 0
	for m := range p.members {
		if p.ready(t, m) {
			n++
		}
	}
	return n
}

// nearest is who has the least to read before t, of which nobody has enough,
// can run; where that is not known, who has the most.
func (p *plan) nearest(t int) int {
	best := p.copies[t][0]
	for _, c := range p.copies[t][1:] {
		if p.compareCopies(t, c, best) < 0 {
			best = c
		}
	}
	return best.member
}

// compareCopies orders what members hold of t, the best first.
func (p *plan) compareCopies(t int, a, b copyOf) int {
	known := func(c copyOf) int {
		if c.lag >= 0 {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(known(a), known(b)), cmp.Compare(a.lag, b.lag), cmp.Compare(b.bytes, a.bytes),
		p.active.less(t, a.member, b.member), cmp.Compare(a.member, b.member),
	)
}

// balance moves targets from the fullest member that can be relieved to the
// emptiest that can take something, as long as that helps.
func (p *plan) balance() {
	given := make([][]int, len(p.members))
	for t, m := range p.target {
		given[m] = append(given[m], t)
	}
	for {
		best, found := p.bestMove(given)
		if !found {
			return
		}
		p.target[best.task] = best.to
		p.active.move(best.task, best.from, best.to)
		given[best.from] = slices.DeleteFunc(given[best.from], func(t int) bool { return t == best.task })
		given[best.to] = append(given[best.to], best.task)
	}
}

// shift is a possible move in the balancing, with what it is ranked by.
type shift struct {
	task, from, to int
	cost           int
	owned          bool
	fullness       float64
	spread         int
}

func compareShifts(a, b shift) int {
	owned := func(s shift) int {
		if s.owned {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(a.cost, b.cost), cmp.Compare(owned(a), owned(b)), cmp.Compare(a.fullness, b.fullness),
		cmp.Compare(b.spread, a.spread), cmp.Compare(a.to, b.to), cmp.Compare(a.task, b.task),
	)
}

// bestMove is what balance does next. Who gives and who gets is decided by their
// loads alone, so that nothing takes a detour over members in between because
// that is cheaper; which task it is, by what the move costs.
func (p *plan) bestMove(given [][]int) (shift, bool) {
	order := p.active.byFullness()
	for _, from := range order {
		var best shift
		found := false
		for i := len(order) - 1; order[i] != from; i-- {
			to := order[i]
			if found && p.active.compare(to, best.to) != 0 {
				break
			}
			for _, t := range given[from] {
				if !p.active.relieves(t, from, to) {
					continue
				}
				sub := p.tasks[t].ID.Sub
				s := shift{
					task: t, from: from, to: to, cost: p.cost(t, to), owned: p.owner[t] != nobody,
					fullness: p.active.fullness(t, from, to), spread: p.active.sub[from][sub] - p.active.sub[to][sub],
				}
				if !found || compareShifts(s, best) < 0 {
					best, found = s, true
				}
			}
		}
		if found {
			return best, true
		}
	}
	return shift{}, false
}

// The costs of running a task elsewhere, in their order.
const (
	costNothing  = iota // it has no state, or there is none yet
	costHandover        // its state is there
	costRest            // a warm-up is under way there
	costState           // all of its state must be read
	costAnew            // so must it, and a warm-up under way elsewhere was in vain
)

func (p *plan) cost(t, to int) int {
	if !p.tasks[t].State || p.fresh[t] {
		return costNothing
	}
	if p.ready(t, to) {
		return costHandover
	}
	cost := costState
	for _, c := range p.copies[t] {
		if c.member == to && (c.follows || c.lag >= 0) {
			return costRest
		}
		if c.follows && !p.caughtUp(c) {
			cost = costAnew
		}
	}
	return cost
}

// order says what is done now on the way to the targets.
func (p *plan) order() {
	var warmups []int
	for t, to := range p.target {
		from := p.owner[t]
		switch {
		case from == nobody && p.ready(t, to):
			p.now[t] = to
			p.moved(t, nobody, to, StepTaken)
		case from == nobody:
			p.now[t] = p.base[t]
			step := StepTaken
			if !p.ready(t, p.base[t]) {
				step = StepRestoring
			}
			p.moved(t, nobody, p.base[t], step)
			if to != p.base[t] {
				warmups = append(warmups, t)
			}
		case from == to:
			p.now[t] = to
		case p.ready(t, to) && slices.Contains(p.stay, p.tasks[t].ID):
			p.settled = false
			p.now[t] = from
			if p.tasks[t].State && !p.s.WithoutWarmups {
				p.warm[t] = to
			}
		case p.ready(t, to):
			p.settled = false
			p.releasing = append(p.releasing, t)
			p.moved(t, from, to, StepReleasing)
			if p.tasks[t].State && !p.s.WithoutWarmups {
				p.warm[t] = to // it goes on reading until the task is its own
			}
		default:
			p.now[t] = from
			warmups = append(warmups, t)
		}
	}
	p.warmUp(warmups)
}

// warmUp begins or continues as many warm-ups as may run at once, those first that are
// nearest to their end.
func (p *plan) warmUp(tasks []int) {
	slices.SortStableFunc(tasks, func(a, b int) int {
		x, y := p.holds(a, p.target[a]), p.holds(b, p.target[b])
		rank := func(c copyOf) int {
			switch {
			case c.lag >= 0:
				return 0
			case c.follows:
				return 1
			}
			return 2
		}
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.lag, y.lag))
	})
	for i, t := range tasks {
		p.settled = false
		if i >= p.s.MaxWarmups {
			p.moved(t, p.now[t], p.target[t], StepWaiting)
			continue
		}
		p.warm[t] = p.target[t]
		p.awaited[t] = append(p.awaited[t], p.target[t])
		p.moved(t, p.now[t], p.target[t], StepWarming)
	}
}

func (p *plan) moved(t, from, to int, step Step) {
	m := Move{Task: p.tasks[t].ID, To: p.members[to].Name, Step: step}
	if from != nobody {
		m.From = p.members[from].Name
	}
	p.moves = append(p.moves, m)
}
