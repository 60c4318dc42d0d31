// Package value is the scalar and tree model that expressions, formats and
// state share: one small struct per value, no boxing, JSON text kept as it
// came wherever nothing changed it. It also owns the lexing of JSON text,
// because a value may be JSON text that is read only where somebody looks.
//
// It knows nothing of topics, formats of records, expressions or state.
package value

import (
	"math"
	"strings"
	"unsafe"
)

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
	Number // a JSON number that neither int64 nor float64 holds (1e400, 1e-400, 2^70); only Text is meaningful
	String // Text is the unescaped string
	Bytes  // Text holds the bytes
	Raw    // a JSON array or object, untouched: Text is its JSON text
	List   // built by an expression: Tree.Items
	Map    // built by an expression: Tree.Keys and Tree.Items, in order, keys unique
	// Invalid is a slot whose path leads through something that is neither an
	// object (or list) nor null; Text says what. Whoever ignores it sees a null
	// (IsNull is true); an expression that reads it reports Err.
	Invalid
)

// String names the kind as messages to users do.
func (k Kind) String() string {
	switch k {
	case Absent:
		return "absent"
	case Null:
		return "null"
	case Bool:
		return "bool"
	case Int:
		return "int"
	case Float:
		return "float"
	case Number:
		return "number"
	case String:
		return "string"
	case Bytes:
		return "bytes"
	case Raw:
		return "json"
	case List:
		return "list"
	case Map:
		return "object"
	case Invalid:
		return "invalid"
	}
	return "unknown kind"
}

// Value is one value. The zero Value is Absent. Text may point into the
// record it was read from: those bytes are never written again, so keeping the
// Value only keeps that buffer alive (copy with Clone to let it go).
type Value struct {
	Kind Kind
	num  uint64 // Bool, Int, Float
	Text string
	Tree *Tree
}

// Tree is a list or map that an expression built. It is not changed once a
// Value holds it.
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
	Cuts  []Span  // by cut number of the Shape: the whole member `"name":value` in Doc, without commas; the last one of its name
	Dups  []Dup   // members of a cut name that another one of the same name follows; almost always empty
}

// Dup is an earlier member of a name that stands more than once in a document.
type Dup struct {
	Cut  int // cut number of the Shape
	Span Span
}

// text is what holds JSON or bytes: both views of the same immutable memory.
type text interface{ ~string | ~[]byte }

// NullV returns the null value.
func NullV() Value { return Value{Kind: Null} }

// OfBool returns a Bool.
func OfBool(b bool) Value {
	if b {
		return Value{Kind: Bool, num: 1}
	}
	return Value{Kind: Bool}
}

// OfInt returns an Int.
func OfInt(i int64) Value { return Value{Kind: Int, num: uint64(i)} }

// OfFloat returns a Float. JSON has no NaN and no infinities: whoever computes
// should make them errors (Finite); AppendJSON writes them as null.
func OfFloat(f float64) Value { return Value{Kind: Float, num: math.Float64bits(f)} }

// OfFloatText returns a Float that is written to JSON as text, the JSON number
// it was read from.
func OfFloatText(f float64, text string) Value {
	return Value{Kind: Float, num: math.Float64bits(f), Text: text}
}

// OfNumber returns a Number; text must be a JSON number.
func OfNumber(text string) Value { return Value{Kind: Number, Text: text} }

// OfString returns a String.
func OfString(s string) Value { return Value{Kind: String, Text: s} }

// OfBytes returns Bytes that share b: b must not be written afterwards.
func OfBytes(b []byte) Value { return Value{Kind: Bytes, Text: viewOf(b)} }

// OfRaw returns a Raw; json must be the text of one valid JSON array or object
// without space around it (ParseJSON checks). A []byte is shared, not copied.
func OfRaw[T text](json T) Value { return Value{Kind: Raw, Text: viewOf(json)} }

// OfList returns a List that takes over items.
func OfList(items []Value) Value { return Value{Kind: List, Tree: &Tree{Items: items}} }

// OfMap returns a Map that takes over keys and items: equally many, keys unique.
func OfMap(keys []string, items []Value) Value {
	return Value{Kind: Map, Tree: &Tree{Keys: keys, Items: items}}
}

// OfInvalid returns an Invalid; problem is the text of its Err.
func OfInvalid(problem string) Value { return Value{Kind: Invalid, Text: problem} }

// SetInt makes v the Int i. With SetString it spares the hot path most of the
// words of a Value, and the write barriers on them, when v is the zero Value.
func (v *Value) SetInt(i int64) {
	if v.Kind != Absent {
		*v = Value{}
	}
	v.Kind, v.num = Int, uint64(i)
}

// SetString makes v the String s.
func (v *Value) SetString(s string) {
	if v.Kind != Absent {
		*v = Value{}
	}
	v.Kind, v.Text = String, s
}

// AsBool is the bool of a Bool; meaningless for other kinds, as are the
// accessors below for kinds not their own.
func (v Value) AsBool() bool { return v.num != 0 }

// AsInt is the int64 of an Int.
func (v Value) AsInt() int64 { return int64(v.num) }

// AsFloat is the float64 of a Float.
func (v Value) AsFloat() float64 { return math.Float64frombits(v.num) }

// AsString is the text of a String.
func (v Value) AsString() string { return v.Text }

// AsBytes is the content of Bytes; it must not be written.
func (v Value) AsBytes() []byte { return bytesOf(v.Text) }

// IsNull is true for Null, Absent and Invalid.
func (v Value) IsNull() bool { return v.Kind <= Null || v.Kind == Invalid }

// IsObject is true for a Map and for a Raw object.
func (v Value) IsObject() bool {
	return v.Kind == Map || v.Kind == Raw && v.Text != "" && v.Text[0] == '{'
}

// IsList is true for a List and for a Raw array.
func (v Value) IsList() bool {
	return v.Kind == List || v.Kind == Raw && v.Text != "" && v.Text[0] == '['
}

// TypeName names what v holds as messages to users do; unlike Kind.String it
// tells raw objects from raw lists.
func (v Value) TypeName() string {
	switch {
	case v.IsObject():
		return "object"
	case v.IsList():
		return "list"
	}
	return v.Kind.String()
}

// Err is the error of an Invalid, nil for every other value.
func (v Value) Err() error {
	if v.Kind != Invalid {
		return nil
	}
	return &TypeError{Text: v.Text}
}

// Clone returns v with nothing shared with the buffer it was read from.
func (v Value) Clone() Value {
	v.Text = strings.Clone(v.Text)
	if v.Tree == nil {
		return v
	}
	t := &Tree{Items: make([]Value, len(v.Tree.Items))}
	if v.Tree.Keys != nil {
		t.Keys = make([]string, len(v.Tree.Keys))
		for i, k := range v.Tree.Keys {
			t.Keys[i] = strings.Clone(k)
		}
	}
	for i, item := range v.Tree.Items {
		t.Items[i] = item.Clone()
	}
	v.Tree = t
	return v
}

// TypeError is an operation on a value of a type that it does not know.
type TypeError struct{ Text string }

func (e *TypeError) Error() string { return e.Text }

// viewOf sees s as a string without copying. Sound because nothing writes the
// bytes of a record or a value once they are there.
func viewOf[T text](s T) string {
	switch s := any(s).(type) {
	case string:
		return s
	case []byte:
		return unsafe.String(unsafe.SliceData(s), len(s))
	}
	return string(s)
}

// bytesOf sees s as bytes without copying; they must not be written.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
