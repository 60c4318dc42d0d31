package operators

import (
	"strconv"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Unnest makes of each record one for every element of a list. They have all
// that the record has; the element and its position lie in rows of their own.
type Unnest struct {
	Policy *Policy
	List   *expr.Program
	// Element and Index are where those behind find the element, and its position
	// from 0.
	Element, Index ElementRow
}

// ElementRow is a row that an element, or its position, is decoded into.
type ElementRow struct {
	Shape *codec.Shape
	Row   int
	Used  func() bool
}

// Make implements Spec.
func (s *Unnest) Make(t *Task, next Operator) (Operator, error) {
	return &unnest{spec: s, task: t, next: next, used: s.Element.Used(), indexed: s.Index.Used()}, nil
}

type unnest struct {
	spec           *Unnest
	task           *Task
	next           Operator
	used, indexed  bool
	element, index value.Row
	text           []byte
	number         []byte
}

// Process hands on a record per element.
func (u *unnest) Process(e *Event) error {
	if e.Null {
		u.task.Counters.Drop(u.spec.Policy.Operator, ReasonNullValue)
		return nil
	}
	list, err := u.spec.List.Eval(&e.Frame)
	switch {
	case err != nil:
		return u.task.refuseEvent(u.spec.Policy, e, ReasonExpression, err)
	case list.IsNull():
		list = value.OfList(nil)
	case !list.IsList():
		err := faultf(ReasonWrongType, "unnest %s, which is no list", list.TypeName())
		return u.task.refuseEvent(u.spec.Policy, e, ReasonWrongType, err)
	}
	items := list.Expand().Tree.Items
	if len(items) == 0 {
		u.task.Counters.Drop(u.spec.Policy.Operator, ReasonEmptyList)
		return nil
	}
	change := e.Change // of a window that is final: its elements are facts
	e.Change = false
	err = u.each(e, items)
	e.Change = change
	return err
}

// each hands on the elements.
func (u *unnest) each(e *Event, items []value.Value) error {
	for i, item := range items {
		if err := u.place(&e.Frame, i, item); err != nil {
			if err := u.task.refuseEvent(u.spec.Policy, e, ReasonWrongType, err); err != nil {
				return err
			}
			continue
		}
		if err := u.next.Process(e); err != nil {
			return err
		}
	}
	return nil
}

// place decodes an element and its position.
func (u *unnest) place(f *expr.Frame, i int, item value.Value) error {
	if u.used {
		var doc []byte
		switch {
		case item.Kind == value.Raw:
			doc = item.AsBytes()
		case !item.IsNull():
			u.text = value.AppendJSON(u.text[:0], item)
			doc = u.text
		}
		if err := u.spec.Element.Shape.Scan(doc, &u.element); err != nil {
			return scanFault(err)
		}
	}
	f.Rows[u.spec.Element.Row] = &u.element
	if u.indexed {
		u.number = strconv.AppendInt(u.number[:0], int64(i), 10)
		if err := u.spec.Index.Shape.Scan(u.number, &u.index); err != nil {
			return scanFault(err)
		}
	}
	f.Rows[u.spec.Index.Row] = &u.index
	return nil
}
