package codec

import "streamctl/internal/value"

// Step is one step of a path into a document: a field name, or an index when
// IsIndex (negative indexes count from the end).
type Step struct {
	Name    string
	Index   int
	IsIndex bool
}

// Want is the kind of value a slot is read as; WantAny keeps what is there.
// A value of another kind than wanted (null apart) is an error of the record.
type Want uint8

const (
	WantAny Want = iota
	WantBool
	WantInt
	WantFloat // ints are accepted and converted
	WantString
	WantObject
	WantList
)

// FieldError is a field whose value is not of the declared type.
type FieldError struct {
	Path []Step
	Want Want
	Got  value.Kind
}
