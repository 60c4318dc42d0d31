package expr

import (
	"fmt"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Items are the elements of an expression that is a list written out, `[a, b]`,
// each as a program of its own; ok is false for every other expression.
func (p *Program) Items() (items []*Program, ok bool) {
	if p.tree.op != opList {
		return nil, false
	}
	base := p.tree.start
	for _, kid := range p.tree.kids {
		items = append(items, (&Program{}).of(p.text[kid.start-base:kid.end-base], kid.start, kid))
	}
	return items, true
}

// Identity names what the program computes: two programs over the same rows
// with equal identities give equal values for every record, as long as they
// are Pure. The reverse does not hold: no algebra is done.
func (p *Program) Identity() string {
	var b strings.Builder
	identify(&b, p.tree)
	return b.String()
}

func identify(b *strings.Builder, n *node) {
	if n == nil {
		b.WriteByte('_')
		return
	}
	switch n.op {
	case opConst:
		fmt.Fprintf(b, "%d=%s", n.val.Kind, value.AppendKey(nil, n.val))
		return
	case opRef:
		fmt.Fprintf(b, "@%d.%d%s", n.ref.Row, n.ref.Slot, pathIdentity(n.rest))
		return
	case opProgram:
		identify(b, n.prog.tree)
		b.WriteString(pathIdentity(n.rest))
		return
	}
	fmt.Fprintf(b, "(%d %q", n.op, n.name)
	if n.fn != nil {
		b.WriteString(" " + n.fn.identity())
	}
	if n.re != nil {
		fmt.Fprintf(b, " %q", n.re)
	}
	for i, kid := range n.kids {
		if i < len(n.keys) {
			fmt.Fprintf(b, " %q:", n.keys[i])
		}
		b.WriteByte(' ')
		identify(b, kid)
	}
	for _, kid := range n.keyNodes {
		b.WriteByte(' ')
		identify(b, kid)
	}
	b.WriteByte(')')
}

func pathIdentity(path []codec.Step) string {
	if len(path) == 0 {
		return ""
	}
	return "." + codec.PathText(path)
}
