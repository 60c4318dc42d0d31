package expr

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"

	"streamctl/internal/value"
)

// predicate is a function that runs an expression per element. A null list
// gives null.
func (b *machineBuilder) predicate(n *node) ast.Node {
	return b.with(b.tree(n.kids[0]), func(list ast.Node) ast.Node {
		isNull := func(v value.Value) (bool, error) { return v.IsNull(), v.Err() }
		return b.when(list, isNull, b.null(), b.with(b.elements(n.kids[0], list), func(items ast.Node) ast.Node {
			return b.loop(n, items)
		}))
	})
}

// elements is a list as the machine loops over it.
func (b *machineBuilder) elements(n *node, list ast.Node) ast.Node {
	at := b.l.failure(n)
	return b.call(func(args ...any) (any, error) {
		v, err := unbox(args[0])
		if err != nil {
			return nil, at.wrap(err)
		}
		if !v.IsList() {
			return nil, at.want("a list", v)
		}
		items := v.Expand().Tree.Items
		if err := args[1].(*Frame).spend(len(items)); err != nil {
			return nil, at.wrap(err)
		}
		out := make([]any, len(items))
		for i, item := range items {
			out[i] = item
		}
		return out, nil
	}, list, &ast.IdentifierNode{Value: "$env"})
}

// loop is the machine's own function over items, or map() and ours over its
// result where the machine's would follow other rules.
func (b *machineBuilder) loop(n *node, items ast.Node) ast.Node {
	builtinCall := func(name string, args ...ast.Node) ast.Node {
		return &ast.BuiltinNode{Name: name, Arguments: args}
	}
	inLoop := func(make func(n *node) ast.Node) ast.Node {
		b.loops++
		defer func() { b.loops-- }()
		return &ast.PredicateNode{Node: make(n.kids[1])}
	}
	mapped := func() ast.Node { return builtinCall("map", items, inLoop(b.tree)) }
	boxed := func(tree ast.Node) ast.Node {
		return b.values(n, func(args []value.Value) (value.Value, error) { return args[0], nil }, tree)
	}
	switch n.name {
	case "map":
		return boxed(mapped())
	case "sum":
		return b.values(n, func(args []value.Value) (value.Value, error) { return sumOf(args[0].Tree.Items) }, mapped())
	case "sortBy":
		descending := n.kids[2] != nil && n.kids[2].val.Text == "desc"
		return b.values(n, func(args []value.Value) (value.Value, error) {
			return sortedBy(args[0].Tree.Items, args[1].Tree.Items, descending)
		}, items, mapped())
	case "groupBy":
		return b.values(n, func(args []value.Value) (value.Value, error) {
			return groupedBy(args[0].Tree.Items, args[1].Tree.Items), nil
		}, items, mapped())
	case "findLast", "findLastIndex":
		// The machine's own leave a bool on its stack when nothing is found.
		index := n.name == "findLastIndex"
		return b.values(n, func(args []value.Value) (value.Value, error) {
			return lastOf(args[0].Tree.Items, args[1].Tree.Items, index), nil
		}, items, builtinCall("map", items, inLoop(b.truth)))
	case "reduce":
		if n.kids[2] == nil {
			return boxed(builtinCall("reduce", items, inLoop(b.tree)))
		}
		// The machine would look at the start from within the loop.
		return b.with(b.tree(n.kids[2]), func(start ast.Node) ast.Node {
			return boxed(builtinCall("reduce", items, inLoop(b.tree), start))
		})
	}
	return boxed(builtinCall(n.name, items, inLoop(b.truth)))
}

// sumOf adds numbers up; nulls are left out, the sum of nothing is 0.
func sumOf(items []value.Value) (value.Value, error) {
	sum := value.OfInt(0)
	for _, item := range items {
		if item.IsNull() {
			if err := item.Err(); err != nil {
				return item, err
			}
			continue
		}
		if !numberKind.holds(item) {
			return item, fmt.Errorf("sum: want a number, got %s", describe(item))
		}
		var err error
		if sum, err = value.Add(sum, item); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// sortedBy orders items by keys; nulls come last either way, equal keys keep
// their order.
func sortedBy(items, keys []value.Value, descending bool) (value.Value, error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	var fault error
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := keys[i], keys[j]
		switch {
		case a.IsNull() && b.IsNull():
			return 0
		case a.IsNull():
			return 1
		case b.IsNull():
			return -1
		}
		c, ok := value.Compare(a, b)
		if !ok && fault == nil {
			fault = fmt.Errorf("cannot compare %s with %s", describe(a), describe(b))
		}
		if descending {
			return -c
		}
		return c
	})
	if fault != nil {
		return value.Value{}, fault
	}
	out := make([]value.Value, len(items))
	for i, at := range order {
		out[i] = items[at]
	}
	return value.OfList(out), nil
}

// lastOf is the last item whose test holds, or its index; null when there is none.
func lastOf(items, tests []value.Value, index bool) value.Value {
	for i := len(items) - 1; i >= 0; i-- {
		switch {
		case !tests[i].AsBool():
		case index:
			return value.OfInt(int64(i))
		default:
			return items[i]
		}
	}
	return value.NullV()
}

// groupedBy is an object of lists: the keys as text, in the order in which
// they first come; elements with a null key are left out.
func groupedBy(items, keys []value.Value) value.Value {
	groups := make(map[string][]value.Value)
	var names []string
	for i, key := range keys {
		if key.IsNull() {
			continue
		}
		name := string(value.AppendText(nil, key))
		if _, ok := groups[name]; !ok {
			names = append(names, name)
		}
		groups[name] = append(groups[name], items[i])
	}
	out := make([]value.Value, len(names))
	for i, name := range names {
		out[i] = value.OfList(groups[name])
	}
	return value.OfMap(names, out)
}
