package operators

import (
	"streamctl/expr"
	"streamctl/internal/value"
)

// Project evaluates the computed columns of a select list, once per record and
// only those that something behind it reads. Columns that merely name something
// and spreads are not copied: readers find them where they lie. What can fail in
// them is looked at.
type Project struct {
	Policy  *Policy
	Row     int // frame row that the columns fill
	columns []Computed
	wholes  bool // there are whole values among them
	checks  []check
}

// check is a path that a column names, and where it lies.
type check struct {
	ref  expr.Ref
	path *expr.Program
}

// Check lets the select list answer for a path that something behind reads where it
// lies, at ref: a record in which it leads through what has no such part is an error here.
// It may be called until the first task is made.
func (p *Project) Check(ref expr.Ref, path *expr.Program) {
	p.checks = append(p.checks, check{ref, path})
}

// Computed is one column to evaluate: one of its fields is set.
type Computed struct {
	Program *expr.Program
	First   []expr.Ref // the first of these that is present
	Doc     *Doc       // the JSON of a whole value
}

// Add adds a column and returns its slot. It may be called until the first
// task is made.
func (p *Project) Add(c Computed) int {
	p.columns = append(p.columns, c)
	p.wholes = p.wholes || c.Doc != nil
	return len(p.columns) - 1
}

// Column is the column of a slot.
func (p *Project) Column(slot int) Computed { return p.columns[slot] }

// Make implements Spec.
func (p *Project) Make(t *Task, next Operator) (Operator, error) {
	if len(p.columns)+len(p.checks) == 0 {
		return next, nil
	}
	op := &project{spec: p, task: t, next: next}
	op.now.Slots = make([]value.Value, len(p.columns))
	op.before.Slots = make([]value.Value, len(p.columns))
	return op, nil
}

type project struct {
	spec   *Project
	task   *Task
	next   Operator
	now    value.Row
	before value.Row // of a table's change: the columns of the old row
}

// Process evaluates the columns of e. Of a table's changes, a version of a row
// that fails is none: the one before it goes, and the one behind it comes as new.
func (p *project) Process(e *Event) error {
	gone, before := e.Delete, e.Before
	if e.Before != nil && p.evaluate(e, e.Before, &p.before) != nil {
		e.Before = nil // which has been told when it came
	}
	var err error
	if !e.Delete {
		if err = p.evaluate(e, &e.Frame, &p.now); err != nil {
			err = p.task.refuseEvent(p.spec.Policy, e, ReasonExpression, err)
			e.Delete = true
		}
	}
	if err == nil && (!e.Delete || e.Before != nil || gone && before == nil) {
		err = p.next.Process(e)
	}
	e.Delete, e.Before = gone, before // for the other branches
	return err
}

// evaluate fills row from the other rows of f. Whole values come last: they are
// written of other columns, which may have been asked for after them.
func (p *project) evaluate(e *Event, f *expr.Frame, row *value.Row) error {
	f.Rows[p.spec.Row] = row
	for i := range p.spec.checks {
		if c := &p.spec.checks[i]; invalid(f, c.ref) {
			_, err := c.path.Eval(f)
			return err
		}
	}
	if err := p.fill(e, f, row, false); err != nil || !p.spec.wholes {
		return err
	}
	return p.fill(e, f, row, true)
}

// fill computes the whole values, or all other columns.
func (p *project) fill(e *Event, f *expr.Frame, row *value.Row, wholes bool) error {
	for i := range p.spec.columns {
		c := &p.spec.columns[i]
		if (c.Doc != nil) != wholes {
			continue
		}
		v, err := c.value(p.task, e, f)
		if err != nil {
			return err
		}
		row.Slots[i] = v
	}
	return nil
}

// value computes one column.
func (c *Computed) value(t *Task, e *Event, f *expr.Frame) (value.Value, error) {
	switch {
	case c.Program != nil:
		return c.Program.Eval(f)
	case c.Doc != nil:
		doc, null, err := c.Doc.append(t.arena.begin(arenaReserve), e, f)
		if err != nil || null {
			return value.NullV(), err
		}
		return value.OfRaw(t.arena.end(doc)), nil
	}
	for _, ref := range c.First {
		if v := slotOf(f, ref); v.Kind != value.Absent && !(v.Kind == value.Null && noDocument(f, ref.Row)) {
			return v, v.Err()
		}
	}
	return value.NullV(), nil
}

// invalid says that the path of a slot leads through what has no such part.
func invalid(f *expr.Frame, ref expr.Ref) bool {
	row := f.Rows[ref.Row]
	return row != nil && ref.Slot < len(row.Slots) && row.Slots[ref.Slot].Kind == value.Invalid
}

// noDocument says that a row has no members that could be present: all slots of
// a row that a left join has not found are null.
func noDocument(f *expr.Frame, row int) bool {
	return f.Rows[row] == nil || isNullDoc(f.Rows[row].Doc)
}
