package operators

import (
	"fmt"

	"streamctl/internal/value"
)

// edgeAccumulator is first and last: the value of the record with the least or
// the greatest event time, of equal ones that which came first or last.
type edgeAccumulator struct {
	last  bool
	there bool
	time  int64
	value value.Value
}

func (g *edgeAccumulator) room(args []value.Value) error {
	kind := First
	if g.last {
		kind = Last
	}
	return roomFor(kind, 0, args)
}

func (g *edgeAccumulator) add(args []value.Value, time int64) {
	if g.there && (g.last && time < g.time || !g.last && time >= g.time) {
		return
	}
	g.there, g.time, g.value = true, time, keepValue(args[0])
}

func (g *edgeAccumulator) undo([]value.Value) {}

func (g *edgeAccumulator) result() value.Value {
	if !g.there {
		return value.NullV()
	}
	return g.value
}

// appendState appends [time, value].
func (g *edgeAccumulator) appendState(dst []byte) []byte {
	if !g.there {
		return append(dst, "null"...)
	}
	dst = fmt.Appendf(dst, "[%d,", g.time)
	return append(appendKept(dst, g.value), ']')
}

func (g *edgeAccumulator) decode(state value.Value) error {
	time, ok := state.Index(0).ToInt()
	if !ok {
		return fmt.Errorf("%s is no state of a value with its time", state.Short())
	}
	g.there, g.time, g.value = true, time, parseKept(state.Index(1))
	return nil
}

func (g *edgeAccumulator) merge(later accumulator) {
	if l := later.(*edgeAccumulator); l.there {
		g.add([]value.Value{l.value}, l.time)
	}
}

func (g *edgeAccumulator) memory() int { return 80 + len(g.value.Text) }

// listAccumulator is collect_list: values in the order in which they came.
type listAccumulator struct {
	limit int
	items []value.Value
	bytes int
}

func (l *listAccumulator) room(args []value.Value) error {
	if len(l.items) >= l.limit {
		return &value.ArithmeticError{Text: fmt.Sprintf("collect_list: more than %d values in one group", l.limit)}
	}
	return roomFor(CollectList, l.bytes, args)
}

func (l *listAccumulator) add(args []value.Value, _ int64) { l.push(keepValue(args[0])) }
func (l *listAccumulator) undo([]value.Value)              {}

func (l *listAccumulator) push(v value.Value) {
	l.items = append(l.items, v)
	l.bytes += len(v.Text)
}

// result is a list that later additions do not change.
func (l *listAccumulator) result() value.Value {
	if len(l.items) > l.limit { // two lists became one
		return value.OfInvalid(fmt.Sprintf("collect_list: more than %d values in one group", l.limit))
	}
	return value.OfList(l.items[:len(l.items):len(l.items)])
}

func (l *listAccumulator) appendState(dst []byte) []byte {
	dst = append(dst, '[')
	for i, v := range l.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendKept(dst, v)
	}
	return append(dst, ']')
}

func (l *listAccumulator) decode(state value.Value) error {
	items := state.Expand()
	if !items.IsList() {
		return fmt.Errorf("%s is no state of a list", state.Short())
	}
	l.items, l.bytes = nil, 0
	for _, item := range items.Tree.Items {
		l.push(parseKept(item))
	}
	return nil
}

func (l *listAccumulator) merge(later accumulator) {
	for _, v := range later.(*listAccumulator).items {
		l.push(v)
	}
}

func (l *listAccumulator) memory() int { return 48 + 48*cap(l.items) + l.bytes }

// bucketAccumulator is histogram(x, bounds): how many values lie below the
// first bound, from each to the next, and from the last on.
type bucketAccumulator struct {
	bounds []float64 // ascending; shared
	counts []int64
}

// bucket is where v belongs: the bounds are compared exactly.
func (b *bucketAccumulator) bucket(v value.Value) int {
	i := 0
	for i < len(b.bounds) {
		if c, _ := value.Compare(v, value.OfFloat(b.bounds[i])); c < 0 {
			break
		}
		i++
	}
	return i
}

func (b *bucketAccumulator) room([]value.Value) error        { return nil }
func (b *bucketAccumulator) add(args []value.Value, _ int64) { b.counts[b.bucket(args[0])]++ }
func (b *bucketAccumulator) undo(args []value.Value)         { b.counts[b.bucket(args[0])]-- }

func (b *bucketAccumulator) result() value.Value {
	items := make([]value.Value, len(b.counts))
	for i, n := range b.counts {
		items[i] = value.OfInt(n)
	}
	return value.OfList(items)
}

func (b *bucketAccumulator) appendState(dst []byte) []byte { return value.AppendJSON(dst, b.result()) }

func (b *bucketAccumulator) decode(state value.Value) error {
	items := state.Expand()
	if n, _ := items.Len(); !items.IsList() || n != len(b.counts) {
		return fmt.Errorf("%s is no state of %d counts", state.Short(), len(b.counts))
	}
	for i, item := range items.Tree.Items {
		n, ok := item.ToInt()
		if !ok {
			return fmt.Errorf("%s is no count", item.Short())
		}
		b.counts[i] = n
	}
	return nil
}

func (b *bucketAccumulator) merge(later accumulator) {
	for i, n := range later.(*bucketAccumulator).counts {
		b.counts[i] += n
	}
}

func (b *bucketAccumulator) memory() int { return 64 + 8*len(b.counts) }
