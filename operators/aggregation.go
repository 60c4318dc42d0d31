package operators

import (
	"streamctl/expr"
	"streamctl/internal/value"
)

// AggregateKind is a function over the records of a group.
type AggregateKind uint8

// The kinds, in the order of the reference.
const (
	Count AggregateKind = iota // of records, or of non-null arguments
	Sum                        // nulls left out; of no numbers it is null
	Min
	Max
)

// String is the name in the language.
func (k AggregateKind) String() string { return aggregateKinds[k].Name }

// Aggregation is one aggregate to keep per group.
type Aggregation struct {
	Kind AggregateKind
	// Args are evaluated per record: the value, and what else is taken from it.
	// None = count().
	Args []*expr.Program
	// Undo says that what was taken in may be taken out again: the input is a table's changes.
	Undo bool
}

// accumulator is the state of an aggregate of one group that a single value
// does not hold. It is owned by the row of the group.
//
// What can be said of the arguments alone, valid says: it does not depend on
// what has been taken in, so that what was refused once is refused again when
// it is to be taken out. add and undo cannot fail.
type accumulator interface {
	// room says why args cannot be taken in now, nil when they can. Of aggregates
	// that can be undone it is always nil: there, result tells.
	room(args []value.Value) error
	// add takes in the arguments of a record of that event time; they are lent.
	add(args []value.Value, time int64)
	// undo takes out what add has taken in.
	undo(args []value.Value)
	// result is the aggregate; an Invalid when it has no right one.
	result() value.Value
	// appendState appends the state as JSON, from which decode makes the like:
	// what is added then gives the same results. Null is the empty state.
	appendState(dst []byte) []byte
	decode(state value.Value) error
	// merge takes in all that another one of the same aggregation has taken in;
	// of both, it is the earlier.
	merge(later accumulator)
	// memory estimates what it holds, in bytes.
	memory() int
}

// accumulator makes the empty state of the aggregate of one group; nil when a
// value suffices, which then is state and result in one.
func (a *Aggregation) accumulator() accumulator { return nil }

// valid says whether arguments can be part of the aggregate at all. A null
// value never is: skip is then true, of which count() alone knows nothing.
func (a *Aggregation) valid(args []value.Value) (skip bool, err error) {
	if len(args) > 0 && args[0].IsNull() {
		return true, args[0].Err()
	}
	return false, nil
}

// add gives the aggregate that has no accumulator with one record more.
func (a *Aggregation) add(old value.Value, args []value.Value) (value.Value, error) {
	switch {
	case a.Kind == Count && old.IsNull():
		return value.OfInt(1), nil
	case a.Kind == Count:
		return value.Add(old, value.OfInt(1))
	case a.Kind == Sum && old.IsNull():
		return value.Add(value.OfInt(0), args[0])
	case a.Kind == Sum:
		return value.Add(old, args[0])
	case old.IsNull():
		return args[0], nil
	}
	order, ok := value.Compare(args[0], old)
	if !ok {
		return old, faultf(ReasonExpression, "%s cannot compare %s with %s", a.Kind, args[0].TypeName(), old.TypeName())
	}
	if a.Kind == Min && order < 0 || a.Kind == Max && order > 0 {
		return args[0], nil
	}
	return old, nil
}
