package operators

import (
	"fmt"

	"streamctl/expr"
)

// AggregateDoc describes one aggregate to people: the reference is made of it.
type AggregateDoc struct {
	Name string
	Form string // how it is written
	Type string // of the result
	Text string
}

// aggregateKinds are the aggregates by AggregateKind. It is not changed.
var aggregateKinds = [...]AggregateDoc{
	Count: {Name: "count", Form: "count(), count(x)", Type: "int"},
	Sum:   {Name: "sum", Form: "sum(x)", Type: "that of x"},
	Min:   {Name: "min", Form: "min(x)", Type: "that of x"},
	Max:   {Name: "max", Form: "max(x)", Type: "that of x"},
}

// AggregateFault is why a call of an aggregate is refused.
type AggregateFault struct {
	Text, Help string
}

// NewAggregation makes the aggregation that a call asks for, and says of what
// type its result is. undo says that the input is a table's changes.
func NewAggregation(name string, args []*expr.Program, undo bool) (Aggregation, expr.Type, *AggregateFault) {
	for k, doc := range aggregateKinds {
		if doc.Name == name {
			a := Aggregation{Kind: AggregateKind(k), Args: args, Undo: undo}
			return a.check()
		}
	}
	return Aggregation{}, expr.Type{}, &AggregateFault{
		Text: fmt.Sprintf("%s is not supported by this version", name),
		Help: "aggregates are count, sum, min and max",
	}
}

// check refuses arguments of wrong number or type.
func (a Aggregation) check() (Aggregation, expr.Type, *AggregateFault) {
	fault := func(format string, args ...any) (Aggregation, expr.Type, *AggregateFault) {
		return Aggregation{}, expr.Type{}, &AggregateFault{Text: fmt.Sprintf(format, args...)}
	}
	if len(a.Args) > 1 || len(a.Args) == 0 && a.Kind != Count {
		return fault("%s takes one argument, not %d", a.Kind, len(a.Args))
	}
	if a.Kind == Count {
		return a, expr.Type{Kind: expr.Int}, nil
	}
	switch t := a.Args[0].Type(); {
	case t.Kind == expr.Any, t.Kind == expr.Null, t.Kind == expr.Int, t.Kind == expr.Float:
		return a, expr.Type{Kind: t.Kind}, nil
	case a.Kind == Sum:
		return fault("sum needs numbers, not %s", t)
	case t.Kind != expr.String:
		return fault("%s needs numbers or strings, not %s", a.Kind, t)
	default:
		return a, expr.Type{Kind: t.Kind}, nil
	}
}
