package expr

import (
	"errors"
	"fmt"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"streamctl/internal/value"
)

// The second back end: expr-lang's virtual machine. It runs what closures do
// not know (functions with predicates, let), and in tests everything, to hold
// the two equal.
//
// The machine gets a tree in which every operator and function is a call of
// ours, so that nulls, overflow and equality are the same as everywhere; its
// own part is control flow: loops over lists, branches, variables. On its stack
// lies a value.Value for everything but conditions of branches (bool), lists
// that are looped over ([]any) and the Frame.

// machine is a virtual machine of a Frame. Frames keep theirs, in a list
// because a program spliced into another may need one while the outer runs.
type machine struct {
	vm   vm.VM
	next *machine
}

// onMachine compiles n, and all below, for the virtual machine.
func (l *lowerer) onMachine(n *node) code {
	at := l.failure(n)
	b := &machineBuilder{l: l, functions: conf.FunctionsTable{}}
	program, err := compiler.Compile(&parser.Tree{Node: b.tree(n), Source: file.NewSource("")}, &conf.Config{Functions: b.functions})
	if err != nil {
		fault := at.wrap(fmt.Errorf("compile for the virtual machine: %w", err))
		return code{val: func(*Frame) (value.Value, error) { return value.Value{}, fault }}
	}
	return code{val: func(f *Frame) (value.Value, error) {
		m := f.vm
		if m == nil {
			m = &machine{}
		} else {
			f.vm = m.next
		}
		out, err := m.vm.Run(program, f)
		m.next, f.vm = f.vm, m
		if err != nil {
			return value.Value{}, at.ofMachine(err)
		}
		return unbox(out)
	}}
}

// ofMachine finds our error in one of the machine, or gives its own message
// the place of the whole.
func (p failure) ofMachine(err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	var theirs *file.Error
	if errors.As(err, &theirs) {
		return &Error{p.start, p.end, p.within + theirs.Message}
	}
	return p.wrap(err)
}

// unbox reads what lies on the machine's stack.
func unbox(x any) (value.Value, error) {
	switch x := x.(type) {
	case value.Value:
		return x, nil
	case nil:
		return value.NullV(), nil
	case bool:
		return value.OfBool(x), nil
	case int:
		return value.OfInt(int64(x)), nil
	case []any:
		items := make([]value.Value, len(x))
		for i := range x {
			v, err := unbox(x[i])
			if err != nil {
				return v, err
			}
			items[i] = v
		}
		return value.OfList(items), nil
	}
	return value.Value{}, fmt.Errorf("virtual machine gave a %T", x)
}

// machineBuilder makes the tree for the machine.
type machineBuilder struct {
	l         *lowerer
	functions conf.FunctionsTable
	names     int
	loops     int // of the machine, around the node in hand; beyond them lie those of closures
}

// fresh makes a name that nothing else has.
func (b *machineBuilder) fresh(prefix string) string {
	b.names++
	return fmt.Sprintf("$%s%d", prefix, b.names)
}

// call is a call of fn with everything on the stack.
func (b *machineBuilder) call(fn func(args ...any) (any, error), args ...ast.Node) ast.Node {
	name := b.fresh("f")
	b.functions[name] = &builtin.Function{Name: name, Func: fn}
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// values is a call of fn with Values; errors get the place of n.
func (b *machineBuilder) values(n *node, fn func(args []value.Value) (value.Value, error), args ...ast.Node) ast.Node {
	at := b.l.failure(n)
	return b.call(func(boxed ...any) (any, error) {
		vals := make([]value.Value, len(boxed))
		for i := range boxed {
			v, err := unbox(boxed[i])
			if err != nil {
				return nil, at.wrap(err)
			}
			vals[i] = v
		}
		v, err := fn(vals)
		if err != nil {
			return nil, at.wrap(err)
		}
		return v, nil
	}, args...)
}

// framed is a call of fn with the Frame.
func (b *machineBuilder) framed(fn func(f *Frame) (value.Value, error)) ast.Node {
	return b.call(func(args ...any) (any, error) {
		v, err := fn(args[0].(*Frame))
		if err != nil {
			return nil, err
		}
		return v, nil
	}, &ast.IdentifierNode{Value: "$env"})
}

// truth is n as the bool that the machine's branches need.
func (b *machineBuilder) truth(n *node) ast.Node { return b.truthOf(n, b.tree(n)) }

func (b *machineBuilder) truthOf(n *node, tree ast.Node) ast.Node {
	at := b.l.failure(n)
	return b.call(func(args ...any) (any, error) {
		v, err := unbox(args[0])
		if err != nil {
			return nil, at.wrap(err)
		}
		t, err := triOfValue(v)
		if err != nil {
			return nil, at.wrap(err)
		}
		return t == triTrue, nil
	}, tree)
}

// with evaluates tree once and gives its name to body.
func (b *machineBuilder) with(tree ast.Node, body func(name ast.Node) ast.Node) ast.Node {
	name := b.fresh("t")
	return &ast.VariableDeclaratorNode{Name: name, Value: tree, Expr: body(&ast.IdentifierNode{Value: name})}
}

// when branches on a test of Go.
func (b *machineBuilder) when(x ast.Node, test func(v value.Value) (bool, error), yes, no ast.Node) ast.Node {
	cond := b.call(func(args ...any) (any, error) {
		v, err := unbox(args[0])
		if err != nil {
			return nil, err
		}
		return test(v)
	}, x)
	return &ast.ConditionalNode{Ternary: true, Cond: cond, Exp1: yes, Exp2: no}
}

// null is the constant.
func (b *machineBuilder) null() ast.Node { return &ast.ConstantNode{Value: value.NullV()} }

// trees makes several.
func (b *machineBuilder) trees(nodes []*node) []ast.Node {
	out := make([]ast.Node, len(nodes))
	for i, n := range nodes {
		out[i] = b.tree(n)
	}
	return out
}

// tree makes the machine's tree of n.
func (b *machineBuilder) tree(n *node) ast.Node {
	switch n.op {
	case opConst:
		return &ast.ConstantNode{Value: n.val}
	case opRef:
		return b.framed(b.l.lower(n).val)
	case opProgram:
		return b.framed(b.l.lower(n).val)
	case opLocal:
		return &ast.IdentifierNode{Value: n.name}
	case opElement, opIndex:
		if b.loops == 0 {
			return b.framed(b.l.lower(n).val)
		}
		if n.op == opIndex {
			return &ast.PointerNode{Name: "index"}
		}
		return &ast.PointerNode{}
	case opAcc:
		return &ast.PointerNode{Name: "acc"}
	case opLet:
		return &ast.VariableDeclaratorNode{Name: n.name, Value: b.tree(n.kids[0]), Expr: b.tree(n.kids[1])}
	case opCond:
		return &ast.ConditionalNode{Ternary: true, Cond: b.truth(n.kids[0]), Exp1: b.tree(n.kids[1]), Exp2: b.tree(n.kids[2])}
	case opCoalesce:
		return b.with(b.tree(n.kids[0]), func(x ast.Node) ast.Node {
			return b.when(x, func(v value.Value) (bool, error) { return v.IsNull(), nil }, b.tree(n.kids[1]), x)
		})
	case opAnd, opOr:
		return b.logic(n)
	case opPredicate:
		return b.predicate(n)
	case opCall:
		return b.function(n)
	case opList:
		return b.values(n, func(args []value.Value) (value.Value, error) { return value.OfList(args), nil }, b.trees(n.kids)...)
	case opMap:
		return b.object(n)
	case opSlice:
		return b.slice(n)
	case opRange:
		return b.framedValues(n, func(f *Frame, args []value.Value) (value.Value, error) {
			v, err := rangeOn(args[0], args[1])
			if err == nil {
				err = f.spendOn(v)
			}
			return v, err
		}, b.trees(n.kids)...)
	}
	return b.operator(n)
}

// operator is what only looks at the values of its operands.
func (b *machineBuilder) operator(n *node) ast.Node {
	o, re, place := n.op, n.re, n
	if o == opNot || o == opMatches {
		place = n.kids[0] // only the operand can be wrong
	}
	return b.values(place, func(args []value.Value) (value.Value, error) {
		x := args[0]
		var t tri
		var err error
		switch o {
		case opNeg:
			return value.Neg(x)
		case opNot:
			t, err = triOfValue(x)
			t = t.not()
		case opIsNull, opNotNull:
			t = triOf(x.IsNull() == (o == opIsNull))
		case opMatches:
			switch {
			case x.Kind == value.String:
				t = triOf(re.MatchString(x.Text))
			case !x.IsNull():
				err = unwanted("a string", x)
			}
		default:
			return dyadicOn(o, x, args[1])
		}
		return t.value(), err
	}, b.trees(n.kids)...)
}

// dyadicOn computes an operator with two operands.
func dyadicOn(o op, x, y value.Value) (value.Value, error) {
	var t tri
	var err error
	switch o {
	case opMember:
		return memberOn(x, y)
	case opEq, opNe:
		t, err = equalOn(x, y)
		t = flip(t, o == opNe)
	case opLt, opLe, opGt, opGe:
		t, err = orderOn(o, x, y)
	case opIn:
		t, err = inOn(x, y)
	case opContains:
		t, err = containsOn(x, y)
	case opStartsWith, opEndsWith:
		t, err = textOn(o, x, y)
	default:
		return arithmeticOn(o, x, y)
	}
	return t.value(), err
}

// logic is && and || with the machine's branch as the short cut.
func (b *machineBuilder) logic(n *node) ast.Node {
	decides := triFalse
	if n.op == opOr {
		decides = triTrue
	}
	left := b.values(n.kids[0], func(args []value.Value) (value.Value, error) {
		t, err := triOfValue(args[0])
		return t.value(), err
	}, b.tree(n.kids[0]))
	at := b.l.failure(n.kids[1])
	return b.with(left, func(x ast.Node) ast.Node {
		both := b.values(n, func(args []value.Value) (value.Value, error) {
			a, _ := triOfValue(args[0])
			c, err := triOfValue(args[1])
			if err != nil {
				return value.Value{}, at.wrap(err)
			}
			if a == triNull && c != decides {
				return value.NullV(), nil
			}
			return c.value(), nil
		}, x, b.tree(n.kids[1]))
		return b.when(x, func(v value.Value) (bool, error) {
			t, err := triOfValue(v)
			return t == decides, err
		}, x, both)
	})
}

// function is a call of the library.
func (b *machineBuilder) function(n *node) ast.Node {
	fn, impl := n.fn, n.impl
	return b.framedValues(n, func(f *Frame, args []value.Value) (value.Value, error) {
		return fn.invoke(impl, f, args)
	}, b.trees(n.kids)...)
}

// framedValues is a call of fn with the Frame and Values.
func (b *machineBuilder) framedValues(n *node, fn func(f *Frame, args []value.Value) (value.Value, error), args ...ast.Node) ast.Node {
	at := b.l.failure(n)
	args = append([]ast.Node{&ast.IdentifierNode{Value: "$env"}}, args...)
	return b.call(func(boxed ...any) (any, error) {
		vals := make([]value.Value, len(boxed)-1)
		for i := range vals {
			v, err := unbox(boxed[i+1])
			if err != nil {
				return nil, at.wrap(err)
			}
			vals[i] = v
		}
		v, err := fn(boxed[0].(*Frame), vals)
		if err != nil {
			return nil, at.wrap(err)
		}
		return v, nil
	}, args...)
}

// object is {a: x, (b): y}: keys and values in turn.
func (b *machineBuilder) object(n *node) ast.Node {
	var args []ast.Node
	for i, kid := range n.kids {
		if key := n.keyNodes[i]; key != nil {
			args = append(args, b.values(key, func(args []value.Value) (value.Value, error) {
				_, err := keyOf(args[0])
				return args[0], err
			}, b.tree(key)))
		} else {
			args = append(args, &ast.ConstantNode{Value: value.OfString(n.keys[i])})
		}
		args = append(args, b.tree(kid))
	}
	return b.values(n, func(args []value.Value) (value.Value, error) {
		var out objectBuilder
		for i := 0; i < len(args); i += 2 {
			out.set(args[i].Text, args[i+1])
		}
		return out.value(), nil
	}, args...)
}

// slice is x[from:to].
func (b *machineBuilder) slice(n *node) ast.Node {
	var args []ast.Node
	for _, kid := range n.kids {
		if kid != nil {
			args = append(args, b.tree(kid))
		}
	}
	hasFrom, hasTo := n.kids[1] != nil, n.kids[2] != nil
	return b.values(n, func(args []value.Value) (value.Value, error) {
		var from, to *value.Value
		if hasFrom {
			from = &args[1]
		}
		if hasTo {
			to = &args[len(args)-1]
		}
		return sliceOn(args[0], from, to)
	}, args...)
}
