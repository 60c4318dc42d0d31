package pipeline

import (
	"slices"

	"streamctl/internal/codec"
	"streamctl/operators"
)

// carrier is what a repartition topic carries when several bindings travel.
type carrier struct {
	head  *document
	view  []*binding // of the reader
	parts []operators.CarriedPart
	names []string // aliases, in the order of parts
}

// writer is a step that sends several bindings to a repartition topic.
type writer struct {
	topic string
	view  []*binding
	doc   *operators.Doc
}

// mark makes the writer's bindings used that the reader uses; true = some were not.
func (c *carrier) mark(view []*binding) (changed bool) {
	for i, v := range view {
		read := c.view[i]
		if read.used && !v.used {
			v.used, changed = true, true
		}
		if read.key != nil && read.key.used && !v.key.used {
			v.key.used, changed = true, true
		}
	}
	return changed
}

// settle decides which bindings and keys travel: those that something behind reads.
func (c *carrier) settle() {
	for i, v := range c.view {
		doc := v.space.(*document)
		keyed := v.key != nil && v.key.used && i > 0 // the first key is the record's own
		if !v.used && !keyed {
			continue
		}
		part := operators.CarriedPart{Row: doc.row, Shape: doc.shape, KeySlot: -1}
		part.Slot = c.head.shape.Slot([]codec.Step{{Name: v.alias}}, codec.WantAny)
		if keyed {
			part.KeyRow, part.Components = v.key.row, len(v.key.components)
			part.KeySlot = c.head.shape.Slot([]codec.Step{{Name: keyMember(v.alias)}}, codec.WantAny)
		}
		c.parts = append(c.parts, part)
		c.names = append(c.names, v.alias)
	}
}

// keyMember is the member of a repartition record that holds a binding's key.
func keyMember(alias string) string { return alias + " key" }

// carry is how a writer with these bindings writes what the reader needs.
func (c *carrier) carry(view []*binding, l *layout) []operators.Part {
	var parts []operators.Part
	member := func(name string, value operators.MemberValue) {
		l.direct[value.Ref.Row] = true
		parts = append(parts, operators.Part{Name: memberName(name), Value: value})
	}
	for i, p := range c.parts {
		v := view[slices.IndexFunc(view, func(v *binding) bool { return v.alias == c.names[i] })]
		whole, _ := v.space.at(nil)
		member(c.names[i], operators.MemberValue{IsRef: true, Ref: whole.Ref})
		if p.KeySlot >= 0 {
			refs := v.key.refs()
			member(keyMember(c.names[i]), operators.MemberValue{IsRef: len(refs) == 1, Ref: refs[0], Refs: refs})
		}
	}
	return parts
}

// settle decides what waits until every sub-topology has been compiled: what a
// repartition topic carries is what its readers use, and what these carry on.
func settle(binders []*binder, carriers map[string]*carrier) {
	for again := true; again; {
		again = false
		for _, b := range binders {
			for _, w := range b.writers {
				again = carriers[w.topic].mark(w.view) || again
			}
		}
	}
	for _, topic := range sortedKeys(carriers) {
		carriers[topic].settle()
	}
	for _, b := range binders {
		for _, w := range b.writers {
			w.doc.Parts = carriers[w.topic].carry(w.view, b.c.layout)
		}
	}
	for again := true; again; {
		again = false
		for _, b := range binders {
			again = b.c.layout.settle() || again
		}
	}
}

// carried are the bindings that come out of a repartition topic: the input of
// its definition, and the tables that were joined before.
func (b *binder) carried(in *InputPlan) []*binding {
	d, defs := in.Def, b.plan.typed.defs
	if in.Right {
		return b.carriedRight(in)
	}
	if in.Join == dedupStep {
		return b.carriedKept(defs[d].dedup.kept)
	}
	value, key := defs[d.From[0].Def].value, defs[d.From[0].Def].key
	for _, other := range d.From[1:] {
		value, key = unite(value, defs[other.Def].value), unite(key, defs[other.Def].key)
	}
	view := []*binding{b.c.layout.newDocument(d.From[0].Alias, value, key, nil)}
	if d.own() > 1 {
		view = append(view, b.c.elements(d, *defs[d].element)...)
	}
	joins := in.Join
	if joins < 0 {
		joins = len(d.Joins)
	}
	for _, j := range d.Joins[:joins] {
		td := defs[j.Def]
		components := td.components
		if len(td.groupTypes) > 1 {
			components = td.groupTypes
		}
		view = append(view, b.c.layout.newDocument(j.Alias, td.value, td.key, components))
	}
	return view
}
