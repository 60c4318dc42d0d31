package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/state"
)

// How top tables are planned, bound and described: see top.go.

// top plans the steps of a top behind flows.
func (p *planner) top(d *Def, flows []*flow) []*flow {
	tt := p.typed.defs[d].top
	var in *part
	for _, f := range flows {
		if f.partitionedBy(tt.ids) && (in == nil || agree(in, f.part)) {
			if in == nil {
				in = f.part
			}
			unitePart(in, f.part)
		}
	}
	if in == nil {
		in = p.newPart()
	}
	var out []*flow
	for _, f := range flows {
		if f.part.root() == in.root() && f.partitionedBy(tt.ids) {
			f.input.Placed = true
		} else if f = p.repartition(f, d, topStep, in.root(), tt.ids); f == nil {
			continue
		}
		f.add(&Step{Kind: TopStep, Def: d, Branch: f.branches[0]})
		out = append(out, f)
	}
	for _, f := range out { // only now: flows that come later may end in the topic of an earlier one
		f.branches, f.facts, f.strewn = []int{0}, nil, d.topRows()
	}
	root, name := in.root(), d.topState()
	root.tables = append(root.tables, state.TableSpec{Name: name, Changelog: p.ownTopic(name+".changelog", in, compacted())})
	return out
}

// top makes the operator and what is behind it; at.out are the rows.
func (b *binder) top(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	td := b.plan.typed.defs[d]
	row := at.out
	t := c.table(d, "")
	c.layout.notJoined(t.memo)
	spec := &operators.Top{
		Policy: c.policy(d), Name: d.topState(), N: td.top.n, Desc: d.Query.Top.Order.Value != "asc",
		Per: c.topGroup(d, row), By: c.topOrder(d, row), Doc: c.topRow(d, row), RowKey: row.key.refs(), Grouped: td.top.grouped,
		Out: b.table(t),
	}
	if d.Query.Top.List.Set {
		spec.List, spec.Grouped = memberName(d.Query.Top.List.Value), false
	}
	for _, ref := range spec.RowKey {
		c.layout.direct[ref.Row] = true
	}
	at.out, at.view = t.binding, nil
	return one(spec, b.nodes(s.Next, at))
}

// topRow is how a row is kept: whole, but for a rank of its own where it gets one.
func (c *compiler) topRow(d *Def, row *binding) *operators.Doc {
	row.used = true
	if d.Query.Top.List.Set || row.space.has(rankField) == absent {
		return docOfBinding(c.layout, row)
	}
	var pieces []piece
	for _, p := range row.space.pieces() {
		switch {
		case p.doc != nil:
			p.drop = append(slices.Clone(p.drop), rankField)
		case p.name == rankField:
			continue
		}
		pieces = append(pieces, p)
	}
	return docOf(c.layout, pieces)
}

// repartitionTop makes the step that brings rows to the task of their group.
func (b *binder) repartitionTop(s *Step, at cursor) operators.Spec {
	return b.repartitionChanges(s, []*binding{at.out}, b.c.topGroup(s.Def, at.out))
}

// repartitionedTop makes the head behind it.
func (b *binder) repartitionedTop(in *InputPlan) operators.Head {
	tt := b.plan.typed.defs[in.Def].top
	row := b.c.layout.newDocument("", tt.row, tt.key, tt.components)
	h := b.repartitionedChanges(in, []*binding{row})
	h.Next = b.nodes(in.Steps, cursor{in: in, out: row})
	return h
}

// topLine says in one line what a top keeps; its expressions are written by text.
func topLine(t *Top, n int, by, per []string) string {
	line := fmt.Sprintf("first %d by %s %s", n, strings.Join(by, ", "), orderOf(t))
	if len(per) > 0 {
		line += " per " + strings.Join(per, ", ")
	}
	if t.List.Set {
		line += " as list " + t.List.Value
	}
	return line
}

func orderOf(t *Top) string {
	if t.Order.Value == "asc" {
		return "asc"
	}
	return "desc"
}

// topText is the line of a top in the text of a plan.
func topText(d *Def, tt *typedTop) string {
	var per []string
	if len(tt.texts) > 0 {
		per = []string{oneLine(strings.Join(tt.texts, ", "))}
	}
	return topLine(d.Query.Top, tt.n, []string{oneLine(d.Query.Top.By.Value)}, per)
}

// top adds to a table's description what its top makes of its rows.
func (k *canon) top(d *Def, t *TableDescription, row *binding) {
	tt := k.typed.defs[d].top
	line := topLine(d.Query.Top, tt.n, k.exprs(k.c.topOrder(d, row)), k.exprs(k.c.topGroup(d, row)))
	t.Definition = append(t.Definition, line)
	if d.Query.Top.List.Set {
		t.Changelogs = append(t.Changelogs, k.changelog(d.topState()))
	}
}

// byKey brings strewn rows to where their keys belong.
func (p *planner) byKey(d *Def, flows []*flow) []*flow {
	var out []*flow
	var to *part
	for _, f := range flows {
		if !f.strewn {
			return flows
		}
		if to == nil {
			to = p.newPart()
		}
		ids := make([]string, p.typed.defs[d].branches)
		if f = p.repartition(f, d, keyStep, to, ids); f == nil {
			continue
		}
		f.facts = nil
		out = append(out, f)
	}
	return out
}

// repartitionByKey makes the step that brings strewn rows to where their keys belong.
func (b *binder) repartitionByKey(s *Step, at cursor) operators.Spec {
	spec := b.repartitionChanges(s, []*binding{at.out}, nil)
	spec.ByKey = true
	return spec
}

// repartitionedByKey makes the head behind it.
func (b *binder) repartitionedByKey(in *InputPlan) operators.Head {
	td := b.plan.typed.defs[in.Def]
	row := b.c.layout.newDocument("", td.value, td.key, td.components)
	h := b.repartitionedChanges(in, []*binding{row})
	h.Next = b.nodes(in.Steps, cursor{in: in, out: row})
	return h
}

// checkStrewn refuses what looks up strewn rows, or looks up others by their key.
func (c *compiler) checkStrewn(d *Def) {
	td := c.typed[d]
	for i, in := range d.From {
		td.strewn = td.strewn || c.typed[in.Def].strewn && len(d.Query.GroupBy) == 0 // groups lie by their own key
		if td.changes && td.strewn && len(d.Joins) > 0 && i == 0 {
			c.strewn(in, in.Span, "nothing can be joined to them")
		}
	}
	for _, j := range d.Joins {
		if c.typed[j.Def].strewn {
			c.strewn(j.ResolvedInput, j.Span, "nothing finds them by it")
		}
	}
}

func (c *compiler) strewn(in ResolvedInput, at diag.Span, but string) {
	c.diags.Errorf(codeTop, at, "the rows of %q lie by the group of its top, not by their key: %s", in.Def.Name, but).
		Help = fmt.Sprintf("keep them as a table of their own, and join that: under tables: `NAME: {from: %s}`", in.Def.Name)
}

// topColumns is what travels to a top or to a materialised table, and by what, for
// canonical texts.
func (k *canon) topColumns(in *InputPlan, x walked) (columns []string, by string) {
	row := k.c.selected(in.Def, x.view)
	columns = k.c.layout.value(row)
	switch {
	case in.Join == keyStep:
		return columns, "its key"
	case in.Def.Query.Top.Per.Set:
		return columns, strings.Join(k.exprs(k.c.topGroup(in.Def, row)), ", ")
	}
	return columns, "nothing"
}
