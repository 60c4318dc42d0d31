package operators

import (
	"errors"
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// TableInput is the head of a table that is read straight from its outer
// topic, which is its changelog: the table's key is the record key, or computed from
// it alone where the topic is partitioned by that.
type TableInput struct {
	Decoder
	Name  string
	Keys  []*expr.Program // the table's key; nil = the record key
	Value *expr.Program   // the row; nil = the whole value
	Timed bool            // rows keep their event time, see timedRow
	TTL   int64           // ms, 0 = none: how long rows stay that are not updated; they are Timed
	// History, ms, is how much of the rows' history is kept; 0 = none. Such a table
	// is no copy of its topic and has a changelog of its own.
	History int64
	// Reader is how those behind see the rows; nil when nobody is.
	Reader *Table
	Next   []*Node
}

// Open implements Head.
func (s *TableInput) Open(t *Task) (Input, error) {
	w, err := newTableWriter(t, s.Policy, s.Name, s.Reader, s.Next)
	if err != nil {
		return nil, err
	}
	w.expires(s.TTL, true)
	in := &tableInput{decoder: newDecoder(t, &s.Decoder), spec: s, out: w}
	if s.History == 0 {
		return in, nil
	}
	return newVersionedInput(t, s.Name, s.History, in, func() (*Event, []byte, []byte) { return in.event, in.stateKey, in.stateRow })
}

type tableInput struct {
	*decoder
	spec *TableInput
	out  *tableWriter
	// The head: its state key and its row, nil = deleted. Either may be the record's.
	stateKey, stateRow       []byte
	keyBuf, rowBuf, timedBuf []byte
}

// Decode implements Input.
func (s *tableInput) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	if err := s.change(rec, tp); err != nil {
		return s.refused(rec, err)
	}
	return s.event.Time, false, nil
}

// change reads a record as a change of the table.
func (s *tableInput) change(rec *record.Record, tp record.TopicPartition) error {
	if err := s.read(rec, tp); err != nil {
		return err
	}
	if err := s.timed(rec); err != nil {
		return err
	}
	if rec.Key == nil {
		return faultf(ReasonNullKey, "the record key is null: a row of table %s needs one", s.spec.Name)
	}
	if err := s.tableKey(rec); err != nil {
		return err
	}
	row, err := s.tableRow(s.spec.Value, &s.rowBuf)
	if s.spec.Timed && row != nil {
		s.timedBuf = appendTimed(s.timedBuf[:0], s.event.Time, row)
		row = s.timedBuf
	}
	s.stateRow = row
	return err
}

// tableKey puts the canonical key of the head's row into stateKey.
func (s *tableInput) tableKey(rec *record.Record) error {
	if s.spec.Keys != nil {
		key, null, err := appendKey(s.keyBuf[:0], s.spec.Keys, &s.event.Frame)
		if err == nil && null {
			err = faultf(ReasonNullKey, "the key of table %s is null for this record", s.spec.Name)
		}
		s.keyBuf, s.stateKey = key, key
		return err
	}
	if s.spec.KeyFormat == codec.FormatJSON && value.IsStored(rec.Key) {
		s.stateKey = rec.Key
		return nil
	}
	key := s.keySlots[0]
	if !s.keyUsed {
		var err error
		if key, err = codec.DecodeKey(s.spec.KeyFormat, rec.Key); err != nil {
			return &fault{ReasonInvalidKey, err}
		}
	}
	s.keyBuf = value.AppendStored(s.keyBuf[:0], key)
	s.stateKey = s.keyBuf
	return nil
}

// tableRow is the head's row as JSON, nil when it is deleted. buf lends memory.
func (d *decoder) tableRow(program *expr.Program, buf *[]byte) ([]byte, error) {
	doc := d.row.Doc
	if d.event.Delete || doc == nil || isNullDoc(doc) {
		return nil, nil
	}
	if program == nil {
		return doc, nil
	}
	d.event.Frame.Now = d.task.Now()
	row, err := program.AppendJSON((*buf)[:0], &d.event.Frame)
	*buf = row
	if err != nil {
		return nil, &fault{ReasonExpression, err}
	}
	if isNullDoc(row) {
		return nil, nil
	}
	return row, nil
}

// Process implements Input.
func (s *tableInput) Process() error {
	s.task.begin(s.event)
	return s.out.write(s.event, s.stateKey, s.stateRow)
}

// Load implements Loader.
func (s *tableInput) Load(rec *record.Record, tp record.TopicPartition, again bool) (key, row []byte, skip bool, err error) {
	if err := s.change(rec, tp); err != nil {
		if again {
			return nil, nil, true, nil
		}
		_, skip, err := s.refused(rec, err)
		return nil, nil, skip, err
	}
	return s.stateKey, s.out.loaded(s.stateRow), false, nil
}

// ChangelogInput is the head of a table that is read from a topic of the
// pipeline's own, written by a Rekey: keys are canonical, values are the rows.
type ChangelogInput struct {
	Policy *Policy
	Name   string
	Timed  bool  // rows keep their event time, see timedRow
	TTL    int64 // ms, 0 = none: how long rows stay that are not updated; they are Timed
	// History is as in TableInput: the topic then is no changelog.
	History int64
	Reader  *Table
	Next    []*Node
}

// Open implements Head.
func (s *ChangelogInput) Open(t *Task) (Input, error) {
	w, err := newTableWriter(t, s.Policy, s.Name, s.Reader, s.Next)
	if err != nil {
		return nil, err
	}
	w.expires(s.TTL, true)
	in := &changelogInput{spec: s, task: t, out: w, event: t.event()}
	if s.History == 0 {
		return in, nil
	}
	return newVersionedInput(t, s.Name, s.History, in, func() (*Event, []byte, []byte) { return in.event, in.event.In.Key, in.event.In.Value })
}

type changelogInput struct {
	spec  *ChangelogInput
	task  *Task
	out   *tableWriter
	event *Event
	row   []byte // of the head, where rows keep their time
}

// Decode implements Input.
func (s *changelogInput) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	e := s.event
	e.In, e.Key, e.KeyFormat, e.Time = rec, rec.Key, codec.FormatJSON, rec.Time
	e.Origin.TopicPartition, e.Origin.Offset = tp, rec.Offset
	_, _, skip, err := s.Load(rec, tp, false)
	return rec.Time, skip, err
}

// Process implements Input.
func (s *changelogInput) Process() error {
	s.task.begin(s.event)
	return s.out.write(s.event, s.event.In.Key, s.stored(s.event.In))
}

// Load implements Loader.
func (s *changelogInput) Load(rec *record.Record, tp record.TopicPartition, again bool) (key, row []byte, skip bool, err error) {
	if rec.Key == nil {
		if again {
			return nil, nil, true, nil
		}
		err := faultf(ReasonNullKey, "a record of the changelog of table %s has no key", s.spec.Name)
		at := record.Position{TopicPartition: tp, Offset: rec.Offset}
		return nil, nil, true, s.task.refuse(s.spec.Policy, rec, rec.Key, at, ReasonNullKey, err)
	}
	return rec.Key, s.out.loaded(s.stored(rec)), false, nil
}

// stored is the row that a record of the changelog holds; nil deletes.
func (s *changelogInput) stored(rec *record.Record) []byte {
	if !s.spec.Timed || rec.Value == nil {
		return rec.Value
	}
	s.row = appendTimed(s.row[:0], rec.Time, rec.Value)
	return s.row
}

// tableWriter puts changes into the state and tells those behind.
type tableWriter struct {
	task   *Task
	policy *Policy
	table  *state.Table
	reader *Table // nil = nobody behind
	next   Operator
	before expr.Frame
	none   value.Row      // the row of what has been deleted
	expiry *expiringTable // nil = rows stay
	gone   decodedRow     // the key of what was not there
}

func newTableWriter(t *Task, p *Policy, name string, reader *Table, nodes []*Node) (*tableWriter, error) {
	if len(nodes) == 0 {
		return writerTo(t, p, name, reader, nil)
	}
	next, err := makeAll(t, nodes)
	if err != nil {
		return nil, err
	}
	return writerTo(t, p, name, reader, next)
}

// writerTo is newTableWriter before what has been made already; nil = nobody.
func writerTo(t *Task, p *Policy, name string, reader *Table, next Operator) (*tableWriter, error) {
	w := &tableWriter{task: t, policy: p, table: t.Tables[name], next: next}
	switch {
	case w.table == nil:
		return nil, fmt.Errorf("open table: the task has no table %q", name)
	case next != nil && reader == nil:
		return nil, errors.New("open table: operators behind it and no reader")
	}
	w.reader = reader
	w.before.Rows = make([]*value.Row, t.rows)
	return w, nil
}

// write makes row the row of key; nil deletes it.
func (w *tableWriter) write(e *Event, key, row []byte) error {
	if w.expiry != nil {
		row = w.expiry.admit(key, row)
	}
	return w.change(e, key, row)
}

// change is write of a row that is not over.
func (w *tableWriter) change(e *Event, key, row []byte) error {
	if w.next == nil {
		if err := w.store(key, row); err != nil {
			return fmt.Errorf("write table %s: %w", w.table.Name(), err)
		}
		return nil
	}
	before, err := w.read(key)
	if err == nil {
		err = w.store(key, row)
	}
	if err != nil {
		return fmt.Errorf("write table %s: %w", w.table.Name(), err)
	}
	after, err := w.read(key)
	if err != nil {
		return fmt.Errorf("write table %s: %w", w.table.Name(), err)
	}
	if before == nil && after == nil {
		return w.never(e, key)
	}
	return w.tell(e, key, before, after)
}

// never handles the deletion of a row that is not there.
func (w *tableWriter) never(e *Event, key []byte) error {
	if !e.Again {
		return nil // nothing has changed
	}
	if err := w.reader.decode(&w.gone, string(key), nil); err != nil {
		return fmt.Errorf("read key of table %s: %w", w.table.Name(), err)
	}
	e.Change, e.Delete, e.Before = true, true, nil
	e.Frame.Now = w.task.Now()
	w.place(&e.Frame, &tableRow{row: &w.none, key: &w.gone.key})
	return w.next.Process(e)
}

func (w *tableWriter) store(key, row []byte) error {
	if row == nil {
		return w.table.Delete(key)
	}
	_, err := w.table.Put(key, row)
	return err
}

// read is the row of key as those behind see it, nil when there is none.
func (w *tableWriter) read(key []byte) (*tableRow, error) {
	row, err := w.table.Get(key)
	if row == nil || err != nil {
		return nil, err
	}
	return w.reader.cached(w.table, row, false)
}

// tell hands the change on.
func (w *tableWriter) tell(e *Event, key []byte, before, after *tableRow) error {
	e.Change, e.Delete, e.Before = true, after == nil, nil
	e.Frame.Now = w.task.Now()
	if after == nil { // the key is all there is: that of the old row
		after = &tableRow{row: &w.none, key: before.key}
	}
	w.place(&e.Frame, after)
	if before != nil {
		w.place(&w.before, before)
		w.before.Now = e.Frame.Now
		e.Before = &w.before
	}
	return w.next.Process(e)
}

func (w *tableWriter) place(f *expr.Frame, r *tableRow) {
	f.Rows[w.reader.Row], f.Rows[w.reader.KeyRow] = r.row, r.key
}
