package pipeline

import (
	"streamctl/expr"
	"streamctl/operators"
)

// Changes of a table that have to be brought to other partitions, because
// what is behind groups the rows by something else than the table's key: by
// group_by over a table, or by top. A stream's record travels once; a change
// travels with the row as it was and as it is, and a row that moves between groups as
// two changes. The table's own key travels along: it tells the rows of a group apart.

// carriesChanges says that what travels to a group_by or top of d are changes of a table.
func carriesChanges(defs map[*Def]*typedDef, d *Def) bool {
	return len(d.Query.GroupBy) == 0 || defs[d.From[0].Def].changes
}

// noteKey identifies the key of a table for the planner: its rows lie by it.
func (c *compiler) noteKey(d *Def) {
	if c.diags.HasErrors() || c.typed[d].strewn {
		return
	}
	var ids []string
	for _, ref := range c.typed[d].placing(c.out(d, 0).key.refs()) {
		ids = append(ids, refIdentity(ref))
	}
	c.typed[d].keyFact = joinIdentity(ids)
}

// tableFact is the fact that the rows of a table lie by their key.
func (p *planner) tableFact(d *Def) []fact {
	if id := p.typed.defs[d].keyFact; id != "" {
		return []fact{{id}}
	}
	return nil
}

// repartitionChanges makes the step that sends changes to a topic of the
// pipeline's own. view is what the step sees; the first binding has the key.
func (b *binder) repartitionChanges(s *Step, view []*binding, keys []*expr.Program) *operators.RepartitionChanges {
	spec := &operators.RepartitionChanges{
		Policy: b.c.policy(s.Def), Topic: s.Topic, Output: b.outputOf(s.Topic),
		Format: b.plan.readerOf(s.Topic).KeyFormat, Origins: b.numbered(s.Topic),
		Keys: keys, RowKey: view[0].key.refs(),
	}
	for _, ref := range spec.RowKey {
		b.c.layout.direct[ref.Row] = true
	}
	if len(view) == 1 {
		spec.Doc = docOfBinding(b.c.layout, view[0])
		return spec
	}
	spec.Doc = &operators.Doc{Whole: -1}
	b.writers = append(b.writers, writer{s.Topic, view, spec.Doc})
	return spec
}

// repartitionedChanges makes the head behind a topic with changes; view is what
// comes out of it.
func (b *binder) repartitionedChanges(in *InputPlan, view []*binding) *operators.RepartitionedChanges {
	l := b.c.layout
	h := &operators.RepartitionedChanges{Policy: b.c.policy(in.Def), Origins: b.origins(in), Lag: in.Lag.Milliseconds()}
	first := view[0].key
	h.KeyRow, h.Components = first.row, len(first.components)
	if len(view) == 1 {
		doc := view[0].space.(*document)
		h.Shape, h.Row = doc.shape, doc.row
		h.Parts = func() []operators.CarriedPart { return nil }
		return h
	}
	c := &carrier{head: &document{row: l.row(), shape: l.shape()}, view: view}
	b.carriers[in.Topic] = c
	h.Shape, h.Row = c.head.shape, c.head.row
	h.Parts = func() []operators.CarriedPart { return c.parts }
	return h
}

// carriedChanges are the bindings that come out of a repartition of changes
// before a group_by.
func (b *binder) carriedChanges(in *InputPlan) []*binding {
	view := b.carried(in)
	from := in.Def.From[0].Def
	view[0].key.components = compositeOf(newCompiler(b.plan.typed.defs).out(from, 0).key)
	return view
}

// outputOf is the number of a topic among the outputs.
func (b *binder) outputOf(topic string) int {
	for i, t := range b.sub.Outputs {
		if t == topic {
			return i
		}
	}
	return -1
}

// origins are the outer topics that records of a repartition topic come from.
func (b *binder) origins(in *InputPlan) []operators.Origin {
	var out []operators.Origin
	for _, topic := range in.Origins {
		out = append(out, operators.Origin{Topic: topic, KeyFormat: b.plan.keyFormat(topic)})
	}
	return out
}

// numbered are the numbers of the origins of a repartition topic.
func (b *binder) numbered(topic string) map[string]int {
	out := map[string]int{}
	for i, t := range b.plan.inputOf(topic).Origins {
		out[t] = i
	}
	return out
}
