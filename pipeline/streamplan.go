package pipeline

import (
	"slices"
	"time"

	"streamctl/operators"
	"streamctl/state"
)

// The planning of joins of two streams: both sides are brought into one part, and
// what is behind the join hangs on one of the steps that lead to it.

// StreamJoinPlan is a join of two streams. The steps that come into it share it.
type StreamJoinPlan struct {
	State   string   // name of the table that keeps the records
	Origins []string // outer topics of both sides, sorted
	lead    *Step    // the one that has the steps behind the join
}

// JoinState is the name of the state that a join of two streams keeps.
func JoinState(d *Def, i int) string { return joinName(d, i) + ".join" }

// heldBack is how long a join of streams holds a record back at most: until an
// unmatched row leaves.
func (j ResolvedJoin) heldBack() time.Duration {
	switch j.kind() {
	case operators.LeftJoin:
		return j.Bounds.After + j.Bounds.Grace + time.Millisecond
	case operators.OuterJoin:
		return max(j.Bounds.Before, j.Bounds.After) + j.Bounds.Grace + time.Millisecond
	}
	return 0
}

// sidedFlow is a flow of one side of a join.
type sidedFlow struct {
	*flow
	right bool
	ids   []string
}

// streamJoin brings both sides of a join of streams into one part, and gives
// what comes out of it.
func (p *planner) streamJoin(d *Def, i int, flows []*flow) []*flow {
	sides := p.sided(d, i, flows)
	home := homeOf(sides)
	if home == nil {
		home = p.newPart()
	}
	join := &StreamJoinPlan{State: JoinState(d, i)}
	out := &InputPlan{Kind: SourceInput, Def: d}
	for _, s := range sides {
		f := s.flow
		join.Origins = sortedUnion(join.Origins, f.input.Origins)
		if f.partitionedBy(s.ids) && agree(home, f.part) {
			unitePart(home, f.part)
			f.input.Placed = true
		} else if f = p.cross(f, &Step{Def: d, Join: i, Right: s.right}, home, s.ids); f == nil {
			continue // it goes on in one that is planned already
		}
		step := &Step{Kind: StreamJoinStep, Def: d, Join: i, Right: s.right, Branch: f.branches[0], Stream: join}
		f.end(step)
		if join.lead == nil {
			join.lead = step
		}
		if f.input.Kind != SourceInput {
			out.Kind = RepartitionInput // keys and partitions do not go together
		}
	}
	out.Origins = join.Origins
	var lag time.Duration
	for _, s := range sides {
		lag = max(lag, s.lag)
	}
	root := home.root()
	root.tables = append(root.tables, state.TableSpec{Name: join.State, Changelog: p.ownTopic(join.State+".changelog", root, compacted())})
	return []*flow{{part: root, input: out, tail: &join.lead.Next, branches: []int{0}, facts: p.joinedFacts(d, i), lag: lag + d.Joins[i].heldBack()}}
}

// leftFirst puts branches that lead to the left side of a join of streams before
// those that lead to its right side: a record that goes both ways is taken by the
// left side first. What updates a table stays before what reads it.
func leftFirst(steps []*Step) {
	for _, s := range steps {
		leftFirst(s.Next)
	}
	for k, s := range steps {
		at := slices.IndexFunc(steps[:k], func(before *Step) bool {
			return rank([]*Step{s}) == rank([]*Step{before}) && leftOf(s, before) && !leftOf(before, s)
		})
		if at >= 0 {
			copy(steps[at+1:k+1], steps[at:k])
			steps[at] = s
		}
	}
}

// leftOf says that a leads to the left side of a join and b to its right side.
func leftOf(a, b *Step) bool {
	left := map[*StreamJoinPlan]bool{}
	eachStep([]*Step{a}, func(s *Step) { left[s.Stream] = left[s.Stream] || s.Stream != nil && !s.Right })
	found := false
	eachStep([]*Step{b}, func(s *Step) { found = found || s.Right && left[s.Stream] })
	return found
}

// sided lists the flows of both sides.
func (p *planner) sided(d *Def, i int, flows []*flow) []sidedFlow {
	var sides []sidedFlow
	left := p.typed.defs[d].joinIdentities(i)
	for _, f := range flows {
		sides = append(sides, sidedFlow{f, false, left})
	}
	var right []string
	for _, keys := range p.typed.defs[d].streams[i].rightKeys {
		right = append(right, joinIdentity(keys.identities))
	}
	for _, f := range p.stream(d.Joins[i].Def) {
		g := *f
		sides = append(sides, sidedFlow{&g, true, right})
	}
	return sides
}

// homeOf is the part in which the sides meet: that of one that lies as it must;
// nil when none does. One with outer topics comes first: its partitions are given.
func homeOf(sides []sidedFlow) *part {
	var home *part
	for _, s := range sides {
		if !s.partitionedBy(s.ids) {
			continue
		}
		if part := s.part.root(); home == nil || len(home.fixed) == 0 && len(part.fixed) > 0 {
			home = part
		}
	}
	return home
}

// joinIdentities are the identities of the left side of a join, by branch.
// Behind a boundary there is one branch.
func (td *typedDef) joinIdentities(i int) []string {
	ids := make([]string, len(td.joins))
	for b := range ids {
		if i < len(td.joins[b]) {
			ids[b] = joinIdentity(td.joins[b][i].identities)
		}
	}
	return ids
}

// joinedFacts tells by what the results of a join lie: by the key of each side
// that every result has.
func (p *planner) joinedFacts(d *Def, i int) []fact {
	behind := p.typed.defs[d].streams[i].behind
	switch d.Joins[i].kind() {
	case operators.InnerJoin:
		return []fact{{behind[0]}, {behind[1]}}
	case operators.LeftJoin:
		return []fact{{behind[0]}}
	}
	return nil
}
