package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"streamctl/internal/record"
)

// Loader fills a table in bulk, past the cache: for restore and first loads.
// It belongs to the task's goroutine and is used once. What it adds becomes
// visible, and durable, at Finish as a whole together with the positions given
// there: a crash before leaves the table as it was.
type Loader struct {
	table *Table
	batch *pebble.Batch
	key   []byte
	val   []byte
}

// Loader begins a bulk load. Until Finish the table must not be changed
// otherwise.
func (t *Table) Loader() *Loader {
	return &Loader{table: t, batch: t.db.store.NewBatch()}
}

// Add sets a row, as it would be put into the table (not its changelog form),
// or deletes it when row is nil. The last one for a key counts. key and row are copied.
func (l *Loader) Add(key, row []byte) (err error) {
	t := l.table
	defer t.db.recoverInto(&err)
	l.key = append(append(l.key[:0], t.prefix[:]...), key...)
	if row == nil {
		return l.batch.Delete(l.key, nil)
	}
	l.val = append(appendHead(l.val[:0], nil), row...)
	return l.batch.Set(l.key, l.val, nil)
}

// Finish makes everything added the table's, with the positions and marks.
func (l *Loader) Finish(positions map[record.TopicPartition]int64, marks ...string) (err error) {
	t, task := l.table, l.table.task
	defer t.db.recoverInto(&err)
	if t.pinned > 0 || len(t.dirty) > 0 {
		return fmt.Errorf("load table %s: %w", t.name, ErrUncommitted)
	}
	for tp, off := range positions {
		if err := task.putNumber(l.batch, positionKey(task.prefix[:taskPrefixLen:taskPrefixLen], tp), off); err != nil {
			return err
		}
	}
	for _, m := range marks {
		if err := l.batch.Set(append(append(task.prefix[:taskPrefixLen:taskPrefixLen], kindMark), m...), nil, nil); err != nil {
			return err
		}
	}
	if err := l.batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("load table %s: %w", t.name, t.db.check(err))
	}
	for tp, off := range positions {
		task.positions[tp] = off
	}
	for _, m := range marks {
		task.marks[m] = true
	}
	t.forget()
	t.reset(false)
	return nil
}

// Abandon gives the load up.
func (l *Loader) Abandon() {
	if l.batch != nil {
		l.batch.Close()
		l.batch = nil
	}
}
