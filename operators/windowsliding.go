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
	w.follow(op.first, func() error { return op.shut(op.leave, 1) })
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

// leave takes out what is to be forgotten, and lists what closes: what was open
// when the row was looked at last.
func (w *slidingWindow) leave(k *keyRow, key string, list []closing) ([]closing, int64, error) {
	due, looked := int64(nothingDue), k.due
	k.windows = slices.DeleteFunc(k.windows, func(row *groupRow) bool {
		start, end := w.spec.start(row), w.spec.end(row)
		if w.closed(end) && end+1 >= looked {
			list = append(list, closing{end, start, key})
		}
		switch {
		case !w.closed(end):
			due = min(due, end+1)
		case w.forgotten(start):
			return true
		default:
			due = min(due, start+3*w.size+1)
		}
		return false
	})
	k.times = slices.DeleteFunc(k.times, func(t int64) bool { return w.forgotten(t) })
	if len(k.times) > 0 {
		due = min(due, k.times[0]+3*w.size+1)
	}
	return list, due, nil
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
	for _, row := range slices.Concat(k.windows, made) {
		if w.holds(row, e.Time) {
			if err := w.agg.fits(&row.cells); err != nil {
				return w.refuse(e, err)
			}
		}
	}
	w.enter(k, e.Time, made)
	key := slices.Clone(w.key)
	if err := w.add(e, k, made); err != nil {
		return err
	}
	return w.save(key, k, stored, w.firstDue(k))
}

// firstDue is when the row is to be looked at first.
func (w *slidingWindow) firstDue(k *keyRow) int64 {
	due := int64(nothingDue)
	for _, row := range k.windows {
		if end := w.spec.end(row); !w.closed(end) {
			due = min(due, end+1)
		} else {
			due = min(due, w.spec.start(row)+3*w.size+1)
		}
	}
	return due
}

func (w *slidingWindow) holds(row *groupRow, t int64) bool {
	return w.spec.start(row) <= t && t <= w.spec.end(row)
}

// made makes the windows that a record at t brings into being, as they are
// without it.
func (w *slidingWindow) made(k *keyRow, t int64) (made []*groupRow, err error) {
	at, known := slices.BinarySearch(k.times, t)
	if known {
		return nil, nil
	}
	var before, behind []int64 // other records in reach
	for _, u := range k.times[:at] {
		if u >= t-w.size-1 {
			before = append(before, u)
		}
	}
	for _, u := range k.times[at:] {
		if u <= t+1+w.size {
			behind = append(behind, u)
		}
	}
	begin := func(start int64, like *groupRow) error {
		row, err := w.like(k, start, like)
		made = append(made, row)
		return err
	}
	if w.at(k, t-w.size) == nil { // the one that ends with t
		if err := begin(t-w.size, w.left(k, at, t)); err != nil {
			return nil, err
		}
	}
	if len(behind) > 0 && w.at(k, t+1) == nil {
		if err := begin(t+1, w.right(k, before, behind)); err != nil {
			return nil, err
		}
	}
	for _, u := range before { // those behind earlier records, which were empty
		if w.at(k, u+1) == nil && !slices.ContainsFunc(made, func(r *groupRow) bool { return w.spec.start(r) == u+1 }) {
			if err := begin(u+1, nil); err != nil {
				return nil, err
			}
		}
	}
	return made, nil
}

// enter notes a record at t and the windows that it has made.
func (w *slidingWindow) enter(k *keyRow, t int64, made []*groupRow) {
	if at, known := slices.BinarySearch(k.times, t); !known {
		k.times = slices.Insert(k.times, at, t)
	}
	for _, row := range made {
		i, _ := slices.BinarySearchFunc(k.windows, w.spec.start(row), func(r *groupRow, start int64) int {
			return cmp.Compare(w.spec.start(r), start)
		})
		k.windows = slices.Insert(k.windows, i, row)
	}
}

// at finds the window that begins at start, nil when there is none.
func (w *slidingWindow) at(k *keyRow, start int64) *groupRow {
	for _, row := range k.windows {
		if w.spec.start(row) == start {
			return row
		}
	}
	return nil
}

// left finds the window that holds what [t - Size, t) holds; nil = that is nothing.
func (w *slidingWindow) left(k *keyRow, at int, t int64) *groupRow {
	if at == 0 || k.times[at-1] < t-w.size {
		return nil
	}
	last := k.times[at-1]
	for _, u := range slices.Backward(k.times[:at]) {
		if u < t-w.size {
			if u >= last-w.size {
				return w.at(k, u+1)
			}
			break
		}
	}
	return w.at(k, last-w.size)
}

// right finds the window that holds what (t, t + 1 + Size] holds: the records behind.
func (w *slidingWindow) right(k *keyRow, before, behind []int64) *groupRow {
	last := behind[len(behind)-1]
	if n := len(before); n > 0 && before[n-1] >= last-w.size {
		return w.at(k, before[n-1]+1)
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
	for _, row := range k.windows {
		fresh, holds := slices.Contains(made, row), w.holds(row, e.Time)
		if !fresh && !holds {
			continue
		}
		w.keep(row)
		if holds {
			if err := w.take(row, e.Time); err != nil {
				return w.refuse(e, err)
			}
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
