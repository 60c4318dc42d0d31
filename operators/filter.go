package operators

import "streamctl/expr"

// Filter hands on the events for which a condition holds; null is false. Of a
// table's changes it hands on those of rows for which it holds or did: a row
// that stops to qualify goes on as a deletion, and one that never did not at all.
type Filter struct {
	Policy    *Policy
	Condition *expr.Program
}

// Make implements Spec.
func (f *Filter) Make(t *Task, next Operator) (Operator, error) {
	return &filter{spec: f, task: t, next: next}, nil
}

type filter struct {
	spec *Filter
	task *Task
	next Operator
}

// Process decides on e.
func (f *filter) Process(e *Event) error {
	holds := false
	if !e.Delete {
		var err error
		if holds, err = f.spec.Condition.Bool(&e.Frame); err != nil {
			if err = f.task.refuseEvent(f.spec.Policy, e, ReasonExpression, err); err != nil {
				return err
			}
			holds = false // of a table's row: the version before it goes
		}
	}
	if e.Before == nil && !e.Change {
		if !holds {
			return nil
		}
		return f.next.Process(e)
	}
	held := false
	if e.Before != nil {
		var err error
		if held, err = f.spec.Condition.Bool(e.Before); err != nil {
			held = false // which has been told when it came
		}
	}
	if !holds && !held && !e.Again {
		return nil
	}
	gone, before := e.Delete, e.Before
	e.Delete = !holds
	if !held {
		e.Before = nil
	}
	err := f.next.Process(e)
	e.Delete, e.Before = gone, before // for the other branches
	return err
}
