package operators

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"streamctl/state"
)

// Windows that begin and end with records, sessions and sliding ones, are kept by
// key: the row of a key holds all its windows. A second kind of row says in the order
// of time when a key is to be looked at:
//
//	0x00 | time (8 bytes, ordered) | canonical group key    -> 1 byte that means nothing
//	0x01 | canonical group key                              -> the windows, see keyRow
//
// A key is in the first kind once at most, at a time that is not later than that
// of its first window to close. A window that is only extended does not move it:
// whoever comes by at that time sees that it is too early, and moves it then. So
// a session costs two changes of the order, however many records it has.
const (
	dueKind byte = iota
	keyKind
)

// keyRow is the row of a key: its windows, the earliest first.
type keyRow struct {
	spec    *Windowed
	windows []*groupRow
	due     int64   // where the key is in the order of time, nothingDue = nowhere
	times   []int64 // of sliding windows: of the records that are remembered, ascending
	listed  bool    // it is among those with something to tell
	held    int     // what the windows hold in memory, bytes; kept in step by those who change them
}

// start and end are those of a window of a keyRow.
func (s *Windowed) start(row *groupRow) int64 { return row.row.Slots[s.Keys-2].AsInt() }

func (s *Windowed) end(row *groupRow) int64 { return row.row.Slots[s.Keys-1].AsInt() }

// AppendRow implements state.Encoder:
//
//	due | number of times, times | number of windows, each: start, end, length of row, row
//
// all numbers as varints, times as distances to the one before.
func (k *keyRow) AppendRow(dst []byte) []byte {
	dst = binary.AppendVarint(dst, k.due)
	dst = binary.AppendUvarint(dst, uint64(len(k.times)))
	last := int64(0)
	for _, t := range k.times {
		dst = binary.AppendVarint(dst, t-last)
		last = t
	}
	dst = binary.AppendUvarint(dst, uint64(len(k.windows)))
	var row []byte
	for _, w := range k.windows {
		start := k.spec.start(w)
		dst = binary.AppendVarint(dst, start)
		dst = binary.AppendVarint(dst, k.spec.end(w)-start)
		row = w.AppendRow(row[:0])
		dst = appendBytes(dst, row)
	}
	return dst
}

// readKey reads what AppendRow wrote.
func (s *Windowed) readKey(key string, stored []byte) (*keyRow, error) {
	k := &keyRow{spec: s}
	r := wire{rest: stored}
	k.due = r.signed()
	last := int64(0)
	for range r.count() {
		last += r.signed()
		k.times = append(k.times, last)
	}
	for range r.count() {
		start := r.signed()
		end := start + r.signed()
		row, err := s.read(key, start, end, r.bytes())
		if err != nil {
			return nil, fmt.Errorf("decode row of table %s: %w", s.Name, err)
		}
		k.windows = append(k.windows, row)
	}
	if r.short {
		return nil, fmt.Errorf("decode row of table %s: it is cut short", s.Name)
	}
	return k, nil
}

// memory estimates what the row holds, in bytes.
func (k *keyRow) memory() int { return 96 + 8*len(k.times) + 8*len(k.windows) + k.held }

// weigh finds out what the windows hold.
func (k *keyRow) weigh() {
	k.held = 0
	for _, w := range k.windows {
		k.held += w.memory()
	}
}

// keyed is what both operators have in common.
type keyed struct {
	*windowed
	dueKey []byte
}

// rowOf finds the row of w.key; nil = there is none.
func (w *keyed) rowOf() (*keyRow, *state.Row, error) {
	w.stateKey = append(append(w.stateKey[:0], keyKind), w.key...)
	return w.load(w.stateKey)
}

func (w *keyed) load(stateKey []byte) (*keyRow, *state.Row, error) {
	stored, err := w.table.Get(stateKey)
	if err != nil || stored == nil {
		return nil, nil, err
	}
	if k, ok := stored.Decoded.(*keyRow); ok {
		return k, stored, nil
	}
	k, err := w.spec.readKey(stored.Key()[1:], stored.Value)
	if err != nil {
		return nil, nil, err
	}
	w.table.SetDecoded(stored, k, k.memory())
	return k, stored, nil
}

// save writes a row that has changed, its place in the order of time included;
// stored is nil for a new one. due is when its first window closes.
func (w *keyed) save(key []byte, k *keyRow, stored *state.Row, due int64) error {
	if due < k.due {
		if err := w.move(key, k, due); err != nil {
			return err
		}
	}
	if stored != nil {
		w.table.MarkDirty(stored)
	} else {
		var err error
		w.stateKey = append(append(w.stateKey[:0], keyKind), key...)
		if stored, err = w.table.PutDecoded(w.stateKey, k); err != nil {
			return fmt.Errorf("write table %s: %w", w.spec.Name, err)
		}
	}
	w.table.SetDecoded(stored, k, k.memory())
	if w.spec.Every > 0 && !k.listed {
		k.listed = true
		w.pending.keys = append(w.pending.keys, stored.Key())
	}
	return nil
}

// tellKey tells what the windows under a state key have still to tell.
func (w *keyed) tellKey(key []byte) error {
	k, stored, err := w.load(key)
	if k == nil || err != nil {
		return err
	}
	k.listed = false
	w.table.MarkDirty(stored)
	for _, row := range k.windows {
		if err := w.tellLater(row); err != nil {
			return err
		}
	}
	return nil
}

// list notes that a row is to be told, if it may be and that was not noted.
func (w *keyed) list(key []byte, stored *state.Row) bool {
	if key[0] != keyKind {
		return false
	}
	k, ok := stored.Decoded.(*keyRow)
	if !ok {
		return mayTell(stored)
	}
	listed := k.listed
	k.listed = true
	return !listed
}

// move puts the key into the order of time at due; nothingDue takes it out.
func (w *keyed) move(key []byte, k *keyRow, due int64) error {
	if k.due != nothingDue {
		if err := w.table.Delete(w.orderKey(k.due, key)); err != nil {
			return fmt.Errorf("write table %s: %w", w.spec.Name, err)
		}
		w.clock.queue.remove(k.due, key)
	}
	k.due = due
	if due != nothingDue {
		w.clock.queue.add(due, key)
	}
	w.clock.due = w.clock.queue.head()
	if due == nothingDue {
		return nil
	}
	if _, err := w.table.Put(w.orderKey(due, key), []byte{1}); err != nil {
		return fmt.Errorf("write table %s: %w", w.spec.Name, err)
	}
	return nil
}

func (w *keyed) orderKey(due int64, key []byte) []byte {
	w.dueKey = append(appendTime(append(w.dueKey[:0], dueKind), due), key...)
	return w.dueKey
}

// first reads the beginning of the order of time.
func (w *keyed) first() error {
	err := w.clock.queue.reset(w.table)
	w.clock.due = w.clock.queue.head()
	return err
}

// closing is a window that closes.
type closing struct {
	end, start int64
	key        string
}

// keeper is what tells sessions and sliding windows apart, of the row of a key.
type keeper interface {
	// closes appends the windows that close to list.
	closes(k *keyRow, key string, list []closing) []closing
	// leave takes out what is to be forgotten.
	leave(k *keyRow)
	// due says when the row is to be looked at next.
	due(k *keyRow) int64
}

// shut looks at all keys that are due. A window closes when stream time is lag and
// grace past its end.
func (w *keyed) shut(of keeper, lag int64) error {
	keys, err := w.clock.queue.take(w.table, w.clock.now-w.spec.Grace)
	w.clock.due = w.clock.queue.head()
	if err != nil {
		return err
	}
	if w.spec.Final || w.spec.Every > 0 {
		if err := w.giveAll(keys, of, lag); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if err := w.settle(key, of); err != nil {
			return err
		}
	}
	return nil
}

// giveAll gives out the windows of keys that close, in the order of time.
func (w *keyed) giveAll(keys [][]byte, of keeper, lag int64) error {
	var list []closing
	for _, key := range keys {
		k, _, err := w.load(append([]byte{keyKind}, key...))
		if err != nil {
			return err
		}
		list = of.closes(k, string(key), list)
	}
	slices.SortFunc(list, func(a, b closing) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.start, b.start), strings.Compare(a.key, b.key))
	})
	for _, c := range list {
		k, stored, err := w.load(append([]byte{keyKind}, c.key...))
		if err != nil {
			return err
		}
		i, found := slices.BinarySearchFunc(k.windows, c.start, func(r *groupRow, start int64) int {
			return cmp.Compare(w.spec.start(r), start)
		})
		if !found {
			continue
		}
		if w.spec.Every > 0 { // what it has told must not leave the cache unwritten
			w.table.MarkDirty(stored)
		}
		if err := w.give(k.windows[i], c.end+lag+w.spec.Grace); err != nil {
			return err
		}
	}
	return nil
}

// settle brings the row of a key up to date.
func (w *keyed) settle(key []byte, of keeper) error {
	stateKey := append([]byte{keyKind}, key...)
	k, stored, err := w.load(stateKey)
	if err != nil {
		return err
	}
	of.leave(k)
	if err := w.move(key, k, of.due(k)); err != nil {
		return err
	}
	if len(k.windows) == 0 && len(k.times) == 0 {
		return w.table.Delete(stateKey)
	}
	w.table.MarkDirty(stored)
	w.table.SetDecoded(stored, k, k.memory())
	return nil
}
