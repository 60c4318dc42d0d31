package model

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
)

// binding is what an alias stands for: a value with its key, and names beside
// the fields of the value (of a windowed table: window).
type binding struct {
	value any
	key   any
	names object
	// blank is what a spread gives where there is no row.
	blank object
}

// env gives aliases their meaning; "" is that of bare names.
type env map[string]binding

// with is e and one more.
func (e env) with(alias string, b binding) env {
	out := env{alias: b}
	for name, other := range e {
		if name != alias {
			out[name] = other
		}
	}
	return out
}

// expression is a parsed one.
type expression struct {
	text string
	node ast.Node
}

// expr-lang knows count with a predicate only.
var bareCount = regexp.MustCompile(`\bcount\(\s*\)`)

func parseExpression(text string) (*expression, error) {
	tree, err := parser.Parse(bareCount.ReplaceAllString(text, "count_rows()"))
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", text, err)
	}
	return &expression{text, tree.Node}, nil
}

// scope is what an expression sees.
type scope struct {
	env env
	// aggregate computes a call of an aggregate; nil where there are none.
	aggregate func(name string, args []ast.Node) (any, error)
	// named are values of bare names that come before fields.
	named map[string]any
	// texts are values of whole expressions, by their text without spaces.
	texts map[string]any
}

func (x *expression) eval(e env) (any, error) { return (&scope{env: e}).value(x.node) }

// holds evaluates a condition: null counts as false.
func (x *expression) holds(e env) (bool, error) {
	v, err := x.eval(e)
	if err != nil || v == nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s is no condition", canon(v))
	}
	return b, nil
}

// names lists the identifiers that an expression begins its paths with.
func (x *expression) names() map[string]bool {
	found := map[string]bool{}
	visit(x.node, func(n ast.Node) {
		if id, ok := n.(*ast.IdentifierNode); ok {
			found[id.Value] = true
		}
	})
	return found
}

type visitor func(ast.Node)

func (v visitor) Visit(n *ast.Node) { v(*n) }

func visit(n ast.Node, f func(ast.Node)) { ast.Walk(&n, visitor(f)) }

func (s *scope) value(n ast.Node) (any, error) {
	if s.texts != nil {
		if v, ok := s.texts[strings.ReplaceAll(n.String(), " ", "")]; ok {
			return v, nil
		}
	}
	switch n := n.(type) {
	case *ast.NilNode:
		return nil, nil
	case *ast.IntegerNode:
		return int64(n.Value), nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IdentifierNode:
		return s.identifier(n.Value)
	case *ast.ChainNode:
		return s.value(n.Node)
	case *ast.MemberNode:
		return s.member(n)
	case *ast.UnaryNode:
		return s.unary(n)
	case *ast.BinaryNode:
		return s.binary(n)
	case *ast.ConditionalNode:
		cond, err := s.truth(n.Cond)
		if err != nil {
			return nil, err
		}
		if cond == true {
			return s.value(n.Exp1)
		}
		return s.value(n.Exp2)
	case *ast.ArrayNode:
		list := make([]any, len(n.Nodes))
		for i, item := range n.Nodes {
			v, err := s.plain(item)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case *ast.MapNode:
		return s.object(n)
	case *ast.CallNode:
		id, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			return nil, fmt.Errorf("cannot call %s", n.Callee)
		}
		return s.call(id.Value, n.Arguments)
	case *ast.BuiltinNode:
		return s.call(n.Name, n.Arguments)
	}
	return nil, fmt.Errorf("the model does not know %T", n)
}

// plain is value with an alias as its value.
func (s *scope) plain(n ast.Node) (any, error) {
	v, err := s.value(n)
	if b, ok := v.(binding); ok {
		return b.value, err
	}
	return v, err
}

func (s *scope) identifier(name string) (any, error) {
	if v, ok := s.named[name]; ok {
		return v, nil
	}
	if b, ok := s.env[name]; ok && name != "" {
		return b, nil
	}
	b, ok := s.env[""]
	if !ok {
		return nil, fmt.Errorf("%s is unknown", name)
	}
	return field(b, name)
}

func (s *scope) member(n *ast.MemberNode) (any, error) {
	of, err := s.value(n.Node)
	if err != nil {
		return nil, err
	}
	at, err := s.plain(n.Property)
	if err != nil {
		return nil, err
	}
	if i, ok := at.(int64); ok {
		if b, ok := of.(binding); ok {
			of = b.value
		}
		return item(of, i)
	}
	name, ok := at.(string)
	if !ok {
		return nil, fmt.Errorf("%s names no member", canon(at))
	}
	return field(of, name)
}

func item(list any, i int64) (any, error) {
	if list == nil {
		return nil, nil
	}
	items, ok := list.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no list", canon(list))
	}
	if i < 0 {
		i += int64(len(items))
	}
	if i < 0 || i >= int64(len(items)) {
		return nil, nil
	}
	return items[i], nil
}

func field(of any, name string) (any, error) {
	if b, ok := of.(binding); ok {
		if v, ok := b.names[name]; ok {
			return v, nil
		}
		switch name {
		case "key":
			return b.key, nil
		case "value":
			return b.value, nil
		}
		of = b.value
	}
	switch of := of.(type) {
	case nil:
		return nil, nil
	case object:
		return of[name], nil
	}
	return nil, fmt.Errorf("cannot read %q of %s", name, canon(of))
}

func (s *scope) object(n *ast.MapNode) (any, error) {
	out := object{}
	for _, pair := range n.Pairs {
		p := pair.(*ast.PairNode)
		name, err := s.plain(p.Key)
		if err != nil {
			return nil, err
		}
		v, err := s.plain(p.Value)
		if err != nil {
			return nil, err
		}
		out[keyText(name)] = v
	}
	return out, nil
}

// truth is a condition: true, false or nil.
func (s *scope) truth(n ast.Node) (any, error) {
	v, err := s.plain(n)
	if err != nil || v == nil {
		return nil, err
	}
	if b, ok := v.(bool); ok {
		return b, nil
	}
	return nil, fmt.Errorf("want a bool, got %s", canon(v))
}

func (s *scope) unary(n *ast.UnaryNode) (any, error) {
	if n.Operator == "!" || n.Operator == "not" {
		v, err := s.truth(n.Node)
		if b, ok := v.(bool); ok {
			return !b, err
		}
		return nil, err
	}
	v, err := s.plain(n.Node)
	if err != nil || v == nil {
		return nil, err
	}
	if n.Operator == "+" {
		return v, nil
	}
	return arithmetic("-", int64(0), v)
}

func (s *scope) binary(n *ast.BinaryNode) (any, error) {
	switch n.Operator {
	case "&&", "and":
		return s.logic(n, false)
	case "||", "or":
		return s.logic(n, true)
	}
	a, err := s.plain(n.Left)
	if err != nil {
		return nil, err
	}
	if n.Operator == "??" {
		if a != nil {
			return a, nil
		}
		return s.plain(n.Right)
	}
	b, err := s.plain(n.Right)
	if err != nil {
		return nil, err
	}
	_, nilLeft := n.Left.(*ast.NilNode)
	_, nilRight := n.Right.(*ast.NilNode)
	if nilLeft || nilRight { // x == nil asks
		return (a == nil && b == nil) == (n.Operator == "=="), nil
	}
	if a == nil || b == nil {
		return nil, nil
	}
	switch n.Operator {
	case "==":
		return equal(a, b), nil
	case "!=":
		return !equal(a, b), nil
	case "<", "<=", ">", ">=":
		sign, ok := order(a, b)
		if !ok {
			return nil, fmt.Errorf("cannot compare %s with %s", canon(a), canon(b))
		}
		return map[string]bool{"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[n.Operator], nil
	}
	return arithmetic(n.Operator, a, b)
}

// logic is && and || of three values: decides is what one side alone settles.
func (s *scope) logic(n *ast.BinaryNode, decides bool) (any, error) {
	a, err := s.truth(n.Left)
	if err != nil || a == decides {
		return a, err
	}
	b, err := s.truth(n.Right)
	if err != nil || b == decides {
		return b, err
	}
	if a == nil {
		return nil, nil
	}
	return b, nil
}
