package operators

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"streamctl/internal/value"
)

// What a top tells of a change: see top.go.

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
	p.entry = appendTopEntry(p.entry[:0], topRowEntry, at.group, key)
	row, err := p.table.Get(p.entry)
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
