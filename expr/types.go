package expr

import (
	"strings"

	"streamctl/internal/value"
)

// String names the type as messages and docs do.
func (t Type) String() string {
	switch t.Kind {
	case List:
		if t.Elem != nil && t.Elem.Kind != Any {
			return "list of " + t.Elem.String()
		}
		return "list"
	case Object:
		if len(t.Fields) == 0 {
			return "object"
		}
		names := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			names[i] = f.Name
		}
		return "object {" + strings.Join(names, ", ") + "}"
	}
	return t.Kind.String()
}

// String names the kind as messages and docs do.
func (k TypeKind) String() string {
	switch k {
	case Null:
		return "nil"
	case Bool:
		return "bool"
	case Int:
		return "int"
	case Float:
		return "float"
	case String:
		return "string"
	case Bytes:
		return "bytes"
	case List:
		return "list"
	case Object:
		return "object"
	}
	return "any"
}

// open is true when nothing is known about the type, or only that it is null:
// such an operand fits everywhere as far as can be told before running.
func (t Type) open() bool { return t.Kind == Any || t.Kind == Null }

// numeric is true for int and float.
func (t Type) numeric() bool { return t.Kind == Int || t.Kind == Float }

// is is true when t is known to be one of kinds, or nothing is known about it.
func (t Type) is(kinds ...TypeKind) bool {
	if t.open() {
		return true
	}
	for _, k := range kinds {
		if t.Kind == k {
			return true
		}
	}
	return false
}

// field looks a member up. known is false when nothing can be said.
func (t Type) field(name string) (ft Type, known bool) {
	for _, f := range t.Fields {
		if f.Name == name {
			return f.Type, true
		}
	}
	return Type{}, false
}

// elem is the element type of a list.
func (t Type) elem() Type {
	if t.Kind == List && t.Elem != nil {
		return *t.Elem
	}
	return Type{}
}

// listOf makes the type of a list.
func listOf(elem Type) Type {
	if elem.Kind == Any {
		return Type{Kind: List}
	}
	return Type{Kind: List, Elem: &elem}
}

// unify is the type of something that is either a or b.
func unify(a, b Type) Type {
	switch {
	case a.Kind == Null:
		return b
	case b.Kind == Null:
		return a
	case a.numeric() && b.numeric() && a.Kind != b.Kind:
		return Type{Kind: Float}
	case a.Kind != b.Kind:
		return Type{}
	case a.Kind == List:
		return listOf(unify(a.elem(), b.elem()))
	case a.Kind == Object:
		return unifyObjects(a, b)
	}
	return a
}

// unifyObjects keeps the fields that both have.
func unifyObjects(a, b Type) Type {
	out := Type{Kind: Object, Open: a.Open || b.Open || len(a.Fields) != len(b.Fields)}
	for _, f := range a.Fields {
		other, ok := b.field(f.Name)
		if !ok {
			out.Open = true
			continue
		}
		out.Fields = append(out.Fields, Field{f.Name, unify(f.Type, other)})
	}
	return out
}

// comparableTypes is true when == between the two can ever hold.
func comparableTypes(a, b Type) bool {
	return a.open() || b.open() || a.Kind == b.Kind || a.numeric() && b.numeric()
}

// typeOf is the static type of a constant.
func typeOf(v value.Value) Type {
	switch v.Kind {
	case value.Absent, value.Null:
		return Type{Kind: Null}
	case value.Bool:
		return Type{Kind: Bool}
	case value.Int:
		return Type{Kind: Int}
	case value.Float, value.Number:
		return Type{Kind: Float}
	case value.String:
		return Type{Kind: String}
	case value.Bytes:
		return Type{Kind: Bytes}
	case value.List:
		if len(v.Tree.Items) == 0 {
			return Type{Kind: List}
		}
		elem := typeOf(v.Tree.Items[0])
		for _, item := range v.Tree.Items[1:] {
			elem = unify(elem, typeOf(item))
		}
		return listOf(elem)
	case value.Map:
		out := Type{Kind: Object}
		for i, key := range v.Tree.Keys {
			out.Fields = append(out.Fields, Field{key, typeOf(v.Tree.Items[i])})
		}
		return out
	}
	return Type{}
}
