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
		op.number, op.row, op.keyRow = j.Groups.Number, j.Groups.Row, -1
		op.none = &tableRow{memo: make([][]byte, j.Groups.Memos())}
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
	number      int
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
	found, drop, err := j.find(e)
	if err != nil {
		return j.task.refuseEvent(j.spec.Policy, e, reasonOf(err, ReasonExpression), err)
	}
	if drop {
		return nil
	}
	e.joined[j.number] = found
	e.Frame.Rows[j.row] = &found.row
	if j.keyRow >= 0 {
		e.Frame.Rows[j.keyRow] = &found.key
	}
	return j.next.Process(e)
}

// find is the row that e's key names; drop says that e goes no further.
func (j *join) find(e *Event) (found *tableRow, drop bool, err error) {
	key, null, err := appendKey(j.key[:0], j.spec.Keys, &e.Frame)
	j.key = key
	if err != nil {
		return nil, true, err
	}
	if null {
		if !j.spec.Left {
			j.task.Counters.Drop(j.spec.Policy.Operator, ReasonNullKey)
		}
		return j.none, !j.spec.Left, nil
	}
	row, err := j.table.Get(key)
	if err != nil {
		return nil, true, &stateError{err}
	}
	if row == nil {
		return j.none, !j.spec.Left, nil
	}
	if j.spec.Table != nil {
		found, err = j.spec.Table.decoded(j.table, row)
	} else {
		found, err = j.spec.Groups.decoded(j.table, row)
	}
	return found, false, err
}
