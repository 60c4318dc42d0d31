package operators

import (
	"bytes"
	"fmt"
	"slices"

	"streamctl/internal/record"
	"streamctl/state"
)

// emit: {every: ...} of windows sends of each window that has changed its last
// row, as often as the wall clock says, and before it closes. As with groups
// (coalesce.go), what is still to be told is part of the row.

// windowPending is what the windows of a table have still to tell.
type windowPending struct {
	keys  []string // state keys of rows with something to tell, in the order in which they changed
	found bool     // those are among them that were to be told when the task began to run
}

// coalesce asks for the clock. tell tells what is pending of the row with a state
// key, and forgets that it was listed; list says whether a row has something to
// tell that is not listed yet, and notes that it is.
func (w *windowed) coalesce(tell func(key []byte) error, list func(key []byte, row *state.Row) bool) {
	if w.spec.Every == 0 {
		return
	}
	w.task.Timers.OnStart(func(int64) error { // with whatever state there is then
		w.pending = windowPending{}
		return nil
	})
	w.task.Timers.OnWallClock(WallTimer{Every: w.spec.Every, Fire: func(int64) error {
		if err := w.find(list); err != nil {
			return err
		}
		p := &w.pending
		for i, key := range p.keys {
			if err := tell([]byte(key)); err != nil {
				p.keys = slices.Delete(p.keys, 0, i) // the rest stays to be told
				return err
			}
		}
		clear(p.keys)
		p.keys = p.keys[:0]
		return nil
	}})
}

// find lists the rows that were to be told when the task began to run here.
func (w *windowed) find(list func(key []byte, row *state.Row) bool) error {
	if w.pending.found {
		return nil
	}
	err := w.table.Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		if list(key, row) {
			w.pending.keys = append(w.pending.keys, string(key))
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("find rows of table %s that are to be sent: %w", w.spec.Name, err)
	}
	w.pending.found = true
	return nil
}

// mayTell says that a row that has not been decoded may have something to tell.
func mayTell(row *state.Row) bool { return bytes.Contains(row.Value, []byte(`,"told":`)) }

// known makes w.old what those behind know of a row that keep has noted, and says
// whether they know of one at all.
func (w *windowed) known(row *groupRow, existed bool) bool {
	if row.told == nil {
		return existed
	}
	copy(w.old.Slots, row.told.row.Slots)
	there := row.told.there
	row.told = nil
	return there
}

// later remembers that a row is to be told; existed as of tell.
func (w *windowed) later(row *groupRow, existed bool) {
	if row.told == nil {
		row.told = &told{there: existed}
		row.told.row.Slots = slices.Clone(w.old.Slots)
	}
}

// tellLater tells what a row has still to tell. No record brings it about.
func (w *windowed) tellLater(row *groupRow) error {
	if row.told == nil {
		return nil
	}
	there := w.known(row, false)
	w.unprompted(w.task, row)
	return w.change(row, there)
}

// unprompted begins an output that no record brings about: what goes wrong shows nothing but its time.
func (w *windowed) unprompted(t *Task, row *groupRow) {
	out := w.out
	w.in = record.Record{Time: row.time, Offset: -1}
	out.In = &w.in
	out.Origin = record.Position{TopicPartition: record.TopicPartition{Partition: w.task.Partition}, Offset: -1}
	out.Key, out.Headers = nil, nil
	t.begin(out)
}
