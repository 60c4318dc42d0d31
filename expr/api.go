// Package expr compiles the expressions of a pipeline: expr-lang's grammar over
// our types, null rules and errors, lowered to closures over the typed slots of
// a Frame. It owns the meaning of every operator and function, the types, and
// the diagnostics of expressions; it is the only importer of expr-lang.
//
// It must not know topics, operators, state or YAML: what a name means is asked
// of a Scope, and where a byte of the text lies of a Source.
//
// The way of a text: parse (parse.go) -> check: names, types, constants
// (check*.go, functions*.go) -> lower to closures (lower*.go); parts that need
// expr-lang's virtual machine go through vm.go.
package expr

import (
	"time"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// TypeKind is the static type of an expression as far as it is known.
type TypeKind uint8

const (
	Any TypeKind = iota // not known before the record is read
	Null
	Bool
	Int
	Float
	String
	Bytes
	List
	Object
)

// Type is a static type. Every type includes null; Float includes Int.
type Type struct {
	Kind   TypeKind
	Elem   *Type   // List: element type, nil = Any
	Fields []Field // Object: known fields in order
	Open   bool    // Object: fields that are not listed may exist
}

// Field is a named part of an object type.
type Field struct {
	Name string
	Type Type
}

// Want says what the place of an expression needs. The zero Want takes anything.
type Want struct {
	Kind TypeKind // Any = anything; Float takes int too
	For  string   // names the place in messages: "where", "timestamp"
}

// Ref is where a value lies in a Frame.
type Ref struct {
	Row  int // index in Frame.Rows
	Slot int // index in value.Row.Slots
}

// Resolved is what a Binding makes of a path.
type Resolved struct {
	Ref  Ref
	Type Type         // of the whole path, with Rest
	Rest []codec.Step // steps that remain to be applied to the value at Ref (or of Program)
	// Program, when set, stands in place of Ref: the path names something
	// computed that is evaluated where it is used.
	Program *Program
}

// Binding is one name space of an expression: an aliased input or, with an
// empty Alias, the bare fields of the only input.
type Binding struct {
	Alias string
	// Resolve says where path lies. The path begins below the alias; it is empty
	// when the alias itself is used as a value. A nil result with an empty
	// Problem means "no such name here".
	Resolve func(path []codec.Step) (res *Resolved, problem string)
	// Names lists the fields known, for "did you mean".
	Names func() []string
	// Lacks names, where the same expression is compiled for several inputs in turn,
	// this one if only others have a field: `source "views"`. nil = it is the only one.
	Lacks func(field string) string
}

// Scope is all that an expression can name.
type Scope struct {
	Bindings []*Binding
	// Aggregates: calls of these names are not compiled but handed to Aggregate
	// (nil = aggregates are refused here, with a diagnostic that says where they belong).
	Aggregate func(call AggregateCall) (Resolved, diag.List)
	// NoAggregates says, where Aggregate is nil although there are groups, why, and
	// what to write instead. The zero value: there are no groups here.
	NoAggregates struct{ Reason, Help string }
	// Functions are the user's own, by name; they have been defined.
	Functions map[string]*Function
	// Group is the scope of the arguments of aggregates: the records of a group.
	// nil = Bindings.
	Group *Scope
}

// AggregateCall is a call such as sum(v.amount) met inside an expression.
type AggregateCall struct {
	Name string
	Args []*Program
	Text string // source text of the call
	Span diag.Span
}

// Source is the text of an expression and where each byte of it lies in the file.
type Source struct {
	Text string
	// At maps the half-open byte range [start, end) of Text to the file.
	At func(start, end int) diag.Span
}

// span maps a range; without a file the offsets of the text stand for themselves.
func (s Source) span(start, end int) diag.Span {
	if s.At != nil {
		return s.At(start, end)
	}
	return diag.Span{Start: diag.Pos{Offset: start, Line: 1, Col: start + 1}, End: diag.Pos{Offset: end, Line: 1, Col: end + 1}}
}

// part is the source of a piece of s.
func (s Source) part(start, end int) Source {
	return Source{Text: s.Text[start:end], At: func(from, to int) diag.Span { return s.span(start+from, start+to) }}
}

// Frame is the mutable world of one record on its way through one task. It
// belongs to one goroutine.
type Frame struct {
	Rows  []*value.Row              // a nil row reads as nulls
	Now   int64                     // wall clock, ms, for now()
	args  []value.Value             // arguments of the calls under way
	zones map[string]*time.Location // met in records
	spent int                       // steps of the evaluation under way
	loops []loopElement             // predicates under way
	vm    *machine                  // free machines
}

// NewFrame returns a Frame with so many rows, all nil.
func NewFrame(rows int) *Frame {
	return &Frame{Rows: make([]*value.Row, rows)}
}

// Error is why an expression has no value for a record.
type Error struct {
	Start, End int // bytes of Program.Text
	Msg        string
}

func (e *Error) Error() string { return e.Msg }
