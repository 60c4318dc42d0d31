package operators

import (
	"encoding/binary"
	"fmt"

	"streamctl/expr"
	"streamctl/internal/value"
	"streamctl/state"
)

// AggregateKind is a function over the records of a group.
type AggregateKind uint8

const (
	Count AggregateKind = iota // of records, or of non-null arguments
	Sum                        // nulls left out; of no numbers it is null
	Min
	Max
)

// String is the name in the language.
func (k AggregateKind) String() string { return [...]string{"count", "sum", "min", "max"}[k] }

// Aggregation is one aggregate to keep per group.
type Aggregation struct {
	Kind AggregateKind
	Arg  *expr.Program // nil = count()
}

// Check says what is wrong with an argument of a static type, nil when nothing
// is: only numbers can be added up, only numbers and strings put in order.
func (k AggregateKind) Check(arg expr.Type) error {
	switch {
	case k == Count, arg.Kind == expr.Any, arg.Kind == expr.Null, arg.Kind == expr.Int, arg.Kind == expr.Float:
		return nil
	case k == Sum:
		return fmt.Errorf("sum needs numbers, not %s", arg)
	case arg.Kind != expr.String:
		return fmt.Errorf("%s needs numbers or strings, not %s", k, arg)
	}
	return nil
}

// add takes one more argument into the aggregate.
func (k AggregateKind) add(old, arg value.Value) (value.Value, error) {
	if arg.IsNull() {
		if k == Count && old.IsNull() {
			return value.OfInt(0), nil
		}
		return old, nil
	}
	switch {
	case k == Count && old.IsNull():
		return value.OfInt(1), nil
	case k == Count:
		return value.Add(old, value.OfInt(1))
	case k == Sum && old.IsNull():
		return value.Add(value.OfInt(0), arg)
	case k == Sum:
		return value.Add(old, arg)
	case old.IsNull():
		return arg, nil
	}
	order, ok := value.Compare(arg, old)
	if !ok {
		return old, faultf(ReasonExpression, "%s cannot compare %s with %s", k, arg.TypeName(), old.TypeName())
	}
	if k == Min && order < 0 || k == Max && order > 0 {
		return arg, nil
	}
	return old, nil
}

// groupRow is a row of a derived table: the greatest event time of the group's
// records and the aggregates. Its slots begin with the components of the group key.
type groupRow struct {
	row  value.Row
	keys int // components of the group key
	time int64
}

// AppendRow implements state.Encoder: the event time as a varint, then the
// aggregates as a JSON array.
func (g *groupRow) AppendRow(dst []byte) []byte {
	dst = binary.AppendVarint(dst, g.time)
	dst = append(dst, '[')
	for i, v := range g.row.Slots[g.keys:] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = value.AppendJSON(dst, v)
	}
	return append(dst, ']')
}

// Groups is how the rows of a derived table are decoded.
type Groups struct {
	Name       string
	Keys       int // components of the group key
	Aggregates int
	Row        int // frame row
}

// groupRow returns the row of r, decoding it at first sight.
func (g *Groups) groupRow(t *state.Table, r *state.Row) (*groupRow, error) {
	if row, ok := r.Decoded.(*groupRow); ok {
		return row, nil
	}
	row := &groupRow{keys: g.Keys}
	if err := g.decode(row, r); err != nil {
		return nil, fmt.Errorf("decode row of table %s: %w", g.Name, err)
	}
	t.SetDecoded(r, row, row.memory())
	return row, nil
}

// memory estimates what a row holds, texts of minimum and maximum included.
func (g *groupRow) memory() int {
	const header, slot = 96, 48
	size := header + slot*len(g.row.Slots)
	for _, v := range g.row.Slots {
		size += len(v.Text)
	}
	return size
}

func (g *Groups) decode(row *groupRow, r *state.Row) error {
	time, n := binary.Varint(r.Value)
	if n <= 0 {
		return fmt.Errorf("no event time in %q", r.Value)
	}
	row.time = time
	aggregates, err := value.ParseJSON(r.Value[n:])
	if err != nil {
		return err
	}
	key, err := value.ParseStored(r.Key())
	if err != nil {
		return err
	}
	row.row.Slots = groupSlots(key, g.Keys, g.Aggregates)
	for i := range g.Aggregates {
		row.row.Slots[g.Keys+i] = aggregates.Index(i)
	}
	return nil
}

// groupSlots makes the slots of a row: the components of its key, and room.
func groupSlots(key value.Value, keys, aggregates int) []value.Value {
	slots := make([]value.Value, keys+aggregates)
	if keys == 1 {
		slots[0] = key
		return slots
	}
	for i := range keys {
		slots[i] = key.Index(i)
	}
	return slots
}

// Aggregate groups a stream and keeps aggregates per group. Every record that
// changes a group sends the group on.
type Aggregate struct {
	Policy *Policy
	Groups
	KeyExprs     []*expr.Program
	Aggregations []Aggregation
}

// Make implements Spec.
func (s *Aggregate) Make(t *Task, next Operator) (Operator, error) {
	op := &aggregate{spec: s, task: t, table: t.Tables[s.Name], next: next}
	if op.table == nil {
		return nil, fmt.Errorf("open aggregate: the task has no table %q", s.Name)
	}
	op.new = make([]value.Value, s.Aggregates)
	op.out = *t.event()
	op.before.Rows = make([]*value.Row, t.rows)
	op.old.Slots = make([]value.Value, s.Keys+s.Aggregates)
	return op, nil
}

type aggregate struct {
	spec   *Aggregate
	task   *Task
	table  *state.Table
	next   Operator
	key    []byte
	new    []value.Value // aggregates of the group being changed
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
	row := &groupRow{keys: a.spec.Keys, time: e.Time}
	row.row.Slots = groupSlots(v, a.spec.Keys, a.spec.Aggregates)
	return row, nil, nil
}

// update takes e's arguments into the aggregates of row: all of them or, when
// one fails, none.
func (a *aggregate) update(e *Event, row *groupRow) error {
	aggregates := row.row.Slots[a.spec.Keys:]
	for i, g := range a.spec.Aggregations {
		arg := value.OfBool(true)
		if g.Arg != nil {
			var err error
			if arg, err = g.Arg.Eval(&e.Frame); err != nil {
				return err
			}
		}
		v, err := g.Kind.add(aggregates[i], arg)
		if err != nil {
			return err
		}
		if v.Text != "" && v.Text != aggregates[i].Text {
			v = v.Clone() // it points into the record
		}
		a.new[i] = v
	}
	copy(a.old.Slots, row.row.Slots)
	copy(aggregates, a.new)
	row.time = max(row.time, e.Time)
	return nil
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
