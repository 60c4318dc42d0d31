package state

import (
	"errors"
	"strconv"

	"github.com/cockroachdb/pebble/v2/sstable"
)

// How the runs of a load become files.

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
		l.lost = errors.Join(l.lost, out.err)
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
