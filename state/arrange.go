package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"streamctl/internal/record"
)

// Tables are stored under the sub-topology that keeps them, and sub-topologies
// get their names from what is in them: a new table beside an old one may
// rename the place where the old one's rows lie. Arrange moves them there, by
// names and positions only; no row is written.

// Arrange puts what is stored of tables under the sub-topologies that keep
// them now: keeps lists tables by sub-topology. It returns the tables that
// have moved, sorted. It must be called before any task is opened: ErrOpen.
func (db *DB) Arrange(keeps map[string][]string) (moved []string, err error) {
	defer db.recoverInto(&err)
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.closed:
		return nil, ErrClosed
	case db.Err() != nil:
		return nil, db.Err()
	case len(db.open) > 0:
		return nil, fmt.Errorf("arrange state: %w", ErrOpen)
	}
	home := make(map[string]string)
	for sub, tables := range keeps {
		for _, t := range tables {
			home[t] = sub
		}
	}
	var stored []string
	for name := range db.names {
		stored = append(stored, name)
	}
	slices.Sort(stored)
	a := arrangement{db: db, batch: db.store.NewBatch(), metas: make(map[[2]string]bool)}
	defer a.batch.Close()
	for _, name := range stored {
		old, table, isTable := strings.Cut(name, "/")
		if to, kept := home[table]; isTable && kept && to != old {
			if err := a.move(old, to, table); err != nil {
				return nil, fmt.Errorf("arrange state of table %s: %w", table, db.check(err))
			}
			moved = append(moved, table)
		}
	}
	if len(moved) == 0 {
		return nil, nil
	}
	if err := a.finish(); err != nil {
		return nil, fmt.Errorf("arrange state: %w", db.check(err))
	}
	return moved, nil
}

// arrangement is one Arrange.
type arrangement struct {
	db      *DB
	batch   *pebble.Batch
	metas   map[[2]string]bool // sub-topologies from and to, of tables that move
	renamed [][2]string        // names from and to
	dropped []string           // names that go
}

// move gives a table's number to its new name. Should there be rows under that
// name already, these are the younger ones: the others go.
func (a *arrangement) move(old, to, table string) error {
	was, is := old+"/"+table, to+"/"+table
	id := a.db.names[was]
	if err := a.batch.Delete(metaKey(metaName, was), nil); err != nil {
		return err
	}
	if _, taken := a.db.names[is]; taken {
		a.dropped = append(a.dropped, was)
		prefix := binary.BigEndian.AppendUint32(nil, id)
		return a.batch.DeleteRange(prefix, keyAfter(prefix), nil)
	}
	a.renamed = append(a.renamed, [2]string{was, is})
	a.metas[[2]string{old, to}] = true
	return a.batch.Set(metaKey(metaName, is), binary.BigEndian.AppendUint32(nil, id), nil)
}

// finish moves what belongs to the tables beside their rows, and writes all of it at once.
func (a *arrangement) finish() error {
	var pairs [][2]string
	for pair := range a.metas {
		pairs = append(pairs, pair)
	}
	slices.SortFunc(pairs, func(x, y [2]string) int { return strings.Compare(x[0]+"\x00"+x[1], y[0]+"\x00"+y[1]) })
	merged := make(map[string][]byte)
	for _, pair := range pairs {
		from, known := a.db.names[pair[0]]
		if !known {
			continue // nothing of it beside rows
		}
		to, err := a.db.id(pair[1])
		if err != nil {
			return err
		}
		if err := a.merge(from, to, merged); err != nil {
			return err
		}
	}
	for key, val := range merged {
		if err := a.batch.Set([]byte(key), val, nil); err != nil {
			return err
		}
	}
	if err := a.db.ok(a.batch.Commit(pebble.Sync)); err != nil {
		return err
	}
	for _, r := range a.renamed {
		a.db.names[r[1]] = a.db.names[r[0]]
		delete(a.db.names, r[0])
	}
	for _, name := range a.dropped {
		delete(a.db.names, name)
	}
	return nil
}

// merge adds what is stored of the tasks of one sub-topology to those of
// another. Where both know something, what asks for more to be read again wins.
func (a *arrangement) merge(from, to uint32, merged map[string][]byte) error {
	prefix := binary.BigEndian.AppendUint32(metaKey(metaTask, ""), from)
	return a.db.each(prefix, func(key, val []byte) error {
		if len(key) <= taskPrefixLen {
			return fmt.Errorf("read %q: %w", key, ErrCorrupt)
		}
		target := string(binary.BigEndian.AppendUint32(metaKey(metaTask, ""), to)) + string(key[len(prefix):])
		have, ok := merged[target]
		if !ok {
			var err error
			if have, err = a.db.read([]byte(target)); err != nil {
				return err
			}
		}
		val = slices.Clone(val)
		if len(have) == 8 && len(val) == 8 {
			mine, theirs := int64(binary.BigEndian.Uint64(have)), int64(binary.BigEndian.Uint64(val))
			if older := mine < theirs; older != (key[taskPrefixLen] == kindStreamTime) {
				val = have
			}
		}
		merged[target] = val
		return nil
	})
}

// DropTable deletes one table of the task, durably, with the positions and
// marks that belong to it. Nothing of the task may have been changed yet:
// ErrUncommitted.
func (t *Task) DropTable(name string, positions []record.TopicPartition, marks []string) (err error) {
	defer t.db.recoverInto(&err)
	table := t.tables[name]
	switch {
	case t.closed:
		return ErrClosed
	case t.db.Err() != nil:
		return t.db.Err()
	case table == nil:
		return fmt.Errorf("drop table %s: the task has no such table", name)
	case t.Changed() || len(t.waiting) > 0 || len(t.loaders) > 0:
		return fmt.Errorf("drop table %s: %w", name, ErrUncommitted)
	}
	b := t.db.store.NewBatch()
	defer b.Close()
	err = b.DeleteRange(table.prefix[:], keyAfter(table.prefix[:]), nil)
	for _, tp := range positions {
		err = errors.Join(err, b.Delete(t.positionKey(tp), nil))
	}
	for _, mark := range marks {
		err = errors.Join(err, b.Delete(t.markKey(mark), nil))
	}
	if err == nil {
		err = t.db.ok(b.Commit(pebble.Sync))
	}
	if err != nil {
		return fmt.Errorf("drop table %s: %w", name, t.db.check(err))
	}
	table.forget()
	table.reset(true)
	for _, tp := range positions {
		delete(t.positions, tp)
	}
	for _, mark := range marks {
		delete(t.marks, mark)
	}
	return nil
}

// MarkNow is Mark that is durable when it returns, with what has been applied.
func (t *Task) MarkNow(name string) (err error) {
	defer t.db.recoverInto(&err)
	switch {
	case t.closed:
		return ErrClosed
	case t.db.Err() != nil:
		return t.db.Err()
	}
	if err := t.db.ok(t.db.store.Set(t.markKey(name), nil, pebble.Sync)); err != nil {
		return fmt.Errorf("mark %s: %w", name, err)
	}
	t.marks[name] = true
	return nil
}
