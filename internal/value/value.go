// Package value is the scalar and tree model that expressions, formats and
// state share: one small struct per value, no boxing, JSON text kept as it
// came wherever nothing changed it.
package value

// Kind says what a Value holds.
type Kind uint8

const (
	// Absent is a field that is not there. It behaves as Null everywhere
	// except where presence itself matters (spreads, coalesce by presence).
	Absent Kind = iota
	Null
	Bool
	Int    // int64
	Float  // float64; Text keeps the JSON number it came from, if it did
	Number // a JSON number that neither int64 nor float64 holds exactly (1e400, 2^70); only Text is meaningful
	String // Text is the unescaped string
	Bytes  // Text holds the bytes
	Raw    // a JSON array or object, untouched: Text is its JSON text
	List   // built by an expression: Tree.Items
	Map    // built by an expression: Tree.Keys and Tree.Items, in order, keys unique
)

// Value is one value. The zero Value is Absent. Text may point into the
// record it was read from: those bytes are never written again, so keeping the
// Value only keeps that buffer alive (copy with Clone to let it go).
type Value struct {
	Kind Kind
	num  uint64 // Bool, Int, Float
	Text string
	Tree *Tree
}

// Tree is a list or map that an expression built.
type Tree struct {
	Keys  []string // Map only
	Items []Value
}

// Span is a half-open byte range [Start, End) of a document. The zero Span
// means "not there".
type Span struct{ Start, End int32 }

// Row is one decoded record or table row as expressions see it: the fields
// that some expression uses in Slots, everything else untouched in Doc.
// A Shape (package codec) says which slot is which.
type Row struct {
	Doc   []byte  // the whole value as JSON text; nil = null
	Slots []Value // by slot number of the Shape
	Cuts  []Span  // by cut number of the Shape: the whole member `"name":value` in Doc, without commas
}
