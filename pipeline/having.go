package pipeline

import (
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/operators"
)

// having compiles the condition that rows of a derived table must satisfy. It
// sees the columns of select, then the names of the group and aggregates, and
// reads nothing but the row of the group: those who look a row up decide by it
// before any column is computed.
func (c *compiler) having(d *Def, s *selection, scope *expr.Scope) *expr.Program {
	if !d.Query.Having.Set {
		return nil
	}
	groups := scope.Bindings[0]
	scope.Bindings[0] = &expr.Binding{
		Names: func() []string { return append(fieldNames(s.typ), groups.Names()...) },
		Resolve: func(path []codec.Step) (*expr.Resolved, string) {
			if res, problem, ok := s.inlined(path); ok {
				return res, problem
			}
			return groups.Resolve(path)
		},
	}
	p := c.program(d.Query.Having, scope, expr.Want{Kind: expr.Bool, For: "having"})
	if p != nil && !p.Pure() {
		c.diags.Errorf(codeHaving, d.Query.Having.Span, "having depends on the clock: a row would have to come and go without a change").
			Help = "compare with a time that the records carry, such as max(v.time)"
	}
	return p
}

// inlined finds a named column as the program that computes it.
func (s *selection) inlined(path []codec.Step) (res *expr.Resolved, problem string, ok bool) {
	if len(path) == 0 || path[0].IsIndex {
		return nil, "", false
	}
	for _, col := range slices.Backward(s.columns) {
		if col.of != nil || col.name != path[0].Name {
			continue
		}
		t, problem, known := typeAt(col.program.Type(), path[1:])
		if !known {
			return nil, problem, true
		}
		if ref, plain := col.program.Ref(); plain {
			return &expr.Resolved{Ref: ref, Type: t, Rest: path[1:]}, "", true
		}
		return &expr.Resolved{Program: col.program, Type: t, Rest: path[1:]}, "", true
	}
	return nil, "", false
}

// countMembers adds the aggregate that tells whether a group has rows left,
// where one without them need not be remembered.
func (c *compiler) countMembers(d *Def, list *[]aggregate) {
	if c.overChanges(d) && d.Query.Having.Set && members(*list) < 0 {
		made, typ, _ := operators.NewAggregation("count", nil, true)
		*list = append(*list, aggregate{text: "count()", of: made, typ: typ})
	}
}

// members is the aggregate that counts the rows of a group, -1 = there is none.
func members(list []aggregate) int {
	return slices.IndexFunc(list, func(a aggregate) bool { return a.text == "count()" })
}

// checkGroups refuses group keys over a table's changes that are another when
// the row goes than when it came.
func (c *compiler) checkGroups(d *Def, keys []*expr.Program) {
	if !c.overChanges(d) {
		return
	}
	for _, k := range keys {
		if !k.Pure() {
			c.diags.Errorf(codeGroupBy, d.Query.GroupBy[0].Expr.Span, "%s depends on the clock: a row that changes could not be found in its group again", k.Text()).
				Help = "let a source write the time into its records, and use that"
			return
		}
	}
}

// checkGroupClauses refuses clauses that belong to groups where there are none.
func (c *compiler) checkGroupClauses(d *Def) {
	q := d.Query
	if d.Kind != DerivedTableDef || len(q.GroupBy) > 0 {
		return
	}
	if q.Having.Set {
		c.diags.Errorf(codeHaving, q.Having.Span, "having is decided on groups, and %q has no group_by", d.Name).
			Help = "use where: it decides on rows"
	}
	if q.Emit != nil && q.Emit.Every.Set {
		c.diags.Errorf(codeHaving, q.Emit.Span, "emit says when groups are sent, and %q has no group_by", d.Name).
			Help = "leave it out: every change of a row is sent"
	}
}
