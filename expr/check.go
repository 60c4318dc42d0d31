package expr

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// The codes of this package's diagnostics.
const (
	codeSyntax     diag.Code = "expr-syntax"
	codeTooLarge   diag.Code = "expr-too-large"
	codeUnknown    diag.Code = "unknown-name"
	codeAmbiguous  diag.Code = "ambiguous-name"
	codeFunction   diag.Code = "unknown-function"
	codeArguments  diag.Code = "wrong-arguments"
	codeType       diag.Code = "type-mismatch"
	codeRegex      diag.Code = "constant-regex"
	codeAggregate  diag.Code = "aggregate-here"
	codeJoin       diag.Code = "join-condition"
	codeAlwaysFail diag.Code = "always-fails"
)

// checker turns expr-lang's tree into ours: it resolves names, infers types
// from the leaves up, reports what cannot be right, and folds constants. A
// part in error becomes opBad, whose type is any, so that one mistake is
// reported once and the rest is still checked.
type checker struct {
	tree      *syntaxTree
	scope     *Scope
	at        func(start, end int) diag.Span
	diags     diag.List
	functions map[string]*function
	locals    []local  // of the lets around, innermost last
	lets      int      // lets met so far, for unique names
	elements  []Type   // of # in the predicates around, innermost last
	inside    []string // names of the predicates around
	around    string   // the aggregate whose argument is checked, "" = none
	// Of functions of the user's own: all there are; how much calls may still
	// expand to; and, while a body is checked, what its parameters stand for and which parts
	// are of the caller's text.
	user    map[string]*Function
	alone   bool // a body is checked by itself: its calls are none
	room    *int
	params  []*argument
	foreign map[*node]bool
	fold    *Frame
}

// local is a variable of a let.
type local struct {
	name   string // as written
	unique string
	typ    Type
}

// errorf reports a fault of the node's text.
func (c *checker) errorf(code diag.Code, n *node, format string, args ...any) *diag.Diagnostic {
	return c.diags.Errorf(code, c.at(n.start, n.end), format, args...)
}

// bad reports a fault at n's text and makes n an opBad.
func (c *checker) bad(code diag.Code, n *node, format string, args ...any) *node {
	c.errorf(code, n, format, args...)
	return n.spoil()
}

// spoil makes n an opBad.
func (n *node) spoil() *node {
	*n = node{op: opBad, start: n.start, end: n.end}
	return n
}

// node makes an empty node for the text of a.
func (c *checker) node(a ast.Node, o op) *node {
	n := &node{op: o, bind: -1}
	n.start, n.end = c.tree.span(c.tree.extentOf(a))
	return n
}

// check is the type of and the tree below a.
func (c *checker) check(a ast.Node) *node {
	n := c.dispatch(a)
	return c.folded(n)
}

// dispatch knows expr-lang's node types.
func (c *checker) dispatch(a ast.Node) *node {
	switch a := a.(type) {
	case *ast.NilNode:
		return c.constant(a, value.NullV())
	case *ast.IntegerNode:
		return c.constant(a, value.OfInt(int64(a.Value)))
	case *ast.FloatNode:
		return c.constant(a, value.OfFloat(a.Value))
	case *ast.BoolNode:
		return c.constant(a, value.OfBool(a.Value))
	case *ast.StringNode:
		return c.constant(a, value.OfString(a.Value))
	case *ast.BytesNode:
		return c.constant(a, value.OfBytes(a.Value))
	case *ast.IdentifierNode, *ast.MemberNode:
		return c.path(a)
	case *ast.ChainNode:
		return c.dispatch(a.Node)
	case *ast.PointerNode:
		return c.pointer(a)
	case *ast.UnaryNode:
		return c.unary(a)
	case *ast.BinaryNode:
		return c.binary(a)
	case *ast.ConditionalNode:
		return c.conditional(a)
	case *ast.SliceNode:
		return c.slice(a)
	case *ast.ArrayNode:
		return c.list(a)
	case *ast.MapNode:
		return c.object(a)
	case *ast.CallNode:
		return c.callNode(a)
	case *ast.BuiltinNode:
		return c.builtin(a)
	case *ast.VariableDeclaratorNode:
		return c.let(a)
	case *ast.SequenceNode:
		n := c.node(a, opBad)
		c.errorf(codeSyntax, n, "expression has several parts").Help = "only a let ends with ;"
		return n
	}
	return c.bad(codeSyntax, c.node(a, opBad), "expression is not supported here (%T)", a)
}

// constant makes a node of a literal.
func (c *checker) constant(a ast.Node, v value.Value) *node {
	n := c.node(a, opConst)
	n.val, n.typ = v, typeOf(v)
	return n
}

// folded replaces n by its value when all it needs is known. What fails now
// would fail for every record, so it is reported.
func (c *checker) folded(n *node) *node {
	if !foldable(n) {
		return n
	}
	v, err := lower(n, 0).val(c.fold)
	if err != nil {
		msg := err.Error()
		if e, ok := err.(*Error); ok {
			msg = e.Msg
		}
		return c.bad(codeAlwaysFail, n, "expression always fails: %s", msg)
	}
	typ := n.typ
	*n = node{op: opConst, val: v, typ: typ, start: n.start, end: n.end, bind: -1}
	if typ.Kind == Any {
		n.typ = typeOf(v)
	}
	return n
}

// foldable is true for what is not yet a constant but made of constants only.
func foldable(n *node) bool {
	switch n.op {
	case opBad, opConst, opRef, opProgram, opLocal, opElement, opIndex, opAcc, opPredicate, opLet, opRange:
		return false
	case opMap:
		for _, key := range n.keyNodes {
			if key != nil {
				return false
			}
		}
	case opCall:
		if n.fn.clock {
			return false
		}
	}
	for _, kid := range n.kids {
		if kid != nil && !kid.constant() {
			return false
		}
	}
	return true
}

// path checks names and member access. The longest constant path that begins
// at a name is resolved as a whole; what follows is read at run time.
func (c *checker) path(a ast.Node) *node {
	if root, steps := constantPath(a); root != nil {
		return c.name(a, root, steps)
	}
	m := a.(*ast.MemberNode)
	return c.member(a, m)
}

// constantPath splits a into a name and steps known before running; root is
// nil when a is not of that form all the way down.
func constantPath(a ast.Node) (root *ast.IdentifierNode, steps []codec.Step) {
	for {
		switch n := a.(type) {
		case *ast.IdentifierNode:
			slices.Reverse(steps)
			return n, steps
		case *ast.ChainNode:
			a = n.Node
		case *ast.MemberNode:
			step, ok := constantStep(n.Property)
			if !ok || n.Method {
				return nil, nil
			}
			steps = append(steps, step)
			a = n.Node
		default:
			return nil, nil
		}
	}
}

// constantStep reads a property that is a literal.
func constantStep(a ast.Node) (codec.Step, bool) {
	switch p := a.(type) {
	case *ast.StringNode:
		return codec.Step{Name: p.Value}, true
	case *ast.IntegerNode:
		return codec.Step{Index: p.Value, IsIndex: true}, true
	case *ast.UnaryNode:
		if i, ok := p.Node.(*ast.IntegerNode); ok && p.Operator == "-" {
			return codec.Step{Index: -i.Value, IsIndex: true}, true
		}
	}
	return codec.Step{}, false
}

// name resolves root followed by steps.
func (c *checker) name(a ast.Node, root *ast.IdentifierNode, steps []codec.Step) *node {
	n := c.node(a, opBad)
	for i := len(c.locals) - 1; i >= 0; i-- {
		if l := c.locals[i]; l.name == root.Value {
			v := c.node(root, opLocal)
			v.name, v.typ = l.unique, l.typ
			return c.steps(v, steps, n.end)
		}
	}
	for _, g := range c.params {
		if g.param.Name == root.Value {
			return c.parameter(a, g, root, steps)
		}
	}
	for i, b := range c.scope.Bindings {
		if b.Alias != "" && b.Alias == root.Value {
			return c.resolved(n, root.Value, steps, []int{i})
		}
	}
	var bare []int
	for i, b := range c.scope.Bindings {
		if b.Alias == "" {
			bare = append(bare, i)
		}
	}
	full := append([]codec.Step{{Name: root.Value}}, steps...)
	return c.resolved(n, "", full, bare)
}

// resolved asks the bindings for the path; exactly one may know it.
func (c *checker) resolved(n *node, alias string, path []codec.Step, candidates []int) *node {
	var found *Resolved
	var owner int
	problem := ""
	for _, i := range candidates {
		res, p := c.scope.Bindings[i].Resolve(path)
		if res == nil {
			if problem == "" {
				problem = p
			}
			continue
		}
		if found != nil {
			return c.bad(codeAmbiguous, n, "name %s is ambiguous: more than one input has it", stepText(path[0]))
		}
		found, owner = res, i
	}
	if found == nil {
		return c.unknown(n, alias, path, problem)
	}
	return place(n, found, owner)
}

// place makes n read what a path was resolved to.
func place(n *node, res *Resolved, owner int) *node {
	n.op, n.typ, n.bind, n.rest = opRef, res.Type, owner, res.Rest
	n.ref, n.prog = res.Ref, res.Program
	if res.Program != nil {
		n.op = opProgram
	}
	return n
}

// unknown reports a path that no binding knows.
func (c *checker) unknown(n *node, alias string, path []codec.Step, problem string) *node {
	if problem != "" {
		return c.bad(codeUnknown, n, "%s", problem)
	}
	name := stepText(path[0])
	if alias != "" && len(path) > 0 {
		name = alias + pathText(path)
	}
	d := c.errorf(codeUnknown, n, "unknown name %s", name)
	d.Help = c.suggestion(alias, path)
	for _, b := range c.scope.Bindings {
		if b.Alias != alias || b.Lacks == nil || len(path) == 0 {
			continue
		}
		if input := b.Lacks(path[0].Name); input != "" {
			d.Message += ": " + input + " has no such field"
			d.Help = "an expression over several inputs names only what all of them have: declare it in fields:, or give each input its select before they are united"
		}
	}
	return n.spoil()
}

// suggestion is the "did you mean" of an unknown name.
func (c *checker) suggestion(alias string, path []codec.Step) string {
	word := path[0].Name
	if alias != "" {
		for _, b := range c.scope.Bindings {
			if near := diag.Nearest(word, b.names()); b.Alias == alias && near != "" {
				return fmt.Sprintf("did you mean %s.%s?", alias, near)
			}
		}
		return ""
	}
	switch strings.ToLower(word) {
	case "null", "none", "undefined":
		return "write nil"
	}
	for _, b := range c.scope.Bindings {
		if b.Alias != "" && slices.Contains(b.names(), word) {
			return fmt.Sprintf("did you mean %s.%s?", b.Alias, word)
		}
	}
	bare := c.bareNames()
	if near := diag.Nearest(word, bare); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	for _, b := range c.scope.Bindings {
		if near := diag.Nearest(word, b.names()); b.Alias != "" && near != "" {
			return fmt.Sprintf("did you mean %s.%s?", b.Alias, near)
		}
	}
	if len(bare) > 0 && len(bare) <= 8 {
		slices.Sort(bare)
		return "known here: " + strings.Join(slices.Compact(bare), ", ")
	}
	return ""
}

// names lists the fields of a binding that are known.
func (b *Binding) names() []string {
	if b.Names == nil {
		return nil
	}
	return b.Names()
}

// bareNames is all that may stand at the beginning of a path.
func (c *checker) bareNames() []string {
	var out []string
	for _, l := range c.locals {
		out = append(out, l.name)
	}
	for _, g := range c.params {
		out = append(out, g.param.Name)
	}
	for _, b := range c.scope.Bindings {
		if b.Alias != "" {
			out = append(out, b.Alias)
		} else {
			out = append(out, b.names()...)
		}
	}
	return out
}

// stepText writes one step as a name.
func stepText(s codec.Step) string {
	if s.IsIndex {
		return fmt.Sprintf("[%d]", s.Index)
	}
	return s.Name
}

// pathText writes steps as they follow a name.
func pathText(path []codec.Step) string {
	var b strings.Builder
	for _, s := range path {
		if s.IsIndex {
			fmt.Fprintf(&b, "[%d]", s.Index)
		} else {
			b.WriteString("." + s.Name)
		}
	}
	return b.String()
}

// member checks access to a part of a computed value, or by a computed key.
func (c *checker) member(a ast.Node, m *ast.MemberNode) *node {
	n := c.node(a, opMember)
	if m.Method {
		return c.bad(codeFunction, n, "methods cannot be called")
	}
	of, key := c.check(m.Node), c.check(m.Property)
	if of.op == opBad || key.op == opBad {
		return n.spoil()
	}
	n.kids = []*node{of, key}
	return c.typeMember(n)
}

// steps reads constant steps of a value that is not a binding's.
func (c *checker) steps(n *node, steps []codec.Step, end int) *node {
	for _, s := range steps {
		key := &node{op: opConst, val: value.OfString(s.Name), typ: Type{Kind: String}, start: n.start, end: end, bind: -1}
		if s.IsIndex {
			key.val, key.typ = value.OfInt(int64(s.Index)), Type{Kind: Int}
		}
		n = c.typeMember(&node{op: opMember, kids: []*node{n, key}, start: n.start, end: end, bind: -1})
		if n.op == opBad {
			return n
		}
	}
	return n
}

// typeMember finds the type of kids[0][kids[1]].
func (c *checker) typeMember(n *node) *node {
	of, key := n.kids[0], n.kids[1]
	switch of.typ.Kind {
	case Any, Null:
		if !key.typ.is(String, Int) {
			return c.bad(codeType, n, "a member is named by a string or numbered by an int, not by %s", article(key.typ.String()))
		}
		return n
	case List:
		if !key.typ.is(Int) {
			return c.bad(codeType, n, "elements of a list are numbered by an int, not by %s", article(key.typ.String()))
		}
		n.typ = of.typ.elem()
		return n
	case Object:
		if !key.typ.is(String) {
			return c.bad(codeType, n, "fields of an object are named by a string, not by %s", article(key.typ.String()))
		}
		return c.typeField(n)
	}
	return c.bad(codeType, n, "%s has no members", article(of.typ.String()))
}

// typeField finds the type of a field of an object.
func (c *checker) typeField(n *node) *node {
	of, key := n.kids[0].typ, n.kids[1]
	if !key.constant() || key.isNil() {
		return n
	}
	ft, known := of.field(key.val.Text)
	if !known && !of.Open && len(of.Fields) > 0 {
		names := make([]string, len(of.Fields))
		for i, f := range of.Fields {
			names[i] = f.Name
		}
		d := c.errorf(codeUnknown, n, "unknown name %s", key.val.Text)
		if near := diag.Nearest(key.val.Text, names); near != "" {
			d.Help = fmt.Sprintf("did you mean %s?", near)
		}
		return n.spoil()
	}
	n.typ = ft
	return n
}

// pointer checks #, #index, #acc and a leading dot inside a predicate.
func (c *checker) pointer(a *ast.PointerNode) *node {
	n := c.node(a, opElement)
	switch a.Name {
	case "":
		n.typ = c.elementType()
		return n
	case "index":
		n.op, n.typ = opIndex, Type{Kind: Int}
		return n
	case "acc":
		n.op = opAcc
		if len(c.inside) > 0 && c.inside[len(c.inside)-1] == "reduce" {
			return n
		}
		return c.bad(codeUnknown, n, "#acc is known in reduce() only")
	}
	return c.bad(codeUnknown, n, "unknown name #%s: there are #, #index and, in reduce(), #acc", a.Name)
}
