package expr

import (
	"fmt"
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/value"
)

// impl computes a function. args is lent: it must not be kept. Arguments have
// the kinds that the parameters say and, unless function.nulls is set, none is
// null.
type impl func(f *Frame, args []value.Value) (value.Value, error)

// kindSet is a set of TypeKinds; zero = any.
type kindSet uint16

const (
	anyKind    kindSet = 0
	boolKind   kindSet = 1 << Bool
	intKind    kindSet = 1 << Int
	numberKind kindSet = 1<<Int | 1<<Float
	stringKind kindSet = 1 << String
	bytesKind  kindSet = 1 << Bytes
	listKind   kindSet = 1 << List
	objectKind kindSet = 1 << Object
	textKind           = stringKind | bytesKind
)

// accepts is true when a value of static type t may fit.
func (k kindSet) accepts(t Type) bool {
	return k == anyKind || t.open() || k&(1<<t.Kind) != 0
}

// holds is true when v, which is not null, fits.
func (k kindSet) holds(v value.Value) bool {
	return k == anyKind || k&(1<<kindOf(v)) != 0
}

// kindOf is the TypeKind of a value at run time; Any for what has none (a
// number beyond 64 bits).
func kindOf(v value.Value) TypeKind {
	switch v.Kind {
	case value.Bool:
		return Bool
	case value.Int:
		return Int
	case value.Float:
		return Float
	case value.String:
		return String
	case value.Bytes:
		return Bytes
	case value.List:
		return List
	case value.Map:
		return Object
	case value.Raw:
		if v.IsList() {
			return List
		}
		return Object
	case value.Number:
		return Any
	}
	return Null
}

// String says "a string or bytes".
func (k kindSet) String() string {
	if k == anyKind {
		return "any value"
	}
	var kinds []TypeKind
	for t := Bool; t <= Object; t++ {
		if k&(1<<t) != 0 {
			kinds = append(kinds, t)
		}
	}
	return kindNames(kinds)
}

// word names the set in signatures.
func (k kindSet) word() string {
	if k == anyKind {
		return "any"
	}
	var words []string
	for t := Bool; t <= Object; t++ {
		switch {
		case k&(1<<t) == 0, t == Float && k&intKind != 0:
		case t == Int && k&numberKind == numberKind:
			words = append(words, "number")
		default:
			words = append(words, t.String())
		}
	}
	return strings.Join(words, "|")
}

// param is one parameter of a function.
type param struct {
	name     string
	kinds    kindSet
	optional bool
	repeats  bool // the last parameter: any number of arguments, at least one
}

// function is one entry of the library.
type function struct {
	name   string
	params []param
	result Type
	gives  string // names the result in the signature where resultOf decides
	// resultOf, when set, gives the type of the result from the arguments.
	resultOf func(args []*node) Type
	doc      string // one sentence or two, Markdown
	nulls    bool   // null arguments are handed to call; else they make the result null
	clock    bool   // the result depends on the time of day
	call     impl
	// prepare may look at constant arguments, put a faster n.impl in place, or refuse.
	prepare func(n *node) *argumentFault
	// operator, when set, is the operator that the function is another name of;
	// then call is not needed.
	operator op
	// canonical, when set, stands for name in canonical texts.
	canonical string
}

// argumentFault is a constant argument that can be seen to be wrong.
type argumentFault struct {
	arg  int // index, -1 = the whole call
	code diag.Code
	msg  string
}

// arity is the least and the greatest number of arguments; most < 0 = no limit.
func (fn *function) arity() (least, most int) {
	for _, p := range fn.params {
		if !p.optional {
			least++
		}
		if p.repeats {
			return least, -1
		}
	}
	return least, len(fn.params)
}

// identity tells functions apart that compute something else.
func (fn *function) identity() string {
	if fn.canonical != "" {
		return fn.canonical
	}
	return fn.name
}

// param is the parameter of argument i.
func (fn *function) param(i int) *param {
	return &fn.params[min(i, len(fn.params)-1)]
}

// typeOf is the static type of a call.
func (fn *function) typeOf(args []*node) Type {
	if fn.resultOf != nil {
		return fn.resultOf(args)
	}
	return fn.result
}

// signature writes the function as docs and help texts show it.
func (fn *function) signature() string {
	var b strings.Builder
	b.WriteString(fn.name + "(")
	for i, p := range fn.params {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.name)
		if p.optional {
			b.WriteString("?")
		}
		b.WriteString(": " + p.kinds.word())
		if p.repeats {
			b.WriteString(", ...")
		}
	}
	gives := fn.gives
	if gives == "" {
		gives = fn.result.String()
	}
	b.WriteString(") -> " + gives)
	return b.String()
}

// invoke calls an implementation under the rules that hold for all functions:
// nulls give null, and arguments of kinds that the function does not know are
// an error.
func (fn *function) invoke(call impl, f *Frame, args []value.Value) (value.Value, error) {
	null := false
	for i := range args {
		if args[i].IsNull() {
			if args[i].Kind == value.Invalid {
				return value.Value{}, args[i].Err()
			}
			null = true
			continue
		}
		if p := fn.param(i); !p.kinds.holds(args[i]) {
			return value.Value{}, fmt.Errorf("%s of %s must be %s, got %s", p.name, fn.name, p.kinds, describe(args[i]))
		}
	}
	if null && !fn.nulls {
		return value.NullV(), nil
	}
	v, err := call(f, args)
	if err != nil {
		return value.Value{}, fmt.Errorf("%s: %w", fn.name, err)
	}
	return v, f.spendOn(v)
}

// describe shows a value in a message: its type and the beginning of it.
func describe(v value.Value) string {
	if v.IsNull() {
		return "null"
	}
	return v.TypeName() + " " + v.Short()
}

// section is a group of functions in the library and its docs.
type section struct {
	title     string
	functions []function
}

// sections is the library: every function, once. docs/functions.md is made of it.
func sections() []section {
	return []section{
		{"Strings", stringFunctions()},
		{"Regular expressions", regexFunctions()},
		{"Numbers", mathFunctions()},
		{"Conversions and null", conversionFunctions()},
		{"Time", timeFunctions()},
		{"Lists and objects", listFunctions()},
		{"JSON and encodings", encodingFunctions()},
		{"URLs", urlFunctions()},
		{"Hashes", hashFunctions()},
	}
}

// library is sections by name.
func library() map[string]*function {
	out := make(map[string]*function, 128)
	for _, s := range sections() {
		for i := range s.functions {
			out[s.functions[i].name] = &s.functions[i]
		}
	}
	return out
}
