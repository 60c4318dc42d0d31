package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/state"
)

// Join looks up, for each record of a stream, the row of a table by its key
// and puts it into the frame. Only the stream side triggers.
type Join struct {
	Policy *Policy
	Left   bool // unmatched records go on with a row of nulls
	Keys   []*expr.Program
	// Table is set for a topic table, Groups for a derived one.
	Table  *Table
	Groups *Groups
}

// Make implements Spec.
func (j *Join) Make(t *Task, next Operator) (Operator, error) {
	if j.Table == nil {
		op := &groupJoin{lookup: lookup{spec: j, task: t, table: t.Tables[j.Groups.Name]}, next: next}
		if op.table == nil {
			return nil, fmt.Errorf("open join: the task has no table %q", j.Groups.Name)
		}
		return op, nil
	}
	op := &join{lookup: lookup{spec: j, task: t, table: t.Tables[j.Table.Name]}, next: next, reader: j.Table}
	if op.table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", j.Table.Name)
	}
	op.none = j.Table.newRow()
	if j.Table.Lazy() {
		op.lazy = &lazyRow{table: j.Table}
		return op, nil
	}
	d := &decodedRow{}
	op.none.row, op.none.key = &d.row, &d.key
	if err := j.Table.decode(d, "", nil); err != nil {
		return nil, fmt.Errorf("open join: %w", err)
	}
	return op, nil
}

// lookup finds the rows that events ask for.
type lookup struct {
	spec  *Join
	task  *Task
	table *state.Table
	key   []byte
}

// find returns the row that e's key names, nil when there is none; drop says
// that e goes no further.
func (l *lookup) find(e *Event) (row *state.Row, drop bool, err error) {
	if e.Null {
		l.task.Counters.Drop(l.spec.Policy.Operator, ReasonNullValue)
		return nil, true, nil
	}
	key, null, err := appendKey(l.key[:0], l.spec.Keys, &e.Frame)
	l.key = key
	if err != nil {
		return nil, true, err
	}
	if null {
		if !l.spec.Left {
			l.task.Counters.Drop(l.spec.Policy.Operator, ReasonNullKey)
		}
		return nil, !l.spec.Left, nil
	}
	if row, err = l.table.Get(key); err != nil {
		return nil, true, &stateError{err}
	}
	if row == nil && !l.spec.Left {
		l.task.Counters.Drop(l.spec.Policy.Operator, ReasonNoMatch)
		return nil, true, nil
	}
	return row, false, nil
}

// join joins with a topic table.
type join struct {
	lookup
	next   Operator
	reader *Table
	none   *tableRow // what unmatched records get
	lazy   *lazyRow  // nil = rows are decoded at first sight
}

// Process joins e.
func (j *join) Process(e *Event) error {
	row, drop, err := j.find(e)
	if err == nil && !drop {
		err = j.place(e, row)
	}
	if err != nil {
		return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	if drop {
		return nil
	}
	return j.next.Process(e)
}

// place makes row what operators behind see; nil = no row.
func (j *join) place(e *Event, row *state.Row) (err error) {
	found, key, doc := j.none, "", []byte(nil)
	if row != nil {
		if found, err = j.reader.cached(j.table, row, j.lazy != nil); err != nil {
			return err
		}
		key, doc = row.Key(), rowDoc(row.Value)
	}
	e.joined[j.reader.Number] = found
	if j.lazy != nil {
		j.lazy.key, j.lazy.doc = key, doc
		e.lazy[j.reader.Number] = j.lazy
		return nil
	}
	e.Frame.Rows[j.reader.Row], e.Frame.Rows[j.reader.KeyRow] = found.row, found.key
	return nil
}

// groupJoin joins with a derived table, whose rows change in place.
type groupJoin struct {
	lookup
	next Operator
}

// Process joins e.
func (j *groupJoin) Process(e *Event) error {
	row, drop, err := j.find(e)
	if err != nil {
		return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	if drop {
		return nil
	}
	if row != nil {
		group, err := j.spec.Groups.groupRow(j.table, row)
		if err != nil {
			return err
		}
		shown, err := j.spec.Groups.shows(&e.Frame, &group.row)
		if err != nil {
			return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
		}
		if shown {
			return j.next.Process(e)
		}
		if !j.spec.Left {
			j.task.Counters.Drop(j.spec.Policy.Operator, ReasonNoMatch)
			return nil
		}
	}
	e.Frame.Rows[j.spec.Groups.Row] = nil
	return j.next.Process(e)
}
