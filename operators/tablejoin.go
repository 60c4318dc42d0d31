package operators

import (
	"errors"
	"fmt"
	"slices"

	"streamctl/expr"
	"streamctl/internal/value"
	"streamctl/state"
)

// JoinKind says what becomes of rows without a partner.
type JoinKind uint8

const (
	InnerJoin JoinKind = iota // both sides are needed
	LeftJoin                  // the left side is needed
	OuterJoin                 // one of them is needed
)

// String is the word of the language.
func (k JoinKind) String() string { return [...]string{"inner", "left", "outer"}[k] }

// TableSide is one table of a join of tables.
type TableSide struct {
	Kind JoinKind // how it is joined to what comes before it; of no meaning for the first
	// Table is set for a table whose rows are documents, Groups for an aggregated one.
	Table  *Table
	Groups *Groups
	// Triggers says that the change that arrives is one of this table: its rows
	// are in the event.
	Triggers bool
}

// TableJoin joins two or more tables by their primary key, from left to right.
// Every table has its rows in the task, so that the join needs no state of its
// own: a change of one of them finds the other rows of its key, and what the
// join gave before the change is what it gives with the old row. That holds as
// long as a change is told to all joins that read its table before another table
// changes because of it: the planner orders the readers of a table so.
//
// What has been joined so far has the key that all of them share: an outer join
// of three tables gives one row per key, whichever of them have one.
type TableJoin struct {
	Policy *Policy
	Sides  []TableSide
	// Key is where the components of the key lie in the change.
	Key []expr.Ref
	// KeyRow is the frame row that the key of the result is put into.
	KeyRow     int
	Components int // of a composite key, 0 = simple
}

// Make implements Spec.
func (s *TableJoin) Make(t *Task, next Operator) (Operator, error) {
	j := &tableJoin{spec: s, task: t, next: next, event: *t.event()}
	j.before.Rows = make([]*value.Row, t.rows)
	for i := range s.Sides {
		side := &tableSide{spec: &s.Sides[i]}
		name := ""
		if side.spec.Table != nil {
			name = side.spec.Table.Name
			if err := side.spec.Table.decode(&side.none, "", nil); err != nil {
				return nil, fmt.Errorf("open join: %w", err)
			}
		} else {
			name = side.spec.Groups.Name
		}
		if side.table = t.Tables[name]; side.table == nil {
			return nil, fmt.Errorf("open join: the task has no table %q", name)
		}
		j.sides = append(j.sides, side)
	}
	if len(j.sides) < 2 {
		return nil, errors.New("open join: fewer than two tables")
	}
	return j, nil
}

type tableJoin struct {
	spec   *TableJoin
	task   *Task
	next   Operator
	sides  []*tableSide
	event  Event
	before expr.Frame
	key    []byte
	keyRow value.Row
}

// tableSide is what the join knows of one table while it handles a change.
type tableSide struct {
	spec     *TableSide
	table    *state.Table
	none     decodedRow // what an absent document is
	row, key *value.Row // that was looked up
	time     int64      // its event time
	timed    bool
	// Whether there is a row now, and was before the change; whether the result has
	// it now, and had it.
	is, was         bool
	shown, hadShown bool
}

// Process joins a change.
func (j *tableJoin) Process(e *Event) error {
	key := keyOf(&e.Frame, j.spec.Key)
	j.key = value.AppendStored(j.key[:0], key)
	for _, s := range j.sides {
		if s.spec.Triggers {
			s.is, s.was = !e.Delete, e.Before != nil
			continue
		}
		if err := s.find(j.key, &j.before); err != nil {
			return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
		}
	}
	is := j.combine(func(s *tableSide) bool { return s.is }, func(s *tableSide, shown bool) { s.shown = shown })
	was := j.combine(func(s *tableSide) bool { return s.was }, func(s *tableSide, shown bool) { s.hadShown = shown })
	again := e.Again || j.task.again()
	if !j.touched() && (is || was || !again) {
		return nil // no result had the row, and none has it: there is nothing to tell
	}
	j.event.Again = again
	setKey(&j.keyRow, key, j.spec.Components)
	return j.tell(e, is, was)
}

// touched says that the row that has changed is in the result, or was.
func (j *tableJoin) touched() bool {
	return slices.ContainsFunc(j.sides, func(s *tableSide) bool { return s.spec.Triggers && (s.shown || s.hadShown) })
}

// find looks up the row of key; f is lent.
func (s *tableSide) find(key []byte, f *expr.Frame) error {
	s.row, s.key, s.timed = nil, nil, false
	s.is, s.was = false, false
	row, err := s.table.Get(key)
	if err != nil {
		return &stateError{err}
	}
	if row == nil {
		return nil
	}
	if s.spec.Groups != nil {
		s.row, s.time, err = s.spec.Groups.known(s.table, row, f)
		s.is, s.was, s.timed = s.row != nil, s.row != nil, true
		return err
	}
	s.is, s.was = true, true
	found, err := s.spec.Table.cached(s.table, row, false)
	if err != nil {
		return err
	}
	s.row, s.key = found.row, found.key
	_, s.time, s.timed = splitTimed(row.Value)
	return nil
}

// known is the row of a group as the table's changes have told it, with its time:
// what a join gave was made of that. It is nil when nobody is to see it, because
// having excludes it or because it is yet to be told. f is lent.
func (g *Groups) known(t *state.Table, r *state.Row, f *expr.Frame) (*value.Row, int64, error) {
	group, err := g.groupRow(t, r)
	if err != nil {
		return nil, 0, &stateError{err}
	}
	row := group.known()
	if row == nil {
		return nil, 0, nil
	}
	shown, err := g.shows(f, row)
	if err != nil || !shown {
		return nil, 0, err
	}
	return row, group.time, nil
}

// combine joins from left to right: has says which tables have a row, show is
// told which of them the result holds. It says whether there is a result.
func (j *tableJoin) combine(has func(*tableSide) bool, show func(*tableSide, bool)) bool {
	joined := has(j.sides[0])
	show(j.sides[0], joined)
	for i, s := range j.sides[1:] {
		there := has(s)
		switch s.spec.Kind {
		case InnerJoin:
			joined = joined && there
		case OuterJoin:
			joined = joined || there
		}
		show(s, there && joined)
		if joined {
			continue
		}
		for _, left := range j.sides[:i+1] {
			show(left, false)
		}
	}
	return joined
}

// tell hands the change of the result on.
func (j *tableJoin) tell(e *Event, is, was bool) error {
	out := &j.event
	out.In, out.Origin, out.Time = e.In, e.Origin, e.Time
	out.Key, out.KeyFormat, out.Headers = e.Key, e.KeyFormat, e.Headers
	out.Change, out.Delete, out.Null, out.Before = true, !is, !is, nil
	out.Frame.Now = e.Frame.Now
	j.place(&out.Frame, &e.Frame, func(s *tableSide) bool { return s.shown })
	if was {
		from := e.Before
		if from == nil {
			from = &e.Frame // its rows are not shown
		}
		j.place(&j.before, from, func(s *tableSide) bool { return s.hadShown })
		j.before.Now, out.Before = e.Frame.Now, &j.before
	}
	for _, s := range j.sides {
		if s.timed && !s.spec.Triggers && (s.shown || s.hadShown) {
			out.Time = max(out.Time, s.time)
		}
	}
	return j.next.Process(out)
}

// place puts the rows of a result into f; from has those of the change.
func (j *tableJoin) place(f, from *expr.Frame, shown func(*tableSide) bool) {
	copy(f.Rows, from.Rows)
	for _, s := range j.sides {
		row, key := s.row, s.key
		if s.spec.Groups != nil {
			switch {
			case !shown(s):
				f.Rows[s.spec.Groups.Row] = nil
			case !s.spec.Triggers:
				f.Rows[s.spec.Groups.Row] = row
			}
			continue
		}
		if !shown(s) {
			row, key = &s.none.row, &s.none.key
		} else if s.spec.Triggers {
			continue
		}
		f.Rows[s.spec.Table.Row], f.Rows[s.spec.Table.KeyRow] = row, key
	}
	f.Rows[j.spec.KeyRow] = &j.keyRow
}
