package value

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func must(t interface{ Fatal(...any) }, json string) Value {
	v, err := ParseJSON(json)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGetAndIndex(t *testing.T) {
	built := OfMap([]string{"a", "n"}, []Value{OfList([]Value{OfInt(1), OfInt(2), OfRaw(`{"b":"x"}`)}), NullV()})
	raw := must(t, ` {"a":[1,2, {"b":"old","b":"x"} ],"n":null,"\u0065s\"c":7,"a2":0} `)
	for name, doc := range map[string]Value{"map": built, "raw": raw} {
		a := doc.Get("a")
		for i, want := range map[int]string{0: "1", 1: "2", -3: "1", 2: "", 3: "null", -4: "null", -1: ""} {
			got := string(AppendJSON(nil, a.Index(i)))
			if want != "" && got != want {
				t.Errorf("%s: a[%d] = %s, want %s", name, i, got, want)
			}
		}
		if a.Index(3).Kind != Absent || a.Index(-4).Kind != Absent || doc.Get("zz").Kind != Absent {
			t.Errorf("%s: what is not there must be absent", name)
		}
		if got := a.Index(-1).Get("b"); got.AsString() != "x" {
			t.Errorf("%s: a[-1].b = %v", name, got)
		}
		if doc.Get("n").Kind != Null || doc.Get("n").Get("x").Kind != Null || doc.Get("zz").Index(0).Kind != Null {
			t.Errorf("%s: a field of a null must be null", name)
		}
		if n, ok := a.Len(); n != 3 || !ok {
			t.Errorf("%s: len(a) = %d, %v", name, n, ok)
		}
	}
	if got := raw.Get(`es"c`); got.AsInt() != 7 {
		t.Errorf("escaped name: %v", got)
	}
	if _, err := Path(raw.Get("a"), "x"); err == nil || err.Error() != `cannot read field "x" of list` {
		t.Errorf("field of a list: %v", err)
	}
	if _, err := Item(raw.Get("a2"), 1); err == nil || err.Error() != `cannot read item 1 of int` {
		t.Errorf("item of an int: %v", err)
	}
	invalid := raw.Get("a2").Get("x")
	if !invalid.IsNull() || invalid.Err() == nil || invalid.Get("y").Err() == nil || invalid.Index(0).Err() == nil {
		t.Errorf("invalid: %v", invalid)
	}
}

func TestLen(t *testing.T) {
	for json, want := range map[string]int{`"héé😀"`: 4, `""`: 0, `[]`: 0, `[[1,2],3]`: 2, `{}`: 0, `{"a":1,"a":2,"b":[1]}`: 2} {
		if n, ok := must(t, json).Len(); n != want || !ok {
			t.Errorf("len(%s) = %d, %v", json, n, ok)
		}
	}
	if n, ok := OfBytes([]byte{1, 2}).Len(); n != 2 || !ok {
		t.Errorf("len of bytes = %d", n)
	}
	for _, json := range []string{"1", "null", "true", "1.5"} {
		if _, ok := must(t, json).Len(); ok {
			t.Errorf("%s has a length", json)
		}
	}
}

func TestExpandBigObject(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"first":0`)
	for i := range 3 * smallMap {
		fmt.Fprintf(&b, `,"k%d":%d`, i%(2*smallMap), i)
	}
	v := must(t, b.String()+`,"first":1}`).Expand()
	if len(v.Tree.Keys) != 1+2*smallMap || v.Tree.Keys[0] != "first" || v.Tree.Items[0].AsInt() != 1 {
		t.Fatalf("keys %v", v.Tree.Keys)
	}
	for i := range 2 * smallMap {
		want := int64(i)
		if i < smallMap {
			want += 2 * smallMap
		}
		if got := v.Get(fmt.Sprintf("k%d", i)); got.AsInt() != want {
			t.Errorf("k%d = %d, want %d", i, got.AsInt(), want)
		}
	}
	if !Equal(v, must(t, b.String()+`,"first":1}`)) || Equal(v, must(t, b.String()+`,"first":2}`)) {
		t.Error("Equal of big objects")
	}
}

func TestCompareAndEqual(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		order int
		ok    bool
	}{
		{"1", "1.0", 0, true}, {"1234", `"1234"`, 0, false}, {"9007199254740993", "9007199254740992.0", 1, true},
		{"9223372036854775807", "9223372036854775808.0", -1, true}, {"-9223372036854775808", "-9223372036854775808.0", 0, true},
		{"9223372036854775808", "9223372036854775808.0", 0, true}, {"9223372036854775809", "9223372036854775808.0", 1, true},
		{"1e400", "10e399", 0, true}, {"1e400", "2e400", -1, true}, {"-1e400", "-2e400", 1, true}, {"1e400", "1e308", 1, true}, {"1e400", "5", 1, true},
		{"1e-400", "0", 1, true}, {"-1e-400", "0", -1, true}, {"1e-400", "1e-300", -1, true}, {"1e99999999999999999999", "1e99999999999999999999", 0, true},
		{"1e99999999999999999999", "2e99999999999999999999", 0, false}, {"0", "-0", 0, true}, {"0.1", "1e-1", 0, true}, {"0.5", "1", -1, true}, {"-1", "-1.5", 1, true},
		{`"a"`, `"b"`, -1, true}, {`"é"`, `"\u00e9"`, 0, true}, {"false", "true", -1, true}, {"true", "1", 0, false}, {"null", "null", 0, false}, {"1", "null", 0, false},
		{"[1]", "[1]", 0, false},
	} {
		a, b := must(t, c.a), must(t, c.b)
		order, ok := Compare(a, b)
		if ok != c.ok || ok && order != c.order {
			t.Errorf("Compare(%s, %s) = %d, %v", c.a, c.b, order, ok)
		}
		if back, ok := Compare(b, a); ok != c.ok || ok && back != -c.order {
			t.Errorf("Compare(%s, %s) = %d, %v", c.b, c.a, back, ok)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"null", "null", true}, {"null", "0", false}, {"[1,2]", "[1.0, 2]", true}, {"[1,2]", "[2,1]", false}, {"[1]", "[1,1]", false},
		{`{"a":1,"b":[null]}`, `{"b":[null],"a":1.0}`, true}, {`{"a":1}`, `{"b":1}`, false}, {`{"a":1,"a":2}`, `{"a":2}`, true}, {"[]", "{}", false}, {"[]", "null", false}, {"[1]", "1", false},
	} {
		a, b := must(t, c.a), must(t, c.b)
		if Equal(a, b) != c.want || Equal(b, a) != c.want {
			t.Errorf("Equal(%s, %s) = %v", c.a, c.b, !c.want)
		}
	}
	if Equal(OfBytes([]byte("a")), OfString("a")) || !Equal(OfBytes([]byte("a")), OfBytes([]byte("a"))) {
		t.Error("Equal of bytes")
	}
	if nan := OfFloat(math.NaN()); Equal(nan, nan) || Equal(nan, OfInt(1)) {
		t.Error("a NaN is equal to something")
	}
}

// drawNumber draws numbers where kinds meet: near powers of two and ten, in all notations.
func drawNumber(t *rapid.T, label string) Value {
	switch rapid.IntRange(0, 4).Draw(t, label) {
	case 0:
		return OfInt(rapid.Int64().Draw(t, "int"))
	case 1:
		return OfFloat(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "float"))
	case 2:
		edge := new(big.Int).Lsh(big.NewInt(1), uint(rapid.IntRange(50, 70).Draw(t, "bits")))
		edge.Add(edge, big.NewInt(rapid.Int64Range(-3, 3).Draw(t, "off")))
		text := edge.String() + rapid.SampledFrom([]string{"", ".0", "e0", "00e-2"}).Draw(t, "form")
		return must(t, rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign")+text)
	case 3:
		return must(t, fmt.Sprintf("%d.%de%d", rapid.IntRange(-99, 99).Draw(t, "whole"), rapid.IntRange(0, 99).Draw(t, "part"), rapid.IntRange(-410, 410).Draw(t, "exponent")))
	}
	return OfFloat(float64(rapid.IntRange(-1000, 1000).Draw(t, "small")) / 4)
}

// rat is the exact value of a number.
func rat(v Value) *big.Rat {
	text := v.Text
	switch v.Kind {
	case Int:
		text = strconv.FormatInt(v.AsInt(), 10)
	case Float:
		return new(big.Rat).SetFloat64(v.AsFloat())
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("not a number: " + text)
	}
	return r
}

func TestNumbersProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawNumber(t, "a"), drawNumber(t, "b")
		want := rat(a).Cmp(rat(b))
		if order, ok := Compare(a, b); !ok || order != want {
			t.Fatalf("Compare(%s, %s) = %d, %v; want %d", a.Short(), b.Short(), order, ok, want)
		}
		ka, kb := AppendKey(nil, a), AppendKey(nil, b)
		if (string(ka) == string(kb)) != (want == 0) {
			t.Fatalf("keys %s and %s of numbers that compare %d", ka, kb, want)
		}
		back, err := ParseJSON(ka)
		if err != nil || !Equal(back, a) {
			t.Fatalf("key %s of %s does not read back: %v", ka, a.Short(), err)
		}
	})
}

func TestArithmeticProperty(t *testing.T) {
	operations := map[string]struct {
		run func(a, b Value) (Value, error)
		ref func(z, x, y *big.Int) *big.Int
	}{"+": {Add, (*big.Int).Add}, "-": {Sub, (*big.Int).Sub}, "*": {Mul, (*big.Int).Mul}, "%": {Mod, (*big.Int).Rem}}
	number := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-4, 4), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 1 << 32, -1 << 31, 3037000500}))
	rapid.Check(t, func(t *rapid.T) {
		x, y := number.Draw(t, "x"), number.Draw(t, "y")
		for name, op := range operations {
			got, err := op.run(OfInt(x), OfInt(y))
			if name == "%" && y == 0 {
				if err == nil {
					t.Fatalf("%d %% 0 is no error", x)
				}
				continue
			}
			want := op.ref(new(big.Int), big.NewInt(x), big.NewInt(y))
			if !want.IsInt64() {
				if err == nil {
					t.Fatalf("%d %s %d = %d, want an overflow", x, name, y, got.AsInt())
				}
				continue
			}
			if err != nil || got.Kind != Int || got.AsInt() != want.Int64() {
				t.Fatalf("%d %s %d = %d, %v; want %s", x, name, y, got.AsInt(), err, want)
			}
		}
	})
}

func TestArithmetic(t *testing.T) {
	type operation func(a, b Value) (Value, error)
	for _, c := range []struct {
		op         operation
		a, b, want string // want: JSON, or the error
	}{
		{Add, "1", "2.5", "3.5"}, {Add, `"a"`, `"b"`, `"ab"`}, {Add, "1", "null", "null"}, {Add, "null", `"b"`, "null"}, {Add, `"a"`, "1", "+: not defined for string"},
		{Add, "true", "1", "+: not defined for bool"}, {Add, "1e400", "1", "+: number 1e400 does not fit 64 bits"}, {Add, "1e308", "1e308", "+: overflow of float"},
		{Add, "9223372036854775807", "1", "9223372036854775807 + 1: overflow of int"}, {Sub, "1.5", "0.5", "1"}, {Sub, "[1]", "1", "-: not defined for list"},
		{Mul, "-1", "-9223372036854775808", "-1 * -9223372036854775808: overflow of int"}, {Mul, "2", "0.5", "1"}, {Mul, "null", "null", "null"}, {Mul, "null", "{}", "null"},
		{Div, "7", "2", "3.5"}, {Div, "6", "2", "3"}, {Div, "1", "0", "/: division by zero"}, {Div, "0", "0.0", "/: division by zero"}, {Div, "null", "0", "null"},
		{Mod, "-7", "3", "-1"}, {Mod, "7", "null", "null"}, {Mod, "7.0", "2", "%: want two ints, got float and int"}, {Mod, "null", `"x"`, "null"},
		{Pow, "2", "10", "1024"}, {Pow, "0", "-1", "**: division by zero"}, {Pow, "-8", "0.5", "**: result is not a number"}, {Pow, "10", "400", "**: overflow of float"},
	} {
		v, err := c.op(must(t, c.a), must(t, c.b))
		got := string(AppendJSON(nil, v))
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
	for json, want := range map[string]string{"1": "-1", "1.50": "-1.5", "null": "null", "-9223372036854775808": "-(-9223372036854775808): overflow of int", `"x"`: "-: not defined for string", "1e400": "-: number 1e400 does not fit 64 bits"} {
		v, err := Neg(must(t, json))
		got := string(AppendJSON(nil, v))
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("-(%s): %s, want %s", json, got, want)
		}
	}
	invalid := OfInvalid("a is not an object")
	for name, op := range map[string]operation{"+": Add, "-": Sub, "*": Mul, "/": Div, "%": Mod, "**": Pow} {
		if _, err := op(invalid, OfInt(1)); err == nil {
			t.Errorf("invalid %s 1 is no error", name)
		}
		if _, err := op(NullV(), invalid); err == nil {
			t.Errorf("null %s invalid is no error", name)
		}
	}
	if _, err := Neg(invalid); err == nil {
		t.Error("-invalid is no error")
	}
}

func TestAny(t *testing.T) {
	v := must(t, `{"i":1,"f":1.5,"n":1e400,"s":"x","b":true,"z":null,"l":[1,[2],{"a":"b"}]}`)
	want := map[string]any{"i": 1, "f": 1.5, "n": NumberText("1e400"), "s": "x", "b": true, "z": nil, "l": []any{1, []any{2}, map[string]any{"a": "b"}}}
	if got := v.Any(); !reflect.DeepEqual(got, want) {
		t.Errorf("Any = %#v", got)
	}
	back, err := FromAny(want)
	if err != nil || !Equal(back, v) {
		t.Errorf("FromAny(Any) = %s, %v", AppendJSON(nil, back), err)
	}
	type named map[string][]uint8
	one := 1
	for _, c := range []struct {
		in   any
		want string
	}{
		{int32(-5), "-5"}, {uint64(math.MaxUint64), "18446744073709551615"}, {uint8(7), "7"}, {float32(0.5), "0.5"}, {[]string{"a", "b"}, `["a","b"]`},
		{map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`}, {[]byte("hi"), `"aGk="`}, {named{"k": {1}}, `{"k":"AQ=="}`}, {OfInt(3), "3"}, {&one, "1"}, {(*int)(nil), "null"}, {[2]bool{true}, "[true,false]"},
	} {
		v, err := FromAny(c.in)
		if got := string(AppendJSON(nil, v)); err != nil || got != c.want {
			t.Errorf("FromAny(%#v) = %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []any{struct{}{}, map[int]int{1: 2}, func() {}, []any{make(chan int)}, map[string]any{"x": complex(1, 2)}} {
		if _, err := FromAny(in); err == nil {
			t.Errorf("FromAny(%T) is no error", in)
		}
	}
	if OfBytes([]byte("x")).Any().([]byte)[0] != 'x' || (Value{}).Any() != nil || OfInvalid("x").Any() != nil {
		t.Error("Any of bytes, absent or invalid")
	}
}

func TestClone(t *testing.T) {
	buffer := []byte(`{"a":"text","b":[1]}`)
	raw := must(t, string(buffer))
	shared, err := ParseJSON(buffer)
	if err != nil {
		t.Fatal(err)
	}
	tree := OfList([]Value{shared.Get("a"), shared.Expand()})
	clone, treeClone := shared.Clone(), tree.Clone()
	for i := range buffer {
		buffer[i] = '#' // what nobody may do, so that sharing shows
	}
	if !Equal(clone, raw) || !Equal(treeClone, OfList([]Value{OfString("text"), raw})) {
		t.Error("a clone shares the buffer")
	}
	if shared.Text == raw.Text {
		t.Error("ParseJSON copies its text")
	}
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{OfString("x"), `"x"`}, {OfString(strings.Repeat("é", 100)), `"` + strings.Repeat("é", 19) + "..."}, {OfInt(5), "5"},
		{OfRaw("[" + strings.Repeat("1,", 50) + "1]"), "[" + strings.Repeat("1,", 19) + "1..."}, {OfNumber(strings.Repeat("9", 500)), strings.Repeat("9", 40) + "..."},
		{OfString(strings.Repeat("a", 42)), `"` + strings.Repeat("a", 39) + "..."},
	} {
		if got := c.v.Short(); got != c.want {
			t.Errorf("Short = %s, want %s", got, c.want)
		}
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Absent; k <= Invalid; k++ {
		if seen[k.String()] || k.String() == "unknown kind" {
			t.Errorf("kind %d is named %q", k, k)
		}
		seen[k.String()] = true
	}
	if (Invalid+1).String() != "unknown kind" || OfRaw("[]").TypeName() != "list" || OfRaw("{}").TypeName() != "object" || OfInt(1).TypeName() != "int" {
		t.Error("names of types")
	}
}
