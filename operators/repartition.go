package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// Repartition sends the events of a stream to a topic of the pipeline's own, so
// that records with equal keys meet in one partition. The record's key there is
// the canonical JSON of the key; the partition is where the default partitioner
// puts the key in the format that the other side is keyed by.
type Repartition struct {
	Policy *Policy
	Output int
	Topic  string
	Keys   []*expr.Program
	Format codec.Format // of the key that the partition follows
	Doc    *Doc
	// KeepNull says that records with a null key must come out behind, as an outer
	// side of a join does: they stay in this task's partition as far as there are so many.
	KeepNull bool
	// Origins numbers the outer topics for the origin header.
	Origins map[string]int
}

// Make implements Spec.
func (r *Repartition) Make(t *Task, _ Operator) (Operator, error) {
	return &repartition{spec: r, task: t, partitions: t.Partitions(r.Topic)}, nil
}

type repartition struct {
	spec       *Repartition
	task       *Task
	partitions int32
	text       []byte
}

// Process sends e.
func (r *repartition) Process(e *Event) error {
	if e.Null {
		r.task.Counters.Drop(r.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	if err := r.send(e); err != nil {
		return r.task.refuseEvent(r.spec.Policy, e, ReasonExpression, err)
	}
	return nil
}

func (r *repartition) send(e *Event) error {
	v, null, err := evalKey(r.spec.Keys, &e.Frame)
	if err != nil {
		return err
	}
	if null && !r.spec.KeepNull {
		r.task.Counters.Drop(r.spec.Policy.Operator, ReasonNullKey)
		return nil
	}
	a := &r.task.arena
	partition := e.Origin.Partition % r.partitions
	var key []byte
	if !null {
		key = a.end(value.AppendStored(a.begin(len(v.Text)+32), v))
		if r.text, err = codec.EncodeKey(r.text[:0], r.spec.Format, v); err != nil {
			return err
		}
		partition = codec.Partition(r.text, r.partitions)
	}
	doc, null, err := r.spec.Doc.append(a.begin(arenaReserve), e, &e.Frame)
	if err != nil {
		return err
	}
	if null {
		doc = append(doc, "null"...)
	}
	doc = a.end(doc)
	r.task.Emitter.Emit(r.spec.Output, partition, record.Record{
		Key: key, Value: doc, Time: e.Time, Offset: -1,
		Headers: r.task.originHeaders(e, r.spec.Origins),
	})
	return nil
}

// Repartitioned is the head behind a Repartition.
type Repartitioned struct {
	Policy  *Policy
	Origins []Origin // by the number in the origin header
	KeyRow  int      // frame row of the outer key
	KeyUsed func() bool
	// Shape and Row are those of the value. Where several bindings travel, the
	// value is an object with a member for each.
	Shape *codec.Shape
	Row   int
	Parts func() []CarriedPart
	// Lag, ms, is how much later than their times records may come, because an
	// operator in front of the topic held them back; see timeline.
	Lag  int64
	Next []*Node
}

// Origin is an outer topic that records come from.
type Origin struct {
	Topic     string
	KeyFormat codec.Format
}

// CarriedPart is a binding among several in a repartition topic.
type CarriedPart struct {
	Slot  int // of the head's Shape: the value
	Row   int
	Shape *codec.Shape
	// KeySlot is where the binding's key lies, -1 when it is not carried.
	KeySlot    int
	KeyRow     int
	Components int
}

// Open implements Head.
func (s *Repartitioned) Open(outer *Task) (Input, error) {
	t, opened := laterTime(outer, s.Lag)
	defer opened()
	next, err := makeAll(t, s.Next)
	if err != nil {
		return nil, err
	}
	in := &repartitioned{spec: s, task: t, next: next, event: t.event(), keyUsed: s.KeyUsed(), parts: s.Parts()}
	in.key.Slots = make([]value.Value, 1)
	rows := in.event.Frame.Rows
	rows[s.Row], rows[s.KeyRow] = &in.row, &in.key
	in.partRows = make([]decodedRow, len(in.parts))
	for i, p := range in.parts {
		rows[p.Row] = &in.partRows[i].row
		if p.KeySlot >= 0 {
			rows[p.KeyRow] = &in.partRows[i].key
		}
	}
	return in, nil
}

type repartitioned struct {
	spec     *Repartitioned
	task     *Task
	next     Operator
	event    *Event
	row, key value.Row
	keyUsed  bool
	parts    []CarriedPart
	partRows []decodedRow
}

// Decode implements Input.
func (s *repartitioned) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	e := s.event
	e.In, e.Time, e.Headers = rec, rec.Time, rec.Headers
	e.Origin.TopicPartition, e.Origin.Offset = tp, rec.Offset
	if err := s.read(rec); err != nil {
		return 0, true, s.task.refuseEvent(s.spec.Policy, e, ReasonInvalidValue, err)
	}
	return rec.Time, false, nil
}

func (s *repartitioned) read(rec *record.Record) error {
	if err := s.origin(rec); err != nil {
		return err
	}
	if err := s.spec.Shape.Scan(rec.Value, &s.row); err != nil {
		return scanFault(err)
	}
	s.event.Null = isNullDoc(rec.Value)
	for i, p := range s.parts {
		row := &s.partRows[i]
		if err := p.Shape.Scan(jsonOf(s.row.Slots[p.Slot]), &row.row); err != nil {
			return scanFault(err)
		}
		if p.KeySlot < 0 {
			continue
		}
		setKey(&row.key, s.row.Slots[p.KeySlot], p.Components)
	}
	return nil
}

// origin takes the origin header, which is the last one, off the record.
func (s *repartitioned) origin(rec *record.Record) error {
	e := s.event
	err := e.fromOrigin(rec, s.spec.Origins)
	if err != nil || !s.keyUsed {
		return err
	}
	if s.key.Slots[0], err = codec.DecodeKey(e.KeyFormat, e.Key); err != nil {
		return &fault{ReasonInvalidKey, err}
	}
	return nil
}

// Process implements Input.
func (s *repartitioned) Process() error {
	s.task.begin(s.event)
	return s.next.Process(s.event)
}
