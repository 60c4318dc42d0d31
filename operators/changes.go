package operators

import (
	"bytes"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// RepartitionChanges sends the changes of a table to a topic of the pipeline's
// own, so that the rows of a group meet in one partition. A change carries the
// row as it was and as it is: what is behind takes back the one and adds the
// other. A row that moves from one group to another becomes two records, for the
// old group a row that goes, for the new one a row that comes.
//
// The record's key is the canonical JSON of the group, as Repartition writes it.
// The value is {"key": K, "old": ROW, "new": ROW}: the table's key, and the
// rows, of which one may be missing.
type RepartitionChanges struct {
	Policy *Policy
	Output int
	Topic  string
	Keys   []*expr.Program // the group; none = all rows are one group
	ByKey  bool            // the group is the table's key instead
	Format codec.Format    // of the key that the partition follows
	Doc    *Doc            // the row
	RowKey []expr.Ref      // the table's key
	// Origins numbers the outer topics for the origin header.
	Origins map[string]int
}

// Make implements Spec.
func (r *RepartitionChanges) Make(t *Task, _ Operator) (Operator, error) {
	return &repartitionChanges{spec: r, task: t, partitions: t.Partitions(r.Topic)}, nil
}

type repartitionChanges struct {
	spec       *RepartitionChanges
	task       *Task
	partitions int32
	text       []byte
	was, is    side
}

// side is a row before or after a change, on its way to its group.
type side struct {
	there bool
	group value.Value
	key   []byte // canonical
	doc   []byte
}

// Process sends e.
func (r *repartitionChanges) Process(e *Event) error {
	r.was.there, r.is.there = false, false
	if e.Before != nil {
		// A row that could not be grouped when it came is in no group.
		if err := r.read(&r.was, e, e.Before); err != nil {
			r.was.there = false
		}
	}
	var refused error
	if !e.Delete {
		if refused = r.read(&r.is, e, &e.Frame); refused != nil {
			r.is.there = false
			if refused = r.task.refuseEvent(r.spec.Policy, e, ReasonExpression, refused); refused != nil {
				return refused
			}
		} else if !r.is.there {
			r.task.Counters.Drop(r.spec.Policy.Operator, ReasonNullKey)
		}
	}
	if r.was.there && r.is.there && bytes.Equal(r.was.key, r.is.key) {
		return r.send(e, r.is.group, r.is.key, r.was.doc, r.is.doc)
	}
	if r.was.there {
		if err := r.send(e, r.was.group, r.was.key, r.was.doc, nil); err != nil {
			return err
		}
	}
	if r.is.there {
		return r.send(e, r.is.group, r.is.key, nil, r.is.doc)
	}
	return nil
}

// read finds the group of a row and writes the row; a row whose group is null is
// not there.
func (r *repartitionChanges) read(s *side, e *Event, f *expr.Frame) error {
	v, null, err := r.group(f)
	if err != nil || null {
		return err
	}
	a := &r.task.arena
	s.group = v
	s.key = a.end(value.AppendStored(a.begin(len(v.Text)+32), v))
	doc, null, err := r.spec.Doc.append(a.begin(arenaReserve), e, f)
	if err != nil {
		return err
	}
	if null {
		doc = append(doc, "null"...)
	}
	s.doc, s.there = a.end(doc), true
	return nil
}

// group is the group of a row.
func (r *repartitionChanges) group(f *expr.Frame) (v value.Value, null bool, err error) {
	if r.spec.ByKey {
		v = keyOf(f, r.spec.RowKey)
		return v, v.IsNull(), nil
	}
	return evalKey(r.spec.Keys, f)
}

// send writes a change for one group; a nil row is not there.
func (r *repartitionChanges) send(e *Event, group value.Value, key, was, is []byte) error {
	text, err := codec.EncodeKey(r.text[:0], r.spec.Format, group)
	if err != nil {
		return r.task.refuseEvent(r.spec.Policy, e, ReasonEncode, err)
	}
	r.text = text
	f := &e.Frame
	if e.Delete && e.Before != nil {
		f = e.Before
	}
	a := &r.task.arena
	doc := append(a.begin(len(was)+len(is)+64), `{"key":`...)
	doc = value.AppendStored(doc, keyOf(f, r.spec.RowKey))
	if was != nil {
		doc = append(append(doc, `,"old":`...), was...)
	}
	if is != nil {
		doc = append(append(doc, `,"new":`...), is...)
	}
	doc = a.end(append(doc, '}'))
	r.task.Emitter.Emit(r.spec.Output, codec.Partition(text, r.partitions), record.Record{
		Key: key, Value: doc, Time: e.Time, Offset: -1,
		Headers: r.task.originHeaders(e, r.spec.Origins),
	})
	return nil
}

// RepartitionedChanges is the head behind a RepartitionChanges: it gives out the
// changes of a table, with the rows as they were and as they are.
type RepartitionedChanges struct {
	Policy  *Policy
	Origins []Origin // by the number in the origin header
	// Shape and Row are those of the row. Where several bindings travel, the row is
	// an object with a member for each.
	Shape *codec.Shape
	Row   int
	Parts func() []CarriedPart
	// KeyRow is where the table's key lies, with its components.
	KeyRow     int
	Components int
	Lag        int64 // ms, as of Repartitioned
	Next       []*Node
}

// Open implements Head.
func (s *RepartitionedChanges) Open(outer *Task) (Input, error) {
	t, opened := laterTime(outer, s.Lag)
	defer opened()
	next, err := makeAll(t, s.Next)
	if err != nil {
		return nil, err
	}
	in := &repartitionedChanges{spec: s, next: next, parts: s.Parts(), envelope: changeShape()}
	in.origins = repartitioned{spec: &Repartitioned{Origins: s.Origins}, task: t, event: t.event()}
	in.was.Rows = make([]*value.Row, t.rows)
	in.rows[0].place(s, in.parts, in.origins.event.Frame.Rows)
	in.rows[1].place(s, in.parts, in.was.Rows)
	return in, nil
}

// Members of a change's record, in the order of the slots.
const (
	changeKey = iota
	changeOld
	changeNew
)

// changeShape reads the record of a change.
func changeShape() *codec.Shape {
	s := codec.NewShape()
	for _, name := range []string{changeKey: "key", changeOld: "old", changeNew: "new"} {
		s.Slot([]codec.Step{{Name: name}}, codec.WantAny)
	}
	s.Freeze()
	return s
}

type repartitionedChanges struct {
	spec     *RepartitionedChanges
	next     Operator
	parts    []CarriedPart
	origins  repartitioned // reads the origin header, and has the event
	envelope *codec.Shape
	record   value.Row
	rows     [2]carriedRows // as it is, as it was
	was      expr.Frame
}

// carriedRows is memory for a row that was carried.
type carriedRows struct {
	row, key value.Row
	parts    []decodedRow
}

// place puts the rows into a frame.
func (c *carriedRows) place(s *RepartitionedChanges, parts []CarriedPart, rows []*value.Row) {
	rows[s.Row], rows[s.KeyRow] = &c.row, &c.key
	c.parts = make([]decodedRow, len(parts))
	for i, p := range parts {
		rows[p.Row] = &c.parts[i].row
		if p.KeySlot >= 0 {
			rows[p.KeyRow] = &c.parts[i].key
		}
	}
}

// Decode implements Input.
func (s *repartitionedChanges) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	e := s.origins.event
	e.In, e.Time, e.Headers = rec, rec.Time, rec.Headers
	e.Origin.TopicPartition, e.Origin.Offset = tp, rec.Offset
	if err := s.read(rec); err != nil {
		return 0, true, s.origins.task.refuseEvent(s.spec.Policy, e, ReasonInvalidValue, err)
	}
	return rec.Time, false, nil
}

func (s *repartitionedChanges) read(rec *record.Record) error {
	if err := s.origins.origin(rec); err != nil {
		return err
	}
	if err := s.envelope.Scan(rec.Value, &s.record); err != nil {
		return scanFault(err)
	}
	e, slots := s.origins.event, s.record.Slots
	e.Change = true
	e.Delete = slots[changeNew].Kind == value.Absent
	e.Before = nil
	if slots[changeOld].Kind != value.Absent {
		e.Before = &s.was
	}
	if e.Delete && e.Before == nil {
		return faultf(ReasonInvalidValue, "the record is not a change of a table: it was not written by this pipeline")
	}
	key, err := value.ParseStored(jsonOf(slots[changeKey]))
	if err != nil {
		return &fault{ReasonInvalidKey, err}
	}
	for i, slot := range []int{changeNew, changeOld} {
		if err := s.decode(&s.rows[i], slots[slot]); err != nil {
			return err
		}
		setKey(&s.rows[i].key, key, s.spec.Components)
	}
	return nil
}

// decode fills rows from a row that was carried; an absent one gives nulls.
func (s *repartitionedChanges) decode(rows *carriedRows, v value.Value) error {
	if err := s.spec.Shape.Scan(jsonOf(v), &rows.row); err != nil {
		return scanFault(err)
	}
	for i, p := range s.parts {
		part := &rows.parts[i]
		var doc value.Value
		if rows.row.Doc != nil {
			doc = rows.row.Slots[p.Slot]
		}
		if err := p.Shape.Scan(jsonOf(doc), &part.row); err != nil {
			return scanFault(err)
		}
		if p.KeySlot >= 0 && rows.row.Doc != nil {
			setKey(&part.key, rows.row.Slots[p.KeySlot], p.Components)
		}
	}
	return nil
}

// Process implements Input.
func (s *repartitionedChanges) Process() error {
	e := s.origins.event
	s.origins.task.begin(e)
	s.was.Now = e.Frame.Now
	return s.next.Process(e)
}
