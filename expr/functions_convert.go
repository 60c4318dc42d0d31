package expr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"streamctl/internal/value"
)

func conversionFunctions() []function {
	x := param{name: "x", kinds: anyKind}
	return []function{
		{name: "int", params: []param{{name: "x", kinds: numberKind | stringKind}}, result: Type{Kind: Int}, call: toInt, doc: "The int that a string writes in decimal, or a float without its fraction. What is none is an error of the record."},
		{name: "float", params: []param{{name: "x", kinds: numberKind | stringKind}}, result: Type{Kind: Float}, call: toFloat, doc: "The float that a string writes, or an int as a float. What is none is an error of the record."},
		{name: "string", params: []param{x}, result: Type{Kind: String}, call: toString, doc: "Any value as text: numbers in decimal, equal numbers alike (`1.50` is `1.5`), lists and objects as JSON."},
		{name: "bool", params: []param{{name: "x", kinds: boolKind | stringKind}}, result: Type{Kind: Bool}, call: toBool, doc: "The bool that a string writes: `true` or `false`. Everything else is an error of the record."},
		{name: "try_int", params: []param{x}, result: Type{Kind: Int}, call: try(toInt, numberKind|stringKind), doc: "Like `int`, but null where `int` fails."},
		{name: "try_float", params: []param{x}, result: Type{Kind: Float}, call: try(toFloat, numberKind|stringKind), doc: "Like `float`, but null where `float` fails."},
		{name: "try_bool", params: []param{x}, result: Type{Kind: Bool}, call: try(toBool, boolKind|stringKind), doc: "Like `bool`, but null where `bool` fails."},
		{name: "coalesce", params: []param{{name: "values", kinds: anyKind, repeats: true}}, resultOf: commonType, operator: opCoalesce, doc: "The first value that is not null; what follows it is not computed. `a ?? b` is the same for two."},
		{name: "is_null", params: []param{x}, result: Type{Kind: Bool}, operator: opIsNull, doc: "Whether x is null or absent; `x == nil` is the same."},
		{name: "if_null", params: []param{x, {name: "instead", kinds: anyKind}}, resultOf: commonType, operator: opCoalesce, doc: "x, or `instead` where x is null; `x ?? instead` is the same."},
		{name: "null_if", params: []param{x, {name: "y", kinds: anyKind}}, resultOf: sameAsFirst, nulls: true, call: nullIf, doc: "Null where x equals y, else x."},
		{name: "type_of", params: []param{x}, result: Type{Kind: String}, nulls: true, call: typeOfCall, doc: "The name of x's type: `null`, `bool`, `int`, `float`, `number` (one beyond 64 bits), `string`, `bytes`, `list` or `object`."},
	}
}

func toInt(_ *Frame, args []value.Value) (value.Value, error) {
	switch x := args[0]; x.Kind {
	case value.Int:
		return x, nil
	case value.String:
		i, err := parseInt(x.Text)
		return value.OfInt(i), err
	default:
		if f := x.AsFloat(); f >= -1<<63 && f < 1<<63 {
			return value.OfInt(int64(f)), nil
		}
		return value.Value{}, fmt.Errorf("%s is beyond the ints", x.Short())
	}
}

// parseInt reads an int in decimal, digits with an optional sign and nothing else.
func parseInt(s string) (int64, error) {
	if i, ok := shortInt(s); ok {
		return i, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, notNumber(s, "an int", err)
	}
	return v, nil
}

// shortInt reads up to 18 digits, which cannot overflow.
func shortInt(s string) (int64, bool) {
	digits := strings.TrimPrefix(s, "-")
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	v := int64(0)
	for i := 0; i < len(digits); i++ {
		d := digits[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + int64(d)
	}
	if len(digits) < len(s) {
		v = -v
	}
	return v, true
}

// notNumber says why a string is no number.
func notNumber(s, what string, err error) error {
	shown := value.OfString(s).Short()
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of range", shown)
	}
	return fmt.Errorf("%s is not %s", shown, what)
}

func toFloat(_ *Frame, args []value.Value) (value.Value, error) {
	if args[0].Kind != value.String {
		f, _ := args[0].ToFloat()
		return value.OfFloat(f), nil
	}
	s := args[0].Text
	if !plainNumber(s) {
		return value.Value{}, notNumber(s, "a number", nil)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return value.Value{}, notNumber(s, "a number", err)
	}
	return value.OfFloat(f), nil
}

// plainNumber keeps out what strconv reads beside decimal numbers: NaN, Inf,
// hexadecimal, underscores.
func plainNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return false
		}
	}
	return s != ""
}

func toString(_ *Frame, args []value.Value) (value.Value, error) {
	switch x := args[0]; x.Kind {
	case value.String:
		return x, nil
	case value.Bytes:
		if !utf8.ValidString(x.Text) {
			return value.Value{}, fmt.Errorf("bytes are not UTF-8 text")
		}
		return value.OfString(x.Text), nil
	default:
		return value.OfString(string(value.AppendText(nil, x))), nil
	}
}

func toBool(_ *Frame, args []value.Value) (value.Value, error) {
	if args[0].Kind == value.Bool {
		return args[0], nil
	}
	switch args[0].Text {
	case "true":
		return value.OfBool(true), nil
	case "false":
		return value.OfBool(false), nil
	}
	return value.Value{}, fmt.Errorf("%s is neither true nor false", args[0].Short())
}

// try gives null where fn fails or does not know the kind.
func try(fn impl, kinds kindSet) impl {
	return func(f *Frame, args []value.Value) (value.Value, error) {
		if !kinds.holds(args[0]) {
			return value.NullV(), nil
		}
		v, err := fn(f, args)
		if err != nil {
			return value.NullV(), nil
		}
		return v, nil
	}
}

// commonType is what all arguments may be.
func commonType(args []*node) Type {
	t := Type{Kind: Null}
	for _, arg := range args {
		t = unify(t, arg.typ)
	}
	return t
}

func nullIf(_ *Frame, args []value.Value) (value.Value, error) {
	if value.Equal(args[0], args[1]) {
		return value.NullV(), nil
	}
	return args[0], nil
}

func typeOfCall(_ *Frame, args []value.Value) (value.Value, error) {
	if args[0].IsNull() {
		return value.OfString("null"), nil
	}
	return value.OfString(args[0].TypeName()), nil
}
