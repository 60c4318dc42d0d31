package operators

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/value"
)

// Materialize keeps the rows that a table's changes leave as a table of its
// own: under the same key, as JSON, with a changelog. Every change that it is
// told of is one of this table too; a deletion of what it does not have is none.
type Materialize struct {
	Policy *Policy
	Name   string
	// Key is where the components of the key lie.
	Key []expr.Ref
	Doc *Doc // the row
	// Timed tables remember the event time of each row, see storedRow.
	Timed bool
	TTL   int64 // ms, 0 = none: how long rows stay that are not updated; they are Timed
	// Reader is how those behind see the rows; nil when nobody is.
	Reader *Table
}

// Make implements Spec.
func (s *Materialize) Make(t *Task, next Operator) (Operator, error) {
	if s.Reader == nil {
		next = nil
	}
	w, err := writerTo(t, s.Policy, s.Name, s.Reader, next)
	if err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	w.expires(s.TTL, false)
	return &materialize{spec: s, task: t, out: w, event: t.event()}, nil
}

type materialize struct {
	spec  *Materialize
	task  *Task
	out   *tableWriter
	event *Event
	key   []byte
	row   []byte
	timed []byte
}

// Process takes a change.
func (m *materialize) Process(e *Event) error {
	m.key = value.AppendStored(m.key[:0], keyOf(&e.Frame, m.spec.Key))
	var row []byte
	if !e.Delete {
		var null bool
		var err error
		if m.row, null, err = m.spec.Doc.append(m.row[:0], e, &e.Frame); err != nil {
			if err = m.task.refuseEvent(m.spec.Policy, e, ReasonExpression, err); err != nil {
				return err
			}
			null = true // the version before it goes
		}
		if !null {
			row = m.row
		}
		if !null && m.spec.Timed {
			m.timed = appendTimed(m.timed[:0], e.Time, row)
			row = m.timed
		}
	}
	out := m.event
	out.In, out.Origin, out.Time = e.In, e.Origin, e.Time
	out.Key, out.KeyFormat, out.Headers, out.Again = e.Key, e.KeyFormat, e.Headers, e.Again
	return m.out.write(out, m.key, row)
}
