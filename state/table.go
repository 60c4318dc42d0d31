package state

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Table is one table of a task: a map from key to row that is bounded in
// memory and durable by epochs. It belongs to the task's goroutine.
type Table struct {
	task      *Task
	db        *DB
	name      string
	changelog string
	prefix    [prefixLen]byte

	rows   map[string]*Row
	ring   []*Row // all of rows, for the clock
	hand   int
	bytes  int64  // of all rows
	pinned int64  // of rows that are not applied
	dirty  []*Row // changed in the current epoch
	live   int    // cached rows that are not gone
	// complete: every row of the table is cached, so what is not cached is not there.
	complete bool
	overlay  overlay
	keyBuf   []byte

	hits, misses int64 // lookups, since the table was opened
}

func newTable(t *Task, spec TableSpec, prefix [prefixLen]byte) *Table {
	table := &Table{task: t, db: t.db, name: spec.Name, changelog: spec.Changelog, prefix: prefix}
	table.reset(false)
	return table
}

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

// Changelog returns the topic that changed rows go to, "" for none.
func (t *Table) Changelog() string { return t.changelog }

// Len returns how many rows the table has; exact is false when only the cached
// ones are counted.
func (t *Table) Len() (rows int, exact bool) { return t.live, t.complete }

// Get returns the row of key, nil when there is none. A hit in the cache does
// not allocate.
func (t *Table) Get(key []byte) (*Row, error) {
	r := t.rows[string(key)]
	if r == nil {
		return t.load(key)
	}
	r.used = true
	t.hits++
	if r.gone {
		return nil, nil
	}
	return r, nil
}

// load brings a row into the cache, or the knowledge that there is none.
func (t *Table) load(key []byte) (_ *Row, err error) {
	defer t.db.recoverInto(&err)
	if t.task.closed {
		return nil, ErrClosed
	}
	if t.complete {
		t.hits++
		return nil, nil
	}
	t.misses++
	if err := t.db.Err(); err != nil {
		return nil, err
	}
	t.trim(evictSteps)
	t.keyBuf = append(append(t.keyBuf[:0], t.prefix[:]...), key...)
	stored, closer, err := t.db.store.Get(t.keyBuf)
	if errors.Is(err, pebble.ErrNotFound) {
		t.insert(&Row{key: string(key), gone: true})
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get row of table %s: %w", t.name, t.db.check(err))
	}
	defer closer.Close()
	row, err := DecodeChangelog(stored)
	if err != nil {
		return nil, fmt.Errorf("get row of table %s: %w", t.name, t.db.check(err))
	}
	r := &Row{key: string(key), Value: append(make([]byte, 0, len(row)), row...), used: true}
	t.insert(r)
	return r, nil
}

// Put sets the row of key. key and value are copied.
func (t *Table) Put(key, value []byte) (*Row, error) {
	return t.put(key, append(make([]byte, 0, len(value)), value...), nil)
}

// PutDecoded sets the row of key to e, which is encoded at Seal only and is
// from then on the table's: change it only together with MarkDirty.
func (t *Table) PutDecoded(key []byte, e Encoder) (*Row, error) {
	return t.put(key, nil, e)
}

func (t *Table) put(key, value []byte, decoded any) (*Row, error) {
	if t.task.closed {
		return nil, ErrClosed
	}
	r := t.rows[string(key)]
	if r == nil {
		t.trim(evictSteps) // before, so that it cannot be the row itself
		r = &Row{key: string(key), gone: true}
		t.insert(r)
	}
	if r.gone {
		r.gone = false
		t.live++
	}
	r.Value, r.Decoded, r.extra = value, decoded, 0
	r.used = true
	t.change(r)
	t.resize(r, rowSize(r.key, len(value), 0))
	return r, nil
}

// MarkDirty tells that the row's Decoded, an Encoder, has been changed in
// place: from now on it alone holds the row.
func (t *Table) MarkDirty(r *Row) {
	if t.task.closed {
		return
	}
	if r.slot < 0 { // evicted since the caller got it
		if other := t.rows[r.key]; other != nil {
			other.Decoded, other.extra = r.Decoded, r.extra
			r = other
		} else {
			t.insert(r)
		}
	}
	if r.gone {
		r.gone = false
		t.live++
	}
	r.Value, r.used = nil, true
	t.change(r)
}

// SetDecoded sets the row's Decoded and counts its memory, bytes beside the
// row's own Value.
func (t *Table) SetDecoded(r *Row, decoded any, bytes int) {
	r.Decoded = decoded
	if r.slot >= 0 {
		t.resize(r, r.size-r.extra+int32(bytes))
	}
	r.extra = int32(bytes)
}

// Delete deletes the row of key, if there is one: a key that has no row gets
// no tombstone.
func (t *Table) Delete(key []byte) error {
	r, err := t.Get(key)
	if r == nil || err != nil {
		return err
	}
	t.bury(r)
	return nil
}

// Remove deletes a row that is known to be there: unlike Delete it does not
// look for it, and the key gets a tombstone in any case.
func (t *Table) Remove(key []byte) error {
	if t.task.closed {
		return ErrClosed
	}
	r := t.rows[string(key)]
	switch {
	case r == nil:
		t.trim(evictSteps)
		r = &Row{key: string(key), gone: true}
		t.insert(r)
	case r.gone:
		return nil
	}
	t.bury(r)
	r.used = false // nobody is about to ask for it
	return nil
}

// Restate tells the changelog once more what the row of key is, or that there is none.
func (t *Table) Restate(key []byte) error {
	r, err := t.Get(key)
	if err != nil {
		return err
	}
	if r == nil {
		if r = t.rows[string(key)]; r == nil {
			t.trim(evictSteps)
			r = &Row{key: string(key), gone: true}
			t.insert(r)
		}
	}
	t.change(r)
	return nil
}

// bury makes a row of the cache a deleted one, which is to be told to the changelog.
func (t *Table) bury(r *Row) {
	if !r.gone {
		r.gone = true
		t.live--
	}
	r.Value, r.Decoded, r.extra = nil, nil, 0
	t.change(r)
	t.resize(r, rowSize(r.key, 0, 0))
}

// change puts a row into the current epoch, where it stays in memory until
// that is applied.
func (t *Table) change(r *Row) {
	if r.epoch == t.task.current {
		return
	}
	if r.epoch <= t.task.applied {
		t.pinned += int64(r.size)
		t.db.pinned.Add(int64(r.size))
		if t.overlay.on {
			t.overlay.fresh = append(t.overlay.fresh, r)
		}
	}
	r.epoch = t.task.current
	t.dirty = append(t.dirty, r)
}

// unpin lets go of an epoch's rows, which the store has now.
func (t *Table) unpin(rows []*Row, epoch uint64) {
	for _, r := range rows {
		if r.epoch != epoch {
			continue // changed again since
		}
		t.pinned -= int64(r.size)
		t.db.pinned.Add(-int64(r.size))
		if r.gone && (t.complete || !r.used) { // nobody is about to ask for it
			t.remove(r)
		}
	}
	t.overlay.trim(epoch)
	t.trim(2 * len(t.ring)) // once around to clear the used bits, once to evict
}
