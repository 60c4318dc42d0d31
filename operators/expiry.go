package operators

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"fmt"
	"strings"

	"streamctl/internal/record"
	"streamctl/state"
)

// expiry deletes the rows of a table that have not been updated for the table's
// ttl of stream time: a row of time t is gone when t + ttl <= stream time, and
// before the record that moves stream time there is processed.
//
// The rows have their time in them; there is no other copy of it, on disk or in
// a changelog, that could differ or had to be written with every update. What is
// due next is known by a part of the table: agenda holds every row up to horizon, in
// the order in which they go, as it was when it was noted, maybe older than it is now.
// When stream time comes to the horizon, the table is read once through
// for the rows that are the oldest then. A table that fits the agenda is so read about
// once per ttl; of a greater one a reading finds the next maxAgenda rows to go.
type expiry struct {
	task  *Task
	table *state.Table
	ttl   int64 // ms
	// timeOf reads the time of a row, noTime where it has none; stamp gives it one.
	timeOf func(row *state.Row) (int64, error)
	stamp  func(key []byte, row *state.Row, t int64) error
	// expire deletes the row of key, and tells those behind.
	expire func(key []byte) error

	now     int64 // stream time as it was told last
	agenda  agenda
	horizon due
	max     int // entries that a reading of the table leaves in the agenda
}

// maxAgenda is how many rows the agenda of a table holds, roughly.
const maxAgenda = 1 << 15

// due is a row that may have to go.
type due struct {
	time int64
	key  string
}

// agenda is a heap of rows, the oldest first; of equal times the smallest key.
type agenda []due

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].compare(a[j]) < 0 }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(due)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func (d due) compare(other due) int {
	return cmp.Or(cmp.Compare(d.time, other.time), strings.Compare(d.key, other.key))
}

// newest is agenda the other way round: what a reading of the table drops first
// when there is too much.
type newest struct{ agenda }

func (n newest) Less(i, j int) bool { return n.agenda.Less(j, i) }

// newExpiry begins to watch over the rows of a table, in the task's making.
func newExpiry(t *Task, table *state.Table, ttl int64) *expiry {
	x := &expiry{task: t, table: table, ttl: ttl, now: noTime, horizon: due{time: noTime}, max: maxAgenda}
	t.Timers.OnStart(func(now int64) error {
		x.now = now
		return nil
	})
	t.Timers.OnDue(x.due, x.advance)
	return x
}

// past says that a row of time t is gone at the stream time that was told last.
func (x *expiry) past(t int64) bool { return x.over(t, x.now) }

// over says that a row of time t is gone at stream time now.
func (x *expiry) over(t, now int64) bool { return now != noTime && t <= earlier(now, x.ttl) }

// touch notes that the row of key has got a time.
func (x *expiry) touch(key []byte, t int64) {
	if t > x.horizon.time {
		return
	}
	d := due{t, string(key)}
	if d.compare(x.horizon) > 0 {
		return
	}
	heap.Push(&x.agenda, d)
	if len(x.agenda) > 2*x.max { // out of order, or of many keys at once
		x.agenda, x.horizon = nil, due{time: noTime}
	}
}

// advance deletes what is over at stream time now, in the order of the rows' times.
func (x *expiry) advance(now int64) error {
	x.now = now
	for {
		for len(x.agenda) > 0 && x.past(x.agenda[0].time) {
			if err := x.settle(heap.Pop(&x.agenda).(due)); err != nil {
				return err
			}
		}
		if !x.past(x.horizon.time) {
			return nil
		}
		if err := x.read(now); err != nil {
			return err
		}
	}
}

// due is when the first row goes, or may have to go, up to stream time now.
func (x *expiry) due(now int64) (at int64, any bool, err error) {
	for len(x.agenda) == 0 && x.over(x.horizon.time, now) {
		if err := x.read(now); err != nil {
			return 0, false, err
		}
	}
	if len(x.agenda) == 0 || !x.over(x.agenda[0].time, now) {
		return 0, false, nil
	}
	return x.agenda[0].time + x.ttl, true, nil
}

// settle deletes a row whose time seems to be over, unless it has been updated
// since.
func (x *expiry) settle(d due) error {
	row, err := x.table.Get([]byte(d.key))
	if err != nil {
		return x.failed(err)
	}
	if row == nil {
		return nil
	}
	t, err := x.timeOf(row)
	if err != nil {
		return x.failed(err)
	}
	if t != d.time { // in its own turn
		x.touch([]byte(d.key), t)
		return nil
	}
	return x.expire([]byte(d.key))
}

// read makes the agenda anew from the table at stream time now: the oldest rows of
// it, and the horizon, up to which it has them all.
func (x *expiry) read(now int64) error {
	oldest := newest{x.agenda[:0]}
	full, last := false, now
	err := x.table.Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		t, err := x.timeOf(row)
		if err != nil {
			return false, err
		}
		if t == noTime { // of a table that had no ttl: its time begins now
			if t, err = now, x.stamp(key, row, now); err != nil {
				return false, err
			}
		}
		last = max(last, t)
		if len(oldest.agenda) == x.max && cmp.Compare(t, oldest.agenda[0].time) > 0 {
			full = true
			return true, nil
		}
		heap.Push(&oldest, due{t, string(key)})
		if len(oldest.agenda) > x.max {
			heap.Pop(&oldest)
			full = true
		}
		return true, nil
	})
	if err != nil {
		return x.failed(err)
	}
	if x.horizon = (due{time: last + 1}); full {
		x.horizon = oldest.agenda[0]
	}
	x.agenda = oldest.agenda
	heap.Init(&x.agenda)
	return nil
}

func (x *expiry) failed(err error) error {
	return fmt.Errorf("look for rows of table %s that are over: %w", x.table.Name(), err)
}

// begin makes e the event of a deletion that no record has brought about: its
// time is that at which the row was over.
func (x *expiry) begin(e *Event, in *record.Record, rowTime int64) {
	*in = record.Record{Time: rowTime + x.ttl, Offset: -1}
	e.In, e.Time = in, in.Time
	e.Origin.Partition, e.Origin.Offset = x.task.Partition, -1
	x.task.begin(e)
}

// expiringTable is the ttl of a table whose rows are documents with their time.
type expiringTable struct {
	*expiry
	out   *tableWriter
	event *Event
	in    record.Record
}

// expires lets the rows of a writer's table expire. A table that a topic feeds
// has, when it was restored from there, rows again that are over: those of them
// that were over at the stream time that the task goes on from have been told, and
// go without a word.
func (w *tableWriter) expires(ttl int64, fed bool) {
	if ttl == 0 {
		return
	}
	x := &expiringTable{expiry: newExpiry(w.task, w.table, ttl), out: w, event: w.task.event()}
	x.timeOf, x.expire, x.expiry.stamp = x.time, x.remove, x.stamp
	w.expiry = x
	if fed {
		w.task.Timers.OnStart(x.sweep)
	}
}

func (x *expiringTable) time(row *state.Row) (int64, error) {
	_, t, timed := splitTimed(row.Value)
	if !timed {
		return noTime, nil
	}
	return t, nil
}

// stamp gives a row a time.
func (x *expiringTable) stamp(key []byte, row *state.Row, t int64) error {
	_, err := x.table.Put(key, appendTimed(nil, t, row.Value))
	return err
}

// remove deletes a row and tells those behind.
func (x *expiringTable) remove(key []byte) error {
	row, err := x.table.Get(key)
	if err != nil || row == nil {
		return err
	}
	t, err := x.time(row)
	if err != nil {
		return err
	}
	x.begin(x.event, &x.in, t)
	return x.out.change(x.event, key, nil)
}

// sweep deletes what is over already and has been told, before the task begins.
func (x *expiringTable) sweep(now int64) error {
	return x.table.Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		t, err := x.time(row)
		if err == nil && t != noTime && x.over(t, now) {
			err = x.table.Delete(key)
		}
		return true, err
	})
}

// loaded is a row that is read while the table is restored: nil where it is over
// at the stream time that the task goes on from.
func (w *tableWriter) loaded(row []byte) []byte {
	if w.expiry == nil || row == nil {
		return row
	}
	if _, t, _ := splitTimed(row); w.expiry.over(t, w.task.StreamTime()) {
		return nil
	}
	return row
}

// admit is the row to be written, at its time: nil where it is over before it has
// come, which counts.
func (x *expiringTable) admit(key, row []byte) []byte {
	if row == nil {
		return nil
	}
	_, t, _ := splitTimed(row)
	if x.past(t) {
		x.task.Counters.Drop(x.out.policy.Operator, ReasonExpired)
		return nil
	}
	x.touch(key, t)
	return row
}

// groupTime reads the time of a row of groups.
func groupTime(row *state.Row) (int64, error) {
	if g, ok := row.Decoded.(*groupRow); ok {
		return g.time, nil
	}
	t, n := binary.Varint(row.Value)
	if n <= 0 {
		return 0, fmt.Errorf("row %q has no time", row.Key())
	}
	return t, nil
}
