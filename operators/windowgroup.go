package operators

import (
	"fmt"

	"streamctl/state"
)

// GridWindow groups a stream by key and by windows that tumble or hop. The state
// has a row per key and window, those of the earliest window first: what closes is
// a range of the table.
//
//	start (8 bytes, ordered) | canonical group key
type GridWindow struct {
	Windowed
	Grid *Grid
}

// Make implements Spec. What the windows give out goes to Next.
func (s *GridWindow) Make(t *Task, _ Operator) (Operator, error) {
	w, err := s.open(t, s.Grid.Longest())
	if err != nil {
		return nil, err
	}
	op := &gridWindow{windowed: w, grid: s.Grid, single: s.Grid.Size == s.Grid.Every}
	w.follow(op.first, op.shut)
	w.coalesce(op.tellKey, op.list)
	return op, nil
}

type gridWindow struct {
	*windowed
	grid   *Grid
	single bool // no two windows share a moment
	// The window of the last record, where no two share a moment: most records lie in
	// the same one as the last.
	start, end int64
	starts     []int64
	rows       []gridRow // of the windows of a record
}

// gridRow is a row that a record changes.
type gridRow struct {
	row    *groupRow
	stored *state.Row // nil = new
	start  int64
}

// Process takes e into its windows.
func (w *gridWindow) Process(e *Event) error {
	if ok, err := w.groupKey(e); !ok {
		return err
	}
	w.locate(e.Time)
	if len(w.starts) == 0 {
		return w.tooLate(e)
	}
	if err := w.agg.read(&e.Frame); err != nil {
		return w.refuse(e, err)
	}
	if err := w.load(); err != nil {
		return w.refuse(e, err)
	}
	for i := range w.rows {
		r := &w.rows[i]
		w.keep(r.row)
		if err := w.take(r.row, e.Time); err != nil {
			return w.refuse(e, err)
		}
		if err := w.store(r); err != nil {
			return err
		}
		if err := w.tell(e, r.row, r.stored != nil); err != nil {
			return err
		}
		if r.row.told != nil && !r.row.listed {
			r.row.listed = true
			w.pending.keys = append(w.pending.keys, string(append(appendTime(nil, r.start), w.key...)))
		}
	}
	return nil
}

// tellKey tells what the window under a state key has still to tell.
func (w *gridWindow) tellKey(key []byte) error {
	stored, err := w.table.Get(key)
	if stored == nil || err != nil {
		return err
	}
	row, err := w.cached(stored)
	if err != nil {
		return err
	}
	row.listed = false
	if row.told == nil {
		return nil
	}
	w.table.MarkDirty(stored)
	return w.tellLater(row)
}

// list notes that a row is to be told, if it is and that was not noted.
func (w *gridWindow) list(_ []byte, stored *state.Row) bool {
	row, ok := stored.Decoded.(*groupRow)
	if !ok {
		return mayTell(stored)
	}
	listed := row.listed
	row.listed = listed || row.told != nil
	return row.listed && !listed
}

// locate finds the windows that t lies in and that are open, the earliest first.
func (w *gridWindow) locate(t int64) {
	w.starts = w.starts[:0]
	if w.single {
		if t < w.start || t >= w.end {
			w.start = w.grid.Floor(t)
			w.end = w.grid.End(w.start)
		}
		w.starts = append(w.starts, w.start)
	} else {
		w.starts = w.grid.covering(w.starts, t)
	}
	open := w.starts[:0]
	for _, start := range w.starts {
		if w.endOf(start)+w.spec.Grace > w.clock.now {
			open = append(open, start)
		}
	}
	w.starts = open
}

func (w *gridWindow) endOf(start int64) int64 {
	if w.single && start == w.start && w.end != 0 {
		return w.end
	}
	return w.grid.End(start)
}

// load finds the rows of the windows, or makes those that are not there; where
// there are several, it looks whether all of them can take the record.
func (w *gridWindow) load() error {
	w.rows = w.rows[:0]
	for _, start := range w.starts {
		w.stateKey = append(appendTime(w.stateKey[:0], start), w.key...)
		stored, err := w.table.Get(w.stateKey)
		if err != nil {
			return &stateError{err}
		}
		r := gridRow{stored: stored, start: start}
		if stored == nil {
			r.row, err = w.spec.fresh(string(w.key), start, w.endOf(start))
		} else {
			r.row, err = w.cached(stored)
		}
		if err != nil {
			return &stateError{err}
		}
		if len(w.starts) > 1 {
			if err := w.agg.fits(&r.row.cells); err != nil {
				return err
			}
		}
		w.rows = append(w.rows, r)
	}
	return nil
}

// cached is the decoded row of r.
func (w *gridWindow) cached(r *state.Row) (*groupRow, error) {
	if row, ok := r.Decoded.(*groupRow); ok {
		return row, nil
	}
	row, err := w.decode(r.Key(), r.Value)
	if err != nil {
		return nil, err
	}
	w.table.SetDecoded(r, row, row.memory())
	return row, nil
}

func (w *gridWindow) decode(key string, stored []byte) (*groupRow, error) {
	if len(key) < 8 {
		return nil, fmt.Errorf("no window in the key %q", key)
	}
	start := timeOf([]byte(key[:8]))
	row, err := w.spec.read(key[8:], start, w.grid.End(start), stored)
	if err != nil {
		return nil, fmt.Errorf("decode row of table %s: %w", w.spec.Name, err)
	}
	return row, nil
}

// store writes a row that has changed.
func (w *gridWindow) store(r *gridRow) error {
	if r.stored != nil {
		w.table.MarkDirty(r.stored)
		if r.row.cells.accs != nil {
			w.table.SetDecoded(r.stored, r.row, r.row.memory())
		}
		return nil
	}
	w.stateKey = append(appendTime(w.stateKey[:0], r.start), w.key...)
	stored, err := w.table.PutDecoded(w.stateKey, r.row)
	if err != nil {
		return fmt.Errorf("write table %s: %w", w.spec.Name, err)
	}
	w.table.SetDecoded(stored, r.row, r.row.memory())
	w.clock.due = min(w.clock.due, w.endOf(r.start))
	w.clock.earliest = min(w.clock.earliest, r.start)
	return nil
}

// first finds the earliest window in the state.
func (w *gridWindow) first() error {
	w.clock.due, w.clock.earliest = nothingDue, nothingDue
	return w.table.Scan(nil, nil, func(key []byte, _ *state.Row) (bool, error) {
		w.clock.earliest = timeOf(key)
		w.clock.due = w.grid.End(w.clock.earliest)
		return false, nil
	})
}

// shut gives out and forgets the windows that are closed by now, in the order of time.
func (w *gridWindow) shut() error {
	// What lies before the first window is a desert of rows that are gone.
	from := appendTime(nil, w.clock.earliest)
	w.clock.due, w.clock.earliest = nothingDue, nothingDue
	start, end := int64(noTime), int64(noTime)
	return w.table.Scan(from, nil, func(key []byte, r *state.Row) (bool, error) {
		if at := timeOf(key); at != start {
			start, end = at, w.grid.End(at)
		}
		if end+w.spec.Grace > w.clock.now {
			w.clock.due, w.clock.earliest = end, start
			return false, nil
		}
		if w.spec.Final || w.spec.Every > 0 {
			row, ok := r.Decoded.(*groupRow)
			if !ok {
				var err error
				if row, err = w.decode(string(key), r.Value); err != nil {
					return false, err
				}
			}
			if err := w.give(row, end+w.spec.Grace); err != nil {
				return false, err
			}
		}
		return true, w.table.Delete(key)
	})
}
