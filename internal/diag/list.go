package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Errorf makes an error diagnostic; the message is one line, without a full stop.
func Errorf(code Code, span Span, format string, args ...any) Diagnostic {
	return Diagnostic{Code: code, Severity: Error, Span: span, Message: text(format, args)}
}

// Warnf makes a warning.
func Warnf(code Code, span Span, format string, args ...any) Diagnostic {
	return Diagnostic{Code: code, Severity: Warning, Span: span, Message: text(format, args)}
}

// What of a user's text is repeated in a message, in bytes: names may be as
// long as a file.
const (
	longestWord = 120
	longestText = 1000
)

// text formats a message as one line of bounded length.
func text(format string, args []any) string {
	line := fmt.Sprintf(format, args...)
	if len(line) <= longestWord && !strings.ContainsAny(line, "\n\r\t") {
		return line
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\n' || r == '\r' || r == '\t' })
	for i, w := range words {
		words[i] = cut(w, longestWord)
	}
	return cut(strings.Join(words, " "), longestText)
}

// cut shortens s to about limit bytes, keeping the end, where quotes close.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const tail = 10
	return strings.ToValidUTF8(s[:limit-tail], "") + "…" + strings.ToValidUTF8(s[len(s)-tail:], "")
}

// WithHelp returns d with the advice set: what the user should do.
func (d Diagnostic) WithHelp(format string, args ...any) Diagnostic {
	d.Help = text(format, args)
	return d
}

// WithNote returns d with one note more. A zero span is advice without a place.
func (d Diagnostic) WithNote(span Span, format string, args ...any) Diagnostic {
	d.Notes = append(slices.Clone(d.Notes), Note{Span: span, Text: text(format, args)})
	return d
}

// Errorf adds an error and returns it for further notes: the pointer is valid
// until the next addition.
func (l *List) Errorf(code Code, span Span, format string, args ...any) *Diagnostic {
	return l.Add(Errorf(code, span, format, args...))
}

// Warnf adds a warning, otherwise like Errorf.
func (l *List) Warnf(code Code, span Span, format string, args ...any) *Diagnostic {
	return l.Add(Warnf(code, span, format, args...))
}

// Add appends one diagnostic and returns a pointer to it, valid until the next addition.
func (l *List) Add(d Diagnostic) *Diagnostic {
	*l = append(*l, d)
	return &(*l)[len(*l)-1]
}

// Append adds all of other.
func (l *List) Append(other List) { *l = append(*l, other...) }

// HasErrors reports whether at least one diagnostic is an error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sort puts the list into source order: file, place, code, message. Exact
// repetitions are dropped, so that two stages may find the same fault.
func (l *List) Sort() {
	slices.SortStableFunc(*l, compare)
	*l = slices.CompactFunc(*l, func(a, b Diagnostic) bool {
		return compare(a, b) == 0 && a.Severity == b.Severity && a.Help == b.Help
	})
}

func compare(a, b Diagnostic) int {
	return cmp.Or(
		cmp.Compare(a.Span.File, b.Span.File),
		cmp.Compare(a.Span.Start.Offset, b.Span.Start.Offset),
		cmp.Compare(a.Span.End.Offset, b.Span.End.Offset),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.Message, b.Message),
	)
}
