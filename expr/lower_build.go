package expr

import (
	"streamctl/internal/value"
)

// member computes of[key].
func (l *lowerer) member(n *node) code {
	of, key := n.kids[0], n.kids[1]
	at := l.failure(n)
	if i, ok := key.val.ToInt(); ok && key.constant() {
		if c, ok := l.splitPart(n, i); ok {
			return c
		}
		x := l.lower(of).val
		return code{val: func(f *Frame) (value.Value, error) {
			v, err := x(f)
			if err != nil {
				return v, err
			}
			v, err = elementOn(v, i)
			return v, at.wrap(err)
		}}
	}
	return l.dyadic(n, memberOn)
}

// slice computes x[from:to].
func (l *lowerer) slice(n *node) code {
	at := l.failure(n)
	var parts [3]func(f *Frame) (value.Value, error)
	for i, kid := range n.kids {
		if kid != nil {
			parts[i] = l.lower(kid).val
		}
	}
	return code{val: func(f *Frame) (value.Value, error) {
		var vals [3]value.Value
		var bounds [3]*value.Value
		for i, part := range parts {
			if part == nil {
				continue
			}
			v, err := part(f)
			if err != nil {
				return v, err
			}
			vals[i] = v
			bounds[i] = &vals[i]
		}
		v, err := sliceOn(vals[0], bounds[1], bounds[2])
		return v, at.wrap(err)
	}}
}

// list computes [a, b]; as JSON it is never built.
func (l *lowerer) list(n *node) code {
	items := make([]code, len(n.kids))
	for i, kid := range n.kids {
		items[i] = l.lower(kid)
	}
	return code{
		val: func(f *Frame) (value.Value, error) {
			out := make([]value.Value, len(items))
			for i, item := range items {
				v, err := item.val(f)
				if err != nil {
					return v, err
				}
				out[i] = v
			}
			return value.OfList(out), nil
		},
		json: func(dst []byte, f *Frame) (_ []byte, err error) {
			dst = append(dst, '[')
			for i := range items {
				if i > 0 {
					dst = append(dst, ',')
				}
				if dst, err = items[i].json(dst, f); err != nil {
					return dst, err
				}
			}
			return append(dst, ']'), nil
		},
	}
}

// object computes {a: x, (b): y}; with fixed keys it is never built as JSON.
func (l *lowerer) object(n *node) code {
	items, keys := make([]code, len(n.kids)), make([]code, len(n.kids))
	prefix := make([]string, len(n.kids)) // `{"first":`, `,"second":`
	fixed := true
	for i, kid := range n.kids {
		items[i] = l.lower(kid)
		if n.keyNodes[i] != nil {
			fixed = false
			keys[i] = l.lower(n.keyNodes[i])
			continue
		}
		start := byte(',')
		if i == 0 {
			start = '{'
		}
		prefix[i] = string(append(value.AppendQuoted([]byte{start}, n.keys[i]), ':'))
	}
	if !fixed {
		return l.computedObject(n, keys, items)
	}
	names := n.keys
	c := code{val: func(f *Frame) (value.Value, error) {
		out := make([]value.Value, len(items))
		for i, item := range items {
			v, err := item.val(f)
			if err != nil {
				return v, err
			}
			out[i] = v
		}
		return value.OfMap(names, out), nil
	}}
	c.json = func(dst []byte, f *Frame) (_ []byte, err error) {
		for i := range items {
			dst = append(dst, prefix[i]...)
			if dst, err = items[i].json(dst, f); err != nil {
				return dst, err
			}
		}
		if len(items) == 0 {
			dst = append(dst, '{')
		}
		return append(dst, '}'), nil
	}
	return c
}

// computedObject builds an object some of whose keys are known at run time
// only. A key that comes twice keeps its first place and its last value; a
// null key is an error.
func (l *lowerer) computedObject(n *node, keys, items []code) code {
	places := make([]failure, len(keys))
	for i, key := range n.keyNodes {
		if key != nil {
			places[i] = l.failure(key)
		}
	}
	return code{val: func(f *Frame) (value.Value, error) {
		var b objectBuilder
		for i := range items {
			name := n.keys[i]
			if keys[i].val != nil {
				k, err := keys[i].val(f)
				if err != nil {
					return k, err
				}
				if name, err = keyOf(k); err != nil {
					return k, places[i].wrap(err)
				}
			}
			v, err := items[i].val(f)
			if err != nil {
				return v, err
			}
			b.set(name, v)
		}
		return b.value(), nil
	}}
}

// keyOf reads a computed key.
func keyOf(v value.Value) (string, error) {
	if v.Kind == value.String {
		return v.Text, nil
	}
	return "", unwanted("a string as the key", v)
}

// objectBuilder collects members; a later one replaces an earlier one of its name.
type objectBuilder struct {
	keys  []string
	items []value.Value
	at    map[string]int
}

func (b *objectBuilder) set(key string, v value.Value) {
	if i, ok := b.at[key]; ok {
		b.items[i] = v
		return
	}
	if b.at == nil {
		b.at = make(map[string]int)
	}
	b.at[key] = len(b.keys)
	b.keys, b.items = append(b.keys, key), append(b.items, v)
}

func (b *objectBuilder) value() value.Value { return value.OfMap(b.keys, b.items) }
