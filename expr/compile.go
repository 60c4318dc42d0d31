package expr

import (
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// Program is a compiled expression. It is immutable and may be shared by any
// number of goroutines, each with a Frame of its own.
type Program struct {
	text string // its own part of the text that was compiled
	tree *node
	refs []Ref
	pure bool
	code code
}

// Compile turns a text into a Program. All faults that can be seen without
// data are reported, in source order; with an error among them the Program is
// nil.
func Compile(src Source, scope *Scope, want Want) (*Program, diag.List) {
	c, root, diags := check(src, scope)
	if root == nil {
		return nil, diags
	}
	c.fits(root, want)
	if c.diags.HasErrors() {
		c.diags.Sort()
		return nil, c.diags
	}
	return (&Program{}).of(src.Text, 0, root), c.diags
}

// check parses src and checks it; root is nil when it does not parse.
func check(src Source, scope *Scope) (c *checker, root *node, diags diag.List) {
	tree, bad := parse(src.Text)
	if bad != nil {
		diags.Errorf(bad.code, src.span(bad.start, bad.end), "%s", bad.msg).Help = bad.help
		return nil, nil, diags
	}
	c = &checker{tree: tree, scope: scope, at: src.span, fold: NewFrame(0), user: scope.Functions, room: newRoom()}
	return c, c.check(tree.root), nil
}

// fits reports a result that the place cannot use.
func (c *checker) fits(root *node, want Want) {
	kinds := []TypeKind{want.Kind}
	switch {
	case want.Kind == Any || root.op == opBad:
		return
	case want.Kind == Float:
		kinds = []TypeKind{Int, Float}
	}
	if root.typ.is(kinds...) {
		return
	}
	place := want.For
	if place == "" {
		place = "this place"
	}
	d := c.errorf(codeType, root, "%s needs %s, not %s", place, kindNames(kinds), article(root.typ.String()))
	if want.Kind == Bool {
		d.Help = "compare it with something, for instance x != nil"
	}
}

// newProgram lowers root, whose positions are bytes of text.
func newProgram(text string, root *node) *Program {
	return (&Program{}).of(text[root.start:root.end], root.start, root)
}

// of fills p: text is its own text, which begins at byte base of the text that
// root's positions count in.
func (p *Program) of(text string, base int, root *node) *Program {
	p.text, p.tree = text, root
	p.refs, p.pure = root.refs(), root.pure()
	p.code = lower(root, base)
	return p
}

// Type is the static type of the result.
func (p *Program) Type() Type { return p.tree.typ }

// Text is the source text.
func (p *Program) Text() string { return p.text }

// Refs lists every slot that the program reads, each once.
func (p *Program) Refs() []Ref { return p.refs }

// Pure is true when equal slots give an equal result: the program does not
// read the clock.
func (p *Program) Pure() bool { return p.pure }

// Ref says where the value lies when the program only reads one slot.
func (p *Program) Ref() (Ref, bool) {
	n := p.tree
	for n.op == opProgram && len(n.rest) == 0 {
		n = n.prog.tree
	}
	return n.ref, n.op == opRef && len(n.rest) == 0
}

// Const is the value when it does not depend on anything.
func (p *Program) Const() (value.Value, bool) {
	return p.tree.val, p.tree.constant()
}

// Eval computes the value for the rows of f. Strings and trees of the result
// may point into the rows. Errors are *Error.
func (p *Program) Eval(f *Frame) (value.Value, error) {
	f.spent = 0
	return p.code.val(f)
}

// Bool computes a condition: null is false; another kind than bool is an *Error.
func (p *Program) Bool(f *Frame) (bool, error) {
	f.spent = 0
	t, err := p.code.tri(f)
	return t == triTrue, err
}

// Int computes an int; notNull is false for null. Another kind than int is an
// *Error, a float without fraction apart.
func (p *Program) Int(f *Frame) (v int64, notNull bool, err error) {
	f.spent = 0
	return p.code.i64(f)
}

// AppendJSON appends the value as JSON to dst. Maps and lists of the
// expression are written without being built.
func (p *Program) AppendJSON(dst []byte, f *Frame) ([]byte, error) {
	f.spent = 0
	return p.code.json(dst, f)
}
