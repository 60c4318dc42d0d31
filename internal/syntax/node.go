// Package syntax reads YAML and keeps for every part of it where it stands in
// the file, down to the single byte inside a quoted or folded scalar. It owns
// what a file may look like (size, depth, aliases, duplicate keys), the
// interpolation of ${...} and the overriding of values by path. It knows
// nothing of pipelines; it is the only importer of yaml.v3.
package syntax

import (
	"fmt"
	"strings"

	"streamctl/internal/diag"
)

// Kind is the shape of a Node.
type Kind uint8

const (
	Scalar Kind = iota
	Mapping
	Sequence
)

// String names the kind as diagnostics do.
func (k Kind) String() string {
	switch k {
	case Mapping:
		return "mapping"
	case Sequence:
		return "list"
	}
	return "scalar"
}

// Style is how a scalar or collection was written.
type Style uint8

const (
	Plain Style = iota
	SingleQuoted
	DoubleQuoted
	Literal // |
	Folded  // >
	Flow    // {...} or [...]
	Block   // mapping or list by indentation
)

// Resolved tags of scalars. Quoted and block scalars are always TagStr.
const (
	TagStr   = "!!str"
	TagInt   = "!!int"
	TagFloat = "!!float"
	TagBool  = "!!bool"
	TagNull  = "!!null"
)

// Node is one value of a YAML file. A tree of Nodes is never changed after
// Parse: overriding and interpolation make new trees that share the rest.
type Node struct {
	Kind    Kind
	Style   Style
	Tag     string // resolved, short: "!!str", "!!int", ...
	Value   string // decoded text of a scalar
	Span    diag.Span
	Entries []Entry // of a mapping, in file order
	Items   []*Node // of a list

	src *source // nil for values that come from no file
	at  int     // offset of the scalar's first byte (the quote, | or >), behind tag and anchor
}

// Entry is one key with its value.
type Entry struct {
	Key, Value *Node
}

// Get returns the value under key, nil when there is none or n is no mapping.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Key.Value == key {
			return e.Value
		}
	}
	return nil
}

// IsNull reports whether n is missing, empty (`key:`) or null.
func (n *Node) IsNull() bool {
	return n == nil || n.Kind == Scalar && n.Tag == TagNull
}

// Describe says what n is, for "expected X, got Y": "a list", "the number 5", ...
func (n *Node) Describe() string {
	switch {
	case n.IsNull():
		return "nothing"
	case n.Kind == Mapping:
		return "a mapping"
	case n.Kind == Sequence:
		return "a list"
	}
	text := n.Value
	if r := []rune(text); len(r) > 30 {
		text = string(r[:29]) + "…"
	}
	switch n.Tag {
	case TagInt, TagFloat:
		return "the number " + text
	case TagBool:
		return "the boolean " + text
	}
	return fmt.Sprintf("the text %q", strings.ReplaceAll(text, "\n", " "))
}

// At maps the half-open byte range [start, end) of the decoded Value to the
// file: through quotes, escapes, folded lines and indentation. Out of range
// bounds are clamped; an empty range is a place between two bytes. For a value
// that is no scalar or comes from no file, it is the whole Span.
func (n *Node) At(start, end int) diag.Span {
	if n.Kind != Scalar || n.src == nil {
		return n.Span
	}
	from, to, ok := n.src.locate(n)
	if !ok {
		return n.Span
	}
	size := len(n.Value)
	start = min(max(start, 0), size)
	end = min(max(end, start), size)
	if size == 0 {
		return n.Span
	}
	var a, b int
	switch {
	case start == size:
		a = int(to[size-1])
		b = a
	case start == end:
		a = int(from[start])
		b = a
	default:
		a, b = int(from[start]), int(to[end-1])
	}
	return n.src.span(a, b)
}
