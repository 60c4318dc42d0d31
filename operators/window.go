package operators

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"streamctl/expr"
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// Windowed is what the kinds of windows have in common: a group per key and
// window, of which the aggregates are kept until the window closes.
//
// A row is a groupRow whose slots are the components of the group key, the
// window's start and end, and the aggregates; Groups.Keys counts the first two as well.
// The key of the table is the group key with the window's start.
//
// When a window closes, its row leaves state and changelog, and nobody behind is told:
// what it was stays true.
type Windowed struct {
	Policy *Policy
	Groups
	KeyExprs []*expr.Program
	Grace    int64 // ms
	// Final says that a window is given out once, when it closes.
	Final bool
	// Every, if set, is how often changes are sent, one per window: the last.
	Every time.Duration
	// DeadLetterLate says that late records go to the dead letters; they are counted anyway.
	DeadLetterLate bool
	// Next takes what the windows give out.
	Next []*Node
}

// LateRecords hands on the records that came too late for the windows of a table. It
// stands beside these, and behind them in order.
type LateRecords struct{ Table string }

// Make implements Spec.
func (s *LateRecords) Make(t *Task, next Operator) (Operator, error) {
	return &lateRecords{clock: clockOf(t, s.Table), next: next}, nil
}

type lateRecords struct {
	clock *windowClock
	next  Operator
}

// Process decides on e as the windows have just done.
func (l *lateRecords) Process(e *Event) error {
	if !l.clock.late {
		return nil
	}
	return l.next.Process(e)
}

// clockOf is the clock of the windows of a table.
func clockOf(t *Task, table string) *windowClock {
	name := "window " + table
	if shared, ok := t.shared[name].(*windowClock); ok {
		return shared
	}
	clock := &windowClock{now: noTime, due: nothingDue}
	t.shared[name] = clock
	return clock
}

// windowClock is the time of the windows of one table in one task, shared by the
// operators that lead to it.
type windowClock struct {
	now int64 // stream time as they were told last, ms
	// due: nothing happens before stream time is past it, less grace.
	due int64
	// late says that the record that was met last came too late.
	late bool
	// earliest is, of windows that tumble or hop, the start of the first in the state.
	earliest int64
	// queue is, of sessions and sliding windows, the order in which keys are due.
	queue dueQueue
}

// nothingDue is due where no window is open.
const nothingDue = math.MaxInt64

// windowed is the common part of the operators.
type windowed struct {
	spec  *Windowed
	task  *Task
	table *state.Table
	clock *windowClock
	agg   *aggregator
	next  Operator
	// behind is the time of those behind windows that are given out once.
	behind  *timeline
	pending windowPending

	key      []byte // of the record's group
	stateKey []byte
	out      *Event
	before   expr.Frame
	old      value.Row // the row before the change that is told
	gone     value.Row // of a window that is taken back: its key
	in       record.Record
}

// open makes the operator's common part. lag is how far a row may lie behind the
// stream time at which its window closes, beside grace, ms.
func (s *Windowed) open(t *Task, lag int64) (w *windowed, err error) {
	w = &windowed{spec: s, task: t, table: t.Tables[s.Name], agg: newAggregator(s.Aggregations)}
	if w.table == nil {
		return nil, fmt.Errorf("open window: the task has no table %q", s.Name)
	}
	w.clock = clockOf(t, s.Name)
	behind := t
	if s.Final {
		w.behind = newTimeline(t, lag+s.Grace)
		behind = w.behind.task
	}
	if w.next, err = makeAll(behind, s.Next); err != nil {
		return nil, err
	}
	if w.behind != nil {
		w.behind.passWallTimers(t)
	}
	w.out = behind.event()
	w.out.Change, w.out.In = true, &w.in
	w.before.Rows = make([]*value.Row, t.rows)
	w.old.Slots = make([]value.Value, s.Keys+len(s.Aggregations))
	w.gone.Slots = make([]value.Value, s.Keys+len(s.Aggregations))
	return w, nil
}

// follow asks for the task's time: first is called when it begins, to find what
// is due in the state, and shut whenever stream time is past that.
func (w *windowed) follow(first func() error, shut func() error) {
	w.task.Timers.OnStart(func(now int64) error {
		w.clock.now = max(w.clock.now, now)
		if err := first(); err != nil {
			return fmt.Errorf("open windows of table %s: %w", w.spec.Name, err)
		}
		if w.behind != nil {
			return w.behind.start(now)
		}
		return nil
	})
	w.task.Timers.OnStreamTime(func(now int64) error {
		w.clock.now = max(w.clock.now, now)
		if w.clock.due != nothingDue && w.clock.due+w.spec.Grace <= now {
			if err := shut(); err != nil {
				return fmt.Errorf("close windows of table %s: %w", w.spec.Name, err)
			}
		}
		if w.behind != nil {
			return w.behind.moveTo(now)
		}
		return nil
	})
}

// groupKey puts the key of e's group into w.key; false: e goes no further.
func (w *windowed) groupKey(e *Event) (ok bool, err error) {
	w.clock.late = false
	if e.Null {
		w.task.Counters.Drop(w.spec.Policy.Operator, ReasonNullValue)
		return false, nil
	}
	key, null, err := appendKey(w.key[:0], w.spec.KeyExprs, &e.Frame)
	w.key = key
	if err != nil {
		return false, w.refuse(e, err)
	}
	if null {
		w.task.Counters.Drop(w.spec.Policy.Operator, ReasonNullKey)
		return false, nil
	}
	return true, nil
}

func (w *windowed) refuse(e *Event, err error) error {
	return w.task.refuseEvent(w.spec.Policy, e, ReasonExpression, err)
}

// tooLate deals with a record whose windows are all closed.
func (w *windowed) tooLate(e *Event) error {
	p := w.spec.Policy
	w.task.Counters.Drop(p.Operator, ReasonLate)
	if w.spec.DeadLetterLate {
		w.task.deadLetter(p, e.In, e.Key, e.Origin, ReasonLate,
			fmt.Errorf("the record is of %d ms and the task's stream time %d ms: its windows are closed", e.Time, w.clock.now))
	}
	w.clock.late = true
	return nil
}

// fresh makes the row of a window that has no records; key is the canonical
// group key, which is kept.
func (s *Windowed) fresh(key string, start, end int64) (*groupRow, error) {
	v, err := value.ParseStored(key)
	if err != nil {
		return nil, err
	}
	slots := make([]value.Value, s.Keys+len(s.Aggregations))
	if s.Keys == 3 {
		slots[0] = v
	} else {
		for i := range s.Keys - 2 {
			slots[i] = v.Index(i)
		}
	}
	slots[s.Keys-2], slots[s.Keys-1] = value.OfInt(start), value.OfInt(end)
	row := &groupRow{time: noTime}
	row.row.Slots = slots
	row.cells = freshCells(s.Aggregations, slots[s.Keys:])
	return row, nil
}

// read makes a row of what groupRow.AppendRow wrote.
func (s *Windowed) read(key string, start, end int64, stored []byte) (*groupRow, error) {
	row, err := s.fresh(key, start, end)
	if err != nil {
		return nil, err
	}
	time, n := binary.Varint(stored)
	if n <= 0 {
		return nil, fmt.Errorf("no event time in %q", stored)
	}
	row.time = time
	if n < len(stored) && stored[n] == '{' {
		return row, s.decodeTold(row, stored[n:])
	}
	return row, row.cells.decode(s.Aggregations, stored[n:])
}

// keep notes what a row is before it is changed.
func (w *windowed) keep(row *groupRow) { copy(w.old.Slots, row.row.Slots) }

// take brings the record that was read last into row.
func (w *windowed) take(row *groupRow, time int64) error {
	if err := w.agg.add(&row.cells, time); err != nil {
		return err
	}
	row.time = max(row.time, time)
	return row.cells.settle()
}

// tell hands on the change of a row that e has brought about; existed: keep has
// noted what it was.
func (w *windowed) tell(e *Event, row *groupRow, existed bool) error {
	if w.spec.Final {
		return nil
	}
	if w.spec.Every > 0 {
		w.later(row, existed)
		return nil
	}
	existed = w.known(row, existed)
	w.because(e)
	return w.change(row, existed)
}

// because takes over from e what its outputs carry on.
func (w *windowed) because(e *Event) {
	out := w.out
	out.In, out.Origin = e.In, e.Origin
	out.Key, out.KeyFormat, out.Headers = e.Key, e.KeyFormat, e.Headers
	out.Frame.Now = e.Frame.Now
}

// change sends the row as it is, and as it was where it existed.
func (w *windowed) change(row *groupRow, existed bool) error {
	out := w.out
	out.Time, out.Delete, out.Before = row.time, false, nil
	out.Frame.Rows[w.spec.Row] = &row.row
	if existed {
		w.was(&w.old)
	}
	return w.next.Process(out)
}

func (w *windowed) was(row *value.Row) {
	w.before.Rows[w.spec.Row], w.before.Now = row, w.out.Frame.Now
	w.out.Before = &w.before
}

// takeBack tells that a window is gone: it has become part of another one.
func (w *windowed) takeBack(e *Event, row *groupRow) error {
	if w.spec.Final {
		return nil
	}
	was := &row.row
	if row.told != nil {
		if !row.told.there {
			return nil
		}
		was = &row.told.row
	}
	w.because(e)
	out := w.out
	out.Time, out.Delete = max(e.Time, row.time), true
	for i := range w.gone.Slots {
		w.gone.Slots[i] = value.NullV()
	}
	copy(w.gone.Slots[:w.spec.Keys], row.row.Slots[:w.spec.Keys])
	out.Frame.Rows[w.spec.Row] = &w.gone
	w.was(was)
	err := w.next.Process(out)
	out.Delete = false
	return err
}

// give sends a window that has closed when stream time came to be closed, if it
// was not told before or has something still to tell.
func (w *windowed) give(row *groupRow, closed int64) error {
	if !w.spec.Final {
		return w.tellLater(row)
	}
	if err := w.behind.moveTo(closed); err != nil {
		return err
	}
	w.unprompted(w.behind.task, row)
	return w.change(row, false)
}

// appendTime appends a time so that the order of bytes is that of times.
func appendTime(dst []byte, ms int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(ms)^(1<<63))
}

// timeOf reads what appendTime wrote.
func timeOf(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ (1 << 63)) }

// fits says why a record cannot be taken into c, nil when it can: where it belongs
// to several windows, it goes into all of them or into none.
func (a *aggregator) fits(c *cells) error {
	for i := range a.list {
		switch {
		case a.skip[i]:
		case c.accs != nil && c.accs[i] != nil:
			if err := c.accs[i].room(a.args[i]); err != nil {
				return err
			}
		default:
			if _, err := a.list[i].add(c.slots[i], a.args[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
