package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Scan calls fn for every row with from <= key < to, in the order of keys' bytes,
// until it returns false or an error; to nil means to the end. Rows that are
// not cached are not brought into the cache. key and row are only good during the
// call, and row must not be passed to MarkDirty. fn may Put and Delete in the
// table: rows deleted are not visited any more, rows added may be or not.
func (t *Table) Scan(from, to []byte, fn func(key []byte, row *Row) (more bool, err error)) (err error) {
	defer t.db.recoverInto(&err)
	if t.task.closed {
		return ErrClosed
	}
	if err := t.db.Err(); err != nil {
		return err
	}
	bounds := pebble.IterOptions{LowerBound: append(t.prefix[:len(t.prefix):len(t.prefix)], from...)}
	if to == nil {
		bounds.UpperBound = keyAfter(t.prefix[:])
	} else {
		bounds.UpperBound = append(t.prefix[:len(t.prefix):len(t.prefix)], to...)
	}
	it, err := t.db.store.NewIter(&bounds)
	if err != nil {
		return fmt.Errorf("scan table %s: %w", t.name, t.db.check(err))
	}
	defer func() { err = errors.Join(err, t.db.check(it.Close())) }()
	return t.merge(it, t.unapplied(from, to), fn)
}

// ScanPrefix is Scan over the keys that begin with prefix.
func (t *Table) ScanPrefix(prefix []byte, fn func(key []byte, row *Row) (more bool, err error)) error {
	return t.Scan(prefix, keyAfter(prefix), fn)
}

// unapplied returns the changed rows of a range, in order: they, and only they,
// differ from the store.
func (t *Table) unapplied(from, to []byte) []*Row {
	var rows []*Row
	collect := func(all []*Row, epoch uint64) {
		for _, r := range all {
			if r.epoch == epoch && r.key >= string(from) && (to == nil || r.key < string(to)) {
				rows = append(rows, r)
			}
		}
	}
	for _, s := range t.task.waiting {
		for i, table := range t.task.order {
			if table == t {
				collect(s.rows[i], s.epoch)
			}
		}
	}
	collect(t.dirty, t.task.current)
	slices.SortFunc(rows, func(a, b *Row) int { return strings.Compare(a.key, b.key) })
	return rows
}

// merge walks store and changed rows together; of two with the same key the
// changed one counts.
func (t *Table) merge(it *pebble.Iterator, changed []*Row, fn func([]byte, *Row) (bool, error)) error {
	scratch := &Row{slot: -1}
	it.First()
	for it.Valid() || len(changed) > 0 {
		order := 1
		if it.Valid() {
			order = -1
			if len(changed) > 0 {
				order = bytes.Compare(it.Key()[prefixLen:], keyBytes(changed[0].key))
			}
		}
		var row *Row
		var key []byte
		if order >= 0 {
			row, changed = changed[0], changed[1:]
			key = keyBytes(row.key)
		} else {
			key = it.Key()[prefixLen:]
			stored, err := it.ValueAndErr()
			if err == nil {
				row, err = t.stored(key, stored, scratch)
			}
			if err != nil {
				return fmt.Errorf("scan table %s: %w", t.name, t.db.check(err))
			}
		}
		if !row.gone {
			if more, err := fn(key, row); err != nil || !more {
				return err
			}
		}
		if order <= 0 {
			it.Next()
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("scan table %s: %w", t.name, t.db.check(err))
	}
	return nil
}

// stored is a row that the store holds: the cached one if there is one, since
// it may be decoded, or have changed since the scan began. Otherwise it is put
// into scratch, its value without a copy.
func (t *Table) stored(key, value []byte, scratch *Row) (*Row, error) {
	if r := t.rows[string(key)]; r != nil {
		return r, nil
	}
	row, err := DecodeChangelog(value)
	*scratch = Row{key: string(key), Value: row, slot: -1}
	return scratch, err
}
