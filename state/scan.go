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

// overlay is what scans know of the rows that are not applied: they, and only
// they, differ from the store. It is kept from a table's first scan on. A row
// is in it at least while it is pinned, and may be in it twice.
type overlay struct {
	on     bool
	sorted []*Row
	fresh  []*Row // pinned since, in no order
}

// freshRows is up to how many rows a scan looks through one by one.
const freshRows = 64

// init fills the overlay with what has been pinned before it was kept.
func (o *overlay) init(t *Table) {
	o.on = true
	o.fresh = append(o.fresh, t.dirty...)
	for _, s := range t.task.waiting {
		for i, table := range t.task.order {
			if table == t {
				o.fresh = append(o.fresh, s.rows[i]...)
			}
		}
	}
}

// settle sorts in what is fresh, from the back, so that every run of sorted
// rows between two fresh ones moves once.
func (o *overlay) settle() {
	slices.SortFunc(o.fresh, compareRows)
	end := len(o.sorted)
	o.sorted = append(o.sorted, o.fresh...)
	for i := len(o.fresh) - 1; i >= 0; i-- {
		at, _ := slices.BinarySearchFunc(o.sorted[:end], o.fresh[i], compareRows)
		copy(o.sorted[at+i+1:], o.sorted[at:end])
		o.sorted[at+i] = o.fresh[i]
		end = at
	}
	clear(o.fresh)
	o.fresh = o.fresh[:0]
}

// trim forgets the rows that have been applied.
func (o *overlay) trim(applied uint64) {
	is := func(r *Row) bool { return r.epoch <= applied }
	o.sorted = slices.DeleteFunc(o.sorted, is)
	o.fresh = slices.DeleteFunc(o.fresh, is)
}

func compareRows(a, b *Row) int { return strings.Compare(a.key, b.key) }

// unapplied returns the pinned rows of a range, in order.
func (t *Table) unapplied(from, to []byte) []*Row {
	o := &t.overlay
	if !o.on {
		o.init(t)
	}
	if len(o.fresh) > freshRows {
		o.settle()
	}
	var rows []*Row
	inside := func(r *Row) bool { return to == nil || r.key < string(to) }
	first, _ := slices.BinarySearchFunc(o.sorted, from, func(r *Row, from []byte) int { return strings.Compare(r.key, string(from)) })
	for _, r := range o.sorted[first:] {
		if !inside(r) {
			break
		}
		if r.epoch > t.task.applied {
			rows = append(rows, r)
		}
	}
	for _, r := range o.fresh {
		if r.key >= string(from) && inside(r) && r.epoch > t.task.applied {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, compareRows)
	return slices.Compact(rows)
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
