package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// Decoder is how the records of a topic are read: the formats, where key and
// value lie in the frame, and the expressions over them. Sources, topic tables
// and re-keying steps share it.
type Decoder struct {
	Policy    *Policy
	Format    codec.Format
	KeyFormat codec.Format
	Envelope  Envelope
	Shape     *codec.Shape
	Row       int // frame row of the value
	KeyRow    int // frame row of the key
	// KeyUsed says that something reads the key from its row. Set while readers
	// are compiled.
	KeyUsed   func() bool
	Timestamp *expr.Program // nil = the record's own
	MaxAhead  int64         // ms past the wall clock, -1 = no bound
	Table     bool          // records are changes of a table: null values delete
	// Placed are the components of the expression that the topic is partitioned
	// by; empty = the record key as it stands.
	Placed []*expr.Program
	// CheckPlacement says that the pipeline relies on where records lie.
	CheckPlacement bool
}

// Source is the head of a stream that is read from an outer topic.
type Source struct {
	Decoder
	Next []*Node
}

// Open implements Head.
func (s *Source) Open(t *Task) (Input, error) {
	next, err := makeAll(t, s.Next)
	if err != nil {
		return nil, err
	}
	d := newDecoder(t, &s.Decoder)
	return &source{decoder: d, next: next}, nil
}

type source struct {
	*decoder
	next Operator
}

// Decode implements Input.
func (s *source) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	if err := s.read(rec, tp); err != nil {
		return s.refused(rec, err)
	}
	if err := s.timed(rec); err != nil {
		return s.refused(rec, err)
	}
	return s.event.Time, false, nil
}

// Process implements Input.
func (s *source) Process() error {
	s.task.begin(s.event)
	return s.next.Process(s.event)
}

// decoder is a Decoder at work in one task.
type decoder struct {
	spec     *Decoder
	task     *Task
	event    *Event
	row, key value.Row
	keySlots []value.Value
	keyUsed  bool
	place    placement
	placeBuf []byte
	opener   *opener // nil = no envelope
}

func newDecoder(t *Task, spec *Decoder) *decoder {
	d := &decoder{spec: spec, task: t, event: t.event(), keySlots: make([]value.Value, 1)}
	d.keyUsed = spec.KeyUsed()
	if spec.Envelope != NoEnvelope {
		d.opener = newOpener(spec.Envelope)
	}
	d.key.Slots = d.keySlots
	d.event.Frame.Rows[spec.Row] = &d.row
	d.event.Frame.Rows[spec.KeyRow] = &d.key
	return d
}

// refused hands a record that cannot be read to the policy: the results of Decode.
func (d *decoder) refused(rec *record.Record, err error) (int64, bool, error) {
	err = d.task.refuse(d.spec.Policy, rec, rec.Key, d.event.Origin, ReasonInvalidValue, err)
	return 0, true, err
}

// read makes rec the head: key and value decoded into their rows.
func (d *decoder) read(rec *record.Record, tp record.TopicPartition) error {
	e := d.event
	e.In, e.Key, e.KeyFormat, e.Headers = rec, rec.Key, d.spec.KeyFormat, rec.Headers
	e.Origin.TopicPartition, e.Origin.Offset = tp, rec.Offset
	e.Delete, e.Before = false, nil
	if d.keyUsed {
		key, err := codec.DecodeKey(d.spec.KeyFormat, rec.Key)
		if err != nil {
			return &fault{ReasonInvalidKey, err}
		}
		d.keySlots[0] = key
	}
	doc, err := d.document(rec)
	if err != nil {
		return err
	}
	e.Null = doc == nil
	if err := d.spec.Shape.Scan(doc, &d.row); err != nil {
		return scanFault(err)
	}
	e.Null = e.Null || isNullDoc(doc)
	return nil
}

// scanFault gives the error of a Scan its reason.
func scanFault(err error) error {
	if _, ok := err.(*codec.FieldError); ok {
		return &fault{ReasonWrongType, err}
	}
	return &fault{ReasonInvalidValue, err}
}

// document is the record's value as JSON text, nil for null; e.Delete is set
// where the envelope says that the row goes.
func (d *decoder) document(rec *record.Record) ([]byte, error) {
	switch {
	case rec.Value == nil:
		return nil, nil
	case d.opener != nil:
		doc, gone, err := d.opener.open(rec.Value)
		d.event.Delete = gone
		return doc, err
	case d.spec.Format == codec.FormatJSON:
		return rec.Value, nil
	}
	v, err := codec.Decode(d.spec.Format, rec.Value)
	if err != nil {
		return nil, &fault{ReasonInvalidValue, err}
	}
	return value.AppendJSON(nil, v), nil
}

// timed gives the head its event time and checks its place.
func (d *decoder) timed(rec *record.Record) error {
	e := d.event
	e.Time = rec.Time
	now := d.task.Now()
	if d.spec.Timestamp != nil && !e.Delete { // what an envelope deletes has the time of its own making
		e.Frame.Now = now
		t, notNull, err := d.spec.Timestamp.Int(&e.Frame)
		if err != nil {
			return &fault{ReasonTimestamp, err}
		}
		switch {
		case notNull:
			e.Time = t
		case d.row.Doc != nil || !d.spec.Table: // a deletion has nothing but the record's own time
			return faultf(ReasonTimestamp, "the timestamp is null")
		}
	}
	if e.Time < 0 {
		return faultf(ReasonTimestamp, "the timestamp %d is negative", e.Time)
	}
	if e.Time > now && d.spec.MaxAhead >= 0 && e.Time-now > d.spec.MaxAhead {
		return faultf(ReasonAhead, "the timestamp %d lies %d ms ahead of the wall clock, more than the %d ms allowed (max_ahead)", e.Time, e.Time-now, d.spec.MaxAhead)
	}
	if !d.spec.CheckPlacement {
		return nil
	}
	if d.place.count == 0 {
		d.place.count = d.task.Partitions(e.Origin.Topic)
	}
	if d.place.due(rec.Key, e.Origin.Partition) {
		return d.checkPlace(rec)
	}
	return nil
}

// checkPlace compares the record's partition with the default partitioner's.
func (d *decoder) checkPlace(rec *record.Record) error {
	at := d.event.Origin
	count := d.place.count
	if len(d.spec.Placed) == 0 {
		return misplaced(rec.Key, "key", at.Partition, count)
	}
	v, null, err := evalKey(d.spec.Placed, &d.event.Frame)
	if err != nil || null {
		return err
	}
	if d.placeBuf, err = codec.EncodeKey(d.placeBuf[:0], d.spec.KeyFormat, v); err != nil {
		return &fault{ReasonWrongPartition, err}
	}
	if err := misplaced(d.placeBuf, "partitioned_by", at.Partition, count); err != nil {
		return err
	}
	d.place.byValue = d.place.byValue || rec.Key == nil || codec.Partition(rec.Key, count) != at.Partition
	return nil
}
