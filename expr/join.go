package expr

import (
	"fmt"
	"slices"

	"streamctl/internal/diag"
)

// JoinTerm is one equality of a join condition.
type JoinTerm struct {
	Left  *Program // reads the inputs that were there before
	Right *Program // reads the input that is joined
	// LeftSource and RightSource are the texts of the two, to compile them against
	// another scope: where one side is repartitioned, its key is computed
	// elsewhere.
	LeftSource, RightSource Source
	Span                    diag.Span
}

// CompileJoin takes the condition of a join apart: equalities joined by &&,
// each with one side over the binding whose alias is right and the other over
// the rest. Anything else is reported (join-condition), and so are sides that
// can never be equal (type-mismatch).
func CompileJoin(src Source, scope *Scope, right string) ([]JoinTerm, diag.List) {
	c, root, diags := check(src, scope)
	if root == nil {
		return nil, diags
	}
	side := slices.IndexFunc(scope.Bindings, func(b *Binding) bool { return b.Alias == right })
	j := &joinSplitter{checker: c, src: src, right: side, alias: right}
	j.split(root)
	c.diags.Sort()
	if c.diags.HasErrors() {
		return nil, c.diags
	}
	return j.terms, c.diags
}

// joinSplitter collects the terms of a condition.
type joinSplitter struct {
	*checker
	src   Source
	right int
	alias string
	terms []JoinTerm
}

// joinHelp says what a condition looks like.
const joinHelp = "write an equality per pair of keys, joined by &&: a.x == b.y && a.z == b.w"

// split walks down the &&s.
func (j *joinSplitter) split(n *node) {
	switch n.op {
	case opBad:
	case opAnd:
		j.split(n.kids[0])
		j.split(n.kids[1])
	case opEq:
		j.term(n)
	default:
		j.errorf(codeJoin, n, "a join condition consists of equalities").Help = joinHelp
	}
}

// sides are the inputs that an expression reads.
type sides struct{ left, right bool }

func (j *joinSplitter) sidesOf(n *node) sides {
	var s sides
	n.walk(func(n *node) {
		if n.op != opRef && n.op != opProgram {
			return
		}
		if n.bind == j.right {
			s.right = true
		} else {
			s.left = true
		}
	})
	return s
}

// term checks one equality.
func (j *joinSplitter) term(n *node) {
	a, b := n.kids[0], n.kids[1]
	sa, sb := j.sidesOf(a), j.sidesOf(b)
	if sa.right && !sa.left && sb.left && !sb.right {
		a, b, sa, sb = b, a, sb, sa
	}
	if fault := j.fault(sa, sb); fault != "" {
		j.errorf(codeJoin, n, "%s", fault).Help = joinHelp
		return
	}
	if !a.pure() || !b.pure() {
		j.errorf(codeJoin, n, "a join key cannot depend on the clock")
		return
	}
	j.terms = append(j.terms, JoinTerm{
		Left: newProgram(j.tree.text, a), Right: newProgram(j.tree.text, b),
		LeftSource: j.src.part(a.start, a.end), RightSource: j.src.part(b.start, b.end),
		Span: j.at(n.start, n.end),
	})
}

// fault says why two sides are no pair of keys.
func (j *joinSplitter) fault(a, b sides) string {
	switch {
	case a.left && a.right || b.left && b.right:
		return fmt.Sprintf("one side of == reads both %s and the inputs before it", j.alias)
	case !a.left && !a.right || !b.left && !b.right:
		return "one side of == is a constant: filter with where instead"
	case a.right && b.right:
		return fmt.Sprintf("both sides of == read %s", j.alias)
	case a.left && b.left:
		return fmt.Sprintf("neither side of == reads %s", j.alias)
	}
	return ""
}
