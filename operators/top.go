package operators

import (
	"bytes"
	"encoding/binary"
	"fmt"

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
	heads   heads
	before  []ranked // the first rows of a group
	after   []ranked // as they are after the change
	others  []ranked

	scan, entry, order, value []byte // scratch: keys and values of the state

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
	h, err := p.head(at.group)
	if err != nil {
		return p.failed(err)
	}
	p.before = p.rank(append(p.before[:0], h.rows[:min(len(h.rows), p.spec.N)]...))
	old, err := p.store(at, is)
	if err != nil {
		return p.failed(err)
	}
	switch {
	case old.doc != nil:
		p.move(at.group, h, &old, is)
	case is != nil:
		p.move(at.group, h, nil, is)
	default:
		return nil
	}
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

// appendTopEntry writes the key of an entry of the state.
func appendTopEntry(dst []byte, kind byte, parts ...[]byte) []byte {
	dst = append(dst, kind)
	for _, part := range parts {
		dst = append(dst, part...)
	}
	return dst
}

// Kinds of entries.
const (
	topRowEntry   = 'k'
	topOrderEntry = 'o'
)

// store writes a row and its place in the order, nil deletes them; old is what
// was there before.
func (p *top) store(at, is *place) (old place, err error) {
	p.entry = appendTopEntry(p.entry[:0], topRowEntry, at.group, at.key)
	row, err := p.table.Get(p.entry)
	if err != nil {
		return old, err
	}
	if row != nil {
		if old, err = readRow(row.Value); err != nil {
			return old, err
		}
		old.key = at.key
	}
	moved := row == nil || is == nil || !bytes.Equal(old.order, is.order)
	if row != nil && moved {
		p.order = appendTopEntry(p.order[:0], topOrderEntry, at.group, old.order, at.key)
		if err = p.table.Delete(p.order); err != nil {
			return old, err
		}
	}
	if is == nil {
		return old, p.table.Delete(p.entry)
	}
	if moved {
		p.order = appendTopEntry(p.order[:0], topOrderEntry, at.group, is.order, at.key)
		p.value = binary.AppendUvarint(p.value[:0], uint64(len(is.order)))
		if _, err = p.table.Put(p.order, p.value); err != nil {
			return old, err
		}
	}
	p.value = appendRow(p.value[:0], is)
	_, err = p.table.Put(p.entry, p.value)
	return old, err
}

// appendRow writes a row as the state keeps it:
//
//	event time, ms (varint) | length (uvarint), order | length, canonical key | JSON
func appendRow(dst []byte, r *place) []byte {
	dst = binary.AppendVarint(dst, r.time)
	return append(appendBytes(appendBytes(dst, r.order), r.text), r.doc...)
}

// readRow reads what appendRow wrote; it points into row.
func readRow(row []byte) (r place, err error) {
	w := wire{rest: row}
	r.time, r.order, r.text = w.signed(), w.bytes(), w.bytes()
	if r.doc = w.rest; w.short {
		return r, fmt.Errorf("read row of top: %q is not of this version", row)
	}
	return r, nil
}
