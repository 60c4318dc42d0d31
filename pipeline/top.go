package pipeline

import (
	"slices"
	"strconv"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// A top table has, of the rows of another table, the first of each group, with
// their rank; or one row per group, the list of them:
//
//	table -> select -> (repartition of changes by `per`) -> top
//	table -> select -> (repartition of changes by `per`) -> top -> materialised list
//
// The key of a row is that of the input where that decides the group. Where it
// does not, a row can move to another group, and so to another task: its going and
// its coming are then told by two tasks, in no order between them. So the group
// becomes a part of the key, and the two are rows of their own.
//
// The rows lie by their group, not by their key: they are strewn. Nobody can look
// them up until they are kept as a table of their own, `tables: {x: {from: TOP}}`, which
// brings them to where their keys belong. A list lies by its key.

const (
	// codeTop: what a top asks for cannot be done.
	codeTop diag.Code = "top"
)

// maxTop bounds n: every change looks at that many rows of its group.
const maxTop = 10_000

// Numbers that stand for a join's where a repartition leads to something else;
// -1 is a group_by.
const (
	topStep = -2 // a top
	keyStep = -3 // a materialised table whose input is strewn
)

// topState is the name of the state in which a top table keeps all rows in order.
func (d *Def) topState() string {
	if d.topRows() {
		return d.Name
	}
	return d.Name + ".order"
}

// topRows says that d is a top table of rows.
func (d *Def) topRows() bool {
	return d.Query != nil && d.Query.Top != nil && !d.Query.Top.List.Set
}

// typedTop is what the checks found out about a top.
type typedTop struct {
	n       int
	ids     []string // by branch: identity of the group
	texts   []string // of the group
	grouped bool     // the group stands before the key
	// Of the rows that come in.
	row, key   expr.Type
	components []expr.Type // of a composite key
	bare       []string    // aliases that mean the row
}

// topClause reads `top:`.
func (p *parser) topClause(q *Query) func(*syntax.Node) {
	return func(n *syntax.Node) {
		t := &Top{Span: n.Span}
		q.Top = t
		p.mapping(n, "top", n.Span, []key{
			{name: "n", read: func(n *syntax.Node) { t.N = p.number(n, "n", 1, maxTop) }, required: "n: 10"},
			{name: "by", read: p.expression(&t.By), required: "by: EXPRESSION"},
			{name: "order", read: func(n *syntax.Node) { t.Order = p.choice(n, "order", []string{"desc", "asc"}, nil) }},
			{name: "per", read: p.expression(&t.Per)},
			{name: "list", read: func(n *syntax.Node) { t.List = p.text(n, "the name of a field") }},
		}, hints{
			"limit":    "did you mean \"n\"?",
			"order_by": "did you mean \"by\"?",
			"group_by": "did you mean \"per\"?",
			"ties":     "rows with equal values share a rank; the smaller key comes first, and there are never more than n rows",
		})
	}
}

// scope is what by and per see: the fields and the key of the result. Where
// there is no select that is the input, and its alias may be written.
func (tt *typedTop) scope(row *binding) *expr.Scope {
	bindings := []*binding{row.as("")}
	for _, alias := range tt.bare {
		bindings = append(bindings, row.as(alias))
	}
	return scopeOf(bindings...)
}

// topGroup compiles the components of the group; none = all rows are one.
func (c *compiler) topGroup(d *Def, row *binding) []*expr.Program {
	return components(c.program(d.Query.Top.Per, c.typed[d].top.scope(row), expr.Want{}))
}

// topOrder compiles the values that rows are ordered by.
func (c *compiler) topOrder(d *Def, row *binding) []*expr.Program {
	return components(c.program(d.Query.Top.By, c.typed[d].top.scope(row), expr.Want{}))
}

// defineTop checks the top of a materialised table, whose rows out gives.
func (c *compiler) defineTop(d *Def, branch int, out *binding) {
	td, t := c.typed[d], d.Query.Top
	if branch == 0 {
		td.top = &typedTop{grouped: true}
		td.top.n, _ = strconv.Atoi(t.N.Value) // the parser has refused what is no number
		if len(d.Query.Select) == 0 && len(d.Joins) == 0 && d.From[0].Alias != "" {
			td.top.bare = []string{d.From[0].Alias}
		}
	}
	tt := td.top
	group, order := c.topGroup(d, out), c.topOrder(d, out)
	for _, by := range order {
		if k := by.Type().Kind; k == expr.Object || k == expr.List {
			c.diags.Errorf(codeTop, t.By.Span, "by is of type %s, which has no order", by.Type()).
				Help = "order by a number or a string; by several, one after the other, with a list: '[a, b]'"
		}
	}
	if k := out.typ.Kind; k != expr.Object && k != expr.Any {
		c.diags.Errorf(codeTop, t.Span, "the rows are of type %s: only an object can get a rank", out.typ).
			Help = "make objects of them with select"
	}
	if t.List.Set && !t.Per.Set {
		c.diags.Errorf(codeTop, t.List.Span, "list: makes one row per group, and its key is the group: there is no per").
			Help = "add `per: EXPRESSION`; for one list over all rows, a constant: `per: '\"all\"'`"
	}
	if branch == 0 {
		c.checkNull(codeTop, t.Per.Span, group)
		c.checkRank(d, out)
	}
	id := joinIdentity(identities(group))
	if len(group) == 0 {
		id = "" // wherever rows lie, they lie elsewhere
	}
	tt.ids = append(tt.ids, id)
	if branch == 0 {
		for _, g := range group {
			tt.texts = append(tt.texts, g.Text())
		}
	}
	tt.grouped = tt.grouped && !decidedByKey(group, out.key)
	tt.row, tt.key, tt.components = td.value, td.key, td.components
	td.value, td.key, td.components = tt.result(t, group)
	td.strewn = d.topRows()
}

// topOfStream refuses to order facts.
func (c *compiler) topOfStream(d *Def) {
	c.diags.Errorf(codeTop, d.Query.Top.Span, "%q is a stream of facts: top orders the rows of a table", d.From[0].Def.Name).
		Help = "group them with group_by in the same definition, or let a table read the topic"
}

// decidedByKey says that the group of a row never changes: it depends on the key
// alone, or is the same for all.
func decidedByKey(group []*expr.Program, key *keySpace) bool {
	for _, g := range group {
		if !g.Pure() {
			return false
		}
		for _, ref := range g.Refs() {
			if key == nil || !key.holds(ref) {
				return false
			}
		}
	}
	return true
}

// result is the type of the rows and of the key that the table has.
func (tt *typedTop) result(t *Top, group []*expr.Program) (row, key expr.Type, components []expr.Type) {
	var groups []expr.Type
	for _, g := range group {
		groups = append(groups, g.Type())
	}
	if t.List.Set {
		elem := tt.row
		row = expr.Type{Kind: expr.Object, Fields: []expr.Field{{Name: t.List.Value, Type: expr.Type{Kind: expr.List, Elem: &elem}}}}
		if len(groups) == 1 {
			return row, groups[0], nil
		}
		return row, expr.Type{Kind: expr.List}, groups
	}
	row = expr.Type{Kind: expr.Object, Open: tt.row.Open || tt.row.Kind == expr.Any}
	row.Fields = slices.DeleteFunc(slices.Clone(tt.row.Fields), func(f expr.Field) bool { return f.Name == rankField })
	row.Fields = append(row.Fields, expr.Field{Name: rankField, Type: expr.Type{Kind: expr.Int}})
	if !tt.grouped {
		return row, tt.key, tt.components
	}
	own := tt.components
	if len(own) == 0 {
		own = []expr.Type{tt.key}
	}
	return row, expr.Type{Kind: expr.List}, slices.Concat(groups, own)
}

// rankField is the field that a row gets.
const rankField = "rank"
