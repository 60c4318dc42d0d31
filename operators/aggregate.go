package operators

import (
	"encoding/binary"
	"fmt"
	"time"

	"streamctl/expr"
	"streamctl/internal/value"
	"streamctl/state"
)

// Aggregate groups the records of a stream, or the rows of a table, and keeps
// aggregates per group. Every change of a group is sent on with the aggregates
// as they were told last.
//
// A record of a stream is added to its group. A change of a table takes the old
// row out of the group that it was in and adds the new one to its own; where
// both are one group, that is one change of it.
type Aggregate struct {
	Policy *Policy
	Groups
	KeyExprs []*expr.Program
	// Members is, of an aggregate over a table's changes, the aggregation that
	// counts the rows of a group: one without any that Having refuses is forgotten.
	// -1 = none.
	Members int
	TTL     int64 // ms, 0 = none: how long groups stay that get no records
	// Every, if set, is how often changes are sent, one per group: the last.
	Every time.Duration
}

// Make implements Spec.
func (s *Aggregate) Make(t *Task, next Operator) (Operator, error) {
	op := &aggregate{spec: s, task: t, table: t.Tables[s.Name], next: next}
	if op.table == nil {
		return nil, fmt.Errorf("open aggregate: the task has no table %q", s.Name)
	}
	op.was.agg, op.is.agg = newAggregator(s.Aggregations), newAggregator(s.Aggregations)
	op.out = *t.event()
	op.before.Rows = make([]*value.Row, t.rows)
	op.old.Slots = make([]value.Value, s.Keys+len(s.Aggregations))
	if s.Every > 0 {
		op.coalesce()
	}
	if s.TTL > 0 {
		op.expires()
	}
	return op, nil
}

type aggregate struct {
	spec    *Aggregate
	task    *Task
	table   *state.Table
	next    Operator
	was, is grouped
	out     Event
	before  expr.Frame
	old     value.Row // of the group before the change
	pending pending
	expiry  *expiry // nil = groups stay
}

// grouped is a record on its way into its group: the group's key, and in agg
// the arguments of the aggregates.
type grouped struct {
	agg   *aggregator
	key   []byte // canonical
	there bool   // false: it is in no group
}

// read finds the group of what lies in f and evaluates the arguments. A record
// whose group is null is not there.
func (g *grouped) read(s *Aggregate, f *expr.Frame) error {
	key, null, err := appendKey(g.key[:0], s.KeyExprs, f)
	g.key, g.there = key, false
	if err != nil || null {
		return err
	}
	if err := g.agg.read(f); err != nil {
		return err
	}
	g.there = true
	return nil
}

// Process takes e into its group.
func (a *aggregate) Process(e *Event) error {
	if e.Change {
		return a.change(e)
	}
	if e.Null {
		a.task.Counters.Drop(a.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	err := a.is.read(a.spec, &e.Frame)
	if err == nil && !a.is.there {
		a.task.Counters.Drop(a.spec.Policy.Operator, ReasonNullKey)
		return nil
	}
	if err == nil {
		err = a.apply(e, a.is.key, nil, a.is.agg)
	}
	return a.refuse(e, err)
}

// downstream is an error of an operator behind, which has decided on it already.
type downstream struct{ err error }

func (d *downstream) Error() string { return d.err.Error() }

// refuse deals with a record that cannot be taken in; what those behind have
// said stands.
func (a *aggregate) refuse(e *Event, err error) error {
	if err == nil {
		return nil
	}
	if d, ok := err.(*downstream); ok {
		return d.err
	}
	return a.task.refuseEvent(a.spec.Policy, e, ReasonExpression, err)
}

// change takes a change of a table into the groups of its rows. A row that
// could not be taken in when it came was in no group, and the same error tells
// so again when it goes.
func (a *aggregate) change(e *Event) error {
	a.was.there, a.is.there = false, false
	if e.Before != nil && a.was.read(a.spec, e.Before) != nil {
		a.was.there = false
	}
	if !e.Delete {
		if err := a.is.read(a.spec, &e.Frame); err != nil {
			if err := a.refuse(e, err); err != nil {
				return err
			}
		} else if !a.is.there {
			a.task.Counters.Drop(a.spec.Policy.Operator, ReasonNullKey)
		}
	}
	if a.was.there && a.is.there && string(a.was.key) == string(a.is.key) {
		return a.refuse(e, a.apply(e, a.is.key, a.was.agg, a.is.agg))
	}
	if a.was.there {
		if err := a.refuse(e, a.apply(e, a.was.key, a.was.agg, nil)); err != nil {
			return err
		}
	}
	if a.is.there {
		return a.refuse(e, a.apply(e, a.is.key, nil, a.is.agg))
	}
	return nil
}

// apply takes one record out of a group and another one in; nil = none.
func (a *aggregate) apply(e *Event, key []byte, out, in *aggregator) error {
	group, stored, err := a.group(key, e)
	if err != nil {
		return err
	}
	if a.expiry != nil && !a.admit(group, stored, key) {
		return nil
	}
	if a.spec.Every == 0 || group.told == nil { // else it is known what was told
		copy(a.old.Slots, group.row.Slots)
	}
	// Where it is still to be told that it has gone, its time is over all the same.
	revived := group.told != nil && stored != nil && a.bare(group)
	if out != nil {
		if err := out.undo(&group.cells); err != nil {
			return err
		}
	}
	if in != nil {
		if err := in.add(&group.cells, e.Time); err != nil {
			return err
		}
	}
	if revived {
		group.time = e.Time
	}
	group.time = max(group.time, e.Time)
	wrong := group.cells.settle()
	if a.spec.Every > 0 {
		return a.later(group, stored, key, wrong)
	}
	old, existed := &a.old, stored != nil
	if group.told != nil { // by a version of the pipeline that coalesced
		old, existed, group.told = &group.told.row, group.told.there, nil
	}
	if err := a.store(group, stored, key); err != nil {
		return err
	}
	if err := a.tell(e, group, old, existed); err != nil {
		return &downstream{err}
	}
	return wrong
}

// group finds the row of a group, or makes one that is not in the state yet.
func (a *aggregate) group(key []byte, e *Event) (*groupRow, *state.Row, error) {
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

// store puts a changed row into the state; stored is where it is there already.
// A group without rows that nobody is to see is forgotten.
func (a *aggregate) store(group *groupRow, stored *state.Row, key []byte) error {
	forget, err := a.forgotten(group), error(nil)
	switch {
	case forget && stored == nil:
		return nil
	case forget:
		err = a.table.Delete(key)
	case stored != nil:
		a.table.MarkDirty(stored)
		if group.cells.accs != nil { // they grow
			a.table.SetDecoded(stored, group, group.memory())
		}
		return nil
	default:
		if stored, err = a.table.PutDecoded(key, group); err == nil {
			a.table.SetDecoded(stored, group, group.memory())
		}
	}
	if err != nil {
		return &stateError{fmt.Errorf("write table %s: %w", a.spec.Name, err)}
	}
	return nil
}

// forgotten says that nothing of a group is left to remember.
func (a *aggregate) forgotten(group *groupRow) bool { return group.told == nil && a.bare(group) }

// bare says that a group has no rows, and nobody is to see it.
func (a *aggregate) bare(group *groupRow) bool {
	if a.spec.Members < 0 || a.spec.Having == nil || group.cells.slots[a.spec.Members].AsInt() != 0 {
		return false
	}
	a.before.Now = a.task.Now()
	shown, err := a.spec.shows(&a.before, &group.row)
	return err == nil && !shown
}

// tell sends the group on with the row that was told last, as an event of its
// own: the record's goes on to other branches as it was. A group in which an
// aggregate has no right value is not there for those behind.
func (a *aggregate) tell(e *Event, group *groupRow, old *value.Row, existed bool) error {
	out := &a.out
	out.In, out.Origin, out.Time = e.In, e.Origin, group.time
	out.Key, out.KeyFormat, out.Headers = e.Key, e.KeyFormat, e.Headers
	out.Change, out.Before, out.Delete = true, nil, group.cells.invalid(group.cells.slots)
	out.Frame.Now = e.Frame.Now
	out.Frame.Rows[a.spec.Row] = &group.row
	if existed && !group.cells.invalid(old.Slots[a.spec.Keys:]) {
		a.before.Rows[a.spec.Row] = old
		a.before.Now = e.Frame.Now
		out.Before = &a.before
	}
	if out.Delete && out.Before == nil {
		return nil
	}
	return a.next.Process(out)
}

// groupRow is a row of a derived table: the greatest event time of the group's
// records and the aggregates. Its slots are the components of the group key and
// the slots of cells.
type groupRow struct {
	row   value.Row
	cells cells
	time  int64
	told  *told // where those behind have not been told the row as it is
	// listed says that the key is in the list of those to be told.
	listed bool
}

// AppendRow implements state.Encoder: the event time as a varint, then the
// aggregates as a JSON array; of a row that is still to be told an object of
// that and of what was told last.
func (g *groupRow) AppendRow(dst []byte) []byte {
	dst = binary.AppendVarint(dst, g.time)
	if g.told == nil {
		return g.cells.appendTo(dst)
	}
	dst = g.cells.appendTo(append(dst, `{"now":`...))
	return append(g.told.appendTo(append(dst, `,"told":`...), len(g.row.Slots)-len(g.cells.slots)), '}')
}

// memory estimates what a row holds, in bytes.
func (g *groupRow) memory() int {
	const header, slot = 152, 48
	return header + slot*len(g.row.Slots) + g.cells.memory()
}

// Groups is how the rows of a derived table are decoded.
type Groups struct {
	Name         string
	Keys         int // components of the group key
	Aggregations []Aggregation
	Row          int // frame row
	// Having says which rows there are for those who read the table; nil = all.
	// It reads Row only.
	Having *expr.Program
}

// groupRow returns the row of r, decoding it at first sight.
func (g *Groups) groupRow(t *state.Table, r *state.Row) (*groupRow, error) {
	if row, ok := r.Decoded.(*groupRow); ok {
		return row, nil
	}
	row := &groupRow{}
	if err := g.decode(row, r.Key(), r.Value); err != nil {
		return nil, fmt.Errorf("decode row of table %s: %w", g.Name, err)
	}
	t.SetDecoded(r, row, row.memory())
	return row, nil
}

func (g *Groups) decode(row *groupRow, key string, stored []byte) error {
	time, n := binary.Varint(stored)
	if n <= 0 || n == len(stored) {
		return fmt.Errorf("%q has no event time and aggregates", stored)
	}
	row.time = time
	k, err := value.ParseStored(key)
	if err != nil {
		return err
	}
	g.slots(row, k)
	stored = stored[n:]
	if stored[0] == '{' {
		return g.decodeTold(row, stored)
	}
	return row.cells.decode(g.Aggregations, stored)
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

// shows says whether those who read the table see a row. It puts it into f.
func (g *Groups) shows(f *expr.Frame, row *value.Row) (bool, error) {
	f.Rows[g.Row] = row
	for i := g.Keys; i < len(row.Slots); i++ {
		if row.Slots[i].Kind == value.Invalid {
			return false, nil
		}
	}
	if g.Having == nil {
		return true, nil
	}
	return g.Having.Bool(f)
}
