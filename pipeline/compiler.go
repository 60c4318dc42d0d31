package pipeline

import (
	"fmt"
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
)

// compiler turns the texts of definitions into programs over one layout. It
// serves twice: while checking, one compiler goes over all definitions as the
// file tells them; while binding, one per sub-topology makes what that runs.
// Both go through the same functions, so that what was checked is what runs.
type compiler struct {
	typed  map[*Def]*typedDef
	layout *layout
	diags  diag.List
	roots  map[*Def]*root      // sources and topic tables as they are read
	outs   map[outKey]*binding // what definitions give, by branch
	// functions are the user's own.
	functions map[string]*expr.Function
}

// outKey names what a definition gives along one branch.
type outKey struct {
	def    *Def
	branch int
}

func newCompiler(typed map[*Def]*typedDef) *compiler {
	c := &compiler{typed: typed, layout: newLayout(), roots: map[*Def]*root{}, outs: map[outKey]*binding{}}
	for _, td := range typed { // any of them
		c.functions = td.functions
		break
	}
	return c
}

// program compiles one expression; nil when it is left out or wrong.
func (c *compiler) program(t Text, scope *expr.Scope, want expr.Want) *expr.Program {
	if !t.Set {
		return nil
	}
	scope.Functions = c.functions
	p, diags := expr.Compile(sourceOf(t), scope, want)
	c.diags.Append(diags)
	if p != nil {
		c.layout.programs = append(c.layout.programs, p)
	}
	return p
}

// sourceOf is the text of an expression with its place in the file.
func sourceOf(t Text) expr.Source {
	return expr.Source{Text: t.Value, At: func(start, end int) diag.Span {
		if t.Node == nil {
			return t.Span
		}
		return t.Node.At(start, end)
	}}
}

// root is a source or a topic table as its topic is read: the scope of its own
// expressions, and these.
type root struct {
	in        *binding // bare names
	doc       *document
	keyPaths  [][]codec.Step // of a table, see typedDef
	timestamp *expr.Program
	placed    []*expr.Program // partitioned_by, by component
	key       *expr.Program   // of a table
	value     *expr.Program   // of a table
}

// root compiles what a source or topic table says of its own topic.
func (c *compiler) root(d *Def) *root {
	if r := c.roots[d]; r != nil {
		return r
	}
	td := c.typed[d]
	r := &root{in: c.layout.newDocument("", td.raw, formatType(td.keyFormat), nil)}
	r.doc = r.in.space.(*document)
	c.roots[d] = r
	c.layout.nameDocument(r.in, "")
	scope := scopeOf(r.in)
	paths := recordPaths(scope.Bindings[0], r)
	timestamp, placed := Text{}, Text{}
	if d.Kind == SourceDef {
		timestamp, placed = d.Source.Timestamp, d.Source.PartitionedBy
	} else {
		timestamp, placed = d.Table.Timestamp, d.Table.PartitionedBy
		r.key = c.program(d.Table.Key, scope, expr.Want{})
		r.value = c.program(d.Table.Value, scope, expr.Want{})
		for _, k := range components(r.key) {
			ref, ok := k.Ref()
			if !ok || r.value != nil {
				ref.Row = -1
			}
			r.keyPaths = append(r.keyPaths, paths[ref])
		}
	}
	r.timestamp = c.program(timestamp, scope, expr.Want{Kind: expr.Int, For: "timestamp"})
	r.placed = components(c.program(placed, scope, expr.Want{}))
	return r
}

// recordPaths notes which paths of the value the expressions of a root name.
func recordPaths(b *expr.Binding, r *root) map[expr.Ref][]codec.Step {
	paths := map[expr.Ref][]codec.Step{}
	resolve := b.Resolve
	b.Resolve = func(path []codec.Step) (*expr.Resolved, string) {
		res, problem := resolve(path)
		if res != nil && res.Ref.Row == r.doc.row && len(path) > 0 {
			if r.doc.has("value") != present && path[0].Name == "value" {
				path = path[1:]
			}
			paths[res.Ref] = slices.Clone(path)
		}
		return res, problem
	}
	return paths
}

// components are the parts of a composite key, or the one program of a simple key.
func components(p *expr.Program) []*expr.Program {
	if p == nil {
		return nil
	}
	if items, ok := p.Items(); ok {
		return items
	}
	return []*expr.Program{p}
}

// out is what readers of d find along a branch, without an alias.
func (c *compiler) out(d *Def, branch int) *binding {
	k := outKey{d, branch}
	if b := c.outs[k]; b != nil {
		return b
	}
	var b *binding
	switch d.Kind {
	case SourceDef:
		b = c.root(d).in
	case TopicTableDef, DerivedTableDef:
		b = c.table(d, "").binding
	case StreamDef:
		view := c.view(d, branch)
		b = c.selected(d, view)
	}
	c.outs[k] = b
	return b
}

// view is what the select list of d sees along a branch.
func (c *compiler) view(d *Def, branch int) []*binding {
	if d.searches() {
		return c.found(d, c.viewInFront(d, branch))
	}
	if d.Query.Match != nil {
		return c.matchView(d).view
	}
	return c.viewInFront(d, branch)
}

// viewInFront is view in front of a match.
func (c *compiler) viewInFront(d *Def, branch int) []*binding {
	in, branch := d.input(branch, c.typed)
	view := c.front(d, c.out(in.Def, branch).as(in.Alias))
	if d.streamJoins() {
		return c.streamViewOf(d)
	}
	if c.typed[d].tableJoin {
		return c.tableView(d, view[0])
	}
	for i := range d.Joins {
		view = append(view, c.joined(d, i).binding)
	}
	return view
}

// member is what a definition sees of one of its inputs while it is checked: where
// there are several, messages must say which of them is meant.
func (c *compiler) member(d *Def, in ResolvedInput, branch int) *binding {
	b := c.out(in.Def, branch).as(in.Alias)
	if len(d.From) == 1 {
		return b
	}
	b.lacks = func(field string) string {
		for other := range c.typed[d].branches {
			if from, at := d.input(other, c.typed); c.out(from.Def, at).space.has(field) != absent {
				return fmt.Sprintf("%s %q", in.Def.Kind, in.Def.Name)
			}
		}
		return ""
	}
	return b
}

// as is b under another alias.
func (b *binding) as(alias string) *binding {
	other := *b
	other.alias, other.used, other.lacks = alias, false, nil
	return &other
}

// input finds the input of d that a branch comes in by, and the branch there.
func (d *Def) input(branch int, typed map[*Def]*typedDef) (ResolvedInput, int) {
	for _, in := range d.From {
		n := typed[in.Def].branches
		if branch < n {
			return in, branch
		}
		branch -= n
	}
	panic(fmt.Sprintf("pipeline: %s has no branch %d", d.Name, branch))
}

// joinedTable is a table as one join, or a reader of its changes, sees it.
type joinedTable struct {
	*binding
	def *Def
	// Of a topic table: its row, and the texts kept with what is found.
	doc  *document
	memo *memoTable
	// Of a derived table: the row of keys and aggregates, and what select makes of it.
	row       int
	selection *selection
	having    *expr.Program
}

// table makes the binding of a table.
func (c *compiler) table(d *Def, alias string) *joinedTable {
	td := c.typed[d]
	if d.Kind == DerivedTableDef && !d.materialized() {
		return c.derivedTable(d, alias)
	}
	b := c.layout.newDocument(alias, td.value, td.key, td.components)
	doc := b.space.(*document)
	c.layout.nameDocument(b, d.Name+".")
	return &joinedTable{binding: b, def: d, doc: doc, row: doc.row, memo: c.layout.joined(doc.row, b.key.row)}
}

// where compiles the condition of a query. It may name joined tables: it is
// then late, and decided behind the joins.
func (c *compiler) where(d *Def, view []*binding) (p *expr.Program, late bool) {
	if !d.Query.Where.Set {
		return nil, false
	}
	used := make([]bool, len(view))
	for i, b := range view {
		used[i], b.used = b.used, false
	}
	scope := scopeOf(view...)
	if len(d.Query.GroupBy) > 0 {
		scope.NoAggregates.Reason = "where chooses records before they are grouped"
		scope.NoAggregates.Help = "write `having: ...`, which chooses groups by what is computed over them"
	}
	p = c.program(d.Query.Where, scope, expr.Want{Kind: expr.Bool, For: "where"})
	for i, b := range view {
		late = late || b.used && i >= d.own()
		b.used = b.used || used[i]
	}
	return p, late
}

// selected compiles the select list of a stream.
func (c *compiler) selected(d *Def, view []*binding) *binding {
	if len(d.Query.Select) == 0 && len(view) == 1 {
		return view[0].as("")
	}
	s := newSelection(c.layout)
	s.project.Policy = c.policy(d)
	columns := d.Query.Select
	if len(columns) == 0 {
		columns = []Column{{Spread: "*", Span: d.Decl.Name.Span}}
		if d.own() > 1 {
			columns = append(columns, elementColumn(d))
		}
	}
	spread := map[*binding]bool{}
	for _, col := range columns {
		for _, made := range c.column(col, view, scopeOf) {
			if made.of != nil && spread[made.of] {
				c.diags.Errorf(codeSelect, col.Span, "%s.* stands here a second time", made.of.alias).
					Help = "once is enough: later entries win over earlier ones of the same name"
				continue
			}
			spread[made.of] = true
			s.add(made)
		}
	}
	s.seal()
	return &binding{typ: s.typ, key: view[0].recordKey(), space: s}
}

// column compiles one entry of a select list.
func (c *compiler) column(col Column, view []*binding, scope func(...*binding) *expr.Scope) []*column {
	if col.Spread != "" {
		var out []*column
		for _, b := range view {
			if col.Spread == "*" && b.isMatched() {
				out = append(out, c.column(matchedColumn(col.Span), view, scope)...)
			} else if col.Spread == "*" && b.plain {
				continue // an element has a name of its own
			} else if col.Spread == "*" || b.alias == col.Spread {
				out = append(out, c.spread(col, b))
			}
		}
		if out == nil {
			d := c.diags.Errorf(codeUnknownName, col.Span, "there is no input %q to spread", col.Spread)
			if near := diag.Nearest(col.Spread, aliases(view)); near != "" {
				d.Help = fmt.Sprintf("did you mean %s.*?", near)
			}
		}
		return out
	}
	var last *plainPath
	reads := 0
	s := scope(view...)
	for i, b := range s.Bindings {
		resolve := b.Resolve
		b.Resolve = func(path []codec.Step) (*expr.Resolved, string) {
			res, problem := resolve(path)
			if res != nil && i < len(view) {
				last, reads = &plainPath{of: view[i], path: slices.Clone(path)}, reads+1
			}
			return res, problem
		}
	}
	p := c.program(col.Expr, s, expr.Want{})
	if p == nil {
		return nil
	}
	out := &column{name: col.Name.Value, program: p, slot: -1}
	if _, ok := p.Ref(); ok && reads == 1 {
		out.plain = last
	}
	return []*column{out}
}

func aliases(view []*binding) []string {
	var names []string
	for _, b := range view {
		if b.alias != "" {
			names = append(names, b.alias)
		}
	}
	return names
}

// spread compiles `alias.* except [...]`.
func (c *compiler) spread(col Column, b *binding) *column {
	out := &column{of: b, slot: -1}
	for _, e := range col.Except {
		if b.space.has(e.Value) == absent && col.Spread != "*" {
			d := c.diags.Errorf(codeUnknownField, e.Span, "%s has no field %s", col.Spread, e.Value)
			if near := diag.Nearest(e.Value, b.space.names()); near != "" {
				d.Help = fmt.Sprintf("did you mean %s?", near)
			}
		}
		out.except = append(out.except, e.Value)
	}
	if k := b.typ.Kind; k != expr.Object && k != expr.Any {
		c.diags.Errorf(codeSelect, col.Span, "%s is of type %s: only an object can be spread", b.alias, b.typ).
			Help = "give it a name in select, as `NAME: EXPRESSION`; without select every input is spread"
	}
	return out
}

// policy says what becomes of records that d cannot process.
func (c *compiler) policy(d *Def) *operators.Policy {
	return &operators.Policy{Operator: d.Title(), Span: d.Decl.Span, OnError: operators.OnError(d.OnError)}
}
