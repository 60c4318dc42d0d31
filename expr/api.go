package expr

import (
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

// Type is a static type. Every type includes null.
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

// Ref is where a value lies in a Frame.
type Ref struct {
	Row  int // index in Frame.Rows
	Slot int // index in value.Row.Slots
}

// Resolved is what a Binding makes of a path.
type Resolved struct {
	Ref  Ref
	Type Type
	Rest []codec.Step // steps that remain to be applied to the value at Ref
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
}

// Scope is all that an expression can name.
type Scope struct {
	Bindings []*Binding
	// Aggregates: calls of these names are not compiled but handed to Aggregate
	// (nil = aggregates are refused here, with a diagnostic that says where they belong).
	Aggregate func(call AggregateCall) (Resolved, diag.List)
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

// Frame is the mutable world of one record on its way through one task.
type Frame struct {
	Rows []*value.Row
	Now  int64 // wall clock, ms, for now()
	err  error
	vm   *machine
}
