package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// Functions of the user's own. One whose body is an expression costs nothing:
// where it is called, the body is checked once more with the arguments in the places of
// the parameters, and what comes out is a part of the calling expression.
// One that is computed elsewhere is a call like that of any function.

// Function is a function of the user's own. Compiling expressions over it, by one
// goroutine at a time, notes that it is called; else it is not changed once it is in a Scope.
type Function struct {
	Name   string
	Params []Param
	// Returns is what the result must be; Any = whatever the body gives.
	Returns Type
	// Body is an expression over the parameters. When Native is set it is not used.
	Body   Source
	Native Native

	// Called says that an expression calls it, be it through another function.
	Called bool

	tree   *syntaxTree // of Body, once it has been checked
	broken bool        // it has faults, which have been reported
}

// Param is a parameter.
type Param struct {
	Name string
	Type Type // Any takes everything
}

// Native is a function that is computed outside of this package. It serves
// several goroutines.
type Native interface {
	// Call computes the function. args are lent and of the types of the parameters; none is null.
	Call(args []value.Value) (value.Value, error)
	// Canonical names what is computed: equal texts compute equal values.
	Canonical() string
}

const (
	codeRecursion diag.Code = "recursive-function"
	// maxInlined bounds what functions that call each other twice and more expand to.
	maxInlined = 20_000
)

// Reserved says whether a name is taken by the language: no function of the
// user's own can have it.
func Reserved(name string) bool {
	aggregate, _ := aggregateKind(name)
	return aggregate || library()[name] != nil || slices.Contains(predicateNames(), name)
}

// predicateNames are the functions that run an expression per element.
func predicateNames() []string {
	return []string{"filter", "map", "all", "any", "none", "one", "count", "find", "findIndex", "findLast", "findLastIndex", "sum", "sortBy", "groupBy", "reduce"}
}

// Define checks the functions by themselves, before any call: those with
// faults are reported here, and their calls say nothing any more.
func Define(functions map[string]*Function) (diags diag.List) {
	d := &definer{functions: functions, state: map[*Function]int{}}
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		d.visit(functions[name])
	}
	d.diags.Sort()
	return d.diags
}

// definer defines functions, each behind those that it calls.
type definer struct {
	functions map[string]*Function
	state     map[*Function]int
	path      []*Function
	diags     diag.List
}

func (d *definer) visit(fn *Function) {
	const open, done = 1, 2
	if fn.Native != nil || d.state[fn] == done {
		return
	}
	d.state[fn] = open
	d.path = append(d.path, fn)
	d.diags.Append(fn.parse())
	for _, call := range fn.calls(d.functions) {
		if d.state[call.fn] == open {
			d.circle(call)
			continue
		}
		d.visit(call.fn)
	}
	d.path = d.path[:len(d.path)-1]
	d.state[fn] = done
	if !fn.broken {
		d.diags.Append(fn.define(d.functions))
	}
}

// userCallSite is a call in a body.
type userCallSite struct {
	fn         *Function // that is called
	start, end int
}

// calls lists the functions of the user's own that the body calls.
func (fn *Function) calls(functions map[string]*Function) (out []userCallSite) {
	if fn.tree == nil {
		return nil
	}
	ast.Walk(&fn.tree.root, visitor(func(a ast.Node) {
		call, ok := a.(*ast.CallNode)
		if !ok {
			return
		}
		if callee, ok := call.Callee.(*ast.IdentifierNode); ok && functions[callee.Value] != nil {
			start, end := fn.tree.span(fn.tree.extentOf(a))
			out = append(out, userCallSite{functions[callee.Value], start, end})
		}
	}))
	return out
}

// visitor makes a function an ast.Visitor.
type visitor func(a ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(a *ast.Node) { v(*a) }

// circle reports functions that call each other: the one called last is open.
func (d *definer) circle(last userCallSite) {
	circle := d.path[slices.Index(d.path, last.fn):]
	steps := make([]string, len(circle))
	for i, fn := range circle {
		steps[i] = fmt.Sprintf("%s calls %s", fn.Name, circle[(i+1)%len(circle)].Name)
		fn.broken = true
	}
	msg := "functions call each other in a circle: " + strings.Join(steps, ", ")
	if len(steps) == 1 {
		msg = last.fn.Name + " calls itself"
	}
	d.diags.Errorf(codeRecursion, circle[len(circle)-1].Body.span(last.start, last.end), "%s", msg).
		Help = "a body is put in the place of its call, so it must come to an end without itself: use map, filter or reduce for what repeats"
}

// newRoom is how much calls may expand to.
func newRoom() *int {
	room := maxInlined
	return &room
}

// define checks a function by itself; those that it calls have been checked.
func (fn *Function) define(functions map[string]*Function) diag.List {
	c := &checker{tree: fn.tree, scope: &Scope{}, at: fn.Body.span, fold: NewFrame(0), user: functions, room: newRoom(), alone: true}
	for _, p := range fn.Params {
		c.params = append(c.params, &argument{param: p, given: &node{op: opElement, typ: p.Type, bind: -1}, bound: p.Name})
	}
	root := c.check(fn.tree.root)
	c.fits(root, Want{Kind: fn.Returns.Kind, For: fn.Name})
	fn.broken = c.diags.HasErrors() || root.op == opBad
	return c.diags
}

// parse parses the body, once.
func (fn *Function) parse() (diags diag.List) {
	if fn.tree != nil || fn.broken {
		return nil
	}
	tree, bad := parse(fn.Body.Text)
	if bad != nil {
		fn.broken = true
		diags.Errorf(bad.code, fn.Body.span(bad.start, bad.end), "%s", bad.msg).Help = bad.help
		return diags
	}
	fn.tree = tree
	return nil
}

// argument is what a parameter stands for while a body is checked.
type argument struct {
	param Param
	given *node
	bound string // it is a variable: the value is computed once, and used under this name
	uses  int    // of a given one
	inner bool   // it is used inside a predicate
	// Of an argument that is a path: where it was written, so that a longer path
	// is found at once.
	outer *checker
	ast   ast.Node
	root  *ast.IdentifierNode
	steps []codec.Step
}

// userCall checks a call of a function of the user's own.
func (c *checker) userCall(n *node, fn *Function, args []ast.Node) *node {
	fn.Called = fn.Called || !c.alone
	n.kids = c.checkAll(args)
	if fn.broken || anyBad(n.kids) {
		return n.spoil()
	}
	if len(args) != len(fn.Params) {
		d := c.errorf(codeArguments, n, "%s takes %s, not %d", fn.Name, arityText(len(fn.Params), len(fn.Params)), len(args))
		d.Help = fn.signature()
		return n.spoil()
	}
	for i, kid := range n.kids {
		if !fn.Params[i].Type.set().accepts(kid.typ) {
			d := c.errorf(codeType, kid, "%s of %s must be %s, not %s", fn.Params[i].Name, fn.Name, article(fn.Params[i].Type.Kind.String()), article(kid.typ.String()))
			d.Help = fn.signature()
			return n.spoil()
		}
	}
	if fn.Native != nil {
		n.fn = fn.library()
		n.impl, n.typ = n.fn.call, fn.Returns
		return n
	}
	return c.inline(n, fn, args)
}

// signature writes the function as help texts show it.
func (fn *Function) signature() string {
	params := make([]string, len(fn.Params))
	for i, p := range fn.Params {
		params[i] = p.Name + ": " + p.Type.Kind.String()
	}
	out := fn.Name + "(" + strings.Join(params, ", ") + ")"
	if fn.Returns.Kind != Any {
		out += " -> " + fn.Returns.String()
	}
	return out
}

// set are the kinds that a declared type takes.
func (t Type) set() kindSet {
	switch t.Kind {
	case Any, Null:
		return anyKind
	case Float:
		return numberKind
	}
	return 1 << t.Kind
}

// library is the form in which a native function is called.
func (fn *Function) library() *function {
	f := &function{name: fn.Name, result: fn.Returns, canonical: fn.Native.Canonical()}
	for _, p := range fn.Params {
		f.params = append(f.params, param{name: p.Name, kinds: p.Type.set()})
	}
	f.call = func(_ *Frame, args []value.Value) (value.Value, error) { return fn.Native.Call(args) }
	return f
}

// inline puts the body of fn in the place of the call n.
func (c *checker) inline(n *node, fn *Function, args []ast.Node) *node {
	if bad := fn.parse(); fn.tree == nil {
		c.diags.Append(bad)
		return n.spoil()
	}
	// Twice: how often, and where, each argument is used is known behind the
	// first time; one that must be computed once becomes a variable.
	given := make([]*argument, len(args))
	for i, kid := range n.kids {
		given[i] = c.argument(fn, i, kid, args[i])
	}
	body := c.body(n, fn, given)
	if body == nil {
		return n.spoil()
	}
	again := false
	for i, g := range given {
		if g.mustBeBound() {
			c.lets++
			given[i] = &argument{param: g.param, given: g.given, bound: fmt.Sprintf("%s$%d", g.param.Name, c.lets)}
			again = true
		}
	}
	if again {
		if body = c.body(n, fn, given); body == nil {
			return n.spoil()
		}
	}
	for i := len(given) - 1; i >= 0; i-- {
		if g := given[i]; g.bound != "" {
			body = &node{op: opLet, name: g.bound, typ: body.typ, kids: []*node{g.given, body}, start: n.start, end: n.end, bind: -1}
		}
	}
	return c.folded(body)
}

// argument makes what a parameter stands for.
func (c *checker) argument(fn *Function, i int, kid *node, a ast.Node) *argument {
	g := &argument{param: fn.Params[i], given: kid}
	if kid.typ.Kind == Any && g.param.Type.Kind != Any {
		g.given = insist(kid, fn.Name, g.param.Name, g.param.Type)
		return g
	}
	if root, steps := constantPath(a); root != nil && (kid.op == opRef || kid.op == opProgram) {
		g.outer, g.ast, g.root, g.steps = c, a, root, steps
	}
	return g
}

// insist is n, of which it is known only at run time whether it is of a type.
func insist(n *node, of, what string, t Type) *node {
	t = Type{Kind: t.Kind, Open: t.Kind == Object} // what lies inside is not looked at
	fn := &function{name: of, params: []param{{name: what, kinds: t.set()}}, result: t, canonical: "want " + t.Kind.String()}
	fn.call = func(_ *Frame, args []value.Value) (value.Value, error) { return args[0], nil }
	return &node{op: opCall, fn: fn, impl: fn.call, typ: t, kids: []*node{n}, start: n.start, end: n.end, bind: -1}
}

// mustBeBound says that an argument is to be computed once: it is more than a
// few steps and used several times, or it speaks of the element of a predicate
// and would come to stand in another one.
func (g *argument) mustBeBound() bool {
	if g.bound != "" {
		return false
	}
	const cheap = 8 // nodes
	size, element := 0, false
	g.given.walk(func(n *node) {
		size++
		element = element || n.op == opElement || n.op == opIndex || n.op == opAcc
	})
	return element && g.inner || g.uses > 1 && size > cheap || g.inner && size > 1
}

// body checks the body of fn for one call; nil when it has faults.
func (c *checker) body(n *node, fn *Function, given []*argument) *node {
	in := &checker{
		tree: fn.tree, scope: &Scope{}, at: fn.Body.span, fold: c.fold, functions: c.functions,
		user: c.user, alone: c.alone, room: c.room, lets: c.lets, params: given, foreign: map[*node]bool{},
	}
	root := in.check(fn.tree.root)
	in.fits(root, Want{Kind: fn.Returns.Kind, For: fn.Name})
	c.lets = in.lets
	for _, d := range in.diags {
		c.diags.Add(called(d, fn.Name, c.at(n.start, n.end)))
	}
	if in.diags.HasErrors() || root.op == opBad {
		return nil
	}
	if root.typ.Kind == Any && fn.Returns.Kind != Any {
		root = insist(root, fn.Name, "the result", fn.Returns)
		root.start, root.end = 0, len(fn.Body.Text)
	}
	in.settle(root, n, fn)
	if *c.room < 0 {
		c.errorf(codeTooLarge, n, "the functions called here expand to more than %d parts", maxInlined)
		return nil
	}
	return root
}

// called is a fault in a body that only this call brings about: it is shown
// where the call is, with a note that shows the body.
func called(d diag.Diagnostic, function string, at diag.Span) diag.Diagnostic {
	d.Notes = append([]diag.Note{{Span: d.Span, Text: "in the body of " + function}}, d.Notes...)
	d.Span, d.Message = at, "in function "+function+": "+d.Message
	return d
}

// settle gives the nodes of a body the place of the call, and the words that
// tell where in the body an error was met.
func (c *checker) settle(root, call *node, fn *Function) {
	if root == nil || c.foreign[root] {
		return
	}
	*c.room--
	within := fmt.Sprintf("in function %s, at %s: ", fn.Name, shortText(fn.Body.Text, root.start, root.end))
	root.within = within + root.within
	root.start, root.end = call.start, call.end
	for _, kid := range root.kids {
		c.settle(kid, call, fn)
	}
	for _, kid := range root.keyNodes {
		c.settle(kid, call, fn)
	}
}

// shortText is a piece of text for a message.
func shortText(text string, start, end int) string {
	const most = 60
	start, end = max(0, min(start, len(text))), max(0, min(end, len(text)))
	piece := strings.Join(strings.Fields(text[min(start, end):end]), " ")
	if len(piece) > most {
		piece = piece[:most] + "…"
	}
	return "`" + piece + "`"
}

// parameter resolves a name of the body that is one of a parameter.
func (c *checker) parameter(a ast.Node, g *argument, root *ast.IdentifierNode, steps []codec.Step) *node {
	n := c.node(a, opBad)
	if g.bound != "" {
		v := c.node(root, opLocal)
		v.name, v.typ = g.bound, g.given.typ
		return c.steps(v, steps, n.end)
	}
	g.uses++
	g.inner = g.inner || len(c.elements) > 0
	if g.outer != nil && len(steps) > 0 && g.given.typ.Kind != List {
		longer := g.outer.name(g.ast, g.root, slices.Concat(g.steps, steps))
		c.adopt(longer)
		return longer
	}
	given := g.given.copy()
	c.adopt(given)
	return c.steps(given, steps, n.end)
}

// adopt notes that a part belongs to the caller's text.
func (c *checker) adopt(n *node) {
	if c.foreign != nil {
		c.foreign[n] = true
	}
}

// copy is a copy of n and all below.
func (n *node) copy() *node {
	if n == nil {
		return nil
	}
	out := *n
	out.kids, out.keyNodes = slices.Clone(n.kids), slices.Clone(n.keyNodes)
	for i, kid := range out.kids {
		out.kids[i] = kid.copy()
	}
	for i, kid := range out.keyNodes {
		out.keyNodes[i] = kid.copy()
	}
	return &out
}
