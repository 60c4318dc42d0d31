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
	op := &join{spec: j, task: t, next: next}
	name := ""
	if j.Table != nil {
		name = j.Table.Name
		op.number, op.row, op.keyRow = j.Table.Number, j.Table.Row, j.Table.KeyRow
		op.none = &tableRow{memo: make([][]byte, j.Table.Memos())}
		if err := j.Table.Shape.Scan(nil, &op.none.row); err != nil {
			return nil, fmt.Errorf("open join: %w", err)
		}
	} else {
		name = j.Groups.Name
		op.number, op.row, op.keyRow = -1, j.Groups.Row, -1
		op.none = &tableRow{}
	}
	if op.table = t.Tables[name]; op.table == nil {
		return nil, fmt.Errorf("open join: the task has no table %q", name)
	}
	return op, nil
}

type join struct {
	spec        *Join
	task        *Task
	table       *state.Table
	next        Operator
	number      int // of memo texts, -1 = none are kept
	row, keyRow int // frame rows; keyRow -1 = none
	none        *tableRow
	key         []byte
}

// Process joins e.
func (j *join) Process(e *Event) error {
	if e.null() {
		j.task.Counters.Drop(j.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	drop, err := j.find(e)
	if err != nil {
		return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	}
	if drop {
		return nil
	}
	return j.next.Process(e)
}

// find puts the row that e's key names into the frame; drop says that e goes no
// further.
func (j *join) find(e *Event) (drop bool, err error) {
	key, null, err := appendKey(j.key[:0], j.spec.Keys, &e.Frame)
	j.key = key
	if err != nil {
		return true, err
	}
	var row *state.Row
	if null {
		if !j.spec.Left {
			j.task.Counters.Drop(j.spec.Policy.Operator, ReasonNullKey)
		}
	} else if row, err = j.table.Get(key); err != nil {
		return true, &stateError{err}
	}
	if row == nil {
		j.place(e, j.none)
		return !j.spec.Left, nil
	}
	if j.spec.Table == nil {
		group, err := j.spec.Groups.groupRow(j.table, row)
		if err != nil {
			return true, &stateError{err}
		}
		e.Frame.Rows[j.row] = &group.row
		return false, nil
	}
	found, err := j.spec.Table.decoded(j.table, row)
	if err != nil {
		return true, err
	}
	j.place(e, found)
	return false, nil
}

// place makes r the row that operators behind see.
func (j *join) place(e *Event, r *tableRow) {
	e.Frame.Rows[j.row] = &r.row
	if j.keyRow >= 0 {
		e.Frame.Rows[j.keyRow] = &r.key
		e.joined[j.number] = r
	}
}
