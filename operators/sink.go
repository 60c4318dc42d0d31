package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// Sink writes a stream to a topic. Output time is the event time, headers are
// those of the outer record.
type Sink struct {
	Policy *Policy
	Output int // of the sub-topology
	Topic  string
	// Key computes the key; nil = the record key as it came.
	Key *expr.Program
	// TableKey, when set, is where the components of the key of the table lie
	// whose changes are written.
	TableKey  []expr.Ref
	KeyFormat codec.Format
	Format    codec.Format
	Doc       *Doc      // the value as JSON
	Whole     *expr.Ref // the value as it is; for formats other than JSON
	// Keep says that the key is the one by which the records lie in their
	// partitions: they stay there where the topics have equally many.
	Keep bool
	// Like is the topic whose partition count then is compared.
	Like string
}

// Make implements Spec.
func (s *Sink) Make(t *Task, _ Operator) (Operator, error) {
	op := &sink{spec: s, task: t, partitions: t.Partitions(s.Topic), limit: t.limitOf(s.Topic)}
	op.keep = s.Keep && op.partitions == t.Partitions(s.Like)
	return op, nil
}

type sink struct {
	spec       *Sink
	task       *Task
	partitions int32
	keep       bool
	limit      limit
}

// Process writes e.
func (s *sink) Process(e *Event) error {
	key, err := s.key(e)
	if err != nil {
		return s.task.refuseEvent(s.spec.Policy, e, ReasonEncode, err)
	}
	var out []byte
	if !e.Delete {
		if out, err = s.value(e); err != nil {
			if err = s.task.refuseEvent(s.spec.Policy, e, ReasonEncode, err); err != nil || e.Before == nil {
				return err
			}
			out = nil // the version of the row before it goes
		}
	}
	rec := record.Record{Key: key, Value: out, Time: e.Time, Offset: -1, Headers: e.Headers}
	if err := s.limit.check(s.spec.Topic, &rec); err != nil {
		if err = s.task.refuseEvent(s.spec.Policy, e, ReasonTooLarge, err); err != nil || e.Before == nil || out == nil {
			return err
		}
		rec.Value = nil // likewise
		if _, _, over := s.limit.exceeded(&rec); over {
			return nil // what has this key was never written
		}
	}
	s.task.Emitter.Emit(s.spec.Output, s.partition(e, key), rec)
	return nil
}

// partition chooses where the record goes.
func (s *sink) partition(e *Event, key []byte) int32 {
	switch {
	case s.keep:
		return s.task.Partition
	case key == nil:
		return e.Origin.Partition % s.partitions
	}
	return codec.Partition(key, s.partitions)
}

// key is the encoded key, nil for null.
func (s *sink) key(e *Event) ([]byte, error) {
	var v value.Value
	var err error
	switch {
	case s.spec.Key != nil:
		v, err = s.spec.Key.Eval(&e.Frame)
	case s.spec.TableKey != nil:
		v = keyOf(&e.Frame, s.spec.TableKey)
	case e.Key == nil || e.KeyFormat == s.spec.KeyFormat:
		return e.Key, nil
	default:
		v, err = codec.DecodeKey(e.KeyFormat, e.Key)
	}
	if err != nil || v.IsNull() {
		return nil, err
	}
	key, err := codec.EncodeKey(s.task.arena.begin(len(v.Text)+32), s.spec.KeyFormat, v)
	if err != nil {
		return nil, err
	}
	return s.task.arena.end(key), nil
}

// value is the encoded value, nil for null.
func (s *sink) value(e *Event) ([]byte, error) {
	a := &s.task.arena
	if s.spec.Whole != nil {
		v := slotOf(&e.Frame, *s.spec.Whole)
		if v.IsNull() {
			return nil, v.Err()
		}
		out, err := codec.Encode(a.begin(len(v.Text)+32), s.spec.Format, v)
		if err != nil {
			return nil, err
		}
		return a.end(out), nil
	}
	out, null, err := s.spec.Doc.append(a.begin(arenaReserve), e, &e.Frame)
	if err != nil || null {
		return nil, err
	}
	return a.end(out), nil
}

// keyOf is the key whose components lie at refs.
func keyOf(f *expr.Frame, refs []expr.Ref) value.Value {
	if len(refs) == 1 {
		return slotOf(f, refs[0])
	}
	items := make([]value.Value, len(refs))
	for i, ref := range refs {
		items[i] = slotOf(f, ref)
	}
	return value.OfList(items)
}
