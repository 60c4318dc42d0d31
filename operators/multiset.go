package operators

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/value"
)

// multiset holds values in order, each with how often it is there: what min,
// max, top_k, collect_set and histogram keep. By it, all of them can take back.
type multiset struct {
	entries []setEntry // ascending by key, then by value
	bytes   int        // of texts, about
}

// setEntry is a value in a multiset. key is what it is ordered by, nearly always
// the value itself.
type setEntry struct {
	key, value value.Value
	n          int64
}

// orderOf puts any two values in an order: false, true, numbers, strings, bytes,
// then lists and objects by their canonical text. Equal values are equal.
func orderOf(a, b value.Value) int {
	if c := cmp.Compare(familyOf(a), familyOf(b)); c != 0 {
		return c
	}
	if c, ok := value.Compare(a, b); ok {
		return c
	}
	return strings.Compare(string(value.AppendKey(nil, a)), string(value.AppendKey(nil, b)))
}

// familyOf ranks kinds that have no order among each other.
func familyOf(v value.Value) int {
	switch v.Kind {
	case value.Bool:
		return 1
	case value.Int, value.Float, value.Number:
		return 2
	case value.String:
		return 3
	case value.Bytes:
		return 4
	case value.Raw, value.List, value.Map:
		return 5
	}
	return 0
}

// find is where an setEntry is or belongs.
func (m *multiset) find(key, v value.Value) (int, bool) {
	return slices.BinarySearchFunc(m.entries, struct{}{}, func(e setEntry, _ struct{}) int {
		if c := orderOf(e.key, key); c != 0 {
			return c
		}
		return orderOf(e.value, v)
	})
}

// add puts v in once more.
func (m *multiset) add(key, v value.Value) {
	at, found := m.find(key, v)
	if found {
		m.entries[at].n++
		return
	}
	e := setEntry{value: keepValue(v), n: 1}
	if e.key = e.value; orderOf(key, v) != 0 {
		e.key = keepValue(key)
	}
	m.entries = slices.Insert(m.entries, at, e)
	m.bytes += e.bytes()
}

func (e *setEntry) bytes() int {
	if e.key.Text == e.value.Text {
		return len(e.value.Text)
	}
	return len(e.key.Text) + len(e.value.Text)
}

// remove takes v out once. What is not there stays away.
func (m *multiset) remove(key, v value.Value) {
	at, found := m.find(key, v)
	if !found {
		return
	}
	if m.entries[at].n--; m.entries[at].n == 0 {
		m.drop(at)
	}
}

func (m *multiset) drop(at int) {
	m.bytes -= m.entries[at].bytes()
	m.entries = slices.Delete(m.entries, at, at+1)
}

func (m *multiset) merge(other *multiset) {
	for _, e := range other.entries {
		at, found := m.find(e.key, e.value)
		if found {
			m.entries[at].n += e.n
			continue
		}
		m.entries = slices.Insert(m.entries, at, e)
		m.bytes += e.bytes()
	}
}

// appendState appends [[value, n], ...], with the key behind where it is another.
func (m *multiset) appendState(dst []byte) []byte {
	dst = append(dst, '[')
	for i, e := range m.entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendKept(append(dst, '['), e.value)
		dst = fmt.Appendf(dst, ",%d", e.n)
		if orderOf(e.key, e.value) != 0 {
			dst = appendKept(append(dst, ','), e.key)
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

func (m *multiset) decode(state value.Value) error {
	*m = multiset{}
	items := state.Expand()
	if !items.IsList() {
		return fmt.Errorf("%s is no state of values", state.Short())
	}
	for _, item := range items.Tree.Items {
		parts := item.Expand()
		n, ok := parts.Index(1).ToInt()
		if !ok {
			return fmt.Errorf("%s is no state of a value", item.Short())
		}
		e := setEntry{value: parseKept(parts.Index(0)), n: n}
		e.key = e.value
		if len(parts.Tree.Items) > 2 {
			e.key = parseKept(parts.Tree.Items[2])
		}
		m.entries = append(m.entries, e)
		m.bytes += e.bytes()
	}
	return nil
}

func (m *multiset) memory() int { return 48 + 104*cap(m.entries) + m.bytes }

// maxCollected bounds what one aggregate of one group keeps, in bytes of text:
// a row must fit into a record of the changelog, with its neighbours.
const maxCollected = 1 << 20

// roomFor says why an aggregate that holds so many bytes cannot take in args.
func roomFor(k AggregateKind, bytes int, args []value.Value) error {
	for i, v := range args {
		if i > 0 && v.Text == args[0].Text {
			continue
		}
		bytes += len(v.Text)
		if v.Tree != nil {
			bytes += len(value.AppendJSON(nil, v))
		}
	}
	if bytes > maxCollected {
		return fmt.Errorf("%s keeps more than %d bytes of one group", k, maxCollected)
	}
	return nil
}

// keepValue is v as an aggregate keeps it: nothing of it lies in the record any more,
// and it is what comes back from the store.
func keepValue(v value.Value) value.Value {
	if v.Kind == value.List || v.Kind == value.Map {
		return value.OfRaw(value.AppendJSON(nil, v))
	}
	return v.Clone()
}

// appendKept writes a value that is kept: as JSON, bytes marked.
func appendKept(dst []byte, v value.Value) []byte {
	if v.Kind == value.Bytes {
		return value.AppendStored(dst, v)
	}
	return value.AppendJSON(dst, v)
}

// parseKept reads what appendKept wrote.
func parseKept(v value.Value) value.Value {
	if v.IsObject() {
		if b, err := value.ParseStored(v.Text); err == nil && b.Kind == value.Bytes {
			return b
		}
	}
	return v.Clone()
}

// extremes is min, max and top_k by a multiset: over a table's changes of all
// values, over a stream of the k that count.
type extremes struct {
	kind AggregateKind
	k    int64 // of top_k
	all  bool
	multiset
}

func (x *extremes) key(args []value.Value) value.Value {
	if len(args) > 1 {
		return args[1]
	}
	return args[0]
}

func (x *extremes) room(args []value.Value) error {
	if x.all {
		return nil
	}
	return roomFor(x.kind, x.bytes, args)
}

func (x *extremes) add(args []value.Value, _ int64) {
	x.multiset.add(x.key(args), args[0])
	x.trim()
}

// trim leaves the k greatest.
func (x *extremes) trim() {
	if x.all {
		return
	}
	var n int64
	for _, e := range x.entries {
		n += e.n
	}
	for n > x.k {
		over := min(n-x.k, x.entries[0].n)
		n -= over
		if x.entries[0].n -= over; x.entries[0].n == 0 {
			x.drop(0)
		}
	}
}

func (x *extremes) undo(args []value.Value) { x.remove(x.key(args), args[0]) }

func (x *extremes) result() value.Value {
	last := len(x.entries) - 1
	if x.kind == TopK {
		return x.top()
	}
	if last < 0 {
		return value.NullV()
	}
	if x.kind == Min {
		return x.entries[0].value
	}
	return x.entries[last].value
}

// top lists the k greatest, from the greatest down.
func (x *extremes) top() value.Value {
	items := make([]value.Value, 0, x.k)
	for i := len(x.entries) - 1; i >= 0; i-- {
		for n := x.entries[i].n; n > 0 && int64(len(items)) < x.k; n-- {
			items = append(items, x.entries[i].value)
		}
	}
	return value.OfList(items)
}

func (x *extremes) merge(later accumulator) {
	x.multiset.merge(&later.(*extremes).multiset)
	x.trim()
}

// setAccumulator is collect_set and histogram of single values: the different
// values, ascending, how many or how often.
type setAccumulator struct {
	kind     AggregateKind
	limit    int
	undoable bool
	multiset
}

func (s *setAccumulator) full() string {
	return fmt.Sprintf("%s: more than %d different values in one group", s.kind, s.limit)
}

func (s *setAccumulator) room(args []value.Value) error {
	if s.undoable {
		return nil
	}
	if _, found := s.find(args[0], args[0]); found {
		return nil
	}
	if len(s.entries) >= s.limit {
		return &value.ArithmeticError{Text: s.full()}
	}
	return roomFor(s.kind, s.bytes, args)
}

func (s *setAccumulator) add(args []value.Value, _ int64) { s.multiset.add(args[0], args[0]) }
func (s *setAccumulator) undo(args []value.Value)         { s.remove(args[0], args[0]) }
func (s *setAccumulator) merge(later accumulator) {
	s.multiset.merge(&later.(*setAccumulator).multiset)
}

func (s *setAccumulator) result() value.Value {
	if len(s.entries) > s.limit {
		return value.OfInvalid(s.full())
	}
	items := make([]value.Value, len(s.entries))
	if s.kind == CollectSet {
		for i, e := range s.entries {
			items[i] = e.value
		}
		return value.OfList(items)
	}
	return s.counts()
}

// counts is an object of values as texts and how often each is there. 1 and "1"
// are one text.
func (s *setAccumulator) counts() value.Value {
	var keys []string
	var items []value.Value
	at := make(map[string]int, len(s.entries))
	for _, e := range s.entries {
		key := string(value.AppendText(nil, e.value))
		i, found := at[key]
		if !found {
			at[key] = len(keys)
			keys, items = append(keys, key), append(items, value.OfInt(e.n))
			continue
		}
		items[i] = value.OfInt(items[i].AsInt() + e.n)
	}
	return value.OfMap(keys, items)
}
