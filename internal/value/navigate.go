package value

import (
	"bytes"
	"fmt"
)

// ParseJSON reads one JSON value, strictly: scalars become typed values,
// arrays and objects are checked and kept as Raw. White space around it is
// left out. The result shares text, which must not be written afterwards.
// Errors are *SyntaxError.
func ParseJSON[T text](json T) (Value, error) {
	doc := bytesOf(viewOf(json))
	// Keys mostly are one of these two, and need no more than one look.
	if n, end, ok := ReadInt(doc, 0); ok && end == len(doc) {
		return OfInt(n), nil
	}
	if len(doc) > 0 && doc[0] == '"' {
		if end, plain := LexString(doc, 0); plain && end == len(doc) {
			return OfString(viewOf(doc[1 : end-1])), nil
		}
	}
	start := LexSpace(doc, 0)
	end := LexValue(doc, start, 0)
	if end < 0 {
		return Value{}, LexError(doc, end)
	}
	if rest := LexEnd(doc, end); rest < 0 {
		return Value{}, LexError(doc, rest)
	}
	return OfLexed(doc, start, end), nil
}

// OfLexed returns the value whose text is doc[start:end], which LexValue has accepted.
func OfLexed(doc []byte, start, end int) Value {
	switch doc[start] {
	case '{', '[':
		return OfRaw(doc[start:end])
	case '"':
		return OfString(unquote(doc[start+1 : end-1]))
	case 't':
		return OfBool(true)
	case 'f':
		return OfBool(false)
	case 'n':
		return NullV()
	}
	_, integer := LexNumber(doc, start)
	return OfJSONNumber(viewOf(doc[start:end]), integer)
}

// unquote gives the value of a string's inside, shared with it if it has no escapes.
func unquote(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return viewOf(inside)
	}
	return viewOf(Unescape(make([]byte, 0, len(inside)), inside))
}

// walk visits the children of the array or object in doc until visit returns
// false. name is the inside of the member's name with its escapes, nil in an array.
func walk(doc []byte, visit func(name []byte, start, end int) bool) {
	if len(doc) == 0 || doc[0] != '{' && doc[0] != '[' {
		return
	}
	object := doc[0] == '{'
	i := LexSpace(doc, 1)
	for i < len(doc) && doc[i] != '}' && doc[i] != ']' {
		var name []byte
		if object {
			if name, i = readName(doc, i); i < 0 {
				return
			}
		}
		start := i
		if i = LexValue(doc, start, 0); i < 0 || !visit(name, start, i) {
			return
		}
		i = nextChild(doc, i)
	}
}

// readName reads the member's name at i and gives its inside and the offset of
// the value behind it.
func readName(doc []byte, i int) (inside []byte, next int) {
	if i >= len(doc) || doc[i] != '"' {
		return nil, fault(i, faultUnexpected)
	}
	end, _ := LexString(doc, i)
	if end < 0 {
		return nil, end
	}
	inside = doc[i+1 : end-1]
	if i = LexSpace(doc, end); i >= len(doc) || doc[i] != ':' {
		return nil, fault(i, faultUnexpected)
	}
	return inside, LexSpace(doc, i+1)
}

// nextChild goes from the end of a child over the comma, if there is one.
func nextChild(doc []byte, i int) int {
	if i = LexSpace(doc, i); i < len(doc) && doc[i] == ',' {
		i = LexSpace(doc, i+1)
	}
	return i
}

// nameIs compares the inside of a member's name with a name.
func nameIs(inside []byte, name string) bool {
	if len(inside) < len(name) {
		return false // escapes only ever make it longer
	}
	if len(inside) == len(name) {
		return string(inside) == name
	}
	return unquote(inside) == name
}

// Get returns the field name of an object: Absent if it is not there, Null if
// v is null, Invalid if v is no object. Of fields with one name it is the last.
func (v Value) Get(name string) Value {
	switch {
	case v.Kind == Map:
		if i := v.Tree.find(name); i >= 0 {
			return v.Tree.Items[i]
		}
		return Value{}
	case v.IsObject():
		doc, from, to := bytesOf(v.Text), 0, 0
		walk(doc, func(inside []byte, start, end int) bool {
			if nameIs(inside, name) {
				from, to = start, end
			}
			return true
		})
		if to == 0 {
			return Value{}
		}
		return OfLexed(doc, from, to)
	case v.Kind == Invalid:
		return v
	case v.IsNull():
		return NullV()
	}
	return OfInvalid(fmt.Sprintf("cannot read field %q of %s", name, v.TypeName()))
}

// Path is Get with an error where v is neither an object nor null.
func Path(v Value, name string) (Value, error) {
	field := v.Get(name)
	return field, field.Err()
}

// Index returns item i of a list, counted from the end if negative: Absent
// beyond it, Null if v is null, Invalid if v is no list.
func (v Value) Index(i int) Value {
	switch {
	case v.Kind == List:
		items := v.Tree.Items
		if i < 0 {
			i += len(items)
		}
		if i < 0 || i >= len(items) {
			return Value{}
		}
		return items[i]
	case v.IsList():
		return indexRaw(bytesOf(v.Text), i)
	case v.Kind == Invalid:
		return v
	case v.IsNull():
		return NullV()
	}
	return OfInvalid(fmt.Sprintf("cannot read item %d of %s", i, v.TypeName()))
}

func indexRaw(doc []byte, i int) Value {
	if i < 0 {
		if i += count(doc); i < 0 {
			return Value{}
		}
	}
	var item Value
	walk(doc, func(_ []byte, start, end int) bool {
		if i == 0 {
			item = OfLexed(doc, start, end)
		}
		i--
		return i >= 0
	})
	return item
}

// Item is Index with an error where v is neither a list nor null.
func Item(v Value, i int) (Value, error) {
	item := v.Index(i)
	return item, item.Err()
}

func count(doc []byte) int {
	n := 0
	walk(doc, func([]byte, int, int) bool { n++; return true })
	return n
}

// Len returns the number of items of a list, of different fields of an object,
// of Unicode characters of a string, of bytes of Bytes; false for anything else.
func (v Value) Len() (int, bool) {
	switch {
	case v.Kind == String:
		n := 0
		for range v.Text {
			n++
		}
		return n, true
	case v.Kind == Bytes:
		return len(v.Text), true
	case v.Kind == List || v.Kind == Map:
		return len(v.Tree.Items), true
	case v.IsList():
		return count(bytesOf(v.Text)), true
	case v.IsObject():
		return len(v.Expand().Tree.Items), true
	}
	return 0, false
}
