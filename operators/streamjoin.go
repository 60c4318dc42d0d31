package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// joinedSide is one of the two of a join.
type joinedSide uint8

const (
	leftSide joinedSide = iota
	rightSide
)

// StreamJoin joins two streams: records of one key whose times lie close to
// each other go on as pairs. Both sides are kept in the state as long as a partner
// may come. Its records come in by StreamJoinInputs.
//
// Unlike Kafka Streams', a row that has left unmatched never matches any more,
// and what is older than its side's bound and grace allow does not match either,
// whether or not it is still in the state: the result depends on stream time alone.
type StreamJoin struct {
	Policy *Policy
	Name   string // of the state
	// Before and After, ms, both inclusive: the right record of a pair lies at
	// most so much before, or after, the left one.
	Before, After int64
	Grace         int64 // ms
	Left, Right   StreamSide
	Origins       []Origin // outer topics, by the number in the state
	// OwnRow is the frame row of the key of what leaves, where that may be of
	// either side; OwnUsed is nil where it is the left side's, else says whether it is read.
	OwnRow  int
	OwnUsed func() bool
	Next    []*Node
}

// StreamSide is one side of a StreamJoin.
type StreamSide struct {
	// Keep says that records without a partner go on, with nulls for the other side.
	Keep bool
	// Single is set where one binding is kept, as it is; otherwise Kept.
	Single *SingleDoc
	Kept   *Kept
}

// SingleDoc is how the one binding of a side comes out of the state: the
// document is its value, the record's own key its key.
type SingleDoc struct {
	Shape   *codec.Shape
	Row     int
	KeyRow  int
	KeyUsed func() bool
}

// StreamJoinInput is where the records of one side come into a StreamJoin.
type StreamJoinInput struct {
	Join  *StreamJoin
	Right bool
	Keys  []*expr.Program
	Doc   *Doc // what is kept
	// Origins numbers the outer topics.
	Origins map[string]int
}

// Make implements Spec. All inputs of one join in a task share it: what is
// behind the join is made once.
func (s *StreamJoinInput) Make(t *Task, _ Operator) (Operator, error) {
	j, err := s.Join.in(t)
	if err != nil {
		return nil, err
	}
	in := &streamJoinInput{spec: s, task: t, join: j}
	if s.Right {
		in.side = rightSide
	}
	n := j.clock.side()
	t.Timers.OnStart(func(now int64) error {
		if !j.clock.start(n, now) {
			return nil
		}
		return j.start()
	})
	t.Timers.OnStreamTime(func(now int64) error {
		j.clock.sides[n] = now
		return j.advance(j.clock.now())
	})
	return in, nil
}

// in is the join in a task.
func (s *StreamJoin) in(t *Task) (*streamJoin, error) {
	if j, ok := t.shared[s].(*streamJoin); ok {
		return j, nil
	}
	table := t.Tables[s.Name]
	if table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", s.Name)
	}
	j := &streamJoin{spec: s, task: t, now: noTime, meta: joinMeta{emitted: noTime}}
	j.expiry.loaded = -1
	j.buffer = newJoinBuffer(table, &j.meta, s.Before+s.After)
	for i, spec := range []*StreamSide{&s.Left, &s.Right} {
		side, err := spec.open()
		if err != nil {
			return nil, err
		}
		j.sides[i] = side
	}
	j.sides[leftSide].late, j.sides[rightSide].late = s.After+s.Grace, s.Before+s.Grace
	var lag int64
	for _, side := range j.sides {
		if side.keep {
			lag = max(lag, side.late+1)
		}
	}
	j.behind = newTimeline(t, lag)
	next, err := makeAll(j.behind.task, s.Next)
	if err != nil {
		return nil, err
	}
	j.behind.passWallTimers(t)
	j.next, j.out = next, j.behind.task.event()
	if s.OwnUsed != nil && s.OwnUsed() {
		j.own = &value.Row{Slots: make([]value.Value, 1)}
		j.out.Frame.Rows[s.OwnRow] = j.own
	}
	t.shared[s] = j
	return j, nil
}

// streamJoin is a StreamJoin in one task.
type streamJoin struct {
	spec   *StreamJoin
	task   *Task
	next   Operator
	behind *timeline
	clock  meet
	now    int64 // the join's own time, ms
	sides  [2]*joinSide
	buffer joinBuffer
	meta   joinMeta
	expiry joinExpiry

	key, blob []byte
	found     []partner
	out       *Event
	own       *value.Row // the key of out, where that is read
	in        record.Record
	self      kept // the record being joined
	other     kept // its partner
}

// streamJoinInput takes the records of one side.
type streamJoinInput struct {
	spec *StreamJoinInput
	task *Task
	join *streamJoin
	side joinedSide
}

// Process joins e with the records of the other side, and keeps it.
func (in *streamJoinInput) Process(e *Event) error {
	j := in.join
	drop := func(reason string) error {
		in.task.Counters.Drop(j.spec.Policy.Operator, reason)
		return nil
	}
	if e.Null {
		return drop(ReasonNullValue)
	}
	key, null, err := appendKey(j.key[:0], in.spec.Keys, &e.Frame)
	j.key = key
	if err != nil {
		return in.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	side := j.sides[in.side]
	switch {
	case null && !side.keep:
		return drop(ReasonNullKey)
	case !null && e.Time < earlier(j.now, side.late):
		return drop(ReasonLate)
	}
	if err := in.keep(e); err != nil {
		return in.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	if null {
		return j.alone(in.side, e.Time)
	}
	if err := j.take(in.side, e); err != nil {
		return err
	}
	return j.expiry.sweep(j)
}

// keep puts what is kept of e into the join's blob, and reads it as self.
func (in *streamJoinInput) keep(e *Event) error {
	j := in.join
	blob := appendBlob(j.blob[:0], in.spec.Origins[e.Origin.Topic], e)
	blob, null, err := in.spec.Doc.append(blob, e, &e.Frame)
	if null {
		blob = append(blob, "null"...)
	}
	j.blob = blob
	if err != nil {
		return err
	}
	return j.self.read(blob)
}

// start reads what the state knows of the past: tables are not loaded yet when
// operators are made.
func (j *streamJoin) start() error {
	row, err := j.buffer.table.Get(metaKey())
	if err == nil && row != nil {
		err = j.meta.decode(row.Value)
	}
	if err == nil {
		err = j.buffer.find()
	}
	if err != nil {
		return fmt.Errorf("read state of join %s: %w", j.spec.Name, err)
	}
	j.meta.begin(j.task.Now())
	j.now = max(j.clock.now(), j.meta.emitted)
	return j.behind.start(j.now)
}

// noted writes the meta row anew.
func (j *streamJoin) noted() error {
	row, err := j.buffer.table.Get(metaKey())
	if err != nil {
		return err
	}
	if row == nil || row.Decoded != &j.meta {
		_, err = j.buffer.table.PutDecoded(metaKey(), &j.meta)
		return err
	}
	j.buffer.table.MarkDirty(row)
	return nil
}

// take joins the record in j.self with its partners, and keeps it.
func (j *streamJoin) take(of joinedSide, e *Event) (err error) {
	from, to := earlier(e.Time, j.spec.Before), e.Time+j.spec.After
	if of == rightSide {
		from, to = earlier(e.Time, j.spec.After), e.Time+j.spec.Before
	}
	alive := earlier(j.now, j.sides[1-of].late)
	j.found, err = j.buffer.partners(j.found[:0], j.key, 1-of, from, to, alive)
	if err != nil {
		return fmt.Errorf("read state of join %s: %w", j.spec.Name, err)
	}
	if len(j.found) > 0 {
		if err := j.pairs(of, e.Time); err != nil {
			return err
		}
	}
	entry := joinEntry{time: e.Time, side: of, matched: len(j.found) > 0, key: j.key, blob: j.blob}
	in, slot, err := j.buffer.put(&entry)
	if err == nil {
		err = j.noted()
	}
	if err != nil {
		return fmt.Errorf("write state of join %s: %w", j.spec.Name, err)
	}
	j.expiry.added(j, &entry, in, slot)
	return nil
}

// pairs sends the record in j.self with each partner that was found.
func (j *streamJoin) pairs(of joinedSide, time int64) error {
	read := j.sides[of].rows.read(&j.self, j.spec.Origins, &j.out.Frame)
	for i := range j.found {
		p := &j.found[i]
		if err := j.buffer.match(p); err != nil {
			return fmt.Errorf("write state of join %s: %w", j.spec.Name, err)
		}
		if err := j.recall(&j.other, &p.joinEntry); err != nil {
			return err
		}
		err := read
		if err == nil {
			err = j.sides[1-of].rows.read(&j.other, j.spec.Origins, &j.out.Frame)
		}
		left := &j.self
		if of == rightSide {
			left = &j.other
		}
		if err := j.send(left, max(time, p.time), err); err != nil {
			return err
		}
	}
	return nil
}

// recall reads what is kept of a record.
func (j *streamJoin) recall(k *kept, e *joinEntry) error {
	err := k.read(e.blob)
	if err == nil && k.topic >= len(j.spec.Origins) {
		err = fmt.Errorf("a record comes from topic number %d of %d", k.topic, len(j.spec.Origins))
	}
	if err != nil {
		return fmt.Errorf("read state of join %s: %w", j.spec.Name, err)
	}
	return nil
}

// alone sends the record in j.self without a partner.
func (j *streamJoin) alone(of joinedSide, time int64) error {
	err := j.sides[of].rows.read(&j.self, j.spec.Origins, &j.out.Frame)
	if err == nil {
		err = j.sides[1-of].none.absent(&j.out.Frame)
	}
	return j.send(&j.self, time, err)
}

// send hands on what the frame of j.out shows, as a record that has key,
// headers and origin of lead. err is why it could not be shown, nil = it could.
func (j *streamJoin) send(lead *kept, time int64, err error) error {
	t, out := j.behind.task, j.out
	t.begin(out)
	origin := j.spec.Origins[lead.topic]
	out.Origin, out.Time = lead.origin, time
	out.Origin.Topic = origin.Topic
	out.Key, out.KeyFormat, out.Headers = lead.key, origin.KeyFormat, lead.headers
	j.in = record.Record{Key: lead.key, Value: lead.doc, Time: time, Offset: lead.origin.Offset, Headers: lead.headers}
	out.In = &j.in
	if j.own != nil && err == nil {
		j.own.Slots[0], err = codec.DecodeKey(origin.KeyFormat, lead.key)
	}
	if err != nil {
		return t.refuseEvent(j.spec.Policy, out, ReasonInvalidValue, err)
	}
	return j.next.Process(out)
}

// advance follows the time of the inputs: rows without a partner leave whose
// time is up.
func (j *streamJoin) advance(now int64) error {
	if now <= j.now {
		return nil
	}
	if err := j.expiry.leave(j, now); err != nil {
		return err
	}
	j.now = now
	return j.behind.moveTo(now)
}
