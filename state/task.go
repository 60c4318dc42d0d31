package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"streamctl/internal/record"
)

// Task is the state of one task: its tables, and the positions, stream time and
// marks that belong to them. One goroutine owns it. Reads see the newest value,
// committed or not.
//
// Changes gather in an epoch. Seal ends the epoch and makes of it one Sealed,
// to be applied after Kafka has committed it; meanwhile changes belong to the
// next epoch. When Kafka has not committed it, or nobody knows, the task must be
// abandoned and opened again: there is no way back within.
type Task struct {
	db     *DB
	key    taskKey
	prefix []byte // of its keys beside rows
	tables map[string]*Table
	order  []*Table // as in the specs

	current uint64 // epoch of changes being made
	applied uint64 // last epoch in the store
	waiting []*Sealed

	positions  map[record.TopicPartition]int64
	streamTime int64
	marks      map[string]bool
	// What of these has changed in the current epoch.
	newPositions map[record.TopicPartition]bool
	newTime      bool
	newMarks     []string

	savedAt    int64
	newSavedAt bool
	stamp      []byte
	loaders    []*Loader // not finished
	closed     bool
}

// OpenTask opens the state of a partition of a sub-topology. Errors: ErrOpen
// when it is open already, ErrFailed, and faults of names.
func (db *DB) OpenTask(sub string, partition int32, specs []TableSpec) (_ *Task, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	defer db.recoverInto(&err)
	if db.closed {
		return nil, ErrClosed
	}
	if err := db.Err(); err != nil {
		return nil, err
	}
	t := &Task{
		db:           db,
		key:          taskKey{sub, partition},
		tables:       make(map[string]*Table, len(specs)),
		current:      1,
		positions:    make(map[record.TopicPartition]int64),
		streamTime:   math.MinInt64,
		marks:        make(map[string]bool),
		newPositions: make(map[record.TopicPartition]bool),
	}
	if err := t.open(specs); err != nil {
		return nil, fmt.Errorf("open state of task %s/%d: %w", sub, partition, db.check(err))
	}
	db.open[t.key] = t
	db.tables.Add(int64(len(t.order)))
	return t, nil
}

// open gives the task its numbers and reads what is stored beside rows.
func (t *Task) open(specs []TableSpec) error {
	db := t.db
	if err := checkName("sub-topology", t.key.sub); err != nil {
		return err
	}
	if t.key.partition < 0 {
		return errors.New("the partition is negative")
	}
	if db.open[t.key] != nil {
		return ErrOpen
	}
	id, err := db.id(t.key.sub)
	if err != nil {
		return err
	}
	t.prefix = taskPrefix(id, t.key.partition)
	if err := t.dropTorn(); err != nil {
		return err
	}
	for _, spec := range specs {
		if err := checkName("table", spec.Name); err != nil {
			return err
		}
		if t.tables[spec.Name] != nil {
			return fmt.Errorf("table %q is there twice", spec.Name)
		}
		id, err := db.id(t.key.sub + "/" + spec.Name)
		if err != nil {
			return err
		}
		table := newTable(t, spec, tablePrefix(id, t.key.partition))
		if table.complete, err = db.empty(table.prefix[:]); err != nil {
			return err
		}
		t.tables[spec.Name] = table
		t.order = append(t.order, table)
	}
	return t.load()
}

// dropTorn begins anew where a bulk load was cut short while the store took it:
// some of its rows are there without the positions that they belong to.
func (t *Task) dropTorn() error {
	whole, err := t.db.empty(append(t.metaPrefix(), kindLoading))
	if err != nil || whole {
		return err
	}
	t.db.opts.Logger.Warn("a restore was cut short: the state of the task is restored from the beginning", "task", fmt.Sprintf("%s/%d", t.key.sub, t.key.partition))
	return t.db.dropTask(t.key)
}

// load reads positions, stream time and marks.
func (t *Task) load() error {
	return t.db.each(t.prefix, func(key, val []byte) error {
		kind, rest := key[taskPrefixLen], key[taskPrefixLen+1:]
		if kind == kindMark {
			t.marks[string(rest)] = true
			return nil
		}
		if len(val) != 8 {
			return fmt.Errorf("read %q: %w", key, ErrCorrupt)
		}
		n := int64(binary.BigEndian.Uint64(val))
		switch kind {
		case kindStreamTime:
			t.streamTime = n
			return nil
		case kindSavedAt:
			t.savedAt = n
			return nil
		case kindPosition:
		default:
			return fmt.Errorf("read %q: %w", key, ErrCorrupt)
		}
		tp, err := parsePosition(rest)
		t.positions[tp] = n
		return err
	})
}

// empty tells whether nothing is stored under a prefix.
func (db *DB) empty(prefix []byte) (bool, error) {
	empty := true
	stop := errors.New("not empty")
	err := db.each(prefix, func(_, _ []byte) error { empty = false; return stop })
	if errors.Is(err, stop) {
		err = nil
	}
	return empty, err
}

// Table returns a table of the task, nil when its specs do not name it.
func (t *Task) Table(name string) *Table { return t.tables[name] }

// Position is the offset to read next from tp, as last set.
func (t *Task) Position(tp record.TopicPartition) (int64, bool) {
	off, ok := t.positions[tp]
	return off, ok
}

// Positions calls fn for every position, in no order.
func (t *Task) Positions(fn func(tp record.TopicPartition, offset int64)) {
	for tp, off := range t.positions {
		fn(tp, off)
	}
}

// SetPosition sets the offset to read next from tp. It is stored with the
// epoch's rows.
func (t *Task) SetPosition(tp record.TopicPartition, offset int64) {
	t.positions[tp] = offset
	t.newPositions[tp] = true
}

// StreamTime is the greatest event time seen in milliseconds, math.MinInt64
// before the first.
func (t *Task) StreamTime() int64 { return t.streamTime }

// SetStreamTime sets it, in milliseconds.
func (t *Task) SetStreamTime(ms int64) {
	if ms != t.streamTime {
		t.streamTime, t.newTime = ms, true
	}
}

// SavedAt is the wall-clock time in milliseconds that SetSavedAt was given
// last, 0 if never: how old the state is.
func (t *Task) SavedAt() int64 { return t.savedAt }

// SetSavedAt sets it. It is stored with the epoch, and does not make one by itself.
func (t *Task) SetSavedAt(ms int64) {
	if ms != t.savedAt {
		t.savedAt, t.newSavedAt = ms, true
	}
}

// Marked tells whether Mark has been called for name, ever.
func (t *Task) Marked(name string) bool { return t.marks[name] }

// MarkedWith gives what follows prefix in the names that Mark was called for, sorted.
func (t *Task) MarkedWith(prefix string) []string {
	var rest []string
	for name := range t.marks {
		if after, ok := strings.CutPrefix(name, prefix); ok {
			rest = append(rest, after)
		}
	}
	slices.Sort(rest)
	return rest
}

// Mark remembers that something has been done once and for all, such as a first load.
func (t *Task) Mark(name string) {
	if !t.marks[name] {
		t.marks[name] = true
		t.newMarks = append(t.newMarks, name)
	}
}

// SetStamp sets what the changelog form of rows carries from the next Seal on:
// under at-least-once, the input positions they have seen. The bytes mean
// nothing here; DecodeStamped returns them. nil ends it.
func (t *Task) SetStamp(stamp []byte) { t.stamp = append([]byte(nil), stamp...) }

// Changed tells whether the current epoch has anything to seal.
func (t *Task) Changed() bool {
	if len(t.newPositions) > 0 || t.newTime || len(t.newMarks) > 0 {
		return true
	}
	for _, table := range t.order {
		if len(table.dirty) > 0 {
			return true
		}
	}
	return false
}

// Abandon forgets everything that has not been applied and closes the task
// without writing. A Sealed of it can no longer be applied.
func (t *Task) Abandon() {
	if t.closed {
		return
	}
	t.closed = true
	t.discard()
	for _, table := range t.order {
		table.forget()
	}
	t.db.tables.Add(-int64(len(t.order)))
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	delete(t.db.open, t.key)
}

// discard gives up what has been begun.
func (t *Task) discard() {
	for _, s := range t.waiting {
		s.discard()
	}
	t.waiting = nil
	for len(t.loaders) > 0 {
		t.loaders[0].Abandon()
	}
}

// Close closes the task. ErrUncommitted tells that changes had not been
// applied and are lost; it is closed all the same.
func (t *Task) Close() error {
	if t.closed {
		return nil
	}
	lost := t.Changed() || len(t.waiting) > 0
	t.Abandon()
	if lost {
		return fmt.Errorf("close state of task %s/%d: %w", t.key.sub, t.key.partition, ErrUncommitted)
	}
	return nil
}

// Drop deletes everything stored of the task, durably: rows of all tables that
// ever belonged to it, positions, stream time, marks. What was not applied is
// forgotten, and so are bulk loads not finished. The task stays open and is empty.
func (t *Task) Drop() (err error) {
	defer t.db.recoverInto(&err)
	if t.closed {
		return ErrClosed
	}
	if err := t.db.Err(); err != nil {
		return err
	}
	t.discard() // first: a load may be handing files over
	t.db.mu.Lock()
	err = t.db.dropTask(t.key)
	t.db.mu.Unlock()
	if err != nil {
		return fmt.Errorf("drop state of task %s/%d: %w", t.key.sub, t.key.partition, t.db.check(err))
	}
	t.applied = t.current
	t.current++
	for _, table := range t.order {
		table.forget()
		table.reset(true)
	}
	clear(t.positions)
	clear(t.newPositions)
	clear(t.marks)
	t.newMarks, t.newTime, t.streamTime = nil, false, math.MinInt64
	t.newSavedAt, t.savedAt = false, 0
	return nil
}
