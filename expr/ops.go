package expr

import (
	"fmt"
	"math"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// This file is what the operators mean on values whose kinds are known only at
// run time. Both back ends use it; the typed closures of lower.go are short
// cuts that must give the same.

// tri is a truth value of three-valued logic.
type tri uint8

const (
	triNull tri = iota
	triFalse
	triTrue
)

// triOf is a bool as a tri.
func triOf(b bool) tri {
	if b {
		return triTrue
	}
	return triFalse
}

// value is t as a Value.
func (t tri) value() value.Value {
	if t == triNull {
		return value.NullV()
	}
	return value.OfBool(t == triTrue)
}

// not is null of null.
func (t tri) not() tri {
	switch t {
	case triTrue:
		return triFalse
	case triFalse:
		return triTrue
	}
	return triNull
}

// triOfValue reads a condition.
func triOfValue(v value.Value) (tri, error) {
	switch {
	case v.Kind == value.Bool:
		return triOf(v.AsBool()), nil
	case v.Kind == value.Invalid:
		return triNull, v.Err()
	case v.IsNull():
		return triNull, nil
	}
	return triNull, fmt.Errorf("want a bool, got %s", describe(v))
}

// invalid is the error of the first Invalid among the operands.
func invalid(a, b value.Value) error {
	if err := a.Err(); err != nil {
		return err
	}
	return b.Err()
}

// arithmeticOn computes a op b.
func arithmeticOn(o op, a, b value.Value) (value.Value, error) {
	switch o {
	case opAdd:
		return value.Add(a, b)
	case opSub:
		return value.Sub(a, b)
	case opMul:
		return value.Mul(a, b)
	case opDiv:
		return value.Div(a, b)
	case opMod:
		return value.Mod(a, b)
	}
	return value.Pow(a, b)
}

// equalOn computes a == b: null when one of them is null.
func equalOn(a, b value.Value) (tri, error) {
	if a.IsNull() || b.IsNull() {
		return triNull, invalid(a, b)
	}
	return triOf(value.Equal(a, b)), nil
}

// orderOn computes a < b and the like: null when one of them is null, an error
// when they have no order.
func orderOn(o op, a, b value.Value) (tri, error) {
	if a.IsNull() || b.IsNull() {
		return triNull, invalid(a, b)
	}
	order, ok := value.Compare(a, b)
	if !ok || a.Kind == value.Bool {
		return triNull, fmt.Errorf("cannot compare %s with %s", describe(a), describe(b))
	}
	return triOf(ordered(o, order)), nil
}

// ordered says whether a comparison holds for an order of -1, 0 or 1.
func ordered(o op, order int) bool {
	switch o {
	case opLt:
		return order < 0
	case opLe:
		return order <= 0
	case opGt:
		return order > 0
	}
	return order >= 0
}

// maxItems bounds lists that a short expression could make huge.
const maxItems = 100_000

// rangeOn computes a..b, both ends included.
func rangeOn(a, b value.Value) (value.Value, error) {
	if a.IsNull() || b.IsNull() {
		return value.NullV(), invalid(a, b)
	}
	from, okFrom := a.ToInt()
	to, okTo := b.ToInt()
	switch {
	case !okFrom || !okTo:
		return value.Value{}, fmt.Errorf("a range needs two ints, got %s and %s", describe(a), describe(b))
	case from > to:
		return value.OfList(nil), nil
	case uint64(to)-uint64(from) >= maxItems:
		return value.Value{}, fmt.Errorf("range %d..%d is longer than %d elements", from, to, maxItems)
	}
	items := make([]value.Value, 0, to-from+1)
	for i := from; ; i++ {
		items = append(items, value.OfInt(i))
		if i == to {
			return value.OfList(items), nil
		}
	}
}

// inOn computes a in b: b is a list, or an object whose keys are meant. Nulls
// in the list are never equal to anything.
func inOn(a, b value.Value) (tri, error) {
	if a.IsNull() || b.IsNull() {
		return triNull, invalid(a, b)
	}
	switch {
	case b.IsList():
		return triOf(listHas(b, a)), nil
	case b.IsObject() && a.Kind == value.String:
		return triOf(b.Get(a.Text).Kind != value.Absent), nil
	case b.IsObject():
		return triNull, fmt.Errorf("keys of an object are strings, got %s", describe(a))
	}
	return triNull, fmt.Errorf("in needs a list or an object on its right, got %s", describe(b))
}

// listHas looks an element up that is not null.
func listHas(list, element value.Value) bool {
	for _, item := range list.Expand().Tree.Items {
		if value.Equal(item, element) {
			return true
		}
	}
	return false
}

// containsOn computes a contains b: a part of a string, an element of a list.
func containsOn(a, b value.Value) (tri, error) {
	switch {
	case a.IsNull() || b.IsNull():
		return triNull, invalid(a, b)
	case a.IsList():
		return triOf(listHas(a, b)), nil
	}
	return textOn(opContains, a, b)
}

// textOn computes contains, startsWith and endsWith of strings.
func textOn(o op, a, b value.Value) (tri, error) {
	if a.IsNull() || b.IsNull() {
		return triNull, invalid(a, b)
	}
	if a.Kind != value.String || b.Kind != value.String {
		return triNull, fmt.Errorf("%s does not work on %s and %s", textOperator(o), describe(a), describe(b))
	}
	return triOf(textHolds(o, a.Text, b.Text)), nil
}

func textHolds(o op, text, part string) bool {
	switch o {
	case opStartsWith:
		return strings.HasPrefix(text, part)
	case opEndsWith:
		return strings.HasSuffix(text, part)
	}
	return strings.Contains(text, part)
}

func textOperator(o op) string {
	switch o {
	case opStartsWith:
		return "startsWith"
	case opEndsWith:
		return "endsWith"
	}
	return "contains"
}

// memberOn computes of[key]; what is not there is null.
func memberOn(of, key value.Value) (value.Value, error) {
	if of.IsNull() || key.IsNull() {
		return value.NullV(), invalid(of, key)
	}
	if key.Kind == value.String {
		return value.Path(of, key.Text)
	}
	i, ok := key.ToInt()
	if !ok {
		return value.Value{}, fmt.Errorf("a member is named by a string or numbered by an int, got %s", describe(key))
	}
	return elementOn(of, i)
}

// elementOn computes list[i]; beyond the ends is null.
func elementOn(list value.Value, i int64) (value.Value, error) {
	if i != int64(int32(i)) {
		i = math.MaxInt32 // no list is that long
	}
	return value.Item(list, int(i))
}

// restOn applies the steps that a binding left over.
func restOn(v value.Value, steps []codec.Step) (value.Value, error) {
	var err error
	for _, s := range steps {
		if s.IsIndex {
			v, err = value.Item(v, s.Index)
		} else {
			v, err = value.Path(v, s.Name)
		}
		if err != nil || v.IsNull() {
			return v, err
		}
	}
	return v, nil
}

// sliceOn computes x[from:to] of a list, or of the characters of a string.
// Bounds count from the end when negative, and are cut to the length.
func sliceOn(x value.Value, from, to *value.Value) (value.Value, error) {
	if x.IsNull() {
		return value.NullV(), x.Err()
	}
	if !x.IsList() && x.Kind != value.String {
		return value.Value{}, fmt.Errorf("a slice needs a list or a string, got %s", describe(x))
	}
	length, _ := x.Len()
	lo, hi := 0, length
	for _, b := range []struct {
		bound *value.Value
		into  *int
	}{{from, &lo}, {to, &hi}} {
		if b.bound == nil {
			continue
		}
		if b.bound.IsNull() {
			return value.NullV(), b.bound.Err()
		}
		i, ok := b.bound.ToInt()
		if !ok {
			return value.Value{}, fmt.Errorf("the bound of a slice must be an int, got %s", describe(*b.bound))
		}
		*b.into = clampIndex(i, length)
	}
	if lo > hi {
		lo = hi
	}
	if x.Kind == value.String {
		return value.OfString(runes(x.Text, lo, hi)), nil
	}
	return value.OfList(x.Expand().Tree.Items[lo:hi]), nil
}

// clampIndex turns an index that may count from the end into one of [0, length].
func clampIndex(i int64, length int) int {
	if i < 0 {
		i += int64(length)
	}
	return int(min(max(i, 0), int64(length)))
}

// runes is the part of s from character lo up to hi, which are not beyond its end.
func runes(s string, lo, hi int) string {
	start, n := len(s), 0
	if lo >= hi {
		return ""
	}
	for i := range s {
		if n == lo {
			start = i
		}
		if n == hi {
			return s[start:i]
		}
		n++
	}
	return s[start:]
}
