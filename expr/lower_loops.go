package expr

import (
	"streamctl/internal/value"
)

// loopElement is what # and #index are in a predicate under way.
type loopElement struct {
	item  value.Value
	index int
}

// loop runs the predicate of all, any, filter and the like over a list. The
// element lies on the Frame's stack of loops, the innermost last, so that a
// predicate is a closure like any other. (sortBy, groupBy, reduce, findLast and
// let stay with the virtual machine.)
type loop struct {
	list func(f *Frame) (value.Value, error)
	body code
	at   failure // of the list
}

// run calls visit with every element while it returns true. null tells that
// the list is null.
func (p *loop) run(f *Frame, visit func(item value.Value, i int) (more bool, err error)) (null bool, err error) {
	v, err := p.list(f)
	if err != nil {
		return false, err
	}
	if v.IsNull() {
		return true, p.at.wrap(v.Err())
	}
	if !v.IsList() {
		return false, p.at.want("a list", v)
	}
	items := v.Expand().Tree.Items
	if err := f.spend(len(items)); err != nil {
		return false, p.at.wrap(err)
	}
	depth := len(f.loops)
	f.loops = append(f.loops, loopElement{})
	for i, item := range items {
		f.loops[depth] = loopElement{item, i}
		more, e := visit(item, i)
		if e != nil || !more {
			err = e
			break
		}
	}
	f.loops = f.loops[:depth]
	return false, err
}

// looped makes the loops; false for the functions that the machine runs.
func (l *lowerer) looped(n *node) (code, bool) {
	switch n.name {
	case "all", "any", "none", "one", "count", "filter", "map", "find", "findIndex", "sum":
	default:
		return code{}, false
	}
	p := &loop{list: l.lower(n.kids[0]).val, body: l.lower(n.kids[1]), at: l.failure(n.kids[0])}
	switch n.name {
	case "all":
		return p.quantifier(triFalse, triFalse), true
	case "any":
		return p.quantifier(triTrue, triTrue), true
	case "none":
		return p.quantifier(triTrue, triFalse), true
	case "one":
		return p.counting(func(count int64) value.Value { return value.OfBool(count == 1) }), true
	case "count":
		return p.counting(value.OfInt), true
	case "find":
		return p.finding(func(item value.Value, _ int) value.Value { return item }), true
	case "findIndex":
		return p.finding(func(_ value.Value, i int) value.Value { return value.OfInt(int64(i)) }), true
	case "filter":
		return p.filter(), true
	case "map":
		return p.mapping(func(items []value.Value) (value.Value, error) {
			return value.OfList(append([]value.Value(nil), items...)), nil
		}, l.failure(n)), true
	}
	return p.mapping(sumOf, l.failure(n)), true
}

// quantifier is all, any and none: the first element whose truth is stop
// (with null as false) decides for result, otherwise it is the opposite.
func (p *loop) quantifier(stop, result tri) code {
	return code{tri: func(f *Frame) (tri, error) {
		out := result.not()
		null, err := p.run(f, func(value.Value, int) (bool, error) {
			t, err := p.body.tri(f)
			if err != nil {
				return false, err
			}
			if (t == triTrue) == (stop == triTrue) {
				out = result
				return false, nil
			}
			return true, nil
		})
		if null || err != nil {
			return triNull, err
		}
		return out, nil
	}}
}

// counting is one and count.
func (p *loop) counting(result func(count int64) value.Value) code {
	return code{val: func(f *Frame) (value.Value, error) {
		count := int64(0)
		null, err := p.run(f, func(value.Value, int) (bool, error) {
			t, err := p.body.tri(f)
			if t == triTrue {
				count++
			}
			return true, err
		})
		if null || err != nil {
			return value.NullV(), err
		}
		return result(count), nil
	}}
}

// finding is find and findIndex.
func (p *loop) finding(result func(item value.Value, i int) value.Value) code {
	return code{val: func(f *Frame) (value.Value, error) {
		found := value.NullV()
		_, err := p.run(f, func(item value.Value, i int) (bool, error) {
			t, err := p.body.tri(f)
			if t == triTrue {
				found = result(item, i)
			}
			return t != triTrue, err
		})
		return found, err
	}}
}

// filter keeps the elements for which the body holds.
func (p *loop) filter() code {
	return code{val: func(f *Frame) (value.Value, error) {
		var kept []value.Value
		null, err := p.run(f, func(item value.Value, _ int) (bool, error) {
			t, err := p.body.tri(f)
			if t == triTrue {
				kept = append(kept, item)
			}
			return true, err
		})
		if null || err != nil {
			return value.NullV(), err
		}
		list := value.OfList(kept)
		return list, p.at.wrap(f.spendOn(list))
	}}
}

// mapping is map and sum: all results of the body, collected on the Frame's
// stack of arguments, go to result, which must not keep them.
func (p *loop) mapping(result func(items []value.Value) (value.Value, error), at failure) code {
	return code{val: func(f *Frame) (value.Value, error) {
		base := len(f.args)
		null, err := p.run(f, func(value.Value, int) (bool, error) {
			v, err := p.body.val(f)
			f.args = append(f.args, v)
			return true, err
		})
		out := value.NullV()
		if !null && err == nil {
			if out, err = result(f.args[base:]); err == nil {
				err = f.spendOn(out)
			}
		}
		f.args = f.args[:base]
		return out, at.wrap(err)
	}}
}

// element reads # or #index of the innermost loop.
func (l *lowerer) element(n *node) code {
	if n.op == opIndex {
		return code{i64: func(f *Frame) (int64, bool, error) { return int64(f.loops[len(f.loops)-1].index), true, nil }}
	}
	at := l.failure(n)
	return code{val: func(f *Frame) (value.Value, error) {
		v := f.loops[len(f.loops)-1].item
		return v, at.wrap(v.Err())
	}}
}
