package operators

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// MatchedKeys is the name of the list that `match` adds to a document.
const MatchedKeys = "matched_keys"

// Gather is the head behind Match: it keeps the parts of documents until those
// of all partitions are there, and hands on each document with the keys of all
// queries that it satisfies.
type Gather struct {
	Policy  *Policy
	Name    string   // of the table of parts
	Origins []Origin // by the number in the origin header
	Kept    *Kept    // the document's bindings, and the list of keys
	// Lag is how much later than their time documents may come, ms, because
	// operators in front of the match held them back; see timeline.
	Lag  int64
	Next []*Node
}

// Open implements Head.
func (s *Gather) Open(outer *Task) (Input, error) {
	t, opened := laterTime(outer, s.Lag)
	defer opened()
	next, err := makeAll(t, s.Next)
	if err != nil {
		return nil, err
	}
	g := &gather{spec: s, task: t, table: t.Tables[s.Name], next: next, event: t.event(), kept: s.Kept.open(), completed: map[string]int{}}
	if g.table == nil {
		return nil, fmt.Errorf("open match: the task has no table %q", s.Name)
	}
	return g, nil
}

type gather struct {
	spec  *Gather
	task  *Task
	table *state.Table
	next  Operator
	event *Event
	kept  *keptRow
	rec   *record.Record
	at    record.Position
	whole record.Record // the document as if it had never been taken apart
	buf   []byte
	// completed counts documents by where they come from, since the task was opened.
	completed map[string]int
}

// Decode implements Input.
func (g *gather) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	g.rec, g.at = rec, record.Position{TopicPartition: tp, Offset: rec.Offset}
	return rec.Time, false, nil
}

// Process implements Input.
func (g *gather) Process() error {
	if err := g.take(); err != nil {
		return g.task.refuse(g.spec.Policy, g.rec, g.rec.Key, g.at, ReasonInvalidValue, err)
	}
	return nil
}

// take takes the head: the last part of a document makes its result.
func (g *gather) take() error {
	part, err := parsePart(g.rec.Value)
	if err != nil {
		return err
	}
	row, err := g.table.Get(g.rec.Key)
	if err != nil {
		return &stateError{err}
	}
	g.buf = g.buf[:0]
	if row != nil {
		g.buf = append(g.buf, row.Value...)
	}
	g.buf = appendEntry(g.buf, g.rec)
	first, rest, err := complete(g.buf, part.of)
	if err != nil {
		return err
	}
	switch {
	case first == nil || len(rest) > 0:
		if first == nil {
			rest = g.buf
		}
		_, err = g.table.Put(g.rec.Key, rest)
	case row != nil:
		err = g.table.Delete(g.rec.Key)
	}
	if err != nil {
		return &stateError{err}
	}
	if first == nil {
		return nil
	}
	if err := g.sweep(first); err != nil {
		return &stateError{err}
	}
	return g.emit(first)
}

// sweepEvery is how many documents of one origin are completed between two looks
// at what is left over.
const sweepEvery = 1024

// sweep takes away parts that will never be complete. Without transactions a
// task that was stopped in the midst of a document sends it again, and the parts
// that came twice are left over. The documents of one task and one origin come from each
// partition in their order, if not for the first time then again; so those that come
// before one that is complete have been complete, and what came of them before its parts waits in vain.
//
// Of a later document that cannot be said, wherever its parts lie: this one may have come
// for the second time, and the later one not at all.
func (g *gather) sweep(done []partEntry) error {
	origin, offset := originOf(g.rec.Key)
	if origin == nil {
		return nil
	}
	n := g.completed[string(origin)]
	g.completed[string(origin)] = n + 1
	if n%sweepEvery != 0 {
		return nil
	}
	return g.table.ScanPrefix(origin, func(key []byte, row *state.Row) (bool, error) {
		if _, other := originOf(key); other > offset {
			return true, nil
		}
		left := make([]byte, 0, len(row.Value))
		for b := row.Value; len(b) > 0; {
			e, rest, err := readEntry(b)
			if err != nil {
				return false, err
			}
			if e.partition >= len(done) || e.offset > done[e.partition].offset {
				left = append(left, b[:len(b)-len(rest)]...)
			}
			b = rest
		}
		switch {
		case len(left) == 0:
			return true, g.table.Delete(key)
		case len(left) < len(row.Value):
			_, err := g.table.Put(key, left)
			return true, err
		}
		return true, nil
	})
}

// Rows of the table are the parts that are there, one behind the other, each
//
//	length of the part | the part | its offset | time (varint) | number of headers | headers
//
// A header is its name with the length in front, and its value, see appendText.
func appendEntry(dst []byte, rec *record.Record) []byte {
	dst = appendBytes(dst, rec.Value)
	dst = binary.AppendUvarint(dst, uint64(rec.Offset))
	dst = binary.AppendVarint(dst, rec.Time)
	dst = binary.AppendUvarint(dst, uint64(len(rec.Headers)))
	for _, h := range rec.Headers {
		dst = appendText(appendBytes(dst, []byte(h.Key)), h.Value)
	}
	return dst
}

// partEntry is a part in a row.
type partEntry struct {
	matchPart
	offset  int64 // where the part lay
	time    int64
	headers []record.Header
}

var errPartEntry = errors.New("read parts of a document: damaged row")

// readEntry reads what appendEntry wrote.
func readEntry(b []byte) (e partEntry, rest []byte, err error) {
	r := wire{rest: b}
	part := r.bytes()
	e.offset, e.time = int64(r.number()), r.signed()
	for count := r.number(); count > 0 && !r.short; count-- {
		name := string(r.bytes())
		e.headers = append(e.headers, record.Header{Key: name, Value: r.text()})
	}
	if r.short {
		return e, nil, errPartEntry
	}
	e.matchPart, err = parsePart(part)
	return e, r.rest, err
}

// complete returns the first part of every partition, nil while one of them
// has none, and what else is in the row.
func complete(row []byte, of int) (first []partEntry, rest []byte, err error) {
	first = make([]partEntry, of)
	missing := of
	for len(row) > 0 {
		e, behind, err := readEntry(row)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case e.partition >= of:
			return nil, nil, fmt.Errorf("read parts of a document: partition %d of %d", e.partition, of)
		case first[e.partition].of == 0:
			first[e.partition] = e
			missing--
		default:
			rest = append(rest, row[:len(row)-len(behind)]...)
		}
		row = behind
	}
	if missing > 0 {
		return nil, nil, nil
	}
	return first, rest, nil
}

// emit hands on the document of these parts.
func (g *gather) emit(parts []partEntry) error {
	g.task.begin(g.event)
	at := slices.IndexFunc(parts, func(p partEntry) bool { return len(p.doc) > 0 })
	if at < 0 {
		return errors.New("read parts of a document: none of them has it")
	}
	home := parts[at]
	doc, err := g.document(home.doc, parts)
	if err != nil {
		return err
	}
	e := g.event
	g.whole = record.Record{Key: g.rec.Key, Value: doc, Time: home.time, Offset: g.rec.Offset, Headers: home.headers}
	e.In, e.Time = &g.whole, home.time
	if err := e.fromOrigin(&g.whole, g.spec.Origins); err != nil {
		return err
	}
	if err := g.kept.place(&e.Frame, doc); err != nil {
		return err
	}
	return g.next.Process(e)
}

// document adds the list of keys, in order, to the document.
func (g *gather) document(doc []byte, parts []partEntry) ([]byte, error) {
	var keys []matchedKey
	size := len(doc) + 32
	for _, p := range parts {
		r := wire{rest: p.keys}
		for len(r.rest) > 0 {
			text := r.bytes()
			v, err := value.ParseStored(text)
			if r.short || err != nil {
				return nil, errors.Join(errPartEntry, err)
			}
			keys = append(keys, matchedKey{v, text})
			size += len(text) + 1
		}
	}
	a := &g.task.arena
	out := append(a.begin(size), doc[:len(doc)-1]...)
	out = append(out, `,"`+MatchedKeys+`":`...)
	return a.end(append(appendMatchedKeys(out, keys), '}')), nil
}
