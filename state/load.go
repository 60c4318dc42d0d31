package state

import (
	"errors"
	"fmt"
	"slices"

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
	lost    error      // why rows that were added are nowhere

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
	if err = errors.Join(l.lost, l.begin()); err == nil {
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
