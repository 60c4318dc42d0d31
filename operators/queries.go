package operators

import (
	"errors"
	"fmt"

	"streamctl/expr"
	"streamctl/internal/match"
	"streamctl/internal/value"
	"streamctl/state"
)

// QueryIndex is the stored queries of a table as the tasks that have its rows
// keep them in memory: made from the state when it is first asked for, and
// following the table's changes from then on. A row whose query cannot be read
// has none; that is told when the row comes, not again when the index is made anew.
type QueryIndex struct {
	Policy *Policy // of the table
	// Reader is how the index sees the rows, and Query the text over them.
	Reader *Table
	Query  *expr.Program
}

// queryIndex is a QueryIndex in one task.
type queryIndex struct {
	spec  *QueryIndex
	table *state.Table
	index *match.Index // nil = not made yet
	row   decodedRow
	frame expr.Frame
}

// queries is the index of spec, one for the task.
func (t *Task) queries(spec *QueryIndex) (*queryIndex, error) {
	if q, ok := t.shared[spec].(*queryIndex); ok {
		return q, nil
	}
	q := t.queryReader(spec)
	if q.table = t.Tables[spec.Reader.Name]; q.table == nil {
		return nil, fmt.Errorf("open stored queries: the task has no table %q", spec.Reader.Name)
	}
	t.shared[spec] = q
	return q, nil
}

// queryReader is what reads the queries of rows, without an index.
func (t *Task) queryReader(spec *QueryIndex) *queryIndex {
	q := &queryIndex{spec: spec}
	q.frame.Rows = make([]*value.Row, t.rows)
	q.frame.Rows[spec.Reader.Row], q.frame.Rows[spec.Reader.KeyRow] = &q.row.row, &q.row.key
	return q
}

// ready makes the index of what the table has, if that has not been done. It
// must wait until the state is restored: operators are made before.
func (q *queryIndex) ready() error {
	if q.index != nil {
		return nil
	}
	index := match.NewIndex()
	err := q.table.Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		if parsed, err := q.parse(string(key), rowDoc(row.Value)); err == nil {
			index.Put(string(key), parsed)
		}
		return true, nil
	})
	if err != nil {
		return &stateError{fmt.Errorf("read stored queries: %w", err)}
	}
	q.index = index
	return nil
}

// refresh makes the index follow a change of the row of key.
func (q *queryIndex) refresh(key []byte) error {
	if err := q.ready(); err != nil {
		return err
	}
	row, err := q.table.Get(key)
	if err != nil {
		return &stateError{fmt.Errorf("read stored queries: %w", err)}
	}
	if row == nil {
		q.index.Remove(string(key))
		return nil
	}
	parsed, err := q.parse(row.Key(), rowDoc(row.Value))
	if err != nil {
		q.index.Remove(string(key))
		return err
	}
	q.index.Put(row.Key(), parsed)
	return nil
}

// parse reads the query of a row, which is JSON.
func (q *queryIndex) parse(key string, row []byte) (*match.Query, error) {
	if err := q.spec.Reader.decode(&q.row, key, row); err != nil {
		return nil, err
	}
	v, err := q.spec.Query.Eval(&q.frame)
	if err != nil {
		return nil, &fault{ReasonExpression, err}
	}
	if v.IsNull() {
		return nil, faultf(ReasonInvalidQuery, "row %s has no query: %s is null", key, q.spec.Query.Text())
	}
	if v.Kind != value.String {
		return nil, faultf(ReasonInvalidQuery, "the query of row %s is not a text: %s is %s", key, q.spec.Query.Text(), v.Short())
	}
	parsed, err := match.Parse(v.Text)
	if err != nil {
		return nil, faultf(ReasonInvalidQuery, "read the query of row %s, %s: %w", key, shorten([]byte(v.Text)), err)
	}
	return parsed, nil
}

// Queries takes the changes of a table of stored queries into the index.
type Queries struct {
	Index *QueryIndex
	Key   []expr.Ref // of the row that has changed
	// Told says that whoever has copied the rows here has told of those without a query.
	Told bool
}

// Make implements Spec.
func (s *Queries) Make(t *Task, _ Operator) (Operator, error) {
	q, err := t.queries(s.Index)
	if err != nil {
		return nil, err
	}
	return &queries{spec: s, task: t, queries: q}, nil
}

type queries struct {
	spec    *Queries
	task    *Task
	queries *queryIndex
	key     []byte
}

// Process takes a change.
func (q *queries) Process(e *Event) error {
	q.key = value.AppendStored(q.key[:0], keyOf(&e.Frame, q.spec.Key))
	err := q.queries.refresh(q.key)
	if err == nil {
		return nil
	}
	var broken *stateError
	if errors.As(err, &broken) {
		return broken.err
	}
	if q.spec.Told {
		return nil
	}
	return q.task.refuseEvent(q.spec.Index.Policy, e, ReasonInvalidQuery, err)
}
