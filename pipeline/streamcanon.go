package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
)

// Canonical texts of joins of two streams.

// ways are the ways of a definition that joins streams, up to its join at, by
// branch: behind a join of streams there is one.
func (k *canon) ways(d *Def, at int) []walked {
	var ways []walked
	behind := lastStreamJoin(d, at)
	if behind >= 0 {
		ways = []walked{k.behindStreams(d, behind)}
	} else {
		ways = k.fronts(d)
	}
	policy := policyText(d)
	for i := behind + 1; i < at; i++ {
		for n := range ways {
			step, table := k.tableStep(d, i, ways[n].view)
			step.policy = policy
			ways[n].steps = append(ways[n].steps, step)
			ways[n].view = append(ways[n].view, table)
		}
	}
	return ways
}

// lastStreamJoin is the last join of streams of d before its join at, -1 for none.
func lastStreamJoin(d *Def, at int) int {
	for i := at - 1; i >= 0; i-- {
		if d.Joins[i].Bounds != nil {
			return i
		}
	}
	return -1
}

// fronts are the ways to the first join of a definition that joins streams.
func (k *canon) fronts(d *Def) []walked {
	td := k.typed.defs[d]
	var ways []walked
	for b := range td.front {
		in, branch := d.input(b, k.typed.defs)
		x := k.origin(in.Def, branch)
		for i := range x.steps {
			x.steps[i].join = 0
		}
		x.view = k.c.front(d, k.c.out(in.Def, branch).as(in.Alias))
		x.steps = append(x.steps, k.unnestStep(d, x.view)...)
		if d.Query.Where.Set && !td.late {
			where, _ := k.c.where(d, x.view)
			x.steps = append(x.steps, walkedStep{text: "where " + k.expr(where), policy: policyText(d)})
		}
		ways = append(ways, x)
	}
	return ways
}

// walkStreams is walk for a definition that joins streams.
func (k *canon) walkStreams(d *Def) walked {
	x := k.ways(d, len(d.Joins))[0]
	if where, late := k.c.where(d, x.view); late {
		x.steps = append(x.steps, walkedStep{text: "where " + k.expr(where), policy: policyText(d), join: len(d.Joins)})
	}
	return x
}

func policyText(d *Def) string {
	if d.OnError == Fail {
		return ""
	}
	return d.OnError.String()
}

// behindStreams begins a way behind a join of streams.
func (k *canon) behindStreams(d *Def, i int) walked {
	t, j := k.joinState(d, i), d.Joins[i]
	return walked{
		k: k, topics: t.Inputs, view: k.c.streamView(k.typed.defs[d].streams[i]),
		origin: []string{fmt.Sprintf("%s join of streams (%s), %s", j.kind(), t.Fingerprint, j.Bounds.text())},
	}
}

// joinState describes what a join of streams keeps.
func (k *canon) joinState(d *Def, i int) *TableDescription {
	return k.state(JoinState(d, i), func(t *TableDescription) {
		var left, right [][]string
		ways := k.ways(d, i)
		for b, x := range ways {
			keys, _ := k.c.streamKeys(d, i, x.view, k.c.out(d.Joins[i].Def, 0).as(d.Joins[i].Alias))
			left = append(left, k.keptLines("left", x, x.view, keys))
			t.Inputs = sortedUnion(t.Inputs, x.topics)
			if b == 0 {
				t.Key = k.exprs(keys)
			}
		}
		first := ways[0].view
		for b := range k.typed.defs[d.Joins[i].Def].branches {
			out := k.c.out(d.Joins[i].Def, b).as(d.Joins[i].Alias)
			x := k.wayTo(d.Joins[i].Def, b)
			_, keys := k.c.streamKeys(d, i, first, out)
			right = append(right, k.keptLines("right", x, []*binding{out}, keys))
			t.Inputs = sortedUnion(t.Inputs, x.topics)
		}
		t.Definition = slices.Concat(sortedBlocks(left), sortedBlocks(right), []string{
			"partitions follow keys as " + k.plan.keeper(t.Name).KeyFormat.String(),
		})
		// What decides where a record lies in the state, and how it is read there.
		b := d.Joins[i].Bounds
		t.Key = append(t.Key, fmt.Sprintf("%s apart", b.Before+b.After), "in pages", "from "+strings.Join(t.Inputs, ", "))
		if len(first) > 1 {
			t.Key = append(t.Key, "as "+strings.Join(aliases(first), ", "))
		}
		t.Definition = append(t.Definition, t.Key...)
	})
}

// wayTo is the way of a branch of a definition that is read.
func (k *canon) wayTo(d *Def, branch int) walked {
	if d.Kind == StreamDef {
		return k.walk(d, branch)
	}
	return k.origin(d, branch)
}

// keptLines write what one way brings into the state of a join.
func (k *canon) keptLines(side string, x walked, view []*binding, keys []*expr.Program) []string {
	var own []string
	for _, v := range view {
		own = append(own, k.c.layout.value(v)...)
	}
	own = append(own, "by "+strings.Join(k.exprs(keys), ", "))
	return append([]string{side}, append(own, x.lines(own)...)...)
}

func sortedBlocks(blocks [][]string) []string {
	slices.SortFunc(blocks, func(a, b []string) int { return cmp.Compare(strings.Join(a, "\n"), strings.Join(b, "\n")) })
	return slices.Concat(blocks...)
}

// streamRepartition writes what lies in a topic that leads to a join of a
// definition that joins streams.
func (k *canon) streamRepartition(in *InputPlan) RepartitionDescription {
	d, i := in.Def, in.Join
	r := RepartitionDescription{Topic: in.Topic, Of: d.Name, Several: !in.Right && i > 0}
	j := d.Joins[i]
	var blocks [][]string
	ways := k.ways(d, i)
	if in.Right {
		for b := range k.typed.defs[j.Def].branches {
			out := k.c.out(j.Def, b).as(j.Alias)
			_, keys := k.c.streamKeys(d, i, ways[0].view, out)
			blocks = append(blocks, k.keptLines("right", k.wayTo(j.Def, b), []*binding{out}, keys))
		}
	} else {
		for _, x := range ways {
			var keys []*expr.Program
			if j.Bounds == nil {
				keys = k.c.join(d, i, x.view, k.c.joined(d, i))
			} else {
				keys, _ = k.c.streamKeys(d, i, x.view, k.c.out(j.Def, 0).as(j.Alias))
			}
			blocks = append(blocks, append(k.keptLines("left", x, x.view, keys), "as "+strings.Join(aliases(x.view), ", ")))
		}
	}
	r.Definition = append(sortedBlocks(blocks), "partitions follow keys as "+k.plan.readerOf(in.Topic).KeyFormat.String())
	r.Fingerprint = fingerprint(r.Definition)
	return r
}

// joinStates describes what the joins of streams keep in a sub-topology.
func (k *canon) joinStates(s *SubPlan) []TableDescription {
	var out []TableDescription
	for _, in := range s.Inputs {
		eachStep(in.Steps, func(step *Step) {
			if step.Kind == StreamJoinStep && step == step.Stream.lead {
				t := *k.joinState(step.Def, step.Join)
				t.Sub = s.Name
				out = append(out, t)
			}
		})
	}
	return out
}

// streamJoin writes one side of a join of streams.
func (w *textWriter) streamJoin(s *Step, depth int) {
	d, j := s.Def, s.Def.Joins[s.Join]
	if s.Right {
		w.linef(depth, "right side %s of the join of streams in %s", j.Alias, d.Name)
	} else {
		w.linef(depth, "left side of the join of streams in %s", d.Name)
	}
	if s != s.Stream.lead {
		return
	}
	w.linef(depth+1, "%s join %s %s on %s", j.kind(), j.Def.Name, j.Alias, oneLine(j.Join.On.Value))
	w.linef(depth+1, "%s, kept in %s", j.Bounds.text(), s.Stream.State)
	w.onError(depth+1, d)
}
