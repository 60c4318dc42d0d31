// Package codec is where bytes of records become values and back: shapes that
// read JSON documents in one pass, the splicing of documents as bytes, the
// formats of keys and values, and the partitioner of the Java client.
//
// It knows nothing of topics, expressions or operators; a Shape is told which
// fields somebody wants, not why.
package codec

import (
	"fmt"
	"strconv"
	"strings"

	"streamctl/internal/value"
)

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
	WantInt   // 3.0 is accepted as 3
	WantFloat // ints are accepted and converted
	WantString
	WantObject
	WantList
	WantBytes // bytes stand in JSON as base64 text, as value.AppendJSON writes them
)

// String names the wanted kind as messages to users do.
func (w Want) String() string {
	switch w {
	case WantBool:
		return "bool"
	case WantInt:
		return "int"
	case WantFloat:
		return "float"
	case WantString:
		return "string"
	case WantObject:
		return "object"
	case WantList:
		return "list"
	case WantBytes:
		return "bytes"
	}
	return "any"
}

// FieldError is a field whose value is not of the declared type.
type FieldError struct {
	Path []Step
	Want Want
	Got  value.Kind
	Text string // what is there, as JSON and shortened; of value.Invalid the problem
}

// Error says which field, what was declared and what is there:
// `field extra.a[0]: want int, got string "x"`.
func (e *FieldError) Error() string {
	what := "document"
	if len(e.Path) > 0 {
		what = "field " + PathText(e.Path)
	}
	if e.Got == value.Invalid {
		return fmt.Sprintf("%s: want %s, but %s", what, e.Want, e.Text)
	}
	kind := e.Got.String()
	if e.Got == value.Raw && strings.HasPrefix(e.Text, "[") {
		kind = "list"
	} else if e.Got == value.Raw {
		kind = "object"
	}
	return fmt.Sprintf("%s: want %s, got %s %s", what, e.Want, kind, e.Text)
}

// PathText writes a path as expressions do: a.b[0]["odd name"].
func PathText(path []Step) string {
	var b strings.Builder
	for i, step := range path {
		switch {
		case step.IsIndex:
			b.WriteString("[" + strconv.Itoa(step.Index) + "]")
		case isIdentifier(step.Name):
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step.Name)
		default:
			b.WriteString("[" + strconv.Quote(step.Name) + "]")
		}
	}
	return b.String()
}

func isIdentifier(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// Walk follows path from v: Absent where something is not there, Null below a
// null. Stepping into anything else than an object or list is an error.
func Walk(v value.Value, path []Step) (value.Value, error) {
	for _, step := range path {
		if step.IsIndex {
			v = v.Index(step.Index)
		} else {
			v = v.Get(step.Name)
		}
		if v.Kind == value.Invalid {
			return v, v.Err()
		}
	}
	return v, nil
}
