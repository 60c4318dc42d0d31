package assign

import (
	"cmp"
	"slices"
)

// replicate chooses who keeps copies: those who warm up, and the replicas that
// the settings ask for.
func (p *plan) replicate() {
	replicas := make([][]int, len(p.tasks))
	for t := range p.tasks {
		if p.tasks[t].State && p.s.Standbys > 0 {
			replicas[t] = p.choose(t)
			for _, m := range replicas[t] {
				p.spare.add(t, m)
			}
		}
	}
	p.spread(replicas)
	for t := range p.tasks {
		if w := p.warm[t]; w != nobody {
			p.keepers[t] = append(p.keepers[t], w)
		}
		p.keepers[t] = append(p.keepers[t], replicas[t]...)
		p.retain(t, replicas[t])
	}
}

// home is who runs t in the end, as far as anything is done about it now.
func (p *plan) home(t int) int {
	if w := p.warm[t]; w != nobody {
		return w
	}
	if n := p.now[t]; n != nobody {
		return n
	}
	return p.target[t]
}

// mayKeep says whether m can have a replica of t: who runs it or is about to cannot.
func (p *plan) mayKeep(t, m int) bool { return m != p.now[t] && m != p.home(t) }

// choose finds the replicas of one task: in other racks than the task and one
// another where there are such, then where the state is, then where there is room.
func (p *plan) choose(t int) []int {
	var out []int
	for len(out) < p.s.Standbys {
		best := nobody
		for m := range p.members {
			if !p.mayKeep(t, m) || slices.Contains(out, m) {
				continue
			}
			if best == nobody || cmp.Or(
				cmp.Compare(p.sharesRack(t, m, out), p.sharesRack(t, best, out)),
				cmp.Compare(p.copyCost(t, m), p.copyCost(t, best)),
				p.spare.less(t, m, best),
			) < 0 {
				best = m
			}
		}
		if best == nobody {
			break
		}
		out = append(out, best)
	}
	slices.Sort(out)
	return out
}

// sharesRack is 1 where m stands in the rack of the task or of one of others, else 0.
func (p *plan) sharesRack(t, m int, others []int) int {
	rack := p.members[m].Rack
	if p.members[p.home(t)].Rack == rack {
		return 1
	}
	for _, o := range others {
		if o != m && p.members[o].Rack == rack {
			return 1
		}
	}
	return 0
}

// copyCost ranks where a replica of t is had most cheaply.
func (p *plan) copyCost(t, m int) int {
	c := p.holds(t, m)
	switch {
	case c.follows && p.caughtUp(c):
		return 0
	case p.caughtUp(c):
		return 1
	case c.follows:
		return 2
	case c.lag >= 0:
		return 3
	}
	return 4
}

// spread moves replicas from members with many to members with few, never into
// a rack that has a copy already, unless they come from such a one.
func (p *plan) spread(replicas [][]int) {
	for {
		best, found := p.bestReplica(replicas)
		if !found {
			return
		}
		r := replicas[best.task]
		r[slices.Index(r, best.from)] = best.to
		slices.Sort(r)
		p.spare.move(best.task, best.from, best.to)
	}
}

func (p *plan) bestReplica(replicas [][]int) (shift, bool) {
	for _, from := range p.spare.byFullness() {
		var best shift
		found := false
		for t, r := range replicas {
			if !slices.Contains(r, from) {
				continue
			}
			others := slices.DeleteFunc(slices.Clone(r), func(m int) bool { return m == from })
			shared := p.sharesRack(t, from, others)
			for to := range p.members {
				if !p.mayKeep(t, to) || slices.Contains(r, to) || !p.spare.relieves(t, from, to) || p.sharesRack(t, to, others) > shared {
					continue
				}
				s := shift{task: t, from: from, to: to, cost: p.copyCost(t, to), fullness: p.spare.fullness(t, from, to)}
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

// retain keeps as many of the former replicas of t as new ones have not caught up yet.
func (p *plan) retain(t int, replicas []int) {
	var behind []int
	for _, m := range replicas {
		if !p.caughtUp(p.holds(t, m)) {
			behind = append(behind, m)
		}
	}
	var former []copyOf
	for _, c := range p.copies[t] {
		if c.follows && p.caughtUp(c) && p.mayKeep(t, c.member) && !slices.Contains(replicas, c.member) {
			former = append(former, c)
		}
	}
	if len(behind) == 0 || len(former) == 0 {
		return
	}
	slices.SortFunc(former, func(a, b copyOf) int { return p.compareCopies(t, a, b) })
	for i, c := range former[:min(len(former), len(behind))] {
		p.keepers[t] = append(p.keepers[t], c.member)
		p.awaited[t] = append(p.awaited[t], behind[i])
		p.moved(t, c.member, behind[i], StepReplicated)
	}
	p.settled = false
}
