package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/state"
)

// Joins of tables by a foreign key. A definition that joins tables takes the
// joins by primary key first, as far as they come first (typedDef.keyed), and
// each other one as a foreign-key join: the left rows so far are kept behind a
// boundary, and what they refer to is asked for through two topics that are called
// after the definition. So the left side may be any changes, and chains run in order.

// Names of what a foreign-key join keeps and sends.
func foreignState(d *Def, i int) string         { return joinName(d, i) + ".foreign" }
func foreignSubscriptions(d *Def, i int) string { return joinName(d, i) + ".subscriptions" }
func foreignAnswers(d *Def, i int) string       { return joinName(d, i) + ".answers" }

// keyedJoins is how many joins of d, from the first, compare primary keys.
func (c *compiler) keyedJoins(d *Def) int {
	if !d.From[0].Def.IsTable() {
		return 0
	}
	scratch := newCompiler(c.typed)
	own := scratch.out(d.From[0].Def, 0).as(d.From[0].Alias)
	view := []*binding{own}
	for i, j := range d.Joins {
		if !j.Def.IsTable() {
			return i
		}
		table := scratch.table(j.Def, j.Alias)
		keys := scratch.join(d, i, view, table)
		if len(keys) == 0 {
			return i
		}
		for at, k := range keys {
			if !scratch.primary(d, at, k, view) {
				return i
			}
		}
		view = append(view, table.binding)
	}
	return len(d.Joins)
}

// primary says whether k is a component of the primary key of a table in view.
func (c *compiler) primary(d *Def, at int, k *expr.Program, view []*binding) bool {
	for n, b := range view {
		td := c.typed[d.From[0].Def]
		if n > 0 {
			td = c.typed[d.Joins[n-1].Def]
		}
		if keyComponent(b, td, k) == at {
			return true
		}
	}
	return false
}

// checkForeign refuses an outer join that does not compare primary keys.
func (c *compiler) checkForeign(d *Def, i int) {
	j := d.Joins[i]
	if j.kind() != operators.OuterJoin {
		return
	}
	why := fmt.Sprintf("its condition does not compare the primary keys of %q and %q", d.From[0].Def.Name, j.Def.Name)
	help := "an outer join gives one row per primary key of both tables; by a foreign key use left, or inner"
	if keyed := c.typed[d].keyed; keyed < i || !d.From[0].Def.IsTable() {
		why = "the rows in front of it are not kept by a table"
		help = "make a table of what stands before it, under tables:, and join that"
	}
	c.diags.Add(diag.Errorf(codeJoinKey, j.Join.Kind.Span, "an outer join is not possible here: %s", why).WithHelp("%s", help))
}

// foreign plans a foreign-key join: flows are the changes of the left side,
// which goes on where the answers come in, too.
func (p *planner) foreign(d *Def, i int, flows []*flow) []*flow {
	right := d.Joins[i].Def
	home := flows[0].part
	for _, f := range flows {
		unitePart(home, f.part)
		f.input.Placed = true
	}
	there := p.table(right)
	if in := p.readers[right]; in != nil {
		in.Placed = true
	}
	keep := func(name string, part *part) {
		root := part.root()
		root.tables = append(root.tables, state.TableSpec{Name: name, Changelog: p.ownTopic(name+".changelog", part, compacted())})
	}
	keep(foreignState(d, i), home)
	keep(foreignSubscriptions(d, i), there)
	asks := p.ownTopic(foreignSubscriptions(d, i), there, repartitionConfigs())
	answers := p.ownTopic(foreignAnswers(d, i), home, repartitionConfigs())

	var left, all []string
	for _, f := range flows {
		left = sortedUnion(left, f.input.Origins)
	}
	all = left
	rights := p.stream(right)
	for _, f := range rights {
		all = sortedUnion(all, f.input.Origins)
		f.end(&Step{Kind: ForeignAnswerStep, Def: d, Join: i, Topic: answers})
	}
	asked := &InputPlan{Kind: SubscriptionInput, Topic: asks, Def: d, Join: i, Origins: left}
	asked.Steps = []*Step{{Kind: ForeignAnswerStep, Def: d, Join: i, Topic: answers}}
	there.root().inputs = append(there.root().inputs, asked)

	for _, f := range flows {
		f.add(&Step{Kind: ForeignStep, Def: d, Join: i, Topic: asks})
		f.facts = p.tableFact(d)
	}
	in := &InputPlan{Kind: AnswerInput, Topic: answers, Def: d, Join: i, Origins: all}
	home.root().inputs = append(home.root().inputs, in)
	back := &flow{part: home, input: in, tail: &in.Steps, branches: []int{0}, facts: p.tableFact(d)}
	back.add(&Step{Kind: ForeignResultStep, Def: d, Join: i})
	return append(flows, back)
}

// foreignInput says that an input is one side of a foreign-key join listening to the other.
func (in *InputPlan) foreignInput() bool {
	return in.Kind == SubscriptionInput || in.Kind == AnswerInput
}

// foreignBound is a foreign-key join as those behind it see it.
type foreignBound struct {
	spec *operators.Foreign
	view []*binding
}

// foreignBound draws the boundary of a foreign-key join. view is what stands in front.
func (b *binder) foreignBound(d *Def, i int, kept []keptBinding) *foreignBound {
	c, j := b.c, d.Joins[i]
	td := b.plan.typed.defs[j.Def]
	left := c.layout.bound(kept)
	right := c.layout.newDocument(j.Alias, td.value, td.key, td.keyComponents())
	doc, key := right.space.(*document), right.key
	out := &foreignBound{view: append(slices.Clone(left.view), right)}
	out.spec = &operators.Foreign{
		Policy: c.policy(d), Name: foreignState(d, i), Left: j.kind() == operators.LeftJoin, Kept: left.read(),
		Right: &operators.Table{Name: j.Def.Name, Shape: doc.shape, Row: doc.row, KeyRow: key.row,
			KeyUsed: func() bool { return key.used }, Components: len(key.components)},
	}
	return out
}

// foreignFront is what the left side of a foreign-key join sees: the bindings
// are those of a compiler of its own, for their types.
func (b *binder) foreignFront(d *Def, i int) []keptBinding {
	scratch := newCompiler(b.plan.typed.defs)
	return uniteKept(nil, scratch.view(d, 0)[:i+1])
}

// foreignLeft makes the left side of a foreign-key join at changes of the left rows.
func (b *binder) foreignLeft(s *Step, at cursor) []*operators.Node {
	c, d, i := b.c, s.Def, s.Join
	f := b.foreignBound(d, i, b.foreignFront(d, i))
	// The right table is compiled for the condition's sake only: it is not here.
	scratch := newCompiler(b.plan.typed.defs)
	f.spec.Keys = c.join(d, i, at.view, scratch.table(d.Joins[i].Def, d.Joins[i].Alias))
	f.spec.Key = at.view[0].key.refs()
	for _, ref := range f.spec.Key {
		c.layout.direct[ref.Row] = true
	}
	f.spec.Doc = keepBindings(c.layout, at.view)
	f.spec.Output, f.spec.Topic = b.outputOf(s.Topic), s.Topic
	f.spec.Format, f.spec.Origins = b.plan.readerOf(s.Topic).KeyFormat, b.numbered(s.Topic)
	at.out, at.view = nil, f.view
	return one(f.spec, b.nodes(s.Next, at))
}

// foreignAnswer makes the right side of a foreign-key join at changes of its rows.
func (b *binder) foreignAnswer(s *Step, out *binding) *operators.ForeignAnswer {
	spec := &operators.ForeignAnswer{
		Policy: b.c.policy(s.Def), Name: foreignSubscriptions(s.Def, s.Join), Key: out.key.refs(), Doc: keepTable(b.c.layout, out),
		Output: b.outputOf(s.Topic), Topic: s.Topic, Format: b.plan.readerOf(s.Topic).KeyFormat, Origins: b.numbered(s.Topic),
	}
	for _, ref := range spec.Key {
		b.c.layout.direct[ref.Row] = true
	}
	return spec
}

// foreignAsked makes the head that takes the subscriptions.
func (b *binder) foreignAsked(in *InputPlan) operators.Head {
	c, j := b.c, in.Def.Joins[in.Join]
	t := c.table(j.Def, "")
	h := &operators.ForeignSubscriptions{Policy: c.policy(in.Def), Origins: b.origins(in)}
	if t.doc != nil {
		c.layout.notJoined(t.memo)
		h.Table = b.table(t)
	} else {
		h.Groups, h.Columns = b.groups(t), t.selection.project
		h.Columns.Policy = c.policy(in.Def)
	}
	h.Answer = b.foreignAnswer(in.Steps[0], t.binding)
	return h
}

// foreignResult makes the head that takes the answers.
func (b *binder) foreignResult(in *InputPlan) operators.Head {
	d, i := in.Def, in.Join
	f := b.foreignBound(d, i, b.foreignFront(d, i))
	h := &operators.ForeignAnswers{Join: f.spec, Origins: b.origins(in)}
	h.Next = b.nodes(in.Steps[0].Next, cursor{in: in, view: f.view})
	return h
}

// foreignStates describes what the foreign-key joins keep in a sub-topology.
func (k *canon) foreignStates(s *SubPlan) []TableDescription {
	var out []TableDescription
	for _, t := range s.Tables {
		for _, d := range k.typed.Order {
			for i := range d.Joins {
				if t.Name == foreignState(d, i) || t.Name == foreignSubscriptions(d, i) {
					out = append(out, k.foreignTable(d, i, t.Name, s))
				}
			}
		}
	}
	return out
}

// foreignTable describes one of the two states of a foreign-key join.
func (k *canon) foreignTable(d *Def, i int, name string, s *SubPlan) TableDescription {
	x := k.walk(d, 0)
	t := TableDescription{Name: name, Kind: DerivedTable, Inputs: x.topics, Sub: s.Name}
	t.Changelogs = []string{k.changelog(name)}
	for _, step := range x.steps {
		behind := step.join > 0 && strings.HasPrefix(step.text, "where ") // all joins
		if step.join <= i+1 && !behind {
			t.Definition = append(t.Definition, step.text)
		}
	}
	t.Definition = append(slices.Clone(x.origin), t.Definition...)
	for _, v := range x.view[:i+1] {
		t.Definition = append(t.Definition, "as "+v.alias+" "+strings.Join(k.c.layout.value(v), ", "))
	}
	t.Definition = append(t.Definition, "partitions follow keys as "+s.KeyFormat.String())
	t.Fingerprint = fingerprint(t.Definition)
	return t
}

// foreign writes the steps of a foreign-key join.
func (w *textWriter) foreign(s *Step, depth int) {
	j := s.Def.Joins[s.Join]
	td := w.plan.typed.defs[s.Def]
	by := strings.Join(td.joins[0][s.Join].texts, ", ")
	switch s.Kind {
	case ForeignStep:
		w.linef(depth, "%s join %s %s by foreign key %s: asks for its rows through %s", j.kind(), j.Def.Name, j.Alias, oneLine(by), s.Topic)
	case ForeignAnswerStep:
		w.linef(depth, "answers %s %s, which joins %s by a foreign key, through %s", s.Def.Kind, s.Def.Name, j.Def.Name, s.Topic)
	case ForeignResultStep:
		w.linef(depth, "%s join %s %s by foreign key %s: an answer", j.kind(), j.Def.Name, j.Alias, oneLine(by))
	}
}
