package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// Rekey reads the topic of a table whose key is not the record key, and writes
// its rows under their key to the table's changelog. Where the key depends on
// the value it remembers the key of every record key, so that a changed key
// deletes the old row.
type Rekey struct {
	Decoder
	Name   string // of the table
	Keys   []*expr.Program
	Value  *expr.Program // the row; nil = the whole value
	Output int
	Topic  string
	Format codec.Format // of the key that the partition follows
	// Copies are topics that get every row in every partition: those of a table of
	// which every task has all. Output, Topic and Format are then not used.
	Copies []Copy
	// Queries are how copied rows are read that hold stored queries: whoever has none is
	// told of here, once, and not where the copies are.
	Queries []*QueryIndex
	// Memory names the state table of the keys, "" when the record key decides.
	Memory string
}

// Copy is a topic that has all rows of a table in each of its partitions.
type Copy struct {
	Output int
	Topic  string
}

// Open implements Head.
func (s *Rekey) Open(t *Task) (Input, error) {
	in := &rekey{decoder: newDecoder(t, &s.Decoder), spec: s, partitions: t.Partitions(s.Topic)}
	for _, q := range s.Queries {
		in.queries = append(in.queries, t.queryReader(q))
	}
	if s.Memory != "" {
		if in.memory = t.Tables[s.Memory]; in.memory == nil {
			return nil, fmt.Errorf("open re-keying of table %s: the task has no table %q", s.Name, s.Memory)
		}
	}
	return in, nil
}

type rekey struct {
	*decoder
	spec       *Rekey
	memory     *state.Table // nil = none
	partitions int32
	rowBuf     []byte
	keyBuf     []byte
	text       []byte
	queries    []*queryIndex
}

// Decode implements Input.
func (s *rekey) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	err := s.read(rec, tp)
	if err == nil {
		err = s.timed(rec)
	}
	if err != nil {
		return s.refused(rec, err)
	}
	return s.event.Time, false, nil
}

// Process implements Input.
func (s *rekey) Process() error {
	e := s.event
	s.task.begin(e)
	key, row, err := s.change(e)
	if err != nil {
		return s.task.refuseEvent(s.spec.Policy, e, ReasonExpression, err)
	}
	if row == nil || len(s.queries) == 0 {
		return nil
	}
	s.keyBuf = value.AppendStored(s.keyBuf[:0], key)
	return s.tell(e, string(s.keyBuf), row)
}

// tell refuses a row for every way of reading queries in which it has none.
func (s *rekey) tell(e *Event, key string, row []byte) error {
	for _, q := range s.queries {
		if _, err := q.parse(key, row); err != nil {
			if err := s.task.refuseEvent(s.spec.Policy, e, ReasonInvalidQuery, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// change sends the row of e to its key, or takes it away: then row is nil.
func (s *rekey) change(e *Event) (key value.Value, row []byte, err error) {
	if row, err = s.tableRow(s.spec.Value, &s.rowBuf); err != nil {
		return key, nil, err
	}
	if s.memory != nil && row == nil {
		return key, nil, s.forget(e)
	}
	key, null, err := s.key(e)
	if err != nil {
		return key, nil, err
	}
	if null {
		return key, nil, faultf(ReasonNullKey, "the key of table %s is null for this record", s.spec.Name)
	}
	if s.memory != nil {
		if err := s.remember(e, key); err != nil {
			return key, nil, err
		}
	}
	return key, row, s.send(e, key, row)
}

// key is the table's key of e.
func (s *rekey) key(e *Event) (value.Value, bool, error) {
	switch {
	case s.spec.Keys != nil:
		return evalKey(s.spec.Keys, &e.Frame)
	case e.In.Key == nil:
		return value.NullV(), true, nil
	case s.keyUsed:
		return s.keySlots[0], s.keySlots[0].IsNull(), nil
	}
	v, err := codec.DecodeKey(s.decoder.spec.KeyFormat, e.In.Key)
	if err != nil {
		err = &fault{ReasonInvalidKey, err}
	}
	return v, v.IsNull(), err
}

// remember notes the key of e's record key; the row of another key that it had
// before is deleted.
func (s *rekey) remember(e *Event, v value.Value) error {
	if e.In.Key == nil {
		return faultf(ReasonNullKey, "the record key is null: without it a changed key of table %s cannot be noticed", s.spec.Name)
	}
	now := value.AppendStored(s.keyBuf[:0], v)
	s.keyBuf = now
	old, err := s.memory.Get(e.In.Key)
	if err != nil {
		return &stateError{err}
	}
	if old != nil {
		if string(old.Value) == string(now) {
			return nil
		}
		if err := s.delete(e, old.Value); err != nil {
			return err
		}
	}
	if _, err := s.memory.Put(e.In.Key, now); err != nil {
		return &stateError{err}
	}
	return nil
}

// forget deletes the row that e's record key had. Nothing known, nothing to delete.
func (s *rekey) forget(e *Event) error {
	old, err := s.memory.Get(e.In.Key)
	if err != nil {
		return &stateError{err}
	}
	if old == nil {
		return nil
	}
	if err := s.delete(e, old.Value); err != nil {
		return err
	}
	if err := s.memory.Delete(e.In.Key); err != nil {
		return &stateError{err}
	}
	return nil
}

// delete sends a tombstone for a canonical key.
func (s *rekey) delete(e *Event, key []byte) error {
	v, err := value.ParseStored(key)
	if err != nil {
		return err
	}
	return s.send(e, v, nil)
}

// send writes a row to the changelog, nil = a tombstone.
func (s *rekey) send(e *Event, v value.Value, row []byte) (err error) {
	if len(s.spec.Copies) > 0 {
		s.copy(e, v, row)
		return nil
	}
	if s.text, err = codec.EncodeKey(s.text[:0], s.spec.Format, v); err != nil {
		return err
	}
	a := &s.task.arena
	key := a.end(value.AppendStored(a.begin(len(v.Text)+32), v))
	s.task.Emitter.Emit(s.spec.Output, codec.Partition(s.text, s.partitions), record.Record{
		Key: key, Value: row, Time: e.Time, Offset: -1,
	})
	return nil
}

// copy writes a row to every partition of the topics that have all of the table.
func (s *rekey) copy(e *Event, v value.Value, row []byte) {
	a := &s.task.arena
	key := a.end(value.AppendStored(a.begin(len(v.Text)+32), v))
	for _, c := range s.spec.Copies {
		for p := range s.task.Partitions(c.Topic) {
			s.task.Emitter.Emit(c.Output, p, record.Record{Key: key, Value: row, Time: e.Time, Offset: -1})
		}
	}
}
