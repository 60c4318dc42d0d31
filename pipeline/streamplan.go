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
	home := p.homeOf(sides)
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
	sides := sidesOf(flows, p.typed.defs[d].joinIdentities(i))
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

// sidesOf are flows that meet by one key.
func sidesOf(flows []*flow, ids []string) []sidedFlow {
	sides := make([]sidedFlow, len(flows))
	for i, f := range flows {
		sides[i] = sidedFlow{f, false, ids}
	}
	return sides
}

// homeOf is the part in which the sides meet: that of one that lies as it must, else a
// new one. One with outer topics comes first: its partitions are given. Where the
// keys of such topics have several formats it is one whose format holds the keys
// of all; where there is no such one, all of them travel, by their keys as texts.
func (p *planner) homeOf(sides []sidedFlow) *part {
	var home *part
	var given []*part
	for _, s := range sides {
		switch part := s.part.root(); {
		case !s.partitionedBy(s.ids):
		case part.given():
			given = append(given, part)
		case home == nil:
			home = part
		}
	}
	for _, at := range given {
		if !slices.ContainsFunc(given, func(other *part) bool { return !at.keyFormat.HoldsKeysOf(other.keyFormat) }) {
			return at
		}
	}
	if home == nil || len(given) > 0 {
		home = p.newPart()
		home.apart = len(given) > 0
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
