package operators

import (
	"bytes"
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// A join of tables by a foreign key (KIP-213). The left row says by an expression
// which row of the right table it refers to; many may refer to one. The rows lie
// in different partitions, so the sides talk through two topics:
//
//	left task                                right task
//	row changed its foreign key: subscribe ─────────────> remember (foreign key, left key)
//	answer: join, if it still asks for that <──────────── the row now
//	                                        <──────────── and again at each of its changes
//
// Unlike the KIP, which finds stale answers by a hash of the left row, a left row
// numbers its foreign keys: an answer counts if it carries the number and the key
// that are asked for now. A change that leaves the foreign key alone is joined at
// once with what was answered last, without a message. What the join gave last is
// known at any time, so that a deletion is sent only where there was a result,
// and a change tells what it replaces.

// Foreign is the left side of such a join.
type Foreign struct {
	Policy *Policy
	Name   string // of the state
	Left   bool   // rows that refer to nothing are results, too
	// Of those who take changes of the left side:
	Keys    []*expr.Program // the foreign key
	Key     []expr.Ref      // the key of the left row
	Doc     *Doc            // what is kept of it
	Output  int             // subscriptions
	Topic   string
	Format  codec.Format // of the key that their partitions follow
	Origins map[string]int
	// What those behind see:
	Kept  *Kept
	Right *Table
}

// Make implements Spec.
func (s *Foreign) Make(t *Task, next Operator) (Operator, error) {
	j, err := s.open(t, next)
	if err != nil {
		return nil, err
	}
	return &foreignLeft{foreignJoin: j, partitions: t.Partitions(s.Topic)}, nil
}

func (s *Foreign) open(t *Task, next Operator) (*foreignJoin, error) {
	j := &foreignJoin{spec: s, task: t, next: next, table: t.Tables[s.Name], out: t.event()}
	if j.table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", s.Name)
	}
	j.before.Rows = make([]*value.Row, t.rows)
	j.rows = [2]*keptRow{s.Kept.open(), s.Kept.open()}
	if err := s.Right.decode(&j.none, "", nil); err != nil {
		return nil, fmt.Errorf("open join: %w", err)
	}
	return j, nil
}

// foreignJoin is what both inputs of the left side do: they change what is known
// of a left row, and tell how the result has changed.
type foreignJoin struct {
	spec   *Foreign
	task   *Task
	next   Operator
	table  *state.Table
	out    *Event
	before expr.Frame
	rows   [2]*keptRow // now, before
	rights [2]decodedRow
	none   decodedRow
	buf    []byte
}

// result is what the join gives for one left row.
type result struct {
	is          bool
	left, right []byte
}

// result is what r gives, shown or waiting.
func (j *foreignJoin) result(r *foreignRow) result {
	if r == nil {
		return result{}
	}
	if !r.known {
		return result{r.shown, r.shownLeft, r.shownRight}
	}
	return result{j.spec.Left || r.right != nil, r.left, r.right}
}

// load reads what is known of a left row, nil = it is not there. It aliases the
// bytes of the state's row, which are never written again.
func (j *foreignJoin) load(key []byte) (*foreignRow, error) {
	row, err := j.table.Get(key)
	if row == nil || err != nil {
		return nil, err
	}
	r := &foreignRow{}
	return r, r.read(row.Value)
}

func (j *foreignJoin) store(key []byte, r *foreignRow) error {
	if r == nil {
		return j.table.Delete(key)
	}
	j.buf = r.append(j.buf[:0])
	_, err := j.table.Put(key, j.buf)
	return err
}

// stateError names the state that failed.
func (j *foreignJoin) stateError(err error) error {
	return fmt.Errorf("keep rows of join %s: %w", j.spec.Name, err)
}

// tell hands on how the result for a left row has changed. e gives origin and
// headers; again: see Event.
func (j *foreignJoin) tell(e *Event, was, is result, time int64, again bool) error {
	if !is.is && !was.is && !again {
		return nil
	}
	out := j.out
	out.In, out.Origin, out.Time, out.Headers = e.In, e.Origin, time, e.Headers
	out.Key, out.KeyFormat = e.Key, e.KeyFormat
	out.Change, out.Delete, out.Null, out.Before, out.Again = true, !is.is, !is.is, nil, again
	out.Frame.Now = j.task.Now()
	shown := is
	if was.is && !is.is { // of a deletion the key counts, which the old row has too
		shown = was
	}
	err := j.place(&out.Frame, shown, 0)
	if err == nil && was.is {
		j.before.Now, out.Before = out.Frame.Now, &j.before
		err = j.place(&j.before, was, 1)
	}
	if err != nil {
		return j.task.refuseEvent(j.spec.Policy, out, ReasonInvalidValue, err)
	}
	return j.next.Process(out)
}

// place shows a result in f.
func (j *foreignJoin) place(f *expr.Frame, r result, memory int) error {
	if err := j.rows[memory].place(f, r.left); err != nil {
		return err
	}
	right := &j.none
	if r.right != nil {
		right = &j.rights[memory]
		row, key := splitRight(r.right)
		if err := j.spec.Right.decode(right, string(key), row); err != nil {
			return err
		}
	}
	f.Rows[j.spec.Right.Row], f.Rows[j.spec.Right.KeyRow] = &right.row, &right.key
	return nil
}

// joinRight keeps the row of the right table together with its key, splitRight
// takes them apart: a result that is shown after its foreign key has changed has the old one.
func joinRight(row, key []byte) []byte {
	if row == nil {
		return nil
	}
	return append(appendText(nil, key), row...)
}

func splitRight(b []byte) (row, key []byte) {
	r := wire{rest: b}
	key = r.text()
	return r.rest, key
}

// foreignLeft takes the changes of the left side.
type foreignLeft struct {
	*foreignJoin
	partitions int32
	key        []byte
	foreign    []byte
	doc        []byte
	text       []byte
}

// Process takes a change.
func (j *foreignLeft) Process(e *Event) error {
	j.key = value.AppendStored(j.key[:0], keyOf(&e.Frame, j.spec.Key))
	old, err := j.load(j.key)
	if err != nil {
		return j.stateError(err)
	}
	var now *foreignRow
	if !e.Delete {
		if now, err = j.row(e, old); err != nil {
			return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
		}
	}
	again := e.Again || j.task.again()
	if old == nil && now == nil {
		return j.never(e, again)
	}
	if err := j.subscribe(e, old, now); err != nil {
		return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	was := j.result(old)
	if old != nil {
		again = again || old.again
	}
	if now != nil {
		now.again = again && !now.known
	}
	if err := j.store(j.key, now); err != nil {
		return j.stateError(err)
	}
	if now != nil && !now.known {
		return nil // the result stands until the answer comes
	}
	time, is := e.Time, j.result(now)
	if now == nil {
		is.left = old.left
	}
	if is.is {
		time = now.at(time)
	} else if old != nil {
		time = old.at(time)
	}
	return j.tell(e, was, is, time, again)
}

// never handles the deletion of a left row that is not known.
func (j *foreignLeft) never(e *Event, again bool) (err error) {
	if !again {
		return nil
	}
	if j.doc, _, err = j.spec.Doc.append(j.doc[:0], e, &e.Frame); err != nil {
		return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	return j.tell(e, result{}, result{left: j.doc}, e.Time, again)
}

// at is the time of a result whose left side changes at time.
func (r *foreignRow) at(time int64) int64 {
	if r.timed {
		return max(time, r.rightAt)
	}
	return time
}

// row is what is to be kept of the left row in e.
func (j *foreignLeft) row(e *Event, old *foreignRow) (*foreignRow, error) {
	foreign, null, err := appendKey(j.foreign[:0], j.spec.Keys, &e.Frame)
	j.foreign = foreign
	if err != nil {
		return nil, err
	}
	if j.doc, _, err = j.spec.Doc.append(j.doc[:0], e, &e.Frame); err != nil {
		return nil, err
	}
	now := &foreignRow{number: 1, time: e.Time, left: j.doc}
	if !null {
		now.foreign = foreign
	}
	if old == nil {
		now.known = null
		return now, nil
	}
	now.number = old.number
	if old.foreign != nil && bytes.Equal(old.foreign, now.foreign) || old.foreign == nil && null {
		now.known, now.right, now.rightAt, now.timed = old.known, old.right, old.rightAt, old.timed
		now.shown, now.shownLeft, now.shownRight = old.shown, old.shownLeft, old.shownRight
		return now, nil
	}
	now.number++
	if now.known = null; !null {
		r := j.result(old)
		now.shown, now.shownLeft, now.shownRight = r.is, r.left, r.right
		now.rightAt, now.timed = old.rightAt, old.timed
	}
	return now, nil
}

// subscribe tells the right side what the left row refers to no more, and to now.
func (j *foreignLeft) subscribe(e *Event, old, now *foreignRow) error {
	if old != nil && now != nil && old.number == now.number {
		return nil
	}
	if old != nil && old.foreign != nil {
		if err := j.send(e, old.foreign, subscription{away: true, number: old.number, left: j.key}); err != nil {
			return err
		}
	}
	if now == nil || now.foreign == nil {
		return nil
	}
	return j.send(e, now.foreign, subscription{number: now.number, left: j.key})
}

// send writes a subscription to where the row lies that it is about.
func (j *foreignLeft) send(e *Event, foreign []byte, s subscription) error {
	partition, text, err := partitionOfStored(j.text, foreign, j.spec.Format, j.partitions)
	j.text = text
	if err != nil {
		return err
	}
	a := &j.task.arena
	key := a.end(append(a.begin(len(foreign)), foreign...))
	body := a.end(s.append(a.begin(len(s.left) + 32)))
	j.task.Emitter.Emit(j.spec.Output, partition, record.Record{
		Key: key, Value: body, Time: e.Time, Offset: -1, Headers: j.task.originHeaders(e, j.spec.Origins),
	})
	return nil
}

// partitionOfStored is where the default partitioner puts a key that is given
// as it is stored, written in format.
func partitionOfStored(buf, key []byte, format codec.Format, partitions int32) (int32, []byte, error) {
	v, err := value.ParseStored(string(key))
	if err != nil {
		return 0, buf, &fault{ReasonInvalidKey, err}
	}
	if buf, err = codec.EncodeKey(buf[:0], format, v); err != nil {
		return 0, buf, &fault{ReasonInvalidKey, err}
	}
	return codec.Partition(buf, partitions), buf, nil
}
