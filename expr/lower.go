package expr

import (
	"errors"
	"fmt"
	"strconv"

	"streamctl/internal/value"
)

// code is an expression as closures over a Frame, one per form in which the
// result may be wanted. All are set. The typed ones spare building a Value;
// their second result is false for null. Every error is an *Error.
type code struct {
	val  func(f *Frame) (value.Value, error)
	tri  func(f *Frame) (tri, error)
	i64  func(f *Frame) (int64, bool, error)
	str  func(f *Frame) (string, bool, error)
	json func(dst []byte, f *Frame) ([]byte, error)
}

// lowerer turns checked nodes into closures.
type lowerer struct {
	base int // where the program's own text begins in the text that positions count in
}

// lower makes the closures of n.
func lower(n *node, base int) code {
	return (&lowerer{base}).lower(n)
}

// lower makes the closures of n and fills in the forms that n's operator has
// no short cut for.
func (l *lowerer) lower(n *node) code {
	c := l.forms(n)
	l.complete(n, &c)
	return c
}

// forms makes what an operator knows best.
func (l *lowerer) forms(n *node) code {
	switch n.op {
	case opConst:
		return constantCode(n.val)
	case opRef:
		return l.reference(n)
	case opProgram:
		return l.program(n)
	case opMember:
		return l.member(n)
	case opSlice:
		return l.slice(n)
	case opNeg:
		return l.negation(n)
	case opNot:
		return l.not(n)
	case opIsNull, opNotNull:
		return l.presence(n)
	case opAdd, opSub, opMul, opDiv, opMod, opPow:
		return l.arithmetic(n)
	case opEq, opNe:
		return l.equality(n)
	case opLt, opLe, opGt, opGe:
		return l.ordering(n)
	case opAnd, opOr:
		return l.logic(n)
	case opCoalesce:
		return l.coalesce(n)
	case opIn:
		return l.membership(n)
	case opContains, opStartsWith, opEndsWith:
		return l.textual(n)
	case opMatches:
		return l.matches(n)
	case opRange:
		return l.rangeOf(n)
	case opCond:
		return l.conditional(n)
	case opList:
		return l.list(n)
	case opMap:
		return l.object(n)
	case opCall:
		return l.call(n)
	case opElement, opIndex:
		return l.element(n)
	case opPredicate:
		if c, ok := l.looped(n); ok {
			return c
		}
	}
	return l.onMachine(n)
}

// failure gives errors the place of a node.
type failure struct {
	start, end int
	within     string // in front of the message
}

func (l *lowerer) failure(n *node) failure {
	return failure{n.start - l.base, n.end - l.base, n.within}
}

// wrap makes err an *Error at the place, unless it has a place already.
func (p failure) wrap(err error) error {
	if err == nil {
		return nil
	}
	var located *Error
	if errors.As(err, &located) {
		return located
	}
	return &Error{p.start, p.end, p.within + err.Error()}
}

// want is the error of a value of the wrong kind.
func (p failure) want(kind string, v value.Value) error { return p.wrap(unwanted(kind, v)) }

// unwanted is the same without a place.
func unwanted(kind string, v value.Value) error {
	if err := v.Err(); err != nil {
		return err
	}
	return fmt.Errorf("want %s, got %s", kind, describe(v))
}

// complete derives the forms that are missing.
func (l *lowerer) complete(n *node, c *code) {
	at := l.failure(n)
	if c.val == nil {
		c.val = valueForm(*c)
	}
	val := c.val
	if c.tri == nil {
		c.tri = func(f *Frame) (tri, error) {
			v, err := val(f)
			if err != nil || v.Kind == value.Null {
				return triNull, err
			}
			t, err := triOfValue(v)
			return t, at.wrap(err)
		}
	}
	if c.json == nil {
		c.json = jsonForm(*c)
	}
	if c.i64 == nil {
		c.i64 = func(f *Frame) (int64, bool, error) {
			v, err := val(f)
			if err != nil {
				return 0, false, err
			}
			return at.int(v)
		}
	}
	if c.str == nil {
		c.str = func(f *Frame) (string, bool, error) {
			v, err := val(f)
			if err != nil {
				return "", false, err
			}
			return at.string(v)
		}
	}
}

// int reads an int out of v.
func (p failure) int(v value.Value) (int64, bool, error) {
	if v.Kind == value.Int {
		return v.AsInt(), true, nil
	}
	if v.IsNull() {
		return 0, false, p.wrap(v.Err())
	}
	i, ok := v.ToInt()
	if !ok {
		return 0, false, p.want("an int", v)
	}
	return i, true, nil
}

// string reads a string out of v.
func (p failure) string(v value.Value) (string, bool, error) {
	if v.Kind == value.String {
		return v.Text, true, nil
	}
	if v.IsNull() {
		return "", false, p.wrap(v.Err())
	}
	return "", false, p.want("a string", v)
}

// valueForm makes a Value of the one typed form there is.
func valueForm(c code) func(f *Frame) (value.Value, error) {
	switch {
	case c.tri != nil:
		return func(f *Frame) (value.Value, error) {
			t, err := c.tri(f)
			return t.value(), err
		}
	case c.i64 != nil:
		return func(f *Frame) (value.Value, error) {
			i, ok, err := c.i64(f)
			if !ok {
				return value.NullV(), err
			}
			return value.OfInt(i), nil
		}
	}
	return func(f *Frame) (value.Value, error) {
		s, ok, err := c.str(f)
		if !ok {
			return value.NullV(), err
		}
		return value.OfString(s), nil
	}
}

// jsonForm writes JSON from a typed form, or from the Value.
func jsonForm(c code) func(dst []byte, f *Frame) ([]byte, error) {
	switch {
	case c.i64 != nil:
		return func(dst []byte, f *Frame) ([]byte, error) {
			i, ok, err := c.i64(f)
			if !ok {
				return append(dst, "null"...), err
			}
			return strconv.AppendInt(dst, i, 10), nil
		}
	case c.str != nil:
		return func(dst []byte, f *Frame) ([]byte, error) {
			s, ok, err := c.str(f)
			if !ok {
				return append(dst, "null"...), err
			}
			return value.AppendQuoted(dst, s), nil
		}
	}
	return func(dst []byte, f *Frame) ([]byte, error) {
		v, err := c.val(f)
		if err != nil {
			return dst, err
		}
		return value.AppendJSON(dst, v), nil
	}
}

// constantCode gives a known value; its JSON is ready made.
func constantCode(v value.Value) code {
	text := value.AppendJSON(nil, v)
	c := code{
		val:  func(*Frame) (value.Value, error) { return v, nil },
		json: func(dst []byte, _ *Frame) ([]byte, error) { return append(dst, text...), nil },
	}
	switch v.Kind {
	case value.Int:
		i := v.AsInt()
		c.i64 = func(*Frame) (int64, bool, error) { return i, true, nil }
	case value.String:
		c.str = func(*Frame) (string, bool, error) { return v.Text, true, nil }
	case value.Bool:
		t := triOf(v.AsBool())
		c.tri = func(*Frame) (tri, error) { return t, nil }
	}
	return c
}

// slot is the value at r; nil stands for null.
func (f *Frame) slot(r Ref) *value.Value {
	row := f.Rows[r.Row]
	if row == nil || uint(r.Slot) >= uint(len(row.Slots)) {
		return nil
	}
	return &row.Slots[r.Slot]
}

// reference reads a slot.
func (l *lowerer) reference(n *node) code {
	at, ref := l.failure(n), n.ref
	load := func(f *Frame) (value.Value, error) {
		v := f.slot(ref)
		if v == nil {
			return value.NullV(), nil
		}
		if v.Kind == value.Invalid {
			return value.Value{}, at.wrap(v.Err())
		}
		return *v, nil
	}
	if len(n.rest) > 0 {
		return l.rest(n, load)
	}
	return code{
		val: load,
		i64: func(f *Frame) (int64, bool, error) {
			v := f.slot(ref)
			switch {
			case v == nil:
				return 0, false, nil
			case v.Kind == value.Int:
				return v.AsInt(), true, nil
			}
			return at.int(*v)
		},
		str: func(f *Frame) (string, bool, error) {
			v := f.slot(ref)
			switch {
			case v == nil:
				return "", false, nil
			case v.Kind == value.String:
				return v.Text, true, nil
			}
			return at.string(*v)
		},
		json: func(dst []byte, f *Frame) ([]byte, error) {
			v := f.slot(ref)
			if v == nil {
				return append(dst, "null"...), nil
			}
			if v.Kind == value.Invalid {
				return dst, at.wrap(v.Err())
			}
			return value.AppendJSON(dst, *v), nil
		},
	}
}

// rest applies the steps that a binding left over.
func (l *lowerer) rest(n *node, load func(f *Frame) (value.Value, error)) code {
	at, steps := l.failure(n), n.rest
	return code{val: func(f *Frame) (value.Value, error) {
		v, err := load(f)
		if err != nil {
			return v, err
		}
		v, err = restOn(v, steps)
		return v, at.wrap(err)
	}}
}

// program evaluates an expression that a name stands for. Its errors are shown
// at the name: the position inside belongs to another text.
func (l *lowerer) program(n *node) code {
	at, p := l.failure(n), n.prog
	relocate := func(err error) error {
		return &Error{at.start, at.end, fmt.Sprintf("%s (in %s)", err.Error(), p.text)}
	}
	load := func(f *Frame) (value.Value, error) {
		v, err := p.code.val(f)
		if err != nil {
			return v, relocate(err)
		}
		return v, nil
	}
	if len(n.rest) > 0 {
		return l.rest(n, load)
	}
	return code{
		val: load,
		tri: func(f *Frame) (tri, error) {
			t, err := p.code.tri(f)
			if err != nil {
				err = relocate(err)
			}
			return t, err
		},
		json: func(dst []byte, f *Frame) ([]byte, error) {
			dst, err := p.code.json(dst, f)
			if err != nil {
				err = relocate(err)
			}
			return dst, err
		},
	}
}

// dyadic is an operator without short cuts.
func (l *lowerer) dyadic(n *node, on func(a, b value.Value) (value.Value, error)) code {
	at, a, b := l.failure(n), l.lower(n.kids[0]).val, l.lower(n.kids[1]).val
	return code{val: func(f *Frame) (value.Value, error) {
		x, err := a(f)
		if err != nil {
			return x, err
		}
		y, err := b(f)
		if err != nil {
			return y, err
		}
		v, err := on(x, y)
		return v, at.wrap(err)
	}}
}

// dyadicTri is a condition without short cuts.
func (l *lowerer) dyadicTri(n *node, on func(a, b value.Value) (tri, error)) code {
	at, a, b := l.failure(n), l.lower(n.kids[0]).val, l.lower(n.kids[1]).val
	return code{tri: func(f *Frame) (tri, error) {
		x, err := a(f)
		if err != nil {
			return triNull, err
		}
		y, err := b(f)
		if err != nil {
			return triNull, err
		}
		t, err := on(x, y)
		return t, at.wrap(err)
	}}
}
