package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
)

// aggregate is one aggregate of a derived table: calls that are written alike
// share one.
type aggregate struct {
	text string
	of   operators.Aggregation // without arguments: these are programs over one layout
	typ  expr.Type
}

// defineGroups checks group_by and the select list of a derived table.
func (c *compiler) defineGroups(d *Def, branch int, view []*binding) {
	td := c.typed[d]
	if len(d.Query.GroupBy) == 0 {
		if branch == 0 {
			c.diags.Errorf(codeGroupBy, d.Decl.Span, "table %q needs group_by", d.Name).
				Help = "a table from a stream holds one row per group; without groups define it under streams:"
		}
		return
	}
	keys := c.groupKeys(d, view)
	if slices.Contains(keys, nil) {
		return
	}
	if branch == 0 {
		c.checkNull(codeGroupBy, d.Query.GroupBy[0].Expr.Span, keys)
	}
	td.groups = append(td.groups, identities(keys))
	td.groupView = view
	c.nameGroups(td, d, keys, branch)
	c.derive(d, view, c.layout.row(), &td.aggregates)
	c.checkGroups(d, keys)
	if branch == td.branches-1 {
		t := c.derivedTable(d, "")
		td.value, td.key = t.typ, t.key.typ
	}
}

// checkNull refuses a group that is null for every record: none would be in any.
func (c *compiler) checkNull(code diag.Code, at diag.Span, keys []*expr.Program) {
	for _, k := range keys {
		if k.Type().Kind == expr.Null {
			c.diags.Errorf(code, at, "%s is null for every record: all of them would be dropped", k.Text()).
				Help = "for one group of all records write a constant that is not null: '\"all\"'"
			return
		}
	}
}

// groupKeys compiles the expressions of group_by. A list written out stands
// for its elements.
func (c *compiler) groupKeys(d *Def, view []*binding) []*expr.Program {
	var keys []*expr.Program
	for _, g := range d.Query.GroupBy {
		p := c.program(g.Expr, scopeOf(view...), expr.Want{})
		if p == nil || g.Name.Set {
			keys = append(keys, p)
			continue
		}
		keys = append(keys, components(p)...)
	}
	return keys
}

// nameGroups notes the names and types of the components of the group key.
func (c *compiler) nameGroups(td *typedDef, d *Def, keys []*expr.Program, branch int) {
	if branch > 0 && len(td.groupTypes) == len(keys)+d.windowSlots() { // else the first branch has a fault of its own
		for i, k := range keys {
			td.groupTypes[i] = unite(td.groupTypes[i], k.Type())
		}
		return
	}
	named := len(keys) == len(d.Query.GroupBy)
	for i, k := range keys {
		name := ""
		if named {
			name = d.Query.GroupBy[i].Name.Value
		}
		if name == "" {
			name = lastStep(k.Text())
		}
		if slices.Contains(td.groupNames, name) {
			name = ""
		}
		td.groupNames = append(td.groupNames, name)
		td.groupTexts = append(td.groupTexts, k.Text())
		td.groupTypes = append(td.groupTypes, k.Type())
	}
	if d.windowed() {
		td.nameWindow()
	}
}

// lastStep is the field that a path names in the end, "" for what is no path.
func lastStep(text string) string {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '.' && c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return text[strings.LastIndexByte(text, '.')+1:]
}

// derived is what stands behind group_by, over the row that holds the group key
// and the aggregates.
type derived struct {
	*selection
	args   [][]*expr.Program // of the aggregates: programs over what is grouped
	having *expr.Program
}

// derive compiles the select list and having of a derived table over its row.
// Aggregates that are not in list are added to it. The arguments of the
// aggregates are programs over view.
func (c *compiler) derive(d *Def, view []*binding, row int, list *[]aggregate) derived {
	td := c.typed[d]
	args := make([][]*expr.Program, len(*list))
	groups := &groupSpace{row: row, td: td}
	bare := &binding{space: groups, key: groupKey(row, td)}
	scope := func(...*binding) *expr.Scope {
		s := scopeOf(bare)
		for _, b := range view {
			s.Bindings = append(s.Bindings, groupedBinding(b, groups, d))
		}
		s.Group = scopeOf(view...)
		s.Aggregate = func(call expr.AggregateCall) (expr.Resolved, diag.List) {
			at, programs, diags := c.aggregate(d, call, list)
			if at < 0 {
				return expr.Resolved{}, diags
			}
			for len(args) <= at {
				args = append(args, nil)
			}
			args[at] = programs
			c.layout.programs = append(c.layout.programs, programs...)
			return expr.Resolved{Ref: expr.Ref{Row: row, Slot: len(td.groupTypes) + at}, Type: (*list)[at].typ}, diags
		}
		return s
	}
	s := newSelection(c.layout)
	s.project.Policy = c.policy(d)
	columns := d.Query.Select
	if len(columns) == 0 {
		columns = []Column{{Spread: "*"}}
	}
	for _, col := range columns {
		if col.Spread == "*" {
			s.add(&column{of: &binding{space: groups, typ: groups.typ()}, slot: -1})
			continue
		}
		if col.Spread != "" {
			c.diags.Errorf(codeSelect, col.Span, "%s.* has one value per record, a table by group_by one row per group", col.Spread).
				Help = "name the group's fields, or aggregate: count(), sum(x), min(x), max(x)"
			continue
		}
		for _, made := range c.column(col, []*binding{bare}, scope) {
			s.add(made)
		}
	}
	s.seal()
	having := c.having(d, s, scope())
	c.countMembers(d, list)
	for len(args) < len(*list) {
		args = append(args, nil)
	}
	return derived{s, args, having}
}

// aggregate finds or adds a call, and gives the programs of its arguments; -1
// when it is wrong.
func (c *compiler) aggregate(d *Def, call expr.AggregateCall, list *[]aggregate) (int, []*expr.Program, diag.List) {
	var diags diag.List
	made, typ, fault := operators.NewAggregation(call.Name, call.Args, c.overChanges(d))
	if fault != nil {
		diags.Errorf(codeAggregateArgs, call.Span, "%s", fault.Text).Help = fault.Help
		return -1, nil, diags
	}
	for i, a := range *list {
		if a.text == call.Text {
			return i, made.Args, nil
		}
	}
	a := aggregate{text: call.Text, of: made, typ: typ}
	a.of.Args = nil
	*list = append(*list, a)
	return len(*list) - 1, made.Args, nil
}

// overChanges says that the records of d are a table's changes: what a row has
// added, its next change takes back. Windows that are sent once have no next change.
func (c *compiler) overChanges(d *Def) bool {
	return slices.ContainsFunc(d.From, func(in ResolvedInput) bool {
		return c.typed[in.Def].changes && !c.typed[in.Def].final
	})
}

// aggregations are the aggregates of list, for those who only read rows.
func aggregations(list []aggregate) []operators.Aggregation {
	out := make([]operators.Aggregation, len(list))
	for i, a := range list {
		out[i] = a.of
	}
	return out
}

// groupSpace is the bare names of a derived table's select list: the named
// components of the group key.
type groupSpace struct {
	row int
	td  *typedDef
}

func (g *groupSpace) at(path []codec.Step) (*expr.Resolved, string) {
	if len(path) == 0 || path[0].IsIndex {
		return nil, "a group has no value of its own: name a field of group_by"
	}
	if g.windowed(path[0].Name) {
		return g.windowField(path)
	}
	i := slices.Index(g.td.groupNames, path[0].Name)
	if i < 0 || path[0].Name == "" {
		return nil, ""
	}
	t, problem, ok := typeAt(g.td.groupTypes[i], path[1:])
	if !ok {
		return nil, problem
	}
	return &expr.Resolved{Ref: expr.Ref{Row: g.row, Slot: i}, Type: t, Rest: path[1:]}, ""
}

func (g *groupSpace) has(name string) presence {
	if name != "" && slices.Contains(g.td.groupNames, name) || g.windowed(name) {
		return present
	}
	return absent
}

func (g *groupSpace) names() []string {
	return slices.DeleteFunc(slices.Clone(g.td.groupNames), func(n string) bool { return n == "" })
}

func (g *groupSpace) typ() expr.Type {
	t := expr.Type{Kind: expr.Object}
	for i, n := range g.td.groupNames {
		if n != "" {
			t.Fields = append(t.Fields, expr.Field{Name: n, Type: g.td.groupTypes[i]})
		}
	}
	return t
}

func (g *groupSpace) pieces() []piece {
	var out []piece
	for i, n := range g.td.groupNames {
		if n != "" {
			ref := expr.Ref{Row: g.row, Slot: i}
			out = append(out, piece{name: n, slot: func() (expr.Ref, bool) { return ref, true }})
		}
	}
	return out
}

// groupKey is the key of a derived table: the components of the group key are
// the first slots of its row.
func groupKey(row int, td *typedDef) *keySpace {
	types := td.keyTypes()
	k := &keySpace{row: row, typ: expr.Type{Kind: expr.List}, components: types}
	if len(types) == 1 {
		k.typ = types[0]
	}
	k.own = func(path []codec.Step) *expr.Resolved {
		if len(types) == 1 {
			t, _, ok := typeAt(k.typ, path)
			if !ok {
				return nil
			}
			return &expr.Resolved{Ref: expr.Ref{Row: row}, Type: t, Rest: path}
		}
		if len(path) == 0 || !path[0].IsIndex || path[0].Index < 0 || path[0].Index >= len(types) {
			return nil
		}
		i := path[0].Index
		t, _, ok := typeAt(types[i], path[1:])
		if !ok {
			return nil
		}
		return &expr.Resolved{Ref: expr.Ref{Row: row, Slot: i}, Type: t, Rest: path[1:]}
	}
	return k
}

// holds says whether ref is the key or a part of it.
func (k *keySpace) holds(ref expr.Ref) bool {
	return ref.Row == k.row && (k.own == nil || ref.Slot < len(k.components))
}

// groupedBinding is an input as the select list of a derived table sees it:
// only what is grouped by has one value.
func groupedBinding(b *binding, groups *groupSpace, d *Def) *expr.Binding {
	return &expr.Binding{Alias: b.alias, Names: b.names, Resolve: func(path []codec.Step) (*expr.Resolved, string) {
		text := codec.PathText(path)
		if b.alias != "" {
			text = b.alias + "." + text
		}
		if b.alias == "" && len(path) > 0 && groups.has(path[0].Name) == present {
			return nil, "" // the bare name of the group is found elsewhere
		}
		for i, known := range groups.td.groupTexts {
			if known == text {
				return &expr.Resolved{Ref: expr.Ref{Row: groups.row, Slot: i}, Type: groups.td.groupTypes[i]}, ""
			}
		}
		if res, problem := b.resolve(path); res == nil {
			return nil, problem
		}
		return nil, fmt.Sprintf("%s differs between the records of a group: aggregate it, or add it to group_by", text)
	}}
}

// derivedTable is a derived table as a join or a reader of its changes sees it.
func (c *compiler) derivedTable(d *Def, alias string) *joinedTable {
	td := c.typed[d]
	row := c.layout.row()
	list := slices.Clone(td.aggregates)
	// The arguments of the aggregates are evaluated elsewhere: any view will do.
	s := c.derive(d, td.groupView, row, &list)
	c.layout.nameGroups(row, d.Name+".", len(td.groupTypes))
	b := &binding{alias: alias, typ: s.typ, space: s.selection, key: groupKey(row, td)}
	return &joinedTable{binding: b, def: d, row: row, selection: s.selection, having: s.having}
}
