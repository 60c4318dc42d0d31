package operators

import (
	"encoding/binary"
	"fmt"

	"streamctl/expr"
	"streamctl/internal/value"
	"streamctl/state"
)

// groupRow is a row of a derived table: the greatest event time of the group's
// records and the aggregates. Its slots are the components of the group key and
// the slots of cells.
type groupRow struct {
	row   value.Row
	cells cells
	time  int64
}

// AppendRow implements state.Encoder: the event time as a varint, then the
// aggregates as a JSON array.
func (g *groupRow) AppendRow(dst []byte) []byte {
	return g.cells.appendTo(binary.AppendVarint(dst, g.time))
}

// Groups is how the rows of a derived table are decoded.
type Groups struct {
	Name         string
	Keys         int // components of the group key
	Aggregations []Aggregation
	Row          int // frame row
}

// groupRow returns the row of r, decoding it at first sight.
func (g *Groups) groupRow(t *state.Table, r *state.Row) (*groupRow, error) {
	if row, ok := r.Decoded.(*groupRow); ok {
		return row, nil
	}
	row := &groupRow{}
	if err := g.decode(row, r); err != nil {
		return nil, fmt.Errorf("decode row of table %s: %w", g.Name, err)
	}
	t.SetDecoded(r, row, row.memory())
	return row, nil
}

// memory estimates what a row holds, in bytes.
func (g *groupRow) memory() int {
	const header, slot = 136, 48
	return header + slot*len(g.row.Slots) + g.cells.memory()
}

func (g *Groups) decode(row *groupRow, r *state.Row) error {
	time, n := binary.Varint(r.Value)
	if n <= 0 {
		return fmt.Errorf("no event time in %q", r.Value)
	}
	row.time = time
	key, err := value.ParseStored(r.Key())
	if err != nil {
		return err
	}
	g.slots(row, key)
	return row.cells.decode(g.Aggregations, r.Value[n:])
}

// slots makes the slots of a row: the components of its key, and the cells of a
// group without records.
func (g *Groups) slots(row *groupRow, key value.Value) {
	slots := make([]value.Value, g.Keys+len(g.Aggregations))
	row.row.Slots = slots
	row.cells = freshCells(g.Aggregations, slots[g.Keys:])
	if g.Keys == 1 {
		slots[0] = key
		return
	}
	for i := range g.Keys {
		slots[i] = key.Index(i)
	}
}

// Aggregate groups a stream and keeps aggregates per group. Every record that
// changes a group sends the group on.
type Aggregate struct {
	Policy *Policy
	Groups
	KeyExprs []*expr.Program
}

// Make implements Spec.
func (s *Aggregate) Make(t *Task, next Operator) (Operator, error) {
	op := &aggregate{spec: s, task: t, table: t.Tables[s.Name], next: next}
	if op.table == nil {
		return nil, fmt.Errorf("open aggregate: the task has no table %q", s.Name)
	}
	op.agg = newAggregator(s.Aggregations)
	op.out = *t.event()
	op.before.Rows = make([]*value.Row, t.rows)
	op.old.Slots = make([]value.Value, s.Keys+len(s.Aggregations))
	return op, nil
}

type aggregate struct {
	spec   *Aggregate
	task   *Task
	table  *state.Table
	next   Operator
	key    []byte
	agg    *aggregator
	out    Event
	before expr.Frame
	old    value.Row
}

// Process takes e into its group.
func (a *aggregate) Process(e *Event) error {
	if e.Null {
		a.task.Counters.Drop(a.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	row, state, err := a.group(e)
	if err != nil {
		return a.task.refuseEvent(a.spec.Policy, e, ReasonExpression, err)
	}
	if row == nil {
		a.task.Counters.Drop(a.spec.Policy.Operator, ReasonNullKey)
		return nil
	}
	if err := a.update(e, row); err != nil {
		return a.task.refuseEvent(a.spec.Policy, e, ReasonExpression, err)
	}
	existed := state != nil
	if existed {
		a.table.MarkDirty(state)
	} else {
		if state, err = a.table.PutDecoded(a.key, row); err != nil {
			return fmt.Errorf("write table %s: %w", a.spec.Name, err)
		}
		a.table.SetDecoded(state, row, row.memory())
	}
	return a.tell(e, row, existed)
}

// group finds the row of e's group, or makes one that is not in the state yet.
// A nil row: the group key is null.
func (a *aggregate) group(e *Event) (*groupRow, *state.Row, error) {
	key, null, err := appendKey(a.key[:0], a.spec.KeyExprs, &e.Frame)
	a.key = key
	if err != nil || null {
		return nil, nil, err
	}
	found, err := a.table.Get(key)
	if err != nil {
		return nil, nil, &stateError{err}
	}
	if found != nil {
		row, err := a.spec.groupRow(a.table, found)
		if err != nil {
			return nil, nil, &stateError{err}
		}
		return row, found, nil
	}
	v, err := value.ParseStored(string(key)) // a copy: the row outlives the buffer
	if err != nil {
		return nil, nil, err
	}
	row := &groupRow{time: e.Time}
	a.spec.slots(row, v)
	return row, nil, nil
}

// update takes e into the aggregates of row: into all of them or, when one
// refuses it, into none.
func (a *aggregate) update(e *Event, row *groupRow) error {
	if err := a.agg.read(&e.Frame); err != nil {
		return err
	}
	copy(a.old.Slots, row.row.Slots)
	if err := a.agg.add(&row.cells, e.Time); err != nil {
		return err
	}
	row.time = max(row.time, e.Time)
	return row.cells.settle()
}

// tell sends the group on, as an event of its own: the record's goes on to
// other branches as it was.
func (a *aggregate) tell(e *Event, row *groupRow, existed bool) error {
	out := &a.out
	out.In, out.Origin, out.Time = e.In, e.Origin, row.time
	out.Key, out.KeyFormat, out.Headers = e.Key, e.KeyFormat, e.Headers
	out.Change, out.Before = true, nil
	out.Frame.Now = e.Frame.Now
	out.Frame.Rows[a.spec.Row] = &row.row
	if existed {
		a.before.Rows[a.spec.Row] = &a.old
		a.before.Now = e.Frame.Now
		out.Before = &a.before
	}
	return a.next.Process(out)
}
