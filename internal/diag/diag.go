// Package diag is what the tool says about a user's files: diagnostics as
// data (code, severity, span, notes), lists of them in source order, nearest
// names, and the printer that puts a caret under the place.
package diag

// Pos is a place in a file: Offset in bytes from 0, Line and Col from 1, Col
// counted in runes.
type Pos struct {
	Offset    int
	Line, Col int
}

// Span is a half-open range of a file. A zero Span means the whole file.
type Span struct {
	File       string
	Start, End Pos
}

// Severity of a diagnostic.
type Severity uint8

const (
	Error Severity = iota
	Warning
)

// Code names a kind of diagnostic, e.g. "unknown-field". Every code has an
// entry in docs/diagnostics.md and a golden.
type Code string

// Note adds a second place or a piece of advice.
type Note struct {
	Span Span // zero: advice without a place
	Text string
}

// Diagnostic is one finding about the user's input.
type Diagnostic struct {
	Code     Code
	Severity Severity
	Span     Span
	Message  string // one line: what is wrong
	Help     string // optional: what to do ("did you mean ...")
	Notes    []Note
}

// List is a collection of diagnostics.
type List []Diagnostic
