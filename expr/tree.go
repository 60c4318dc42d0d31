package expr

import (
	"regexp"

	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// op says what a node does.
type op uint8

const (
	opBad        op = iota // already reported; its type is any
	opConst                // val
	opRef                  // ref, then rest
	opProgram              // prog, then rest
	opLocal                // the variable name of a let around
	opElement              // # in a predicate: the element
	opIndex                // #index
	opAcc                  // #acc
	opMember               // kids[0] at kids[1]: a name or an index known only at run time, or below a computed value
	opSlice                // kids[0] from kids[1] to kids[2]; nil = open end
	opNeg                  // -kids[0]
	opNot                  // not kids[0]
	opIsNull               // kids[0] == nil
	opNotNull              // kids[0] != nil
	opAdd                  // arithmetic: kids[0], kids[1]
	opSub                  //
	opMul                  //
	opDiv                  //
	opMod                  //
	opPow                  //
	opEq                   // comparison
	opNe                   //
	opLt                   //
	opLe                   //
	opGt                   //
	opGe                   //
	opAnd                  //
	opOr                   //
	opCoalesce             // kids[0] ?? kids[1]
	opIn                   //
	opContains             //
	opStartsWith           //
	opEndsWith             //
	opMatches              // kids[0] matches re
	opRange                // kids[0]..kids[1]
	opCond                 // kids[0] ? kids[1] : kids[2]
	opList                 // [kids...]
	opMap                  // {keys[i]: kids[i]}; computed keys in keyNodes
	opCall                 // fn(kids...)
	opPredicate            // filter and the like: name, kids[0] = list, kids[1] = body or nil, kids[2] = third argument or nil
	opLet                  // let name = kids[0]; kids[1]
)

// node is an expression after checking: names are resolved, types known,
// constants folded. Both back ends (lower.go: closures, vm.go: expr-lang's
// virtual machine) are made from it, so they cannot disagree about its meaning
// except by a fault that the differential test is there to find.
type node struct {
	op         op
	typ        Type
	start, end int // bytes of the text
	kids       []*node

	val  value.Value // opConst
	ref  Ref         // opRef
	bind int         // opRef, opProgram: index of the Binding it came from, -1 = none (an aggregate)
	rest []codec.Step
	prog *Program
	name string // opLocal, opLet, opPredicate: the name; opLocal and opLet: unique in the expression
	keys []string
	// keyNodes holds an entry per key of a map; nil where keys[i] is the key.
	keyNodes []*node
	fn       *function
	impl     impl // of fn, with its constant arguments prepared
	re       *regexp.Regexp
	within   string // of a part of a function's body: where in it, for messages
}

// constant is true when n is a known value.
func (n *node) constant() bool { return n.op == opConst }

// isNil is true for the literal nil.
func (n *node) isNil() bool { return n.op == opConst && n.val.IsNull() }

// walk calls visit for n and all below it, parents first; programs spliced in
// are not entered.
func (n *node) walk(visit func(*node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, kid := range n.keyNodes {
		kid.walk(visit)
	}
	for _, kid := range n.kids {
		kid.walk(visit)
	}
}

// refs lists every slot that n reads, each once, in the order met.
func (n *node) refs() []Ref {
	var out []Ref
	seen := map[Ref]bool{}
	add := func(r Ref) {
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	n.walk(func(n *node) {
		switch n.op {
		case opRef:
			add(n.ref)
		case opProgram:
			for _, r := range n.prog.refs {
				add(r)
			}
		}
	})
	return out
}

// pure is true when the value depends on the slots read only, not on the clock.
func (n *node) pure() bool {
	pure := true
	n.walk(func(n *node) {
		if n.op == opCall && n.fn.clock || n.op == opProgram && !n.prog.pure {
			pure = false
		}
	})
	return pure
}
