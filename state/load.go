package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"streamctl/internal/record"
)

const (
	// smallLoad is up to which part of Options.LoadBytes a load goes through a
	// batch: cheaper than files, and it keeps level 0 from filling with crumbs.
	smallLoad = 16
	// loadFileBytes is how large the files of a load become, about.
	loadFileBytes = 32 << 20
	// loadsAtFull is how many loads may have Options.LoadBytes each at the same
	// time; more share that.
	loadsAtFull = 2
	// leastRun is how little a load may gather before it goes to disk, as long as
	// Options.LoadBytes is no less.
	leastRun = 1 << 20
)

// Loader fills a table in bulk, past the cache: for restore and first loads.
// It belongs to the task's goroutine and is used once. What it adds becomes
// visible, and durable, at Finish, as a whole and together with the positions
// given there: a crash before leaves the table as it was. A long restore is made
// of several loads, so that a crash loses only the last.
//
// Rows are gathered in memory. What does not fit is sorted and written as a table of
// the store's own, in the background while the next rows come in; Finish hands
// all of these to the store as they are, the older ones first, which the store
// then takes for older versions; Flush begins with it where the table was empty. A row is so written once. Where Finish has several
// to hand over, a crash in the midst of it leaves a task that is half loaded: it
// is found empty when it is opened again, and restored from the beginning.
type Loader struct {
	table  *Table
	run    *run
	spare  *run         // memory of the run before, for the next
	flight chan builtOr // brings the run that is being written, nil = none is
	built  []builtRun   // runs on disk, oldest first
	dir    string       // of their files, "" before the first
	files  int          // numbers them
	done   bool
	landed func() // see Tell

	handing chan error // brings the end of handing older runs over before Finish, nil = there is none
	torn    bool       // that has begun: a mark says that the table is half loaded

	seed  *seed
	begun bool // a row has been written: seed and empty are set
	empty bool // the table had no rows when the load began
	cold  bool // nobody is about to read the rows: the cache is left to others
	calm  bool // the load holds the store's compactions off, see DB.rushing

	added       int64 // bytes of all runs before the present one
	part, whole int64 // see Progress
}

// builtRun is a run as tables that do not overlap.
type builtRun struct{ paths []string }

// builtOr is a run that has been written, or why it has not.
type builtOr struct {
	builtRun
	err error
}

// Loader begins a bulk load. Until Finish the table must not be changed otherwise.
func (t *Table) Loader() *Loader {
	l := t.loader()
	l.calm = true
	t.db.rushing.Add(1)
	return l
}

func (t *Table) loader() *Loader {
	l := &Loader{table: t, run: &run{}}
	t.task.loaders = append(t.task.loaders, l)
	t.db.loading.Add(1)
	return l
}

// ColdLoader is Loader for a table that is kept for later: its rows do not
// take the cache from tables that are in use.
func (t *Table) ColdLoader() *Loader {
	l := t.loader()
	l.cold = true
	return l
}

// Bytes is the memory that what was added since the last spill takes.
func (l *Loader) Bytes() int { return l.run.bytes() }

// Progress tells how much of what there is to load has been added, in whatever
// unit. A load that is seen not to fit the cache leaves none of its rows there:
// some of them, taken by no merit of theirs, would not be worth the time.
func (l *Loader) Progress(done, total int64) { l.part, l.whole = done, total }

// judge stops filling the cache when the load will not fit.
func (l *Loader) judge() {
	l.added += int64(l.run.bytes())
	if l.seed.closed || l.part <= 0 || l.whole <= 0 {
		return
	}
	db := l.table.db
	room := db.opts.CacheBytes - db.cached.Load() + l.seed.own - (db.seeding.Load() - l.seed.bytes)
	if float64(l.added)/float64(l.part)*float64(l.whole) > float64(room) {
		l.seed.release()
		l.seed.all = false
	}
}

// limit is how large a run may become: all loads together are to take no more
// than a few times Options.LoadBytes, however many they are.
func (l *Loader) limit() int {
	o := l.table.db.opts
	share := loadsAtFull * o.LoadBytes / max(1, int(l.table.db.loading.Load()))
	return min(max(share, leastRun), o.LoadBytes)
}

// Add sets a row, as it would be put into the table (not its changelog form),
// or deletes it when row is nil. The last one for a key counts. key and row are copied.
func (l *Loader) Add(key, row []byte) error {
	limit, err := l.room(len(key) + len(row))
	if err == nil {
		l.run.add(key, row, limit)
	}
	return err
}

// AddShared is Add for a row that lies in mem, which the caller holds: unless it is
// small it is not copied before it goes to disk, and mem is held until then. key is copied.
// Where mem is nil, the row is never written again.
func (l *Loader) AddShared(key, row []byte, mem *record.Memory) error {
	limit, err := l.room(len(key) + len(row))
	if err == nil {
		l.run.addShared(key, row, mem, limit)
	}
	return err
}

// room makes room for an entry of so many bytes and returns how large the run may become.
func (l *Loader) room(bytes int) (limit int, err error) {
	db := l.table.db
	defer db.recoverInto(&err)
	if l.done || l.table.task.closed {
		return 0, ErrClosed
	}
	limit = l.limit()
	if l.run.bytes()+bytes > limit && len(l.run.entries) > 0 {
		if err := l.spill(); err != nil {
			return 0, fmt.Errorf("load table %s: %w", l.table.name, db.check(err))
		}
	}
	return limit, nil
}

// Tell has fn called, on another goroutine, whenever a run has been written: what Flush
// says may then be another thing. It must be set before the first row is added.
func (l *Loader) Tell(fn func()) { l.landed = fn }

// Flush begins to write what is still in memory, in the background, and says whether
// all rows are written: then Finish does not have to wait for that. No rows may be
// added any more. A small load needs no writing.
func (l *Loader) Flush() (written bool, err error) {
	db := l.table.db
	defer db.recoverInto(&err)
	if l.done || l.table.task.closed {
		return false, ErrClosed
	}
	if l.small() {
		return true, nil
	}
	if l.flight != nil && len(l.flight) == 0 || l.handing != nil && len(l.handing) == 0 {
		return false, nil
	}
	if len(l.run.entries) > 0 {
		err = l.spill()
	} else {
		err = l.land()
	}
	if err = errors.Join(err, l.handed()); err != nil {
		return false, fmt.Errorf("load table %s: %w", l.table.name, db.check(err))
	}
	l.handOver()
	return l.flight == nil && l.handing == nil, nil
}

// handOver gives the store, in the background, all runs that are written but the last. That takes
// a sync of some file for each, and is Finish's to do otherwise, for which the owner waits. Only where the
// table was empty: what comes of a crash, or of giving the load up, is a task that is
// restored from the beginning, as it would be anyhow.
func (l *Loader) handOver() {
	older := l.built
	if l.flight == nil { // else the last one is being written
		older = older[:max(0, len(older)-1)]
	}
	if len(older) == 0 || !l.empty {
		return
	}
	l.built = l.built[len(older):]
	first := !l.torn
	l.torn = true
	handing := make(chan error, 1)
	l.handing = handing
	landed := l.landed
	go func() {
		var err error
		defer func() {
			handing <- err
			if landed != nil {
				landed()
			}
		}()
		defer l.table.db.recoverInto(&err)
		if first {
			err = l.markTorn()
		}
		for _, run := range older {
			if err == nil {
				err = l.ingest(run.paths)
			}
		}
	}()
}

// handed waits for what is being handed over.
func (l *Loader) handed() error {
	if l.handing == nil {
		return nil
	}
	err := <-l.handing
	l.handing = nil
	return err
}

// markTorn notes that the table is half loaded.
func (l *Loader) markTorn() error {
	db := l.table.db
	return db.attempt(func() error { return db.store.Set(l.loadingKey(), nil, pebble.Sync) })
}

// loadingKey is that of the mark.
func (l *Loader) loadingKey() []byte { return append(l.table.task.metaPrefix(), kindLoading) }

// small says whether the load goes through a batch.
func (l *Loader) small() bool {
	return len(l.built) == 0 && l.flight == nil && !l.torn && l.run.bytes() <= l.table.db.opts.LoadBytes/smallLoad
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
	meta := t.task.metaEntries(positions, append(marks[:len(marks):len(marks)], t.task.newMarks...))
	if err = l.begin(); err == nil {
		if l.small() {
			err = l.finishSmall(meta)
		} else {
			err = l.finishFiles(meta)
		}
	}
	if err != nil {
		l.Abandon()
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
	l.Abandon()
	return nil
}

// begin looks at the table before the first row is written.
func (l *Loader) begin() (err error) {
	if l.begun {
		return nil
	}
	l.begun = true
	l.seed = &seed{db: l.table.db, own: l.table.bytes, all: true, closed: l.cold}
	l.empty, err = l.table.db.empty(l.table.prefix[:])
	return err
}

// Abandon gives the load up; after Finish it does nothing.
func (l *Loader) Abandon() {
	if l.done {
		return
	}
	if l.flight != nil {
		<-l.flight
		l.flight = nil
	}
	_ = l.handed() // its error has come too late
	l.run.clear()  // what it holds of others' memory
	l.done, l.run, l.spare = true, &run{}, nil
	db, task := l.table.db, l.table.task
	db.loading.Add(-1)
	l.compact()
	if l.seed != nil {
		l.seed.release()
	}
	task.loaders = slices.DeleteFunc(task.loaders, func(other *Loader) bool { return other == l })
	if l.dir != "" {
		// What remains after a failure is deleted at the next Open.
		_ = db.fs.RemoveAll(l.dir)
	}
}

// compact lets the store's compactions go on, as far as this load is concerned.
func (l *Loader) compact() {
	if l.calm {
		l.calm = false
		l.table.db.rushing.Add(-1)
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

// finishFiles hands the load to the store as sorted tables: with the last run
// goes a table of positions and marks, so that these are there if and only if all
// rows are. Of several runs the store takes one after the other; should that be cut
// short, a mark is left by which the next one to open the task knows.
func (l *Loader) finishFiles(meta []metaEntry) error {
	db := l.table.db
	if len(l.run.entries) > 0 {
		if err := l.spill(); err != nil {
			return err
		}
	}
	if err := errors.Join(l.land(), l.handed()); err != nil {
		return err
	}
	several := l.torn || len(l.built) > 1
	var err error
	switch {
	case l.torn:
	case several:
		err = l.markTorn()
	default: // epochs applied before must not be lost when what follows them is not
		err = db.attempt(func() error { return db.store.LogData(nil, pebble.Sync) })
	}
	if err != nil {
		return err
	}
	last, err := l.writeMeta(meta, l.loadingKey(), several)
	if err != nil {
		return err
	}
	if n := len(l.built); n > 0 {
		for _, older := range l.built[:n-1] {
			if err := l.ingest(older.paths); err != nil {
				return err
			}
		}
		last = append(last, l.built[n-1].paths...)
	}
	l.compact() // before, since the store looks at it when it takes files in
	return l.ingest(last)
}

// ingest gives tables to the store, all at once.
func (l *Loader) ingest(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	db := l.table.db
	// It waits for a flush where rows in memory overlap, which never ends on a full disk.
	return db.ok(db.attempt(func() error { return db.store.Ingest(context.Background(), paths) }))
}

// writeMeta writes positions and marks, and that the load is complete.
func (l *Loader) writeMeta(meta []metaEntry, loading []byte, several bool) ([]string, error) {
	if err := l.makeDir(); err != nil {
		return nil, err
	}
	w := tableWriter{db: l.table.db, dir: l.dir, name: "meta"}
	write := func() error {
		for _, m := range meta {
			if several && bytes.Compare(loading, m.key) < 0 {
				if several = false; w.delete(loading) != nil {
					return w.err
				}
			}
			if err := w.set(m.key, m.val); err != nil {
				return err
			}
		}
		if several {
			return w.delete(loading)
		}
		return nil
	}
	err := write()
	return w.paths, errors.Join(err, w.finish())
}

// spill puts the run in memory on disk, in the background.
func (l *Loader) spill() error {
	if err := l.begin(); err != nil {
		return err
	}
	if err := l.land(); err != nil {
		return err
	}
	if err := l.makeDir(); err != nil {
		return err
	}
	l.judge()
	full := l.run
	if l.run = l.spare; l.run == nil {
		l.run = &run{}
	}
	l.spare = full
	l.files++
	w := &tableWriter{db: l.table.db, dir: l.dir, name: strconv.Itoa(l.files)}
	first := l.files == 1
	flight := make(chan builtOr, 1)
	l.flight = flight
	landed := l.landed
	go func() {
		var out builtOr
		defer func() {
			full.clear() // nobody looks at the rows again, written or not
			flight <- out
			if landed != nil {
				landed()
			}
		}()
		defer l.table.db.recoverInto(&out.err)
		err := l.writeRun(w, full, first)
		out.err = errors.Join(err, w.finish())
		out.paths = w.paths
	}()
	return nil
}

// land waits for the run that is being written; its memory can then be used again.
func (l *Loader) land() error {
	if l.flight == nil {
		return nil
	}
	out := <-l.flight
	l.flight = nil
	if out.err != nil {
		return out.err
	}
	if len(out.paths) > 0 {
		l.built = append(l.built, out.builtRun)
	}
	return l.table.db.Err()
}

// writeRun writes the rows of a run in order of keys.
func (l *Loader) writeRun(w *tableWriter, r *run, first bool) error {
	key := append([]byte(nil), l.table.prefix[:]...)
	for e := range r.sorted() {
		key = append(key[:prefixLen], e.key...)
		if err := l.seed.add(e); err != nil {
			return err
		}
		var err error
		switch {
		case e.row != nil:
			err = w.set(key, e.row)
		case !first || !l.empty: // where there are no rows yet, there is nothing to delete
			err = w.delete(key)
		}
		if err != nil {
			return err
		}
	}
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
	name  string // the files are called by it
	paths []string
	w     *sstable.Writer
	raw   int   // bytes put into it since its size was asked for
	err   error // of a cut
}

// writer returns the table being written, a new one when there is none or it is full.
func (w *tableWriter) writer() (*sstable.Writer, error) {
	if w.w != nil && w.raw >= loadFileBytes { // a file is hardly larger than what was put into it
		w.raw = 0
		if w.w.Raw().EstimatedSize() >= loadFileBytes {
			w.cut()
		}
	}
	if w.w != nil || w.err != nil {
		return w.w, w.err
	}
	path := w.db.fs.PathJoin(w.dir, w.name+"-"+strconv.Itoa(len(w.paths)))
	f, err := w.db.fs.Create(path, storeWrites)
	if err != nil {
		return nil, err
	}
	w.paths = append(w.paths, path)
	w.w = sstable.NewWriter(newLoadFile(f),
		w.db.storeOpts.MakeWriterOptions(0, w.db.store.TableFormat()))
	return w.w, nil
}

func (w *tableWriter) set(key, val []byte) error {
	t, err := w.writer()
	if err != nil {
		return err
	}
	w.raw += len(key) + len(val)
	return t.Set(key, val)
}

func (w *tableWriter) delete(key []byte) error {
	t, err := w.writer()
	if err != nil {
		return err
	}
	w.raw += len(key)
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
