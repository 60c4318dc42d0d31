package operators

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/record"
)

// Event is one record, or one change of a table, on its way through the
// operators of a task. An input owns one Event and uses it again for its next
// record: no operator keeps it.
type Event struct {
	// Frame holds the decoded row of every binding by its number; the compiler
	// gives out the numbers.
	Frame expr.Frame
	// In is the record as the input read it: dead letters come from it.
	In *record.Record
	// Origin is where the record lay in the outer topic that it came from, also
	// behind a repartition.
	Origin record.Position
	// Time is the event time in milliseconds.
	Time int64
	// Key is the record key in the outer topic, in KeyFormat; nil = null. Behind a
	// repartition it is still that.
	Key       []byte
	KeyFormat codec.Format
	// Headers are those of the outer record; outputs carry them on.
	Headers []record.Header
	// Null says that the record has no value, or null as its value.
	Null bool
	// Change says that the event is a change of a table.
	Change bool
	// Delete says that the event takes a row of a table away; the rows of the
	// frame are then null. Only Key and the row of the key mean something.
	Delete bool
	// Before, of a table's change, holds the rows as they were before it; nil when
	// there was no row, and for streams. Operators that cannot take a result back
	// need not look at it.
	Before *expr.Frame
	// Again says of a change made by a join of tables that another may have been sent
	// in its place, before a crash, where the tables changed in another order. No state
	// knows of it, so that even a deletion of what is not there is told.
	Again bool

	joined []*tableRow // by memo table number: the row that each join found
	lazy   []*lazyRow  // likewise: how it is decoded, where that has not been done
}

// Operator handles the events of one stream in one task. What it makes of
// them it hands to the operators behind it before it returns.
type Operator interface {
	// Process handles e. An error stops the pipeline; errors of the record that
	// on_error lets pass are dealt with inside.
	Process(e *Event) error
}

// Spec is the immutable form of an operator, shared by the tasks.
type Spec interface {
	// Make makes the operator of one task that hands on to next.
	Make(t *Task, next Operator) (Operator, error)
}

// Node is an operator with those that take what it hands on.
type Node struct {
	Spec Spec
	Next []*Node
}

// fan hands an event to several operators. A branch that drops the event does
// not take it from the others.
type fan []Operator

// Process hands e to all.
func (f fan) Process(e *Event) error {
	for _, op := range f {
		if err := op.Process(e); err != nil {
			return err
		}
	}
	return nil
}

// makeAll makes the operators of nodes for one task.
func makeAll(t *Task, nodes []*Node) (Operator, error) {
	made := make(fan, 0, len(nodes))
	timers := t.Timers
	outer := timers.height
	height := 0 // of what lies behind any of the nodes
	defer func() { timers.height = max(outer, height+1) }()
	for _, n := range nodes {
		timers.height = 0
		next, err := makeAll(t, n.Next)
		if err != nil {
			return nil, err
		}
		height = max(height, timers.height)
		op, err := n.Spec.Make(t, next)
		if err != nil {
			return nil, err
		}
		made = append(made, op)
	}
	if len(made) == 1 {
		return made[0], nil
	}
	return made, nil
}
