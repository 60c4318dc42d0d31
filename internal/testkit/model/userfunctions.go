package model

import (
	"github.com/expr-lang/expr/ast"

	"streamctl/internal/syntax"
)

// userFunction is an entry of functions: that is an expression.
type userFunction struct {
	params []string
	body   string
}

func readFunctions(n *syntax.Node) map[string]userFunction {
	functions := map[string]userFunction{}
	if n == nil {
		return functions
	}
	for _, e := range n.Entries {
		f := userFunction{body: textOf(e.Value.Get("expr"))}
		if f.body == "" {
			fail("function %s: the model knows expressions only", e.Key.Value)
		}
		if params := e.Value.Get("params"); params != nil {
			for _, p := range params.Entries {
				f.params = append(f.params, p.Key.Value)
			}
		}
		functions[e.Key.Value] = f
	}
	return functions
}

// inline puts a function's expression in the place of every call, with the
// arguments in the places of its parameters.
func (x *expression) inline(functions map[string]userFunction) {
	ast.Walk(&x.node, patcher(func(n *ast.Node) {
		call, ok := (*n).(*ast.CallNode)
		if !ok {
			return
		}
		id, ok := call.Callee.(*ast.IdentifierNode)
		if !ok {
			return
		}
		f, ok := functions[id.Value]
		if !ok {
			return
		}
		body := mustParse(f.body)
		body.inline(functions)
		ast.Walk(&body.node, patcher(func(n *ast.Node) {
			if id, ok := (*n).(*ast.IdentifierNode); ok {
				for i, p := range f.params {
					if p == id.Value {
						*n = call.Arguments[i]
						return
					}
				}
			}
		}))
		*n = body.node
	}))
}

type patcher func(*ast.Node)

func (p patcher) Visit(n *ast.Node) { p(n) }

// expressions lists all expressions of a definition.
func (d *definition) expressions() (list []*expression) {
	list = append(list, d.key, d.value, d.timeOf, d.where, d.having)
	for _, j := range d.joins {
		for _, c := range j.on {
			list = append(list, c.ours, c.theirs)
		}
	}
	for _, g := range d.groups {
		list = append(list, g.expr)
	}
	for _, c := range d.columns {
		list = append(list, c.expr)
	}
	if d.top != nil {
		list = append(list, d.top.by, d.top.per)
	}
	if d.dedup != nil {
		list = append(list, d.dedup.by)
	}
	if d.match != nil {
		list = append(list, d.match.text)
	}
	if d.unnest != nil {
		list = append(list, d.unnest.list)
	}
	return list
}
