package state

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"

	"streamctl/internal/record"
)

// Sealed is one epoch of a task, ready to be written as a whole.
type Sealed struct {
	task  *Task
	epoch uint64
	batch *pebble.Batch
	rows  [][]*Row // per table, as in task.order
	late  map[record.TopicPartition]int64
}

// Seal ends the epoch: it calls visit for every row that has changed since the
// last Seal in a table with a changelog, and builds the atomic unit of rows,
// positions, stream time and marks, without writing it. row is the changelog
// record's value, nil for a deleted row. visit may keep key and row and must not
// write to them. The order of rows is that of their first change. After an error
// the task must be abandoned.
func (t *Task) Seal(visit func(t *Table, key, row []byte)) (_ *Sealed, err error) {
	defer t.db.recoverInto(&err)
	if t.closed {
		return nil, ErrClosed
	}
	if err := t.db.Err(); err != nil {
		return nil, err
	}
	s := &Sealed{task: t, epoch: t.current, batch: t.db.store.NewBatch(), rows: make([][]*Row, len(t.order))}
	enc := encoder{stamp: t.stamp}
	for i, table := range t.order {
		if table.changelog == "" {
			err = enc.seal(s.batch, table, nil)
		} else {
			err = enc.seal(s.batch, table, visit)
		}
		if err != nil {
			s.batch.Close()
			return nil, fmt.Errorf("seal table %s: %w", table.name, t.db.check(err))
		}
		s.rows[i], table.dirty = table.dirty, nil
	}
	if err := t.sealMeta(s.batch); err != nil {
		s.batch.Close()
		return nil, fmt.Errorf("seal positions: %w", t.db.check(err))
	}
	t.current++
	t.waiting = append(t.waiting, s)
	return s, nil
}

// sealMeta adds what is stored beside rows.
func (t *Task) sealMeta(b *pebble.Batch) error {
	for tp := range t.newPositions {
		if err := b.Set(t.positionKey(tp), number(t.positions[tp]), nil); err != nil {
			return err
		}
	}
	if t.newTime {
		if err := b.Set(append(t.metaPrefix(), kindStreamTime), number(t.streamTime), nil); err != nil {
			return err
		}
	}
	for _, m := range t.newMarks {
		if err := b.Set(t.markKey(m), nil, nil); err != nil {
			return err
		}
	}
	if t.newSavedAt {
		if err := b.Set(append(t.metaPrefix(), kindSavedAt), number(t.savedAt), nil); err != nil {
			return err
		}
	}
	clear(t.newPositions)
	t.newSavedAt = false
	t.newTime, t.newMarks = false, nil
	return nil
}

// metaPrefix is the task's prefix, for appending.
func (t *Task) metaPrefix() []byte { return t.prefix[:taskPrefixLen:taskPrefixLen] }

func (t *Task) positionKey(tp record.TopicPartition) []byte {
	return positionKey(t.metaPrefix(), tp)
}

func (t *Task) markKey(name string) []byte {
	return append(append(t.metaPrefix(), kindMark), name...)
}

// number is the stored form of positions and times.
func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// encoder writes rows into chunks that live as long as somebody keeps a row of
// them: a producer does until the row's acknowledgement.
type encoder struct {
	stamp []byte
	chunk []byte
	key   []byte
}

const chunkBytes = 64 << 10

// seal adds a table's changed rows to the batch and shows them to visit.
func (e *encoder) seal(b *pebble.Batch, t *Table, visit func(t *Table, key, row []byte)) error {
	for _, r := range t.dirty {
		e.key = append(append(e.key[:0], t.prefix[:]...), r.key...)
		if r.gone {
			if err := b.Delete(e.key, nil); err != nil {
				return err
			}
			if visit != nil {
				visit(t, keyBytes(r.key), nil)
			}
			continue
		}
		row, err := e.encode(t, r)
		if err != nil {
			return err
		}
		if err := b.Set(e.key, row, nil); err != nil {
			return err
		}
		if visit != nil {
			visit(t, keyBytes(r.key), row)
		}
	}
	return nil
}

// encode returns the row's stored form.
func (e *encoder) encode(t *Table, r *Row) ([]byte, error) {
	if cap(e.chunk)-len(e.chunk) < len(r.Value)+len(e.stamp)+16 || cap(e.chunk)-len(e.chunk) < 512 {
		e.chunk = make([]byte, 0, max(chunkBytes, len(r.Value)+len(e.stamp)+16))
	}
	start := len(e.chunk)
	e.chunk = appendHead(e.chunk, e.stamp)
	if r.Value != nil {
		e.chunk = append(e.chunk, r.Value...)
	} else {
		enc, ok := r.Decoded.(Encoder)
		if !ok {
			return nil, fmt.Errorf("encode row %q: %T has no AppendRow", r.key, r.Decoded)
		}
		e.chunk = enc.AppendRow(e.chunk)
		t.resize(r, rowSize(r.key, 0, r.extra)) // the bytes are not kept with it
	}
	return e.chunk[start:len(e.chunk):len(e.chunk)], nil
}

// keyBytes is a row's key without a copy; it must not be written to.
func keyBytes(key string) []byte {
	if key == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(key), len(key))
}

// SetPosition adds a position that has become known since the Seal: the end of
// a changelog after the epoch's own records. The task's Position shows it once
// the epoch is applied.
func (s *Sealed) SetPosition(tp record.TopicPartition, offset int64) {
	if s.late == nil {
		s.late = make(map[record.TopicPartition]int64)
	}
	s.late[tp] = offset
}

// discard lets go of the batch.
func (s *Sealed) discard() {
	if s.batch != nil {
		s.batch.Close()
		s.batch = nil
	}
}

// Apply writes one epoch; see DB.Apply.
func (t *Task) Apply(s *Sealed) error { return t.db.Apply(s) }

// Apply writes the epochs of several tasks, all of the calling goroutine, in
// one atomic batch. It must be called only after Kafka has committed them, and
// for each task in the order of its Seals. The write is not synced: after a
// power loss the store may be some epochs older, never torn, and what is missing
// is read again from Kafka. After an error nothing is known to be applied; the
// tasks must be abandoned.
func (db *DB) Apply(sealed ...*Sealed) (err error) {
	defer db.recoverInto(&err)
	if err := db.Err(); err != nil {
		return err
	}
	for i, s := range sealed {
		next := s.task.applied + 1
		for _, before := range sealed[:i] {
			if before.task == s.task {
				next++
			}
		}
		if s.task.closed || s.batch == nil {
			return fmt.Errorf("apply epoch of task %s/%d: %w", s.task.key.sub, s.task.key.partition, ErrClosed)
		}
		if s.epoch != next {
			return fmt.Errorf("apply epoch %d of task %s/%d: epoch %d comes first",
				s.epoch, s.task.key.sub, s.task.key.partition, next)
		}
	}
	if err := db.commit(sealed); err != nil {
		return fmt.Errorf("apply state: %w", db.check(err))
	}
	for _, s := range sealed {
		s.done()
	}
	return nil
}

// commit writes the batches as one.
func (db *DB) commit(sealed []*Sealed) error {
	for _, s := range sealed {
		for tp, off := range s.late {
			if err := s.batch.Set(s.task.positionKey(tp), number(off), nil); err != nil {
				return err
			}
		}
	}
	if len(sealed) == 0 {
		return nil
	}
	all := sealed[0].batch
	for _, s := range sealed[1:] {
		if err := all.Apply(s.batch, nil); err != nil {
			return err
		}
	}
	err := db.write(all)
	if err != nil {
		sealed[0].batch = nil // may be in use still
	}
	return err
}

// write commits a batch that carries changes.
func (db *DB) write(b *pebble.Batch) error {
	if b.Empty() {
		return nil
	}
	return db.attempt(func() error { return b.Commit(pebble.NoSync) })
}

// attempt does a write. It may wait for a flush; when that never comes to an
// end because the DB has failed, the write is left to itself, and what it uses
// must not be touched any more.
func (db *DB) attempt(write func() error) error {
	done := make(chan error, 1)
	go func() {
		db.attempts.RLock()
		defer db.attempts.RUnlock()
		var err error
		defer func() { done <- err }()
		defer db.recoverInto(&err)
		err = write()
	}()
	select {
	case err := <-done:
		return err
	case <-db.failed:
		return db.Err()
	}
}

// done makes the epoch the store's.
func (s *Sealed) done() {
	t := s.task
	s.discard()
	t.applied = s.epoch
	t.waiting = t.waiting[1:]
	for tp, off := range s.late {
		t.positions[tp] = off
	}
	for i, table := range t.order {
		table.unpin(s.rows[i], s.epoch)
	}
}
