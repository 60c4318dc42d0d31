package operators

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"streamctl/expr"
	"streamctl/internal/value"
	"streamctl/state"
)

// Top keeps the rows of a table in order, group by group, and gives out the
// first N of each with their rank. A row that is not among the first is kept as well:
// it moves up when another leaves. Only rows that change, or whose rank does, go on.
//
// Rows with equal values share a rank, and the next rank is left out: 1, 2, 2, 4.
// Which of them come first, and which of them are in when not all can be, their keys
// decide, the smaller ones first. There are never more than N.
//
// The state has two kinds of entries. They are found by the row's group and key,
// so that what is here never depends on what the other side believes was here:
//
//	'k' group key          -> the row
//	'o' group order key    -> where the key begins
//
// Group, order and key are written so that the order of bytes is that of values.
type Top struct {
	Policy *Policy
	Name   string // of the state
	N      int
	Per    []*expr.Program // the group; none = all rows
	By     []*expr.Program
	Desc   bool
	Doc    *Doc       // the row
	RowKey []expr.Ref // the key of the table
	// Grouped says that the key of what goes on begins with the group.
	Grouped bool
	// List, when set, is the member name, with its colon, under which a group goes on
	// as one row, the list of its first rows.
	List string
	// Out is how what goes on is decoded.
	Out *Table
}

// rankName is the member that a row gets.
const rankName = `"rank":`

// Make implements Spec.
func (s *Top) Make(t *Task, next Operator) (Operator, error) {
	op := &top{spec: s, task: t, table: t.Tables[s.Name], next: next, out: *t.event()}
	if op.table == nil {
		return nil, fmt.Errorf("open top: the task has no table %q", s.Name)
	}
	op.was.Rows = make([]*value.Row, t.rows)
	for i, rows := range [][]*value.Row{op.out.Frame.Rows, op.was.Rows} {
		rows[s.Out.Row], rows[s.Out.KeyRow] = &op.rows[i].row, &op.rows[i].key
	}
	return op, nil
}

type top struct {
	spec  *Top
	task  *Task
	table *state.Table
	next  Operator

	is, had place // of the row in the group being changed
	before  []ranked
	after   []ranked
	others  []ranked

	out  Event
	was  expr.Frame
	rows [2]decodedRow // as it is, as it was
	docs [2][]byte
}

// place is where a row lies: in which group, and where in its order.
type place struct {
	there bool
	group []byte // ordered
	value value.Value
	order []byte
	key   []byte // ordered
	doc   []byte
	time  int64
	text  []byte // canonical key
}

// ranked is an entry of a group's order.
type ranked struct {
	order, key []byte
	rank       int
}

// Process takes a change of the table.
func (p *top) Process(e *Event) error {
	p.had.there, p.is.there = false, false
	if e.Before != nil {
		// A row that could not be placed when it came is not here.
		if err := p.find(&p.had, e.Before); err != nil {
			p.had.there = false
		}
	}
	if !e.Delete {
		if err := p.read(e); err != nil {
			p.is.there = false
			if err = p.task.refuseEvent(p.spec.Policy, e, ReasonExpression, err); err != nil {
				return err
			}
		} else if !p.is.there {
			p.task.Counters.Drop(p.spec.Policy.Operator, ReasonNullKey)
		}
	}
	if p.had.there && (!p.is.there || !bytes.Equal(p.had.group, p.is.group)) {
		if err := p.change(e, &p.had, nil); err != nil {
			return err
		}
	}
	if p.is.there {
		return p.change(e, &p.is, &p.is)
	}
	return nil
}

// find computes group and key of a row; one whose group is null is not there.
func (p *top) find(at *place, f *expr.Frame) error {
	v, null, err := evalKey(p.spec.Per, f)
	if at.there = false; err != nil || null {
		return err
	}
	key := keyOf(f, p.spec.RowKey)
	at.there, at.value = true, v
	at.group = value.AppendOrdered(at.group[:0], v)
	at.key = value.AppendOrdered(at.key[:0], key)
	at.text = value.AppendStored(at.text[:0], key)
	return nil
}

// read computes the place of e's row, and the row.
func (p *top) read(e *Event) error {
	at := &p.is
	if err := p.find(at, &e.Frame); err != nil || !at.there {
		return err
	}
	at.order = at.order[:0]
	for _, by := range p.spec.By {
		v, err := by.Eval(&e.Frame)
		if err != nil {
			return err
		}
		if v.IsNull() { // behind all others, whatever the order
			at.order = append(at.order, 1)
			continue
		}
		at.order = append(at.order, 0)
		start := len(at.order)
		at.order = value.AppendOrdered(at.order, v)
		if p.spec.Desc {
			value.Invert(at.order[start:])
		}
	}
	doc, null, err := p.spec.Doc.append(at.doc[:0], e, &e.Frame)
	at.doc, at.time = doc, e.Time
	if err == nil && (null || len(doc) == 0 || doc[0] != '{') {
		err = faultf(ReasonWrongType, "a row of %s is no object: it cannot get a rank", p.spec.Policy.Operator)
	}
	return err
}

// change makes is the row at a place of a group, nil takes it away, and tells
// what has become of the first rows.
func (p *top) change(e *Event, at, is *place) error {
	if err := p.first(at.group); err != nil {
		return p.failed(err)
	}
	old, err := p.store(at, is)
	if err != nil {
		return p.failed(err)
	}
	if old.doc == nil && is == nil {
		return nil
	}
	p.move(&old, is)
	if p.spec.List != "" {
		err = p.tellList(e, at, &old, is)
	} else {
		err = p.tellRows(e, at, &old, is)
	}
	return err
}

func (p *top) failed(err error) error {
	return fmt.Errorf("write table %s: %w", p.spec.Name, err)
}

// topEntry writes the key of an entry of the state.
func topEntry(kind byte, parts ...[]byte) []byte {
	key := []byte{kind}
	for _, part := range parts {
		key = append(key, part...)
	}
	return key
}

// Kinds of entries.
const (
	topRowEntry   = 'k'
	topOrderEntry = 'o'
)

// first reads the first rows of a group, one more than are given out: when one
// of them leaves, the next is known.
func (p *top) first(group []byte) error {
	p.before = p.before[:0]
	prefix := topEntry(topOrderEntry, group)
	return p.table.ScanPrefix(prefix, func(key []byte, row *state.Row) (bool, error) {
		begin, n := binary.Uvarint(row.Value)
		rest := key[len(prefix):]
		if n <= 0 || begin > uint64(len(rest)) {
			return false, fmt.Errorf("read order of %s: %q is not of this version", p.spec.Name, row.Value)
		}
		rest = slices.Clone(rest)
		p.before = append(p.before, ranked{order: rest[:begin:begin], key: rest[begin:]})
		return len(p.before) <= p.spec.N, nil
	})
}

// store writes a row and its place in the order, nil deletes them; old is what
// was there before.
func (p *top) store(at, is *place) (old place, err error) {
	key := topEntry(topRowEntry, at.group, at.key)
	row, err := p.table.Get(key)
	if err != nil {
		return old, err
	}
	if row != nil {
		if old, err = readRow(row.Value); err != nil {
			return old, err
		}
		old.key = at.key
	}
	if row != nil && (is == nil || !bytes.Equal(old.order, is.order)) {
		if err = p.table.Delete(topEntry(topOrderEntry, at.group, old.order, at.key)); err != nil {
			return old, err
		}
	}
	if is == nil {
		return old, p.table.Delete(key)
	}
	if row == nil || !bytes.Equal(old.order, is.order) {
		begin := binary.AppendUvarint(nil, uint64(len(is.order)))
		if _, err = p.table.Put(topEntry(topOrderEntry, at.group, is.order, at.key), begin); err != nil {
			return old, err
		}
	}
	_, err = p.table.Put(key, appendRow(nil, is))
	return old, err
}

// appendRow writes a row as the state keeps it:
//
//	event time, ms (varint) | length (uvarint), order | length, canonical key | JSON
func appendRow(dst []byte, r *place) []byte {
	dst = binary.AppendVarint(dst, r.time)
	dst = append(binary.AppendUvarint(dst, uint64(len(r.order))), r.order...)
	dst = append(binary.AppendUvarint(dst, uint64(len(r.text))), r.text...)
	return append(dst, r.doc...)
}

// readRow reads what appendRow wrote; it points into row.
func readRow(row []byte) (r place, err error) {
	time, n := binary.Varint(row)
	rest := row[max(n, 0):]
	take := func() (part []byte) {
		size, w := binary.Uvarint(rest)
		if w <= 0 || size > uint64(len(rest)-w) {
			n = 0
			return nil
		}
		part, rest = rest[w:w+int(size)], rest[w+int(size):]
		return part
	}
	r.time, r.order, r.text = time, take(), take()
	if r.doc = rest; n <= 0 {
		return r, fmt.Errorf("read row of top: %q is not of this version", row)
	}
	return r, nil
}

// move makes after of before: the first rows once old has left its place and is
// has taken its own; both with their ranks.
func (p *top) move(old, is *place) {
	p.after = p.after[:0]
	whole := len(p.before) <= p.spec.N // no row of the group is left out
	compare := func(a, b ranked) int {
		if c := bytes.Compare(a.order, b.order); c != 0 {
			return c
		}
		return bytes.Compare(a.key, b.key)
	}
	for _, r := range p.before {
		if old.doc == nil || !bytes.Equal(r.key, old.key) {
			p.after = append(p.after, r)
		}
	}
	if is != nil {
		mine := ranked{order: is.order, key: is.key}
		at, _ := slices.BinarySearchFunc(p.after, mine, compare)
		if at < len(p.after) || whole {
			p.after = slices.Insert(p.after, at, mine)
		}
	}
	p.before, p.after = p.rank(p.before), p.rank(p.after)
}

// rank cuts a list at N and numbers its rows.
func (p *top) rank(list []ranked) []ranked {
	list = list[:min(len(list), p.spec.N)]
	for i := range list {
		list[i].rank = i + 1
		if i > 0 && bytes.Equal(list[i].order, list[i-1].order) {
			list[i].rank = list[i-1].rank
		}
	}
	return list
}

// without is a list without the row of a key, and the rank of that row, 0 = it is
// not in the list.
func without(dst, list []ranked, key []byte) (others []ranked, rank int) {
	for _, r := range list {
		if bytes.Equal(r.key, key) {
			rank = r.rank
			continue
		}
		dst = append(dst, r)
	}
	return dst, rank
}

// tellRows hands on the rows that have changed: first the one that is out, then
// the others in their order. One row has moved; all others are in both lists in
// the same order, of which the one may reach further than the other.
func (p *top) tellRows(e *Event, at, old, is *place) error {
	others, was := without(p.others[:0], p.before, at.key)
	p.others = others
	among := 0 // rows of after that are not the one that has moved
	rank := 0
	for _, r := range p.after {
		if bytes.Equal(r.key, at.key) {
			rank = r.rank
		} else {
			among++
		}
	}
	if was > 0 && rank == 0 {
		if err := p.tell(e, at, old, 0, old.doc, was); err != nil {
			return err
		}
	}
	for _, r := range others[min(among, len(others)):] {
		row, err := p.row(at, nil, r.key)
		if err == nil {
			err = p.tell(e, at, &row, 0, row.doc, r.rank)
		}
		if err != nil {
			return err
		}
	}
	next := 0
	for _, r := range p.after {
		if bytes.Equal(r.key, at.key) {
			if was != rank || !bytes.Equal(old.doc, is.doc) {
				if err := p.tell(e, at, is, rank, old.doc, was); err != nil {
					return err
				}
			}
			continue
		}
		had := 0
		if next < len(others) {
			had = others[next].rank
		}
		if next++; had == r.rank {
			continue
		}
		row, err := p.row(at, nil, r.key)
		if err == nil {
			err = p.tell(e, at, &row, r.rank, row.doc, had)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// row is the row of a group with a key: own if it is that one, else as the state
// has it.
func (p *top) row(at, own *place, key []byte) (place, error) {
	if own != nil && own.doc != nil && bytes.Equal(own.key, key) {
		return *own, nil
	}
	row, err := p.table.Get(topEntry(topRowEntry, at.group, key))
	if err != nil {
		return place{}, p.failed(err)
	}
	if row == nil {
		return place{}, p.failed(fmt.Errorf("no row for an entry of the order"))
	}
	return readRow(row.Value)
}

// tell hands on one row: its rank now and before, 0 = it is or was not among the
// first, and what it was before.
func (p *top) tell(e *Event, at *place, row *place, rank int, prior []byte, was int) error {
	p.begin(e, rank == 0, was > 0)
	p.out.Time = max(e.Time, row.time)
	key, err := p.key(at, row.text)
	if err != nil {
		return err
	}
	var docs [2][]byte
	if rank > 0 {
		p.docs[0] = appendRanked(p.docs[0][:0], row.doc, rank)
		docs[0] = p.docs[0]
	}
	if was > 0 {
		p.docs[1] = appendRanked(p.docs[1][:0], prior, was)
		docs[1] = p.docs[1]
	}
	return p.hand(e, key, docs)
}

// key is the key of what goes on.
func (p *top) key(at *place, text []byte) (value.Value, error) {
	key, err := value.ParseStored(text)
	if err != nil || !p.spec.Grouped {
		return key, err
	}
	return value.OfList(slices.Concat(p.groupItems(at), keyItems(key, len(p.spec.RowKey)))), nil
}

// groupItems are the components of the group.
func (p *top) groupItems(at *place) []value.Value { return keyItems(at.value, len(p.spec.Per)) }

// keyItems are the components of a key.
func keyItems(key value.Value, n int) []value.Value {
	if n == 1 {
		return []value.Value{key}
	}
	items := make([]value.Value, n)
	for i := range items {
		items[i] = key.Index(i)
	}
	return items
}

// begin makes the event that goes on.
func (p *top) begin(e *Event, gone, was bool) {
	out := &p.out
	out.In, out.Origin, out.Time = e.In, e.Origin, e.Time
	out.Key, out.KeyFormat, out.Headers = e.Key, e.KeyFormat, e.Headers
	out.Change, out.Delete, out.Before = true, gone, nil
	out.Frame.Now = e.Frame.Now
	if was {
		p.was.Now, out.Before = e.Frame.Now, &p.was
	}
}

// hand decodes what goes on, as it is and as it was, and hands it on.
func (p *top) hand(e *Event, key value.Value, docs [2][]byte) error {
	for i := range p.rows {
		d := &p.rows[i]
		if err := p.spec.Out.Shape.Scan(docs[i], &d.row); err != nil {
			return p.task.refuseEvent(p.spec.Policy, e, ReasonWrongType, scanFault(err))
		}
		setKey(&d.key, key, p.spec.Out.Components)
	}
	return p.next.Process(&p.out)
}

// appendRanked writes a row with its rank.
func appendRanked(dst, doc []byte, rank int) []byte {
	dst = append(dst, doc[:len(doc)-1]...)
	if len(doc) > len("{}") {
		dst = append(dst, ',')
	}
	return append(strconv.AppendInt(append(dst, rankName...), int64(rank), 10), '}')
}

// tellList hands on the group as one row.
func (p *top) tellList(e *Event, at, old, is *place) error {
	_, was := without(p.others[:0], p.before, at.key)
	_, rank := without(p.others[:0], p.after, at.key)
	if was == 0 && rank == 0 {
		return nil // what has changed lies behind the first
	}
	time := e.Time
	var docs [2][]byte
	var err error
	for i, list := range [][]ranked{p.after, p.before} {
		own := is
		if i == 1 {
			own = old
		}
		if len(list) == 0 {
			continue
		}
		if p.docs[i], err = p.appendList(p.docs[i][:0], list, at, own, &time); err != nil {
			return err
		}
		docs[i] = p.docs[i]
	}
	if docs[0] != nil && bytes.Equal(docs[0], docs[1]) {
		return nil
	}
	p.begin(e, docs[0] == nil, docs[1] != nil)
	p.out.Time = time
	return p.hand(e, at.value, docs)
}

// appendList writes the row of a group; time becomes the greatest of its rows.
func (p *top) appendList(dst []byte, list []ranked, at, own *place, time *int64) ([]byte, error) {
	dst = append(append(append(dst, '{'), p.spec.List...), '[')
	for i, r := range list {
		row, err := p.row(at, own, r.key)
		if err != nil {
			return dst, err
		}
		*time = max(*time, row.time)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, row.doc...)
	}
	return append(dst, ']', '}'), nil
}
