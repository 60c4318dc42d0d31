package operators

import (
	"slices"

	"streamctl/internal/value"
)

// SessionWindow groups a stream by key and by sessions: records that lie no more
// than Gap ms apart belong to one. A session is [start, end] with the times of its first
// and last record. It closes when stream time is past end + Gap + Grace.
//
// A record that lies between two sessions makes one of them; one that comes
// before the first of a session changes its start, and with it its key. In either
// case the rows that are no more are taken back before the new one is told.
type SessionWindow struct {
	Windowed
	Gap int64 // ms
}

// Make implements Spec. What the windows give out goes to Next.
func (s *SessionWindow) Make(t *Task, _ Operator) (Operator, error) {
	w, err := s.open(t, s.Gap+1)
	if err != nil {
		return nil, err
	}
	op := &sessionWindow{keyed: keyed{windowed: w}, gap: s.Gap}
	w.follow(op.first, func() error { return op.shut(op, s.Gap+1) })
	w.coalesce(op.tellKey, op.list)
	return op, nil
}

type sessionWindow struct {
	keyed
	gap int64
}

// closesAt is the stream time, less grace, from which on a session is closed.
func (w *sessionWindow) closesAt(end int64) int64 { return end + w.gap + 1 }

func (w *sessionWindow) closed(end int64) bool { return w.closesAt(end)+w.spec.Grace <= w.clock.now }

// closes lists the sessions that are closed: the first ones, since they do not touch.
func (w *sessionWindow) closes(k *keyRow, key string, list []closing) []closing {
	for _, row := range k.windows {
		if w.closed(w.spec.end(row)) {
			list = append(list, closing{w.spec.end(row), w.spec.start(row), key})
		}
	}
	return list
}

// leave takes out the sessions that are closed.
func (w *sessionWindow) leave(k *keyRow) {
	k.windows = slices.DeleteFunc(k.windows, func(row *groupRow) bool { return w.closed(w.spec.end(row)) })
	k.weigh()
}

// due is when the first session closes.
func (w *sessionWindow) due(k *keyRow) int64 {
	if len(k.windows) == 0 {
		return nothingDue
	}
	return w.closesAt(w.spec.end(k.windows[0]))
}

// Process takes e into its session.
func (w *sessionWindow) Process(e *Event) error {
	if ok, err := w.groupKey(e); !ok {
		return err
	}
	k, stored, err := w.rowOf()
	if err != nil {
		return w.refuse(e, &stateError{err})
	}
	if k == nil {
		k = &keyRow{spec: w.spec, due: nothingDue}
	}
	from, to := w.touching(k, e.Time)
	if from == to && w.closed(e.Time) {
		return w.tooLate(e)
	}
	if err := w.agg.read(&e.Frame); err != nil {
		return w.refuse(e, err)
	}
	was := slices.Clone(k.windows[from:to])
	row, existed, err := w.joined(k, e, from, to)
	if err != nil {
		return w.refuse(e, err)
	}
	key := slices.Clone(w.key) // what is behind may come by here again
	k.weigh()
	if err := w.save(key, k, stored, w.due(k)); err != nil {
		return err
	}
	for i, old := range was {
		if i > 0 || !existed {
			if err := w.takeBack(e, old); err != nil {
				return err
			}
		}
	}
	return w.tell(e, row, existed)
}

// touching finds the sessions that t belongs to: at most two, which it joins.
func (w *sessionWindow) touching(k *keyRow, t int64) (from, to int) {
	for from < len(k.windows) && w.spec.end(k.windows[from])+w.gap < t {
		from++
	}
	for to = from; to < len(k.windows) && w.spec.start(k.windows[to])-w.gap <= t; to++ {
	}
	return from, to
}

// joined makes one session of e and of those from from to to. existed: it is the
// first of these, under the same key, and keep has noted what it was.
func (w *sessionWindow) joined(k *keyRow, e *Event, from, to int) (row *groupRow, existed bool, err error) {
	start, end := e.Time, e.Time
	for _, old := range k.windows[from:to] {
		start, end = min(start, w.spec.start(old)), max(end, w.spec.end(old))
		if err := w.agg.fits(&old.cells); err != nil {
			return nil, false, err
		}
	}
	existed = from < to && start == w.spec.start(k.windows[from])
	if existed && to == from+1 {
		row = k.windows[from]
		w.keep(row)
	} else if row, err = w.united(k.windows[from:to], start, end); err != nil {
		return nil, false, err
	}
	if err := w.take(row, e.Time); err != nil {
		return nil, false, err
	}
	row.row.Slots[w.spec.Keys-1] = value.OfInt(end)
	if existed && to > from+1 {
		w.keep(k.windows[from])
		row.told = k.windows[from].told
		w.replace(k, from, to, row)
		return row, true, nil
	}
	w.replace(k, from, to, row)
	return row, existed, nil
}

// united is a new row that has all that olds have; these stay as they are.
func (w *sessionWindow) united(olds []*groupRow, start, end int64) (*groupRow, error) {
	key := string(w.key)
	row, err := w.spec.fresh(key, start, end)
	for _, old := range olds {
		if err != nil {
			return nil, err
		}
		var copied *groupRow
		// A copy, so that both remain what they were should they not fit together.
		if copied, err = w.spec.read(key, w.spec.start(old), w.spec.end(old), old.AppendRow(nil)); err != nil {
			return nil, err
		}
		row.time = max(row.time, copied.time)
		err = w.agg.merge(&row.cells, &copied.cells)
	}
	return row, err
}

func (w *sessionWindow) replace(k *keyRow, from, to int, row *groupRow) {
	k.windows = slices.Replace(k.windows, from, to, row)
}
