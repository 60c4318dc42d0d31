package expr

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"

	"streamctl/internal/value"
)

// unary checks -x, +x and not x.
func (c *checker) unary(a *ast.UnaryNode) *node {
	n := c.node(a, opNeg)
	kid := c.check(a.Node)
	n.kids = []*node{kid}
	switch a.Operator {
	case "!", "not":
		n.op, n.typ = opNot, Type{Kind: Bool}
		if !c.wants(kid, "not", Bool) {
			return n.spoil()
		}
		return n
	}
	if kid.op == opBad || !c.wants(kid, a.Operator, Int, Float) {
		return n.spoil()
	}
	if a.Operator == "+" {
		return kid
	}
	n.typ = kid.typ
	return n
}

// wants reports an operand that can never be of one of kinds.
func (c *checker) wants(n *node, what string, kinds ...TypeKind) bool {
	if n.op == opBad || n.typ.is(kinds...) {
		return true
	}
	c.errorf(codeType, n, "%s needs %s, not %s", what, kindNames(kinds), article(n.typ.String()))
	return false
}

// kindNames says "a number", "a string, bytes or a list".
func kindNames(kinds []TypeKind) string {
	var names []string
	for _, k := range kinds {
		if k == Float && len(names) > 0 && names[len(names)-1] == "an int" {
			names[len(names)-1] = "a number"
			continue
		}
		names = append(names, article(k.String()))
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}

// article puts "a" or "an" before a noun.
func article(noun string) string {
	if noun == "bytes" || noun == "nil" {
		return noun
	}
	switch noun[0] {
	case 'a', 'e', 'i', 'o', 'u':
		return "an " + noun
	}
	return "a " + noun
}

// binaryOp maps expr-lang's operators to ours.
func binaryOp(operator string) (op, bool) {
	switch operator {
	case "+":
		return opAdd, true
	case "-":
		return opSub, true
	case "*":
		return opMul, true
	case "/":
		return opDiv, true
	case "%":
		return opMod, true
	case "**", "^":
		return opPow, true
	case "==":
		return opEq, true
	case "!=":
		return opNe, true
	case "<":
		return opLt, true
	case "<=":
		return opLe, true
	case ">":
		return opGt, true
	case ">=":
		return opGe, true
	case "&&", "and":
		return opAnd, true
	case "||", "or":
		return opOr, true
	case "??":
		return opCoalesce, true
	case "in":
		return opIn, true
	case "contains":
		return opContains, true
	case "startsWith":
		return opStartsWith, true
	case "endsWith":
		return opEndsWith, true
	case "matches":
		return opMatches, true
	case "..":
		return opRange, true
	}
	return opBad, false
}

// binary checks an operator with two operands.
func (c *checker) binary(a *ast.BinaryNode) *node {
	o, ok := binaryOp(a.Operator)
	n := c.node(a, o)
	if !ok {
		return c.bad(codeSyntax, n, "operator %s is not supported", a.Operator)
	}
	left, right := c.check(a.Left), c.check(a.Right)
	n.kids = []*node{left, right}
	if left.op == opBad || right.op == opBad {
		return n.spoil()
	}
	switch o {
	case opAdd, opSub, opMul, opDiv, opMod, opPow:
		return c.arithmetic(n, a.Operator)
	case opEq, opNe:
		return c.equality(n)
	case opLt, opLe, opGt, opGe:
		return c.ordering(n, a.Operator)
	case opAnd, opOr:
		n.typ = Type{Kind: Bool}
		if a.Operator == "||" && left.typ.Kind == String && right.typ.Kind == String {
			c.errorf(codeType, n, "|| needs a bool on both sides, not strings").Help = "join strings with +"
			return n.spoil()
		}
		if l, r := c.wants(left, a.Operator, Bool), c.wants(right, a.Operator, Bool); !l || !r {
			return n.spoil()
		}
		return n
	case opCoalesce:
		n.typ = unify(left.typ, right.typ)
		return n
	case opRange:
		n.typ = listOf(Type{Kind: Int})
		if l, r := c.wants(left, "..", Int), c.wants(right, "..", Int); !l || !r {
			return n.spoil()
		}
		return n
	}
	return c.textual(n, a.Operator)
}

// arithmetic types + - * / % **.
func (c *checker) arithmetic(n *node, operator string) *node {
	left, right := n.kids[0].typ, n.kids[1].typ
	texts := left.Kind == String || right.Kind == String
	switch {
	case n.op == opAdd && texts && left.is(String) && right.is(String):
		n.typ = Type{Kind: String}
		return n
	case left.is(Int, Float) && right.is(Int, Float):
		n.typ = arithmeticType(n.op, left, right)
		return c.divided(n, operator)
	}
	d := c.errorf(codeType, n, "operator %s does not work on %s and %s", operator, article(left.String()), article(right.String()))
	switch {
	case n.op == opAdd && texts:
		d.Help = "convert the other side with string(...)"
	case texts:
		d.Help = "convert the string with int(...) or float(...)"
	case n.op == opAdd && left.Kind == List:
		d.Help = "join lists with concat(a, b)"
	}
	return n.spoil()
}

// divided refuses a division by the constant zero: it fails for every record that has
// something to divide. Of two constants folding tells.
func (c *checker) divided(n *node, by string) *node {
	if n.op != opDiv && n.op != opMod || n.kids[0].constant() || !n.kids[1].isZero() {
		return n
	}
	return c.bad(codeAlwaysFail, n, "expression always fails: %s: division by zero", by)
}

// isZero is true for the literal 0, and what comes to it.
func (n *node) isZero() bool {
	if n.op != opConst {
		return false
	}
	zero, ok := n.val.ToFloat()
	return ok && zero == 0
}

// arithmeticType is the type of an operator on numbers, any where it depends
// on the values.
func arithmeticType(o op, left, right Type) Type {
	switch {
	case left.Kind == Null && right.Kind == Null:
		return Type{Kind: Null}
	case o == opDiv || o == opPow:
		return Type{Kind: Float}
	case left.Kind == Float || right.Kind == Float:
		return Type{Kind: Float}
	case left.Kind == Int && right.Kind == Int:
		return Type{Kind: Int}
	}
	return Type{}
}

// equality types == and !=; with the literal nil they ask for presence.
func (c *checker) equality(n *node) *node {
	left, right := n.kids[0], n.kids[1]
	n.typ = Type{Kind: Bool}
	if left.isNil() || right.isNil() {
		if left.isNil() {
			left = right
		}
		n.kids = []*node{left}
		n.op = map[op]op{opEq: opIsNull, opNe: opNotNull}[n.op]
		return n
	}
	if comparableTypes(left.typ, right.typ) {
		return n
	}
	d := c.errorf(codeType, n, "%s and %s are never equal", article(left.typ.String()), article(right.typ.String()))
	d.Help = c.conversion(left, right)
	return n.spoil()
}

// conversion is advice for a comparison of different types.
func (c *checker) conversion(left, right *node) string {
	text := func(n *node) string { return c.tree.text[n.start:n.end] }
	if help := literalHelp(left, right) + literalHelp(right, left); help != "" {
		return help
	}
	switch {
	case left.typ.Kind == String && right.typ.numeric():
		return fmt.Sprintf("convert one side: %s(%s) or string(%s)", right.typ.Kind, text(left), text(right))
	case right.typ.Kind == String && left.typ.numeric():
		return fmt.Sprintf("convert one side: string(%s) or %s(%s)", text(left), left.typ.Kind, text(right))
	case left.typ.Kind == String && right.typ.Kind == Bool:
		return fmt.Sprintf("convert the string: bool(%s)", text(left))
	case right.typ.Kind == String && left.typ.Kind == Bool:
		return fmt.Sprintf("convert the string: bool(%s)", text(right))
	}
	return ""
}

// literalHelp is advice where a literal was written as the wrong type: the 7
// of text == 7, the "7" of number == "7".
func literalHelp(literal, other *node) string {
	switch {
	case !literal.constant():
	case literal.typ.numeric() && other.typ.Kind == String:
		return fmt.Sprintf("compare with the string %s", value.AppendQuoted(nil, string(value.AppendText(nil, literal.val))))
	case literal.typ.Kind == String && other.typ.Kind == Bool && (literal.val.Text == "true" || literal.val.Text == "false"),
		literal.typ.Kind == String && other.typ.numeric() && plainNumber(literal.val.Text):
		return "compare with " + literal.val.Text
	}
	return ""
}

// ordering types < <= > >=.
func (c *checker) ordering(n *node, operator string) *node {
	left, right := n.kids[0], n.kids[1]
	n.typ = Type{Kind: Bool}
	numbers := left.typ.is(Int, Float) && right.typ.is(Int, Float)
	texts := left.typ.is(String) && right.typ.is(String) || left.typ.is(Bytes) && right.typ.is(Bytes)
	if numbers || texts {
		return n
	}
	d := c.errorf(codeType, n, "operator %s does not work on %s and %s", operator, article(left.typ.String()), article(right.typ.String()))
	d.Help = c.conversion(left, right)
	return n.spoil()
}

// textual types in, contains, startsWith, endsWith and matches.
func (c *checker) textual(n *node, operator string) *node {
	left, right := n.kids[0], n.kids[1]
	n.typ = Type{Kind: Bool}
	switch n.op {
	case opIn:
		return c.membership(n)
	case opContains:
		if !c.wants(left, operator, String, List) {
			return n.spoil()
		}
		if left.typ.Kind == List {
			if !comparableTypes(left.typ.elem(), right.typ) {
				return c.bad(codeType, n, "%s never contains %s", article(left.typ.String()), article(right.typ.String()))
			}
			return n
		}
		if left.typ.Kind == String && !c.wants(right, operator, String) {
			return n.spoil()
		}
		return n
	case opMatches:
		return c.pattern(n)
	}
	if l, r := c.wants(left, operator, String), c.wants(right, operator, String); !l || !r {
		return n.spoil()
	}
	return n
}

// membership types in.
func (c *checker) membership(n *node) *node {
	left, right := n.kids[0], n.kids[1]
	switch right.typ.Kind {
	case Any, Null:
		return n
	case List:
		if !comparableTypes(right.typ.elem(), left.typ) {
			return c.bad(codeType, n, "%s is never in %s", article(left.typ.String()), article(right.typ.String()))
		}
		return n
	case Object:
		if !c.wants(left, "in with an object", String) {
			return n.spoil()
		}
		return n
	}
	c.errorf(codeType, n, "in needs a list or an object on its right, not %s", article(right.typ.String())).
		Help = "a list is written in brackets: x in [1, 2]"
	return n.spoil()
}

// maxPattern bounds a regular expression in bytes. Go's engine runs in time
// linear in the text times the pattern.
const maxPattern = 1000

// pattern compiles the constant pattern of matches.
func (c *checker) pattern(n *node) *node {
	left, right := n.kids[0], n.kids[1]
	if !c.wants(left, "matches", String) {
		return n.spoil()
	}
	re, msg := compilePattern(right)
	if msg != "" {
		c.errorf(codeRegex, right, "%s", msg)
		return n.spoil()
	}
	n.re, n.kids = re, []*node{left}
	return n
}

// compilePattern turns a constant argument into a regular expression, or says
// why it cannot.
func compilePattern(n *node) (*regexp.Regexp, string) {
	if !n.constant() || n.val.Kind != value.String {
		return nil, "a regular expression must be a constant string"
	}
	if len(n.val.Text) > maxPattern {
		return nil, fmt.Sprintf("regular expression of %d bytes: at most %d are allowed", len(n.val.Text), maxPattern)
	}
	re, err := regexp.Compile(n.val.Text)
	if err != nil {
		return nil, fmt.Sprintf("regular expression is not valid: %v", err)
	}
	return re, ""
}

// conditional types c ? a : b and if c {a} else {b}.
func (c *checker) conditional(a *ast.ConditionalNode) *node {
	n := c.node(a, opCond)
	cond, yes, no := c.check(a.Cond), c.check(a.Exp1), c.check(a.Exp2)
	if !c.wants(cond, "a condition", Bool) || cond.op == opBad || yes.op == opBad || no.op == opBad {
		return n.spoil()
	}
	n.kids = []*node{cond, yes, no}
	n.typ = unify(yes.typ, no.typ)
	return n
}

// slice types x[from:to].
func (c *checker) slice(a *ast.SliceNode) *node {
	n := c.node(a, opSlice)
	n.kids = []*node{c.check(a.Node), nil, nil}
	ok := c.wants(n.kids[0], "a slice", List, String) && n.kids[0].op != opBad
	for i, bound := range []ast.Node{a.From, a.To} {
		if bound == nil {
			continue
		}
		kid := c.check(bound)
		n.kids[i+1] = kid
		ok = c.wants(kid, "the bound of a slice", Int) && kid.op != opBad && ok
	}
	if !ok {
		return n.spoil()
	}
	n.typ = n.kids[0].typ
	return n
}

// list types [a, b].
func (c *checker) list(a *ast.ArrayNode) *node {
	n := c.node(a, opList)
	elem := Type{Kind: Null}
	bad := false
	for _, item := range a.Nodes {
		kid := c.check(item)
		bad = bad || kid.op == opBad
		n.kids = append(n.kids, kid)
		elem = unify(elem, kid.typ)
	}
	if bad {
		return n.spoil()
	}
	if elem.Kind == Null {
		elem = Type{}
	}
	n.typ = listOf(elem)
	return n
}

// object types {a: x, "b": y, (computed): z}.
func (c *checker) object(a *ast.MapNode) *node {
	n := c.node(a, opMap)
	n.typ = Type{Kind: Object}
	seen := map[string]bool{}
	bad := false
	for _, p := range a.Pairs {
		pair := p.(*ast.PairNode)
		key := c.check(pair.Key)
		kid := c.check(pair.Value)
		bad = bad || key.op == opBad || kid.op == opBad
		if key.op != opBad && key.constant() && key.val.Kind == value.String {
			if seen[key.val.Text] {
				c.errorf(codeSyntax, key, "key %q is there twice", key.val.Text)
				bad = true
			}
			seen[key.val.Text] = true
			n.keys, n.keyNodes = append(n.keys, key.val.Text), append(n.keyNodes, nil)
			n.typ.Fields = append(n.typ.Fields, Field{key.val.Text, kid.typ})
		} else {
			bad = !c.wants(key, "a key", String) || bad
			n.keys, n.keyNodes = append(n.keys, ""), append(n.keyNodes, key)
			n.typ.Open = true
		}
		n.kids = append(n.kids, kid)
	}
	if bad {
		return n.spoil()
	}
	if n.typ.Open {
		// A computed key may replace a known one.
		n.typ = Type{Kind: Object, Open: true}
	}
	return n
}

// let types let name = value; body.
func (c *checker) let(a *ast.VariableDeclaratorNode) *node {
	n := c.node(a, opLet)
	val := c.check(a.Value)
	c.lets++
	n.name = fmt.Sprintf("%s$%d", a.Name, c.lets)
	c.locals = append(c.locals, local{a.Name, n.name, val.typ})
	body := c.check(a.Expr)
	c.locals = c.locals[:len(c.locals)-1]
	if val.op == opBad || body.op == opBad {
		return n.spoil()
	}
	n.kids, n.typ = []*node{val, body}, body.typ
	return n
}
