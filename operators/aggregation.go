package operators

import (
	"fmt"
	"strings"
	"sync"

	"streamctl/expr"
	"streamctl/internal/value"
)

// AggregateKind is a function over the records of a group.
type AggregateKind uint8

// The kinds, in the order of the reference.
const (
	Count AggregateKind = iota // of records, or of non-null arguments
	Sum                        // nulls left out; of no numbers it is null
	Avg
	Min
	Max
	First
	Last
	CountDistinct
	CollectList
	CollectSet
	TopK
	Histogram
	Stddev
	Percentile
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

	Approx   bool      // of count_distinct: by a sketch
	Limit    int       // of what collects: how much
	Fraction float64   // of percentile
	Bounds   []float64 // of histogram, ascending; nil = it counts single values

	exact   bool       // of sum: there may be floats
	digests *sync.Pool // of percentile
}

// Form says what the aggregate keeps: one with an equal form can go on with its state.
func (a *Aggregation) Form() string {
	text := a.Kind.String()
	switch {
	case a.Approx:
		text += " approx"
	case a.Limit > 0:
		text += fmt.Sprintf(" %d", a.Limit)
	case a.Bounds != nil:
		sep := " ["
		for _, b := range a.Bounds {
			text += fmt.Sprintf("%s%g", sep, b)
			sep = ","
		}
		text += "]"
	}
	if a.Undo && a.Kind != Count {
		text += " of rows"
	}
	return text
}

// Text is the aggregate of arguments with all of its options, for comparison
// with others.
func (a *Aggregation) Text(args []string) string {
	text := a.Kind.String() + "(" + strings.Join(args, ", ") + ")"
	if options := strings.TrimPrefix(a.Form(), a.Kind.String()); options != "" {
		text += options
	}
	if a.Kind == Percentile {
		text += fmt.Sprintf(" %g", a.Fraction)
	}
	return text
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
	// result is the aggregate, which later additions do not change; an Invalid when
	// it has no right one.
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
func (a *Aggregation) accumulator() accumulator {
	switch a.Kind {
	case Sum:
		if !a.exact && !a.Undo {
			return nil
		}
		return &sumAccumulator{undoable: a.Undo}
	case Min, Max:
		if !a.Undo {
			return nil
		}
		return &extremes{kind: a.Kind, all: true}
	case Avg:
		return &avgAccumulator{}
	case First, Last:
		return &edgeAccumulator{last: a.Kind == Last}
	case CountDistinct:
		if a.Approx {
			return &approxAccumulator{}
		}
		return &distinctAccumulator{undoable: a.Undo}
	case CollectList:
		return &listAccumulator{limit: a.Limit}
	case CollectSet:
		return &setAccumulator{kind: a.Kind, limit: a.Limit, undoable: a.Undo}
	case TopK:
		return &extremes{kind: a.Kind, k: int64(a.Limit), all: a.Undo}
	case Histogram:
		if a.Bounds != nil {
			return &bucketAccumulator{bounds: a.Bounds, counts: make([]int64, len(a.Bounds)+1)}
		}
		return &setAccumulator{kind: a.Kind, limit: a.Limit, undoable: a.Undo}
	case Stddev:
		return &stddevAccumulator{}
	case Percentile:
		return &percentileAccumulator{fraction: a.Fraction, digests: a.digests}
	}
	return nil
}

// maxAdded bounds the floats of sums that do not look whether there is room:
// as many as can be counted are finite together.
const maxAdded = 1e292

// valid says whether arguments can be part of the aggregate at all. Nulls are
// left out: skip is then true.
func (a *Aggregation) valid(args []value.Value) (skip bool, err error) {
	for i := range args {
		if args[i].IsNull() {
			return true, args[i].Err()
		}
	}
	switch a.Kind {
	case Sum, Avg, Stddev, Percentile:
		return false, a.validNumber(args[0])
	case Min, Max:
		return false, a.validOrder(args[0])
	case TopK:
		return false, a.validOrder(args[len(args)-1])
	case Histogram:
		if a.Bounds != nil {
			return false, a.validNumber(args[0])
		}
	}
	return false, nil
}

// validOrder refuses what has no order.
func (a *Aggregation) validOrder(v value.Value) error {
	switch v.Kind {
	case value.Int, value.Float, value.Number, value.String:
		return nil
	}
	return faultf(ReasonExpression, "%s needs numbers or strings, got %s %s", a.Kind, v.TypeName(), v.Short())
}

// validNumber refuses what cannot be computed with.
func (a *Aggregation) validNumber(v value.Value) error {
	if v.Kind == value.Int {
		return nil
	}
	if v.Kind == value.Number {
		return faultf(ReasonExpression, "%s: number %s does not fit 64 bits", a.Kind, v.Short())
	}
	if v.Kind != value.Float {
		return faultf(ReasonExpression, "%s needs numbers, got %s %s", a.Kind, v.TypeName(), v.Short())
	}
	most := 0.0
	switch {
	case a.Kind == Stddev:
		most = maxSquared
	case a.Kind == Avg, a.Kind == Sum && a.Undo:
		most = maxAdded
	}
	if f := v.AsFloat(); most > 0 && (f > most || f < -most) {
		return faultf(ReasonExpression, "%s: number %s is too large, it computes with up to %g", a.Kind, v.Short(), most)
	}
	return nil
}

// add gives the aggregate that has no accumulator with one record more.
func (a *Aggregation) add(old value.Value, args []value.Value) (value.Value, error) {
	switch {
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
