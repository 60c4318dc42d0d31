package pipeline

import (
	"cmp"
	"fmt"
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
)

// Joins of tables by their primary key; those by a foreign key are in foreign.go.
// Every table of such a join has its rows
// in the same task, so that a change of any of them can look up the others. A
// definition with one has as many flows as its tables have, each beginning at
// the changes of one table; behind the join they all are changes of one result
// under the key that the tables share.

// joinsTables says that d joins tables with each other: it reads the changes of one.
func (c *compiler) joinsTables(d *Def) bool {
	return len(d.Joins) > 0 && len(d.From) == 1 && c.typed[d.From[0].Def].changes
}

// checkTableJoin refuses what a join of tables cannot do.
func (c *compiler) checkTableJoin(d *Def) bool {
	ok := true
	for _, j := range d.Joins {
		if !j.Def.IsTable() {
			c.diags.Errorf(codeJoinInput, j.Span, "%q holds a table's changes, %q is a %s: only tables can be joined to a table", d.From[0].Def.Name, j.Def.Name, j.Def.Kind).
				Help = fmt.Sprintf("read %s and join the table to it", j.Def.Name)
			ok = false
		}
	}
	return ok
}

// checkOuter refuses an outer join of a stream with a table.
func (c *compiler) checkOuter(d *Def, j ResolvedJoin) {
	if j.kind() != operators.OuterJoin {
		return
	}
	c.diags.Add(diag.Errorf(codeJoinInput, j.Join.Kind.Span, "an outer join of stream %q with table %q is not possible: a row that no record asks for has no moment at which it is unmatched", d.From[0].Def.Name, j.Def.Name).
		WithHelp("use left to keep the records without a row; to keep the rows too, make a table of the stream with group_by and join the two tables"))
}

// tableView is what a definition that joins tables sees: the first table, under the
// key of the result where primary keys are compared, and the others.
func (c *compiler) tableView(d *Def, first *binding) []*binding {
	if c.typed[d].keyed > 0 {
		first.key = c.resultKey(d)
	}
	view := []*binding{first}
	for i := range d.Joins {
		view = append(view, c.joined(d, i).binding)
	}
	return view
}

// resultKey gives out the row of the key that the result of a join of tables has.
func (c *compiler) resultKey(d *Def) *keySpace {
	td := c.typed[d.From[0].Def]
	k := &keySpace{row: c.layout.row(), typ: td.key, components: td.keyComponents()}
	for _, j := range d.Joins[:c.typed[d].keyed] {
		k.typ = unite(k.typ, c.typed[j.Def].key)
		for i, t := range c.typed[j.Def].keyComponents() {
			if i < len(k.components) {
				k.components[i] = unite(k.components[i], t)
			}
		}
	}
	components := len(k.components)
	c.layout.places[k.row] = place{label: "joined.key", slot: func(slot int) string {
		if slot > 0 && components > 0 {
			return fmt.Sprintf("joined.key[%d]", slot-1)
		}
		return "joined.key"
	}}
	return k
}

// keyComponents are the types of the components of a table's composite key, nil
// for a simple one.
func (td *typedDef) keyComponents() []expr.Type {
	if len(td.groupTypes) > 1 {
		return append([]expr.Type(nil), td.groupTypes...)
	}
	return append([]expr.Type(nil), td.components...)
}

// defineTableJoin checks the conditions of a join of tables.
func (c *compiler) defineTableJoin(d *Def) []*binding {
	td := c.typed[d]
	td.keyed = c.keyedJoins(d)
	first := c.out(d.From[0].Def, 0).as(d.From[0].Alias)
	if td.keyed > 0 {
		first.key = c.resultKey(d)
		c.typed[d.From[0].Def].timed = true
	}
	view := []*binding{first}
	for i, j := range d.Joins {
		table := c.table(j.Def, j.Alias)
		c.typed[j.Def].timed = true
		keys := c.join(d, i, view, table)
		if keys != nil && i >= td.keyed {
			c.checkForeign(d, i)
		}
		td.joins[0] = append(td.joins[0], joinKeysOf(keys))
		view = append(view, table.binding)
	}
	return view
}

// keyComponent says which component of the key of a table b is read by p; -1 = none.
func keyComponent(b *binding, td *typedDef, p *expr.Program) int {
	ref, ok := p.Ref()
	if !ok {
		return -1
	}
	for i, path := range td.keyPaths {
		if res, _ := b.space.at(path); path != nil && res != nil && res.Ref == ref && len(res.Rest) == 0 {
			return i
		}
	}
	used := b.key.used
	defer func() { b.key.used = used }()
	components := len(td.keyComponents())
	if components == 0 {
		if res, _ := b.key.at(nil); res != nil && res.Ref == ref {
			return 0
		}
		return -1
	}
	for i := range components {
		if res, _ := b.key.at([]codec.Step{{IsIndex: true, Index: i}}); res != nil && res.Ref == ref {
			return i
		}
	}
	return -1
}

// tableJoin brings the tables of d into one part: a flow for the changes of each.
func (p *planner) tableJoin(d *Def) []*flow {
	td := p.typed.defs[d]
	tables := []*Def{d.From[0].Def}
	for _, j := range d.Joins[:td.keyed] {
		tables = append(tables, j.Def)
	}
	seen := map[*Def]bool{}
	var flows []*flow
	var home *part
	for at, t := range tables {
		if seen[t] {
			continue
		}
		seen[t] = true
		if td.keyed == 0 {
			for _, f := range p.stream(t) {
				g := *f
				g.branches, g.facts = []int{0}, nil
				g.add(&Step{Kind: FromStep, Def: d})
				flows = append(flows, &g)
			}
			continue
		}
		part := p.table(t)
		if home == nil {
			home = part
		}
		if !agree(home, part) {
			p.diags.Add(p.otherFormats(d, at-1, home, part))
			continue
		}
		unitePart(home.root(), part)
		if in := p.readers[t]; in != nil {
			in.Placed = true
		}
		for _, f := range p.stream(t) {
			g := *f
			g.branches, g.facts = []int{0}, p.tableFact(d)
			g.add(&Step{Kind: TableJoinStep, Def: d, Join: at - 1})
			flows = append(flows, &g)
		}
	}
	for i := td.keyed; i < len(d.Joins); i++ {
		flows = p.foreign(d, i, flows)
	}
	if d.Query.Where.Set {
		addAll(flows, WhereStep, d)
	}
	return flows
}

// otherFormats explains why two tables cannot lie side by side.
func (p *planner) otherFormats(d *Def, join int, home, part *part) diag.Diagnostic {
	j := d.Joins[join]
	return diag.Errorf(codeJoinInput, j.Span, "the keys of %q are written as %s, those of %q as %s: rows with equal keys lie in partitions of different numbers",
		d.From[0].Def.Name, home.root().keyFormat, j.Def.Name, part.root().keyFormat).
		WithNote(j.Def.Decl.Span, "%q is defined here", j.Def.Name).
		WithHelp("give one of the tables a key of its own, as in `key: int(key)`: its rows are then copied to where they are needed")
}

// tableJoin makes a join of tables at the changes of one of them.
func (b *binder) tableJoin(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	changed := d.From[0].Def
	if s.Join >= 0 {
		changed = d.Joins[s.Join].Def
	}
	spec := &operators.TableJoin{Policy: c.policy(d), Key: at.out.key.refs()}
	for _, ref := range spec.Key {
		c.layout.direct[ref.Row] = true
	}
	var view []*binding
	var columns []*operators.Project // of the aggregated tables
	side := func(def *Def, alias string, kind operators.JoinKind) {
		out := operators.TableSide{Kind: kind, Triggers: def == changed}
		var t *joinedTable
		if out.Triggers {
			t = b.changing(def, at.out, alias)
		} else {
			t = c.table(def, alias)
		}
		if t.doc != nil {
			if !out.Triggers {
				c.layout.notJoined(t.memo)
			}
			out.Table = b.docSide(t)
		} else {
			out.Groups = b.groups(t)
			t.selection.project.Policy = c.policy(d)
			columns = append(columns, t.selection.project)
		}
		spec.Sides, view = append(spec.Sides, out), append(view, t.binding)
	}
	side(d.From[0].Def, d.From[0].Alias, operators.InnerJoin)
	for _, j := range d.Joins[:b.plan.typed.defs[d].keyed] {
		side(j.Def, j.Alias, j.kind())
	}
	key := c.resultKey(d)
	spec.KeyRow, spec.Components = key.row, len(key.components)
	view[0] = view[0].as(view[0].alias)
	view[0].key = key
	at.view = view
	next := b.nodes(s.Next, at)
	for _, p := range columns {
		next = one(p, next)
	}
	return one(spec, next)
}

// changing is the table whose changes arrive, as one side of the join sees it.
func (b *binder) changing(def *Def, out *binding, alias string) *joinedTable {
	t := &joinedTable{binding: out.as(alias), def: def, row: out.key.row}
	switch space := out.space.(type) {
	case *document:
		t.doc, t.row = space, space.row
	case *selection:
		t.selection = space
	}
	return t
}

// docSide describes how the rows of a table of documents are decoded; of one
// whose changes arrive only what stands for a row that is not there.
func (b *binder) docSide(t *joinedTable) *operators.Table {
	if t.memo != nil {
		return b.table(t)
	}
	key := t.key
	return &operators.Table{
		Name: t.def.Name, Shape: t.doc.shape, Row: t.doc.row, KeyRow: key.row,
		KeyUsed: func() bool { return key.used }, Components: len(key.components),
	}
}

// kind says what becomes of rows without a partner.
func (j ResolvedJoin) kind() operators.JoinKind {
	switch j.Join.Kind.Value {
	case "left":
		return operators.LeftJoin
	case "outer":
		return operators.OuterJoin
	}
	return operators.InnerJoin
}

// readersFirst orders those who take the changes of a table where a join of tables is
// among them: the ones whose definitions depend on more come first. A join is then
// told of a change before any other table that it reads changes because of
// it, so that what it gave before the change can be computed from the rows there are.
func readersFirst(steps []*Step, order map[*Def]int) {
	joins := false
	for _, s := range steps {
		readersFirst(s.Next, order)
		joins = joins || s.Kind == TableJoinStep
	}
	if joins {
		slices.SortStableFunc(steps, func(a, b *Step) int { return cmp.Compare(order[b.Def], order[a.Def]) })
	}
}
