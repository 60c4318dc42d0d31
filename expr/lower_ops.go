package expr

import (
	"strings"

	"streamctl/internal/value"
)

// negation computes -x.
func (l *lowerer) negation(n *node) code {
	at, x := l.failure(n), l.lower(n.kids[0]).val
	return code{val: func(f *Frame) (value.Value, error) {
		v, err := x(f)
		if err != nil {
			return v, err
		}
		v, err = value.Neg(v)
		return v, at.wrap(err)
	}}
}

// not computes not x.
func (l *lowerer) not(n *node) code {
	x := l.lower(n.kids[0]).tri
	return code{tri: func(f *Frame) (tri, error) {
		t, err := x(f)
		return t.not(), err
	}}
}

// presence computes x == nil and x != nil.
func (l *lowerer) presence(n *node) code {
	kid, want := n.kids[0], n.op == opIsNull
	x := l.lower(kid).val
	return code{tri: func(f *Frame) (tri, error) {
		v, err := x(f)
		if err != nil {
			return triNull, err
		}
		return triOf(v.IsNull() == want), nil
	}}
}

// arithmetic computes + - * / % **; ints known to be ints never become Values.
func (l *lowerer) arithmetic(n *node) code {
	left, right := n.kids[0], n.kids[1]
	if left.typ.Kind == Int && right.typ.Kind == Int && n.op != opDiv && n.op != opPow {
		return l.intArithmetic(n)
	}
	if n.op == opAdd && left.typ.Kind == String && right.typ.Kind == String {
		return l.concatenation(n)
	}
	o := n.op
	return l.dyadic(n, func(a, b value.Value) (value.Value, error) { return arithmeticOn(o, a, b) })
}

// intArithmetic computes + - * % of ints. What overflows is left to
// arithmeticOn, for its message.
func (l *lowerer) intArithmetic(n *node) code {
	at, o := l.failure(n), n.op
	a, b := l.lower(n.kids[0]).i64, l.lower(n.kids[1]).i64
	if y, ok := n.kids[1].val.ToInt(); ok && n.kids[1].constant() {
		return code{i64: func(f *Frame) (int64, bool, error) {
			x, ok, err := a(f)
			if !ok {
				return 0, false, err
			}
			return at.ints(o, x, y)
		}}
	}
	return code{i64: func(f *Frame) (int64, bool, error) {
		x, okX, err := a(f)
		if err != nil {
			return 0, false, err
		}
		y, okY, err := b(f)
		if !okX || !okY {
			return 0, false, err
		}
		return at.ints(o, x, y)
	}}
}

// ints computes x o y.
func (p failure) ints(o op, x, y int64) (int64, bool, error) {
	switch o {
	case opAdd:
		if sum := x + y; (x^sum)&(y^sum) >= 0 {
			return sum, true, nil
		}
	case opSub:
		if diff := x - y; (x^y)&(x^diff) >= 0 {
			return diff, true, nil
		}
	case opMod:
		if y != 0 {
			return x % y, true, nil
		}
	case opMul:
		if int64(int32(x)) == x && int64(int32(y)) == y {
			return x * y, true, nil
		}
	}
	v, err := arithmeticOn(o, value.OfInt(x), value.OfInt(y))
	if err != nil {
		return 0, false, p.wrap(err)
	}
	return v.AsInt(), true, nil
}

// concatenation joins a chain of strings in one go: a + b + c.
func (l *lowerer) concatenation(n *node) code {
	var parts []func(f *Frame) (string, bool, error)
	var collect func(n *node)
	collect = func(n *node) {
		if n.op == opAdd && n.typ.Kind == String && n.kids[0].typ.Kind == String && n.kids[1].typ.Kind == String {
			collect(n.kids[0])
			collect(n.kids[1])
			return
		}
		parts = append(parts, l.lower(n).str)
	}
	collect(n)
	return code{str: func(f *Frame) (string, bool, error) {
		var room [8]string
		texts, null := room[:0], false
		for _, part := range parts {
			s, ok, err := part(f)
			if err != nil {
				return "", false, err
			}
			null = null || !ok
			texts = append(texts, s)
		}
		if null {
			return "", false, nil
		}
		return strings.Join(texts, ""), true, nil
	}}
}

// flip turns t round when the operator is a negated one.
func flip(t tri, negated bool) tri {
	if negated {
		return t.not()
	}
	return t
}

// equality computes == and !=.
func (l *lowerer) equality(n *node) code {
	left, right := n.kids[0], n.kids[1]
	if left.constant() {
		left, right = right, left
	}
	negated := n.op == opNe
	if right.constant() && left.op == opRef && len(left.rest) == 0 {
		switch right.val.Kind {
		case value.String:
			return l.slotEqualsString(left, right.val.Text, negated)
		case value.Int:
			return l.slotEqualsInt(left, right.val, negated)
		}
	}
	switch {
	case left.typ.Kind == String && right.typ.Kind == String:
		return l.compareStrings(n, func(a, b string) bool { return (a == b) != negated })
	case left.typ.Kind == Int && right.typ.Kind == Int:
		return l.compareInts(n, func(a, b int64) bool { return (a == b) != negated })
	}
	return l.dyadicTri(n, func(a, b value.Value) (tri, error) {
		t, err := equalOn(a, b)
		return flip(t, negated), err
	})
}

// slotEqualsString is the commonest condition of all: a field is a constant.
func (l *lowerer) slotEqualsString(field *node, text string, negated bool) code {
	at, ref := l.failure(field), field.ref
	same, other := triOf(!negated), triOf(negated)
	return code{tri: func(f *Frame) (tri, error) {
		v := f.slot(ref)
		switch {
		case v == nil:
			return triNull, nil
		case v.Kind == value.String:
			if v.Text == text {
				return same, nil
			}
			return other, nil
		case v.IsNull():
			return triNull, at.wrap(v.Err())
		}
		return other, nil
	}}
}

// slotEqualsInt is the same for ints; a float may be equal too.
func (l *lowerer) slotEqualsInt(field *node, c value.Value, negated bool) code {
	at, ref, i := l.failure(field), field.ref, c.AsInt()
	same, other := triOf(!negated), triOf(negated)
	return code{tri: func(f *Frame) (tri, error) {
		v := f.slot(ref)
		switch {
		case v == nil:
			return triNull, nil
		case v.Kind == value.Int:
			if v.AsInt() == i {
				return same, nil
			}
			return other, nil
		case v.IsNull():
			return triNull, at.wrap(v.Err())
		case value.Equal(*v, c):
			return same, nil
		}
		return other, nil
	}}
}

// compareStrings is a condition on two strings.
func (l *lowerer) compareStrings(n *node, holds func(a, b string) bool) code {
	a, b := l.lower(n.kids[0]).str, l.lower(n.kids[1]).str
	return code{tri: func(f *Frame) (tri, error) {
		x, okX, err := a(f)
		if err != nil {
			return triNull, err
		}
		y, okY, err := b(f)
		if !okX || !okY {
			return triNull, err
		}
		return triOf(holds(x, y)), nil
	}}
}

// compareInts is a condition on two ints.
func (l *lowerer) compareInts(n *node, holds func(a, b int64) bool) code {
	a, b := l.lower(n.kids[0]).i64, l.lower(n.kids[1]).i64
	return code{tri: func(f *Frame) (tri, error) {
		x, okX, err := a(f)
		if err != nil {
			return triNull, err
		}
		y, okY, err := b(f)
		if !okX || !okY {
			return triNull, err
		}
		return triOf(holds(x, y)), nil
	}}
}

// ordering computes < <= > >=.
func (l *lowerer) ordering(n *node) code {
	left, right, o := n.kids[0], n.kids[1], n.op
	switch {
	case left.typ.Kind == String && right.typ.Kind == String:
		return l.compareStrings(n, func(a, b string) bool { return ordered(o, strings.Compare(a, b)) })
	case left.typ.Kind == Int && right.constant() && right.val.Kind == value.Int:
		return l.compareWithInt(left, o, right.val.AsInt())
	case left.typ.Kind == Int && right.typ.Kind == Int:
		return l.compareInts(n, intOrder(o))
	}
	return l.dyadicTri(n, func(a, b value.Value) (tri, error) { return orderOn(o, a, b) })
}

// compareWithInt is x < 3 and the like.
func (l *lowerer) compareWithInt(n *node, o op, y int64) code {
	a := l.lower(n).i64
	less, equal, greater := triOf(ordered(o, -1)), triOf(ordered(o, 0)), triOf(ordered(o, 1))
	return code{tri: func(f *Frame) (tri, error) {
		x, ok, err := a(f)
		switch {
		case !ok:
			return triNull, err
		case x < y:
			return less, nil
		case x > y:
			return greater, nil
		}
		return equal, nil
	}}
}

func intOrder(o op) func(a, b int64) bool {
	switch o {
	case opLt:
		return func(a, b int64) bool { return a < b }
	case opLe:
		return func(a, b int64) bool { return a <= b }
	case opGt:
		return func(a, b int64) bool { return a > b }
	}
	return func(a, b int64) bool { return a >= b }
}

// logic computes && and ||: the right side is not looked at when the left one decides.
func (l *lowerer) logic(n *node) code {
	a, b := l.lower(n.kids[0]).tri, l.lower(n.kids[1]).tri
	decides, other := triFalse, triTrue
	if n.op == opOr {
		decides, other = triTrue, triFalse
	}
	return code{tri: func(f *Frame) (tri, error) {
		x, err := a(f)
		if err != nil || x == decides {
			return x, err
		}
		y, err := b(f)
		if err != nil || x == other || y == decides {
			return y, err
		}
		return triNull, nil
	}}
}

// coalesce computes a ?? b.
func (l *lowerer) coalesce(n *node) code {
	a, b := l.lower(n.kids[0]), l.lower(n.kids[1])
	return code{
		val: func(f *Frame) (value.Value, error) {
			v, err := a.val(f)
			if err != nil || !v.IsNull() {
				return v, err
			}
			return b.val(f)
		},
		json: func(dst []byte, f *Frame) ([]byte, error) {
			v, err := a.val(f)
			if err != nil {
				return dst, err
			}
			if v.IsNull() {
				return b.json(dst, f)
			}
			return value.AppendJSON(dst, v), nil
		},
	}
}

// rangeOf computes a..b.
func (l *lowerer) rangeOf(n *node) code {
	at, made := l.failure(n), l.dyadic(n, rangeOn).val
	return code{val: func(f *Frame) (value.Value, error) {
		v, err := made(f)
		if err == nil {
			err = at.wrap(f.spendOn(v))
		}
		return v, err
	}}
}

// membership computes in; a constant list is searched without building it.
func (l *lowerer) membership(n *node) code {
	if right := n.kids[1]; right.constant() && right.val.Kind == value.List {
		if texts, ok := constantTexts(right.val.Tree.Items); ok {
			return l.inTexts(n, texts)
		}
	}
	return l.dyadicTri(n, inOn)
}

// constantTexts is the set of items, if all are strings.
func constantTexts(items []value.Value) (map[string]struct{}, bool) {
	set := make(map[string]struct{}, len(items))
	for _, item := range items {
		if item.Kind != value.String {
			return nil, false
		}
		set[item.Text] = struct{}{}
	}
	return set, true
}

// inTexts looks a value up in a set of strings.
func (l *lowerer) inTexts(n *node, texts map[string]struct{}) code {
	at, x := l.failure(n.kids[0]), l.lower(n.kids[0]).val
	return code{tri: func(f *Frame) (tri, error) {
		v, err := x(f)
		if err != nil || v.IsNull() {
			return triNull, at.wrap(err)
		}
		if v.Kind != value.String {
			return triFalse, nil
		}
		_, ok := texts[v.Text]
		return triOf(ok), nil
	}}
}

// textual computes contains, startsWith and endsWith.
func (l *lowerer) textual(n *node) code {
	o := n.op
	switch {
	case n.kids[0].typ.Kind == String && n.kids[1].typ.Kind == String:
		return l.compareStrings(n, func(a, b string) bool { return textHolds(o, a, b) })
	case o == opContains:
		return l.dyadicTri(n, containsOn)
	}
	return l.dyadicTri(n, func(a, b value.Value) (tri, error) { return textOn(o, a, b) })
}

// matches computes x matches "pattern".
func (l *lowerer) matches(n *node) code {
	x, re := l.lower(n.kids[0]).str, n.re
	return code{tri: func(f *Frame) (tri, error) {
		s, ok, err := x(f)
		if !ok {
			return triNull, err
		}
		return triOf(re.MatchString(s)), nil
	}}
}

// conditional computes c ? a : b in the form wanted.
func (l *lowerer) conditional(n *node) code {
	cond, a, b := l.lower(n.kids[0]).tri, l.lower(n.kids[1]), l.lower(n.kids[2])
	return code{
		val: func(f *Frame) (value.Value, error) {
			t, err := cond(f)
			if err != nil {
				return value.Value{}, err
			}
			if t == triTrue {
				return a.val(f)
			}
			return b.val(f)
		},
		json: func(dst []byte, f *Frame) ([]byte, error) {
			t, err := cond(f)
			if err != nil {
				return dst, err
			}
			if t == triTrue {
				return a.json(dst, f)
			}
			return b.json(dst, f)
		},
	}
}
