package expr

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// A name such as sum means two things: an aggregate over many records, and a
// function over the elements of one list (expr-lang's). The form decides:
//
//   - with a predicate, sum(v.items, .price), or with several arguments,
//     max(a, b), it is the function;
//   - with one argument, sum(v.amount), or none, count(), it is the aggregate
//     where aggregates are possible. Elsewhere it is the function when the
//     argument is known to be a list, and otherwise refused, because a
//     forgotten group_by would be the likelier reason.

// aggregateKind tells names of aggregates: shared is true when a function of
// one record has the same name.
func aggregateKind(name string) (aggregate, shared bool) {
	switch name {
	case "sum", "min", "max", "first", "last", "count":
		return true, true
	}
	return slices.Contains(aggregatesOnly(), name), false
}

// aggregatesOnly are the aggregates whose names no function has.
func aggregatesOnly() []string {
	return []string{"avg", "count_distinct", "collect_list", "collect_set", "top_k", "histogram", "stddev", "percentile"}
}

// callNode checks a call of a name that expr-lang does not know.
func (c *checker) callNode(a *ast.CallNode) *node {
	callee, ok := a.Callee.(*ast.IdentifierNode)
	if !ok {
		d := c.errorf(codeFunction, c.node(a, opBad), "values have no methods")
		d.Help = "write function(value) or value | function()"
		return c.node(a, opBad)
	}
	return c.call(a, realName(callee.Value), a.Arguments)
}

// builtin checks a call of a name that expr-lang knows.
func (c *checker) builtin(a *ast.BuiltinNode) *node {
	for _, arg := range a.Arguments {
		if _, ok := arg.(*ast.PredicateNode); ok {
			return c.predicate(a)
		}
	}
	return c.call(a, a.Name, a.Arguments)
}

// call checks name(args...).
func (c *checker) call(a ast.Node, name string, args []ast.Node) *node {
	n := c.node(a, opCall)
	if fn := c.user[name]; fn != nil {
		return c.userCall(n, fn, args)
	}
	aggregate, shared := aggregateKind(name)
	if aggregate && (!shared || len(args) <= 1) {
		if c.scope.Aggregate != nil {
			return c.aggregate(n, name, args)
		}
		return c.noAggregate(n, name, shared, args)
	}
	if c.misspelled(name) {
		return c.unknownFunction(n, name)
	}
	n.kids = c.checkAll(args)
	return c.apply(n, name)
}

// checkAll checks arguments in order.
func (c *checker) checkAll(args []ast.Node) []*node {
	kids := make([]*node, len(args))
	for i, arg := range args {
		kids[i] = c.check(arg)
	}
	return kids
}

// noAggregate is a call of an aggregate's name where there are no groups.
func (c *checker) noAggregate(n *node, name string, shared bool, args []ast.Node) *node {
	n.kids = c.checkAll(args)
	list := len(args) == 1 && n.kids[0].typ.Kind == List
	if shared && list && name != "count" {
		return c.apply(n, name)
	}
	if anyBad(n.kids) {
		return n.spoil()
	}
	if c.around != "" {
		c.errorf(codeAggregate, n, "%s stands inside %s: an aggregate is over single records, not over another aggregate", name, c.around).
			Help = "write them side by side, as columns or as operands: sum(x) / count()"
		return n.spoil()
	}
	if no := c.scope.NoAggregates; no.Reason != "" {
		c.errorf(codeAggregate, n, "%s is an aggregate: %s", name, no.Reason).Help = no.Help
		return n.spoil()
	}
	d := c.errorf(codeAggregate, n, "%s is an aggregate: it needs group_by and belongs in select", name)
	arg := "x"
	if len(args) == 1 {
		arg = c.tree.text[n.kids[0].start:n.kids[0].end]
	}
	switch name {
	case "sum":
		d.Help = fmt.Sprintf("for the elements of a list write sum(%s, #)", arg)
	case "count":
		d.Help = fmt.Sprintf("for the number of elements of a list write len(%s)", arg)
	case "first":
		d.Help = fmt.Sprintf("for the first element of a list write %s[0]", arg)
	case "last":
		d.Help = fmt.Sprintf("for the last element of a list write %s[-1]", arg)
	case "min":
		d.Help = fmt.Sprintf("for the least element of a list write sort(%s)[0]", arg)
	case "max":
		d.Help = fmt.Sprintf("for the greatest element of a list write sort(%s)[-1]", arg)
	}
	return n.spoil()
}

// aggregate hands a call over to the scope; its arguments are programs over
// the records of a group.
func (c *checker) aggregate(n *node, name string, args []ast.Node) *node {
	inner := c.scope.Group
	if inner == nil {
		inner = &Scope{Bindings: c.scope.Bindings}
	}
	outer, locals, around := c.scope, c.locals, c.around
	c.scope, c.locals, c.around = inner, nil, name
	kids := c.checkAll(args)
	c.scope, c.locals, c.around = outer, locals, around
	if anyBad(kids) {
		return n.spoil()
	}
	call := AggregateCall{Name: name, Text: c.tree.text[n.start:n.end], Span: c.at(n.start, n.end)}
	for _, kid := range kids {
		call.Args = append(call.Args, newProgram(c.tree.text, kid))
	}
	res, diags := c.scope.Aggregate(call)
	c.diags.Append(diags)
	if diags.HasErrors() {
		return n.spoil()
	}
	return place(n, &res, -1)
}

func anyBad(kids []*node) bool {
	return slices.ContainsFunc(kids, func(k *node) bool { return k.op == opBad })
}

// apply finds the function and checks the arguments in n.kids against it.
func (c *checker) apply(n *node, name string) *node {
	if c.functions == nil {
		c.functions = library()
	}
	fn := c.functions[name]
	if fn == nil {
		return c.unknownFunction(n, name)
	}
	if anyBad(n.kids) {
		return n.spoil()
	}
	n.fn, n.impl = fn, fn.call
	if least, most := fn.arity(); len(n.kids) < least || most >= 0 && len(n.kids) > most {
		d := c.errorf(codeArguments, n, "%s takes %s, not %d", name, arityText(least, most), len(n.kids))
		d.Help = fn.signature()
		return n.spoil()
	}
	for i, kid := range n.kids {
		p := fn.param(i)
		if !p.kinds.accepts(kid.typ) {
			d := c.errorf(codeType, kid, "%s of %s must be %s, not %s", p.name, name, p.kinds, article(kid.typ.String()))
			d.Help = fn.signature()
			return n.spoil()
		}
	}
	if fn.prepare != nil {
		if bad := fn.prepare(n); bad != nil {
			at := n
			if bad.arg >= 0 {
				at = n.kids[bad.arg]
			}
			c.errorf(bad.code, at, "%s", bad.msg)
			return n.spoil()
		}
	}
	n.typ = fn.typeOf(n.kids)
	if fn.operator != opBad {
		n.asOperator(fn.operator)
	}
	return n
}

// asOperator turns a call into the operator it is another name of.
func (n *node) asOperator(o op) {
	n.op, n.fn, n.impl = o, nil, nil
	if o != opCoalesce {
		return
	}
	// From the right: a ?? (b ?? c).
	for len(n.kids) > 2 {
		k := len(n.kids)
		a, b := n.kids[k-2], n.kids[k-1]
		pair := &node{op: opCoalesce, typ: unify(a.typ, b.typ), kids: []*node{a, b}, start: a.start, end: b.end, bind: -1}
		n.kids = append(n.kids[:k-2:k-2], pair)
	}
	if len(n.kids) == 1 {
		*n = *n.kids[0]
	}
}

// arityText says how many arguments are taken; most < 0 = any number.
func arityText(least, most int) string {
	plural := func(n int) string {
		if n == 1 {
			return "1 argument"
		}
		return fmt.Sprintf("%d arguments", n)
	}
	switch {
	case most < 0:
		return "at least " + plural(least)
	case least == most && least == 0:
		return "no arguments"
	case least == most:
		return plural(least)
	}
	return fmt.Sprintf("%d to %s", least, plural(most))
}

// predicate checks a function that runs an expression per element of a list.
func (c *checker) predicate(a *ast.BuiltinNode) *node {
	n := c.node(a, opPredicate)
	n.name = a.Name
	list := c.check(a.Arguments[0])
	ok := c.wants(list, "the first argument of "+a.Name, List) && list.op != opBad
	c.elements = append(c.elements, list.typ.elem())
	c.inside = append(c.inside, a.Name)
	body := c.check(a.Arguments[1].(*ast.PredicateNode).Node)
	c.elements, c.inside = c.elements[:len(c.elements)-1], c.inside[:len(c.inside)-1]
	n.kids = []*node{list, body, nil}
	ok = body.op != opBad && ok
	if len(a.Arguments) > 2 {
		n.kids[2] = c.check(a.Arguments[2])
		ok = n.kids[2].op != opBad && ok
	}
	if !ok {
		return n.spoil()
	}
	return c.typePredicate(n)
}

// typePredicate checks what the body gives, and types the result.
func (c *checker) typePredicate(n *node) *node {
	list, body := n.kids[0].typ, n.kids[1]
	needs := func(kinds ...TypeKind) bool { return c.wants(body, "the predicate of "+n.name, kinds...) }
	ok := true
	switch n.name {
	case "all", "any", "none", "one":
		ok, n.typ = needs(Bool), Type{Kind: Bool}
	case "filter":
		ok, n.typ = needs(Bool), listOf(list.elem())
	case "map":
		n.typ = listOf(body.typ)
	case "count", "findIndex", "findLastIndex":
		ok, n.typ = needs(Bool), Type{Kind: Int}
	case "find", "findLast":
		ok, n.typ = needs(Bool), list.elem()
	case "sum":
		ok = needs(Int, Float)
		if body.typ.numeric() {
			n.typ = body.typ
		}
	case "sortBy":
		ok, n.typ = needs(Int, Float, String, Bytes), listOf(list.elem())
		if order := n.kids[2]; order != nil && (!order.constant() || order.val.Text != "asc" && order.val.Text != "desc") {
			c.errorf(codeArguments, order, `the order of sortBy is "asc" or "desc"`)
			ok = false
		}
	case "groupBy":
		ok, n.typ = needs(String, Int, Bool), Type{Kind: Object, Open: true}
	case "reduce":
	default:
		return c.bad(codeFunction, n, "function %s is not supported", n.name)
	}
	if !ok {
		return n.spoil()
	}
	return n
}

// elementType is the type of # where the checker is.
func (c *checker) elementType() Type {
	if len(c.elements) == 0 {
		return Type{}
	}
	return c.elements[len(c.elements)-1]
}
