package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/operators"
	"streamctl/state"
)

// A materialised table is one under tables: with from: and without group_by:
// the changes of another table, filtered, joined and projected, with their rows
// kept. Its key is that of its input, so that it lies where that lies.

// materialized says that the rows of d are kept as they come.
func (d *Def) materialized() bool {
	return d.Kind == DerivedTableDef && len(d.Query.GroupBy) == 0
}

// checkPassing refuses to keep rows of windows for ever: when a window closes,
// its row leaves the state, and those who have read it are not told.
func (c *compiler) checkPassing(d *Def) {
	td, from := c.typed[d], d.From[0]
	td.passing = from.Def.windowed() || c.typed[from.Def].passing
	switch {
	case !td.passing:
	case td.tableJoin && !from.Def.windowed(): // that has been refused
		c.refuseWindows(from)
	case d.materialized() && d.TTL == 0:
		help := "say how long with ttl, or define it under streams: if nobody needs its rows"
		if d.Query.Top != nil {
			help = fmt.Sprintf("let it read a table that says how long: `NAME: {from: %s, ttl: 30d}`", from.Def.Name)
		}
		c.diags.Errorf(codeWindow, from.Span, "table %q would keep the rows of windows for ever: %q has one for each", d.Title(), from.Def.Name).
			Help = help
	case d.materialized():
		td.passing = false // its rows go when their ttl is over, and that is told
	case d.Kind == DerivedTableDef && !d.materialized():
		td.passing = false // rows are those of its groups
	}
}

// defineMaterialized notes what a branch of a materialised table gives.
func (c *compiler) defineMaterialized(d *Def, branch int, out *binding) {
	td := c.typed[d]
	if !td.changes {
		if branch == 0 {
			if d.Query.Top != nil {
				c.topOfStream(d)
				return
			}
			c.diags.Errorf(codeGroupBy, d.Decl.Span, "table %q needs group_by", d.Name).
				Help = "a table from a stream holds one row per group; without groups define it under streams:"
		}
		return
	}
	td.kept = uniteKept(td.kept, []*binding{out})
	td.value, td.key, td.components = td.kept[0].value, td.kept[0].key, td.kept[0].components
	td.strewn = false
	if d.Query.Top != nil {
		c.defineTop(d, branch, out)
	}
}

// materialize plans a materialised table and gives the part that has it.
func (p *planner) materialize(d *Def) *part {
	flows := p.query(d)
	for _, f := range flows {
		f.add(&Step{Kind: SelectStep, Def: d, Branch: f.branches[0]})
	}
	if d.Query.Top != nil {
		flows = p.top(d, flows)
	}
	if d.topRows() { // kept in order, and nowhere else
		p.tables[d], p.flows[d] = flows[0].part, flows
		return flows[0].part.root()
	}
	flows = p.byKey(d, flows)
	var home *part
	for _, f := range flows {
		if home == nil {
			home = f.part
		}
		unitePart(home, f.part)
		f.add(&Step{Kind: MaterializeStep, Def: d, Branch: f.branches[0]})
		f.branches, f.facts = []int{0}, p.tableFact(d)
	}
	p.tables[d], p.flows[d] = home, flows
	root := home.root()
	root.tables = append(root.tables, state.TableSpec{Name: d.Name, Changelog: p.ownTopic(d.Name+".changelog", home, compacted())})
	return root
}

// materialize makes a materialised table and those behind it.
func (b *binder) materialize(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	spec := &operators.Materialize{
		Policy: c.policy(d), Name: d.Name, Key: at.out.key.refs(),
		Doc: keepTable(c.layout, at.out), Timed: b.plan.typed.defs[d].timed, TTL: d.TTL.Milliseconds(),
	}
	for _, ref := range spec.Key {
		c.layout.direct[ref.Row] = true
	}
	if len(s.Next) == 0 {
		return one(spec, nil)
	}
	t := c.table(d, "")
	c.layout.notJoined(t.memo)
	spec.Reader = b.table(t)
	at.out, at.view = t.binding, nil
	return one(spec, b.nodes(s.Next, at))
}

// materialized writes what makes the rows of a materialised table.
func (k *canon) materialized(d *Def, t *TableDescription) {
	t.Kind = DerivedTable
	t.Changelogs = []string{k.changelog(d.Name)}
	x := k.walk(d, 0)
	row := k.c.selected(d, x.view)
	columns := k.c.layout.value(row)
	t.Inputs = x.topics
	t.Definition = append([]string{"rows " + strings.Join(columns, ", ")}, x.lines(columns)...)
	if k.typed.defs[d].timed {
		t.Definition = append(t.Definition, timedLine)
	}
	if d.Query.Top != nil {
		k.top(d, t, row)
	}
	if d.TTL > 0 {
		t.Definition = append(t.Definition, d.ttlLine())
	}
	t.Definition = append(t.Definition, "partitions follow keys as "+k.plan.keeper(d.Name).KeyFormat.String())
}

// timedLine tells that the rows of a table are of the form that has their event time.
const timedLine = "rows with their event time"

// tableJoins writes the joins of a definition that joins tables. All of them
// count, whether something reads the joined rows or not: a change of any of the
// tables is one of the result.
func (k *canon) tableJoins(d *Def, view []*binding) []walkedStep {
	var steps []walkedStep
	for i, j := range d.Joins {
		keys := k.c.join(d, i, view[:i+1], k.c.joined(d, i))
		steps = append(steps, walkedStep{join: i + 1, text: fmt.Sprintf("%s join of tables %s (%s) on %s",
			j.kind(), j.Def.Name, k.table(j.Def).Fingerprint, strings.Join(k.exprs(keys), ", "))})
	}
	return steps
}

// tablesOf are the outer topics from which the joined tables of d come.
func (k *canon) tablesOf(d *Def) []string {
	var topics []string
	for _, j := range d.Joins {
		topics = append(topics, k.table(j.Def).origins()...)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}
