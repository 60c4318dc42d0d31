package state

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"streamctl/internal/record"
)

// How a load becomes the table's: as one batch when it is small, else as files that the
// store takes as they are.

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

// handed waits for what is being handed over. A failure stays: rows are missing.
func (l *Loader) handed() error {
	if l.handing != nil {
		l.lost = errors.Join(l.lost, <-l.handing)
		l.handing = nil
	}
	return l.lost
}

// markTorn notes that the table is half loaded.
func (l *Loader) markTorn() error {
	db := l.table.db
	return db.attempt(func() error { return db.store.Set(l.loadingKey(), nil, pebble.Sync) })
}

// loadingKey is that of the mark: of the table, as several of a task may be half loaded.
func (l *Loader) loadingKey() []byte {
	return append(append(l.table.task.metaPrefix(), kindLoading), l.table.prefix[:]...)
}
