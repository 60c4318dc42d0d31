package operators

import (
	"cmp"
	"slices"
)

// SlidingWindow groups a stream by key and by the windows of Size ms, both ends
// included, that differ in the records they hold: of each record, the one that ends
// with it, and the one that begins right behind it, if there is a record in it
// (Kafka's KIP-450). A window closes when stream time is past its end + Grace.
//
// A new window holds what one that is there already holds, and perhaps the new
// record: nothing is computed anew. For that, windows are remembered for longer than
// they are open, and go on taking in what comes late, which nobody is told: a record
// that is not late is at most Size + Grace behind stream time, and the windows
// that its own are made from begin at most 2 Size before it.
type SlidingWindow struct {
	Windowed
	Size int64 // ms
}

// Make implements Spec. What the windows give out goes to Next.
func (s *SlidingWindow) Make(t *Task, _ Operator) (Operator, error) {
	w, err := s.open(t, s.Size+1)
	if err != nil {
		return nil, err
	}
	op := &slidingWindow{keyed: keyed{windowed: w}, size: s.Size}
	w.follow(op.first, func() error { return op.shut(op, 1) })
	w.coalesce(op.tellKey, op.list)
	return op, nil
}

type slidingWindow struct {
	keyed
	size int64
}

// closed says that stream time has passed the end of a window, and grace.
func (w *slidingWindow) closed(end int64) bool { return end+1+w.spec.Grace <= w.clock.now }

// forgotten says that nothing can be made from the window any more.
func (w *slidingWindow) forgotten(start int64) bool { return w.closed(start + 3*w.size) }

// closes lists what closes: what was open when the row was looked at last. Windows
// lie in order of start, and so of end: those that close are one behind the other.
func (w *slidingWindow) closes(k *keyRow, key string, list []closing) []closing {
	for _, row := range k.windows[w.from(k, k.due-1-w.size):w.open(k)] {
		list = append(list, closing{w.spec.end(row), w.spec.start(row), key})
	}
	return list
}

// leave takes out what is to be forgotten, the beginning of the row.
func (w *slidingWindow) leave(k *keyRow) {
	gone := 0
	for gone < len(k.windows) && w.forgotten(w.spec.start(k.windows[gone])) {
		k.held -= k.windows[gone].memory()
		gone++
	}
	clear(k.windows[:gone])
	k.windows = k.windows[gone:]
	old := 0
	for old < len(k.times) && w.forgotten(k.times[old]) {
		old++
	}
	k.times = k.times[old:]
}

// Process takes e into its windows.
func (w *slidingWindow) Process(e *Event) error {
	if ok, err := w.groupKey(e); !ok {
		return err
	}
	if w.closed(e.Time + w.size) {
		return w.tooLate(e)
	}
	k, stored, err := w.rowOf()
	if err != nil {
		return w.refuse(e, &stateError{err})
	}
	if k == nil {
		k = &keyRow{spec: w.spec, due: nothingDue}
	}
	if err := w.agg.read(&e.Frame); err != nil {
		return w.refuse(e, err)
	}
	made, err := w.made(k, e.Time)
	if err != nil {
		return w.refuse(e, &stateError{err})
	}
	if err := w.room(k, e.Time, made); err != nil {
		return w.refuse(e, err)
	}
	w.enter(k, e.Time, made)
	key := slices.Clone(w.key)
	if err := w.add(e, k, made); err != nil {
		return err
	}
	return w.save(key, k, stored, w.due(k))
}

// due is when the row is to be looked at next: when its first open window
// closes, or its first closed one or first record is to be forgotten.
func (w *slidingWindow) due(k *keyRow) int64 {
	due := int64(nothingDue)
	if open := w.open(k); open < len(k.windows) {
		due = w.spec.end(k.windows[open]) + 1
	}
	if len(k.windows) > 0 {
		due = min(due, w.spec.start(k.windows[0])+3*w.size+1)
	}
	if len(k.times) > 0 {
		due = min(due, k.times[0]+3*w.size+1)
	}
	return due
}

// from is the place of the first window that begins at start or later.
func (w *slidingWindow) from(k *keyRow, start int64) int {
	i, _ := slices.BinarySearchFunc(k.windows, start, func(r *groupRow, start int64) int {
		return cmp.Compare(w.spec.start(r), start)
	})
	return i
}

// open is the place of the first window that is not closed.
func (w *slidingWindow) open(k *keyRow) int {
	if w.clock.now == noTime {
		return 0
	}
	return w.from(k, w.clock.now-w.spec.Grace-w.size)
}

// room says why a record at t cannot be taken into all windows that hold it.
func (w *slidingWindow) room(k *keyRow, t int64, made []*groupRow) error {
	for _, list := range [][]*groupRow{k.windows[w.from(k, t-w.size):w.from(k, t+1)], made} {
		for _, row := range list {
			if !w.holds(row, t) {
				continue
			}
			if err := w.agg.fits(&row.cells); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *slidingWindow) holds(row *groupRow, t int64) bool {
	return w.spec.start(row) <= t && t <= w.spec.end(row)
}

// made makes the windows that a record at t brings into being, as they are
// without it. The record before had none behind it if nothing was in its reach.
func (w *slidingWindow) made(k *keyRow, t int64) (made []*groupRow, err error) {
	at, known := slices.BinarySearch(k.times, t)
	if known {
		return nil, nil
	}
	begin := func(start int64, like *groupRow) {
		if err != nil || w.at(k, start) != nil || slices.ContainsFunc(made, func(r *groupRow) bool { return w.spec.start(r) == start }) {
			return
		}
		var row *groupRow
		row, err = w.like(k, start, like)
		made = append(made, row)
	}
	begin(t-w.size, w.left(k, at, t)) // the one that ends with t
	last, _ := slices.BinarySearch(k.times, t+w.size+2)
	if last > at {
		begin(t+1, w.right(k, at, last))
	}
	if at > 0 && k.times[at-1] >= t-w.size-1 {
		begin(k.times[at-1]+1, nil)
	}
	return made, err
}

// enter notes a record at t and the windows that it has made.
func (w *slidingWindow) enter(k *keyRow, t int64, made []*groupRow) {
	if at, known := slices.BinarySearch(k.times, t); !known {
		k.times = slices.Insert(k.times, at, t)
	}
	for _, row := range made {
		k.held += row.memory()
		k.windows = slices.Insert(k.windows, w.from(k, w.spec.start(row)), row)
	}
}

// at finds the window that begins at start, nil when there is none.
func (w *slidingWindow) at(k *keyRow, start int64) *groupRow {
	if i := w.from(k, start); i < len(k.windows) && w.spec.start(k.windows[i]) == start {
		return k.windows[i]
	}
	return nil
}

// left finds the window that holds what [t - Size, t) holds; nil = that is nothing.
func (w *slidingWindow) left(k *keyRow, at int, t int64) *groupRow {
	if at == 0 || k.times[at-1] < t-w.size {
		return nil
	}
	last := k.times[at-1]
	first, _ := slices.BinarySearch(k.times, t-w.size)
	if first > 0 && k.times[first-1] >= last-w.size {
		return w.at(k, k.times[first-1]+1)
	}
	return w.at(k, last-w.size)
}

// right finds the window that holds what (t, t + 1 + Size] holds: the records from
// place at up to end.
func (w *slidingWindow) right(k *keyRow, at, end int) *groupRow {
	last := k.times[end-1]
	if at > 0 && k.times[at-1] >= last-w.size {
		return w.at(k, k.times[at-1]+1)
	}
	return w.at(k, last-w.size)
}

// like makes a window that begins at start and holds what another one holds.
func (w *slidingWindow) like(k *keyRow, start int64, other *groupRow) (*groupRow, error) {
	key := string(w.key)
	if other == nil {
		return w.spec.fresh(key, start, start+w.size)
	}
	return w.spec.read(key, start, start+w.size, other.AppendRow(nil))
}

// add takes e into the windows that hold it, and tells of those that are open.
func (w *slidingWindow) add(e *Event, k *keyRow, made []*groupRow) error {
	for _, row := range k.windows[w.from(k, e.Time-w.size):w.from(k, e.Time+2)] {
		fresh, holds := slices.Contains(made, row), w.holds(row, e.Time)
		if !fresh && !holds {
			continue
		}
		w.keep(row)
		if holds {
			was := row.cells.memory()
			if err := w.take(row, e.Time); err != nil {
				return w.refuse(e, err)
			}
			k.held += row.cells.memory() - was
		}
		if w.closed(w.spec.end(row)) {
			continue
		}
		if err := w.tell(e, row, !fresh); err != nil {
			return err
		}
	}
	return nil
}
