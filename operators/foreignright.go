package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
	"streamctl/state"
)

// ForeignAnswer is the right side of a foreign-key join: it remembers who has
// asked for which row, and answers. It stands behind the changes of the right table, and
// behind the subscriptions as they come in.
type ForeignAnswer struct {
	Policy  *Policy
	Name    string     // of the state with the subscriptions
	Key     []expr.Ref // of the right row
	Doc     *Doc       // the right row
	Output  int        // answers
	Topic   string
	Format  codec.Format // of the key that their partitions follow
	Origins map[string]int
}

// Make implements Spec.
func (s *ForeignAnswer) Make(t *Task, _ Operator) (Operator, error) {
	return s.open(t)
}

func (s *ForeignAnswer) open(t *Task) (*foreignAnswer, error) {
	a := &foreignAnswer{spec: s, task: t, table: t.Tables[s.Name], partitions: t.Partitions(s.Topic)}
	if a.table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", s.Name)
	}
	return a, nil
}

type foreignAnswer struct {
	spec       *ForeignAnswer
	task       *Task
	table      *state.Table
	partitions int32
	key        []byte
	row        []byte
	text       []byte
}

// Subscriptions lie in the state under foreign key | 0 | left key, so that those for
// one row lie together; no key holds a byte 0.
func subscriptionKey(dst, foreign, left []byte) []byte {
	return append(append(append(dst, foreign...), 0), left...)
}

// Process answers a change of the right table to all who asked for the row.
func (f *foreignAnswer) Process(e *Event) error {
	foreign := value.AppendStored(nil, keyOf(&e.Frame, f.spec.Key))
	out := answer{foreign: foreign, time: e.Time, timed: true}
	if !e.Delete {
		if err := f.read(e, &out); err != nil {
			return f.task.refuseEvent(f.spec.Policy, e, ReasonExpression, err)
		}
	}
	f.key = subscriptionKey(f.key[:0], foreign, nil)
	prefix := len(f.key)
	err := f.table.ScanPrefix(f.key, func(key []byte, row *state.Row) (bool, error) {
		var s subscription
		if err := s.read(row.Value); err != nil {
			return false, err
		}
		out.number = s.number
		return true, f.answer(e, key[prefix:], out)
	})
	if err != nil {
		return fmt.Errorf("answer for join %s: %w", f.spec.Name, err)
	}
	return nil
}

// read puts the row in e into out.
func (f *foreignAnswer) read(e *Event, out *answer) error {
	row, null, err := f.spec.Doc.append(f.row[:0], e, &e.Frame)
	f.row = row
	if err == nil && !null {
		out.row = row
	}
	return err
}

// answer sends one answer to where the left row lies.
func (f *foreignAnswer) answer(e *Event, left []byte, out answer) error {
	partition, text, err := partitionOfStored(f.text, left, f.spec.Format, f.partitions)
	f.text = text
	if err != nil {
		return err
	}
	a := &f.task.arena
	key := a.end(append(a.begin(len(left)), left...))
	body := a.end(out.append(a.begin(len(out.row) + len(out.foreign) + 32)))
	f.task.Emitter.Emit(f.spec.Output, partition, record.Record{
		Key: key, Value: body, Time: e.Time, Offset: -1, Headers: f.task.originHeaders(e, f.spec.Origins),
	})
	return nil
}

// ForeignSubscriptions is the head that takes the subscriptions of a foreign-key
// join: it finds the row and lets Answer send it.
type ForeignSubscriptions struct {
	Policy  *Policy
	Origins []Origin
	// Table is set for a table whose rows are documents, Groups for an aggregated
	// one, whose columns Columns computes.
	Table   *Table
	Groups  *Groups
	Columns *Project
	Answer  *ForeignAnswer
}

// Open implements Head.
func (s *ForeignSubscriptions) Open(t *Task) (Input, error) {
	in := &foreignSubscriptions{spec: s, task: t, event: t.event()}
	name := ""
	if s.Table != nil {
		name = s.Table.Name
	} else {
		name = s.Groups.Name
	}
	if in.table = t.Tables[name]; in.table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", name)
	}
	var err error
	if in.answer, err = s.Answer.open(t); err != nil {
		return nil, err
	}
	in.next = &foreignOne{in}
	if s.Columns != nil {
		in.next, err = s.Columns.Make(t, in.next)
	}
	return in, err
}

type foreignSubscriptions struct {
	spec   *ForeignSubscriptions
	task   *Task
	table  *state.Table // the right table
	answer *foreignAnswer
	next   Operator
	event  *Event
	asked  subscription
	out    answer
}

// Decode implements Input.
func (s *foreignSubscriptions) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	e := s.event
	e.In, e.Time = rec, rec.Time
	e.Origin.TopicPartition, e.Origin.Offset = tp, rec.Offset
	err := e.fromOrigin(rec, s.spec.Origins)
	if err == nil {
		err = s.asked.read(rec.Value)
	}
	if err != nil {
		return 0, true, s.task.refuseEvent(s.spec.Policy, e, ReasonInvalidValue, err)
	}
	return rec.Time, false, nil
}

// Process implements Input.
func (s *foreignSubscriptions) Process() error {
	s.task.begin(s.event)
	subs, e := s.answer, s.event
	subs.key = subscriptionKey(subs.key[:0], e.In.Key, s.asked.left)
	if s.asked.away {
		if err := subs.table.Delete(subs.key); err != nil {
			return fmt.Errorf("keep subscriptions of join %s: %w", subs.spec.Name, err)
		}
		return nil
	}
	if _, err := subs.table.Put(subs.key, e.In.Value); err != nil {
		return fmt.Errorf("keep subscriptions of join %s: %w", subs.spec.Name, err)
	}
	s.out = answer{number: s.asked.number, foreign: e.In.Key}
	row, err := s.table.Get(e.In.Key)
	if err != nil {
		return fmt.Errorf("find row for join %s: %w", subs.spec.Name, err)
	}
	if row == nil {
		return s.send(nil)
	}
	there, err := s.place(row)
	switch {
	case err != nil:
		return s.task.refuseEvent(s.spec.Policy, e, ReasonExpression, err)
	case !there:
		return s.send(nil)
	}
	return s.next.Process(e)
}

// place puts the row that was found into the frame; false: nobody is to see it.
func (s *foreignSubscriptions) place(row *state.Row) (there bool, err error) {
	e := s.event
	e.Change, e.Delete, e.Before = true, false, nil
	if s.spec.Groups != nil {
		known, time, err := s.spec.Groups.known(s.table, row, &e.Frame)
		if known == nil || err != nil {
			return false, err
		}
		e.Frame.Rows[s.spec.Groups.Row] = known
		s.out.time, s.out.timed = time, true
		return true, nil
	}
	found, err := s.spec.Table.cached(s.table, row, false)
	if err != nil {
		return false, err
	}
	e.Frame.Rows[s.spec.Table.Row], e.Frame.Rows[s.spec.Table.KeyRow] = found.row, found.key
	_, s.out.time, s.out.timed = splitTimed(row.Value)
	return true, nil
}

// send answers the subscription; nil: there is no such row.
func (s *foreignSubscriptions) send(row []byte) error {
	s.out.row = row
	if err := s.answer.answer(s.event, s.asked.left, s.out); err != nil {
		return s.task.refuseEvent(s.spec.Policy, s.event, ReasonExpression, err)
	}
	return nil
}

// foreignOne answers one subscription with the row in the frame.
type foreignOne struct{ in *foreignSubscriptions }

// Process implements Operator.
func (o *foreignOne) Process(e *Event) error {
	if err := o.in.answer.read(e, &o.in.out); err != nil {
		return o.in.task.refuseEvent(o.in.spec.Policy, e, ReasonExpression, err)
	}
	return o.in.send(o.in.out.row)
}

// ForeignAnswers is the head that takes the answers of a foreign-key join.
type ForeignAnswers struct {
	Join    *Foreign
	Origins []Origin
	Next    []*Node
}

// Open implements Head.
func (s *ForeignAnswers) Open(t *Task) (Input, error) {
	next, err := makeAll(t, s.Next)
	if err != nil {
		return nil, err
	}
	j, err := s.Join.open(t, next)
	if err != nil {
		return nil, err
	}
	return &foreignAnswers{foreignJoin: j, origins: s.Origins, event: t.event()}, nil
}

type foreignAnswers struct {
	*foreignJoin
	origins []Origin
	event   *Event
	got     answer
}

// Decode implements Input.
func (s *foreignAnswers) Decode(rec *record.Record, tp record.TopicPartition) (int64, bool, error) {
	e := s.event
	e.In, e.Time = rec, rec.Time
	e.Origin.TopicPartition, e.Origin.Offset = tp, rec.Offset
	err := e.fromOrigin(rec, s.origins)
	if err == nil {
		err = s.got.read(rec.Value)
	}
	if err != nil {
		return 0, true, s.task.refuseEvent(s.spec.Policy, e, ReasonInvalidValue, err)
	}
	return rec.Time, false, nil
}

// Process implements Input.
func (s *foreignAnswers) Process() error {
	e := s.event
	s.task.begin(e)
	r, err := s.load(e.In.Key)
	if err != nil {
		return s.stateError(err)
	}
	if r == nil || r.number != s.got.number || string(r.foreign) != string(s.got.foreign) {
		return nil // the left row refers to something else by now
	}
	time := r.time
	if s.got.timed {
		time = max(time, s.got.time)
	}
	was, first := s.result(r), !r.known
	now := *r
	now.known, now.right, now.rightAt, now.timed = true, joinRight(s.got.row, s.got.foreign), s.got.time, s.got.timed && s.got.row != nil
	now.shown, now.shownLeft, now.shownRight, now.again = false, nil, nil, false
	again := r.again || s.task.again()
	is := s.result(&now)
	if err := s.store(e.In.Key, &now); err != nil {
		return s.stateError(err)
	}
	if !first && s.got.row == nil && was.right == nil && (is.is || !again) {
		return nil // a deletion of what was not there
	}
	return s.tell(e, was, is, time, again)
}
