package operators

import (
	"fmt"

	"streamctl/expr"
)

// AsOf looks up, for each record of a stream, the row that a table had at the
// record's time (KIP-914). Only the stream triggers.
type AsOf struct {
	Policy *Policy
	Left   bool
	Keys   []*expr.Program
	Table  *Table
	// History, ms: of records that are older there is no row any more.
	History int64
	// Wait, ms: records have waited so long for rows that come late, see Delay.
	Wait int64
}

// Make implements Spec.
func (s *AsOf) Make(t *Task, next Operator) (Operator, error) {
	v, err := newVersions(t, s.Table.Name, s.History)
	if err != nil {
		return nil, fmt.Errorf("open join: %w", err)
	}
	op := &asOf{spec: s, task: t, next: next, versions: v}
	if err := s.Table.decode(&op.none, "", nil); err != nil {
		return nil, fmt.Errorf("open join: %w", err)
	}
	return op, nil
}

type asOf struct {
	spec     *AsOf
	task     *Task
	next     Operator
	versions *versions
	key      []byte
	row      decodedRow
	none     decodedRow // what unmatched records get
}

// Process joins e.
func (j *asOf) Process(e *Event) error {
	if e.Null {
		j.task.Counters.Drop(j.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	key, null, err := appendKey(j.key[:0], j.spec.Keys, &e.Frame)
	j.key = key
	var doc []byte
	if err == nil && !null {
		doc, err = j.find(key, e.Time)
	}
	row := &j.row
	if doc == nil {
		row = &j.none
	} else if err == nil {
		err = j.spec.Table.decode(row, string(key), doc)
	}
	switch {
	case err != nil:
		return j.task.refuseEvent(j.spec.Policy, e, ReasonExpression, err)
	case doc == nil && !j.spec.Left:
		reason := ReasonNoMatch
		if null {
			reason = ReasonNullKey
		}
		j.task.Counters.Drop(j.spec.Policy.Operator, reason)
		return nil
	}
	e.Frame.Rows[j.spec.Table.Row], e.Frame.Rows[j.spec.Table.KeyRow] = &row.row, &row.key
	return j.next.Process(e)
}

// find is the row of key at time, nil = none.
func (j *asOf) find(key []byte, time int64) ([]byte, error) {
	// Time runs later behind a Delay by as much as that holds records back.
	if now := j.task.StreamTime(); now != noTime && time < now+j.spec.Wait-j.spec.History {
		return nil, nil // whether it is still there depends on nothing that the user can see
	}
	doc, err := j.versions.at(key, time)
	if err != nil {
		return nil, &stateError{err}
	}
	return doc, nil
}
