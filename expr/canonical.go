package expr

import (
	"fmt"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Canonical writes what the program computes, with every place that it reads
// named by name: equal texts compute equal values, whatever the aliases, the
// white space and the layout of the frames. Recorded plans are compared by it, so that
// the form of an expression must never change from one version of this program to
// the next; the words below are part of that form.
func (p *Program) Canonical(name func(Ref) string) string {
	w := canonical{name: name}
	w.node(p.tree)
	return w.out.String()
}

// words name the operations, independently of their numbers.
func words() map[op]string {
	return map[op]string{
		opLocal: "local", opElement: "element", opIndex: "index", opAcc: "acc", opMember: "member", opSlice: "slice",
		opNeg: "neg", opNot: "not", opIsNull: "is_null", opNotNull: "not_null",
		opAdd: "add", opSub: "sub", opMul: "mul", opDiv: "div", opMod: "mod", opPow: "pow",
		opEq: "eq", opNe: "ne", opLt: "lt", opLe: "le", opGt: "gt", opGe: "ge",
		opAnd: "and", opOr: "or", opCoalesce: "coalesce", opIn: "in", opContains: "contains",
		opStartsWith: "starts_with", opEndsWith: "ends_with", opMatches: "matches", opRange: "range", opCond: "if",
		opList: "list", opMap: "map", opCall: "call", opPredicate: "each", opLet: "let", opBad: "bad",
	}
}

// canonical writes one program.
type canonical struct {
	name  func(Ref) string
	words map[op]string
	out   strings.Builder
}

func (w *canonical) node(n *node) {
	switch {
	case n == nil:
		w.out.WriteByte('_')
	case n.op == opConst:
		w.constant(n.val)
	case n.op == opRef:
		w.out.WriteString(w.name(n.ref))
		w.path(n.rest)
	case n.op == opProgram:
		w.node(n.prog.tree)
		w.path(n.rest)
	default:
		w.operation(n)
	}
}

// constant writes the kind beside the value where the text alone would leave it open.
func (w *canonical) constant(v value.Value) {
	text := value.AppendKey(nil, v)
	switch v.Kind {
	case value.Int, value.String, value.Bool, value.Null:
		w.out.Write(text)
	default:
		fmt.Fprintf(&w.out, "%s %s", v.Kind, text)
	}
}

func (w *canonical) path(rest []codec.Step) {
	if len(rest) > 0 {
		fmt.Fprintf(&w.out, " . %s", codec.PathText(rest))
	}
}

// operation writes `word(operands)`; names of functions, keys and patterns stand before the operands.
func (w *canonical) operation(n *node) {
	if w.words == nil {
		w.words = words()
	}
	w.out.WriteString(w.words[n.op])
	if n.fn != nil {
		w.out.WriteString(" " + n.fn.identity())
	}
	if n.name != "" {
		w.out.WriteString(" " + n.name)
	}
	if n.re != nil {
		fmt.Fprintf(&w.out, " %+q", n.re) // ASCII: what is printable changes from one Go to the next
	}
	w.out.WriteByte('(')
	for i, kid := range n.kids {
		if i > 0 {
			w.out.WriteString(", ")
		}
		if i < len(n.keys) {
			if i < len(n.keyNodes) && n.keyNodes[i] != nil {
				w.node(n.keyNodes[i])
				w.out.WriteString(": ")
			} else {
				fmt.Fprintf(&w.out, "%+q: ", n.keys[i])
			}
		}
		w.node(kid)
	}
	w.out.WriteByte(')')
}
