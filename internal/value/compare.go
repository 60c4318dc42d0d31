package value

import (
	"cmp"
	"math"
	"strings"
)

// Compare orders a and b by value: numbers with numbers whatever their kind,
// strings and bytes bytewise, false before true. ok is false when one of them
// is null, when they are of different families, and for lists and objects,
// which have no order. Int and Float are compared exactly, without rounding.
func Compare(a, b Value) (order int, ok bool) {
	if a.Kind == Int && b.Kind == Int {
		return cmp.Compare(a.AsInt(), b.AsInt()), true
	}
	switch a.Kind {
	case String, Bytes:
		if a.Kind != b.Kind {
			return 0, false
		}
		return strings.Compare(a.Text, b.Text), true
	case Bool:
		return cmp.Compare(a.num, b.num), b.Kind == Bool
	}
	if !isNumeric(a.Kind) || !isNumeric(b.Kind) {
		return 0, false
	}
	return compareNumbers(a, b)
}

func isNumeric(k Kind) bool { return k == Int || k == Float || k == Number }

func compareNumbers(a, b Value) (order int, ok bool) {
	switch {
	case a.Kind == Number || b.Kind == Number:
		da, okA := decimalOfValue(a)
		db, okB := decimalOfValue(b)
		if !okA || !okB {
			return 0, a.Text == b.Text && a.Kind == b.Kind
		}
		return da.compare(db), true
	case a.Kind == Int:
		order, ok = compareIntFloat(a.AsInt(), b.AsFloat())
		return order, ok
	case b.Kind == Int:
		order, ok = compareIntFloat(b.AsInt(), a.AsFloat())
		return -order, ok
	}
	f, g := a.AsFloat(), b.AsFloat()
	if f != f || g != g {
		return 0, false
	}
	return cmp.Compare(f, g), true
}

// compareIntFloat compares without converting i, which could round it.
func compareIntFloat(i int64, f float64) (order int, ok bool) {
	switch {
	case f != f:
		return 0, false
	case f >= 1<<63:
		return -1, true
	case f < -1<<63:
		return 1, true
	}
	whole := math.Trunc(f)
	if c := cmp.Compare(i, int64(whole)); c != 0 {
		return c, true
	}
	return cmp.Compare(whole, f), true
}

// Equal tells whether a and b are equal as values, lists and objects deeply
// (members in any order; of members with one name the last counts). Two nulls
// are equal here, and an absent value is a null; expressions that say
// otherwise look for nulls first.
func Equal(a, b Value) bool {
	if a.Kind == b.Kind {
		switch a.Kind {
		case Int:
			return a.num == b.num
		case String:
			return a.Text == b.Text
		}
	}
	if a.IsNull() || b.IsNull() {
		return a.IsNull() && b.IsNull()
	}
	if a.Kind < Raw && b.Kind < Raw {
		order, ok := Compare(a, b)
		return ok && order == 0
	}
	if a.Kind == Raw && b.Kind == Raw && a.Text == b.Text {
		return true
	}
	if a.Kind < Raw || b.Kind < Raw {
		return false
	}
	a, b = a.expandAll(), b.expandAll()
	if a.Kind != b.Kind || len(a.Tree.Items) != len(b.Tree.Items) {
		return false
	}
	if a.Kind == List {
		for i, item := range a.Tree.Items {
			if !Equal(item, b.Tree.Items[i]) {
				return false
			}
		}
		return true
	}
	return equalMaps(a.Tree, b.Tree)
}

func equalMaps(a, b *Tree) bool {
	if len(a.Keys) <= smallMap {
		for i, key := range a.Keys {
			j := b.find(key)
			if j < 0 || !Equal(a.Items[i], b.Items[j]) {
				return false
			}
		}
		return true
	}
	at := b.places()
	for i, key := range a.Keys {
		j, ok := at[key]
		if !ok || !Equal(a.Items[i], b.Items[j]) {
			return false
		}
	}
	return true
}
