package state

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"

	"streamctl/internal/record"
)

const (
	// smallLoad is up to which part of Options.LoadBytes a load goes through a
	// batch: cheaper than files, and it keeps level 0 from filling with crumbs.
	smallLoad = 16
	// loadFileBytes is how large the files of a load become, about.
	loadFileBytes = 32 << 20
)

// Loader fills a table in bulk, past the cache: for restore and first loads.
// It belongs to the task's goroutine and is used once. What it adds becomes
// visible, and durable, at Finish, as a whole and together with the positions
// given there: a crash before leaves the table as it was. A long restore is made
// of several loads, so that a crash loses only the last.
//
// Rows are gathered in memory, sorted, and put on disk as sorted runs; Finish
// merges the runs into sorted tables that the store takes in as they are.
type Loader struct {
	table *Table
	run   run
	dir   string   // of its files, "" before the first
	runs  []string // files of the runs on disk, oldest first
	done  bool

	seed  *seed
	empty bool // the table had no rows when the load ended
	cold  bool // nobody is about to read the rows: the cache is left to others
}

// Loader begins a bulk load. Until Finish the table must not be changed otherwise.
func (t *Table) Loader() *Loader {
	l := &Loader{table: t}
	t.task.loaders = append(t.task.loaders, l)
	return l
}

// ColdLoader is Loader for a table that is kept for later: its rows do not
// take the cache from tables that are in use.
func (t *Table) ColdLoader() *Loader {
	l := t.Loader()
	l.cold = true
	return l
}

// Bytes is the memory that what was added since the last spill takes.
func (l *Loader) Bytes() int { return l.run.bytes() }

// Add sets a row, as it would be put into the table (not its changelog form),
// or deletes it when row is nil. The last one for a key counts. key and row are copied.
func (l *Loader) Add(key, row []byte) (err error) {
	db := l.table.db
	defer db.recoverInto(&err)
	if l.done || l.table.task.closed {
		return ErrClosed
	}
	if l.run.bytes()+len(key)+len(row) > db.opts.LoadBytes && len(l.run.entries) > 0 {
		if err := l.spill(); err != nil {
			return fmt.Errorf("load table %s: %w", l.table.name, db.check(err))
		}
	}
	l.run.add(key, row)
	return nil
}

// Finish makes everything added the table's, with positions and marks, and
// puts as many of the rows into the table's cache as it holds. Marks, and the
// time of the state, that wait for the next epoch are stored with them. The table must have no changes that are not applied
// (ErrUncommitted).
func (l *Loader) Finish(positions map[record.TopicPartition]int64, marks ...string) (err error) {
	t, db := l.table, l.table.db
	defer db.recoverInto(&err)
	switch {
	case l.done || t.task.closed:
		return ErrClosed
	case db.Err() != nil:
		return db.Err()
	case t.pinned > 0:
		return fmt.Errorf("load table %s: %w", t.name, ErrUncommitted)
	}
	// Where there are no rows yet, there is nothing to delete.
	if l.empty, err = db.empty(t.prefix[:]); err != nil {
		return fmt.Errorf("load table %s: %w", t.name, db.check(err))
	}
	l.seed = t.newSeed()
	if l.cold {
		l.seed.room = 0
	}
	meta := t.task.metaEntries(positions, append(marks[:len(marks):len(marks)], t.task.newMarks...))
	if len(l.runs) == 0 && l.run.bytes() <= db.opts.LoadBytes/smallLoad {
		err = l.finishSmall(meta)
	} else {
		err = l.finishFiles(meta)
	}
	l.Abandon()
	if err != nil {
		return fmt.Errorf("load table %s: %w", t.name, db.check(err))
	}
	for tp, off := range positions {
		t.task.positions[tp] = off
	}
	for _, m := range marks {
		t.task.marks[m] = true
	}
	t.task.newSavedAt, t.task.newMarks = false, nil
	t.plant(l.seed, l.empty)
	return nil
}

// Abandon gives the load up; after Finish it does nothing.
func (l *Loader) Abandon() {
	if l.done {
		return
	}
	l.done, l.run = true, run{}
	task := l.table.task
	task.loaders = slices.DeleteFunc(task.loaders, func(other *Loader) bool { return other == l })
	if l.dir != "" {
		// What remains after a failure is deleted at the next Open.
		_ = l.table.db.fs.RemoveAll(l.dir)
	}
}

// metaEntry is a stored key that is not a row.
type metaEntry struct{ key, val []byte }

// metaEntries returns positions and marks as they are stored, in order of keys.
func (t *Task) metaEntries(positions map[record.TopicPartition]int64, marks []string) []metaEntry {
	var all []metaEntry
	for tp, off := range positions {
		all = append(all, metaEntry{t.positionKey(tp), number(off)})
	}
	for _, m := range marks {
		all = append(all, metaEntry{t.markKey(m), nil})
	}
	if t.newSavedAt {
		all = append(all, metaEntry{append(t.metaPrefix(), kindSavedAt), number(t.savedAt)})
	}
	slices.SortFunc(all, func(a, b metaEntry) int { return slices.Compare(a.key, b.key) })
	return slices.CompactFunc(all, func(a, b metaEntry) bool { return slices.Equal(a.key, b.key) })
}

// finishSmall writes the load as one batch.
func (l *Loader) finishSmall(meta []metaEntry) error {
	b := l.table.db.store.NewBatch()
	for _, m := range meta {
		if err := b.Set(m.key, m.val, nil); err != nil {
			return err
		}
	}
	key := append([]byte(nil), l.table.prefix[:]...)
	for e := range l.run.sorted() {
		key = append(key[:prefixLen], e.key...)
		var err error
		if e.row == nil {
			err = b.Delete(key, nil)
		} else {
			err = b.Set(key, e.row, nil)
		}
		if err == nil {
			err = l.seed.add(e)
		}
		if err != nil {
			return err
		}
	}
	if err := l.table.db.write(b); err != nil {
		return err // b may be in use still
	}
	return b.Close()
}

// finishFiles writes the load as sorted tables and hands them to the store,
// all at once: with them goes a table of positions and marks, so that these are
// there if and only if the rows are.
func (l *Loader) finishFiles(meta []metaEntry) error {
	db := l.table.db
	if err := l.makeDir(); err != nil {
		return err
	}
	w := tableWriter{db: db, dir: l.dir}
	if err := l.writeRows(&w); err != nil {
		w.abandon()
		return err
	}
	for _, m := range meta {
		if err := w.set(m.key, m.val); err != nil {
			w.abandon()
			return err
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	// Epochs applied before must not be lost when what follows them is not.
	if err := db.store.LogData(nil, pebble.Sync); err != nil {
		return err
	}
	if len(w.paths) == 0 {
		return nil
	}
	return db.ok(db.store.Ingest(context.Background(), w.paths))
}

// writeRows writes all rows in order of keys; of those with one key, the last added.
func (l *Loader) writeRows(w *tableWriter) error {
	key := append([]byte(nil), l.table.prefix[:]...)
	write := func(e entry) error {
		key = append(key[:prefixLen], e.key...)
		switch {
		case e.row != nil:
			if err := l.seed.add(e); err != nil {
				return err
			}
			return w.set(key, e.row)
		case l.empty:
			return nil
		}
		return w.delete(key)
	}
	defer w.cut()
	if len(l.runs) == 0 {
		for e := range l.run.sorted() {
			if err := write(e); err != nil {
				return err
			}
		}
		return nil
	}
	if len(l.run.entries) > 0 {
		if err := l.spill(); err != nil {
			return err
		}
	}
	return mergeRuns(l.table.db.fs, l.runs, write)
}

// spill puts the run in memory on disk.
func (l *Loader) spill() error {
	if err := l.makeDir(); err != nil {
		return err
	}
	path := l.table.db.fs.PathJoin(l.dir, "run-"+strconv.Itoa(len(l.runs)))
	if err := l.run.write(l.table.db.fs, path); err != nil {
		return err
	}
	l.runs = append(l.runs, path)
	l.run.clear()
	return nil
}

// makeDir makes the load's directory.
func (l *Loader) makeDir() error {
	if l.dir != "" {
		return nil
	}
	db := l.table.db
	db.mu.Lock()
	db.loads++
	dir := db.path(loadName, strconv.Itoa(db.loads))
	db.mu.Unlock()
	if err := db.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	l.dir = dir
	return nil
}

// tableWriter writes sorted tables for the store to take in. Keys must rise
// within a table, and tables must not overlap.
type tableWriter struct {
	db    *DB
	dir   string
	paths []string
	w     *sstable.Writer
	err   error // of a cut
}

// writer returns the table being written, a new one when there is none or it is full.
func (w *tableWriter) writer() (*sstable.Writer, error) {
	if w.w != nil && w.w.Raw().EstimatedSize() >= loadFileBytes {
		w.cut()
	}
	if w.w != nil || w.err != nil {
		return w.w, w.err
	}
	path := w.db.fs.PathJoin(w.dir, "table-"+strconv.Itoa(len(w.paths)))
	f, err := w.db.fs.Create(path, storeWrites)
	if err != nil {
		return nil, err
	}
	w.paths = append(w.paths, path)
	w.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f),
		w.db.storeOpts.MakeWriterOptions(0, w.db.store.TableFormat()))
	return w.w, nil
}

func (w *tableWriter) set(key, val []byte) error {
	t, err := w.writer()
	if err != nil {
		return err
	}
	return t.Set(key, val)
}

func (w *tableWriter) delete(key []byte) error {
	t, err := w.writer()
	if err != nil {
		return err
	}
	return t.Delete(key)
}

// cut ends the table being written; its error is kept for the next call.
func (w *tableWriter) cut() {
	if w.w != nil && w.err == nil {
		w.err = w.w.Close()
		w.w = nil
	}
}

// finish ends the last table.
func (w *tableWriter) finish() error {
	w.cut()
	return w.err
}

// abandon lets go of a table that is not finished.
func (w *tableWriter) abandon() { w.cut() }
