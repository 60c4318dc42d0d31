package expr

import (
	"fmt"

	"streamctl/internal/value"
)

func listFunctions() []function {
	list := param{name: "list", kinds: listKind}
	object := param{name: "object", kinds: objectKind}
	return []function{
		{name: "len", params: []param{{name: "x", kinds: textKind | listKind | objectKind}}, result: Type{Kind: Int}, call: length, doc: "How many characters a string has, bytes, elements a list, or fields an object."},
		{name: "first", params: []param{list}, resultOf: elementOfFirst, call: element(0), doc: "The first element, null of an empty list; where groups are aggregated `first(x)` is the aggregate, so `list[0]` always works."},
		{name: "last", params: []param{list}, resultOf: elementOfFirst, call: element(-1), doc: "The last element, null of an empty list; where groups are aggregated `last(x)` is the aggregate, so `list[-1]` always works."},
		{name: "slice", params: []param{{name: "x", kinds: listKind | stringKind}, {name: "from", kinds: intKind}, {name: "to", kinds: intKind, optional: true}}, resultOf: sameAsFirst, gives: "list|string", call: sliceCall, doc: "The elements of a list, or characters of a string, from index `from` up to, not including, `to`; negative ones count from the end. `x[from:to]` is the same."},
		{name: "sort", params: []param{list, {name: "order", kinds: stringKind, optional: true}}, resultOf: sameAsFirst, gives: "list", call: sortCall, prepare: prepareOrder, doc: "The elements in order, `\"asc\"` or `\"desc\"`; nulls last. Numbers and strings in one list are an error."},
		{name: "distinct", params: []param{list}, resultOf: sameAsFirst, gives: "list", call: distinct, doc: "Each element once, by value, where it first comes."},
		{name: "concat", params: []param{{name: "lists", kinds: listKind, repeats: true}}, resultOf: commonType, gives: "list", call: concat, doc: "All elements of all lists."},
		{name: "flatten", params: []param{list}, result: Type{Kind: List}, call: flatten, doc: "The elements of the lists in a list, one level deep."},
		{name: "keys", params: []param{object}, result: listOf(Type{Kind: String}), call: keysCall, doc: "The names of an object's fields, in their order."},
		{name: "values", params: []param{object}, result: Type{Kind: List}, call: valuesCall, doc: "The values of an object's fields, in their order."},
		{name: "get", params: []param{{name: "x", kinds: listKind | objectKind}, {name: "key", kinds: intKind | stringKind}}, call: get, doc: "`x[key]`: a field by name or an element by index; null when it is not there."},
	}
}

func length(_ *Frame, args []value.Value) (value.Value, error) {
	n, _ := args[0].Len()
	return value.OfInt(int64(n)), nil
}

func element(i int) impl {
	return func(_ *Frame, args []value.Value) (value.Value, error) {
		return value.Item(args[0], i)
	}
}

func sliceCall(_ *Frame, args []value.Value) (value.Value, error) {
	if len(args) == 2 {
		return sliceOn(args[0], &args[1], nil)
	}
	return sliceOn(args[0], &args[1], &args[2])
}

// prepareOrder checks a constant order.
func prepareOrder(n *node) *argumentFault {
	if len(n.kids) > 1 && n.kids[1].constant() {
		if _, err := isDescending(n.kids[1].val); err != nil {
			return &argumentFault{1, codeArguments, err.Error()}
		}
	}
	return nil
}

// isDescending reads an order.
func isDescending(v value.Value) (bool, error) {
	if v.IsNull() || v.Text == "asc" {
		return false, nil
	}
	if v.Text != "desc" {
		return false, fmt.Errorf(`order must be "asc" or "desc", not %s`, v.Short())
	}
	return true, nil
}

func sortCall(_ *Frame, args []value.Value) (value.Value, error) {
	descending := false
	if len(args) > 1 {
		var err error
		if descending, err = isDescending(args[1]); err != nil {
			return value.Value{}, err
		}
	}
	items := args[0].Expand().Tree.Items
	return sortedBy(items, items, descending)
}

func distinct(_ *Frame, args []value.Value) (value.Value, error) {
	seen := make(map[string]struct{})
	var out []value.Value
	var key []byte
	for _, item := range args[0].Expand().Tree.Items {
		key = value.AppendKey(append(key[:0], byte('0'+min(kindOf(item), Bytes))), item)
		if item.Kind == value.Int || item.Kind == value.Float || item.Kind == value.Number {
			key[0] = 'n'
		}
		if _, ok := seen[string(key)]; !ok {
			seen[string(key)] = struct{}{}
			out = append(out, item)
		}
	}
	return value.OfList(out), nil
}

func concat(_ *Frame, args []value.Value) (value.Value, error) {
	var out []value.Value
	for _, list := range args {
		out = append(out, list.Expand().Tree.Items...)
	}
	if len(out) > maxItems {
		return value.Value{}, fmt.Errorf("result has more than %d elements", maxItems)
	}
	return value.OfList(out), nil
}

func flatten(_ *Frame, args []value.Value) (value.Value, error) {
	var out []value.Value
	for _, item := range args[0].Expand().Tree.Items {
		if item.IsList() {
			out = append(out, item.Expand().Tree.Items...)
		} else {
			out = append(out, item)
		}
	}
	if len(out) > maxItems {
		return value.Value{}, fmt.Errorf("result has more than %d elements", maxItems)
	}
	return value.OfList(out), nil
}

func keysCall(_ *Frame, args []value.Value) (value.Value, error) {
	keys := args[0].Expand().Tree.Keys
	out := make([]value.Value, len(keys))
	for i, key := range keys {
		out[i] = value.OfString(key)
	}
	return value.OfList(out), nil
}

func valuesCall(_ *Frame, args []value.Value) (value.Value, error) {
	return value.OfList(args[0].Expand().Tree.Items), nil
}

func get(_ *Frame, args []value.Value) (value.Value, error) {
	return memberOn(args[0], args[1])
}
