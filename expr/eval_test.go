package expr

import (
	"strings"
	"testing"
)

// cases are expressions over sample and what they give, as JSON; "error: ..."
// is a part of the message expected.
type cases [][2]string

func (cs cases) run(t *testing.T) {
	t.Helper()
	w := sample(t)
	for _, c := range cs {
		got := w.eval(t, c[0])
		if message, fails := strings.CutPrefix(c[1], "error: "); fails && strings.HasPrefix(got, "error: ") && strings.Contains(got, message) {
			continue
		}
		if got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestOperators(t *testing.T) { operatorCases().run(t) }

func operatorCases() cases {
	return cases{
		{`v.i + v.j`, `5`}, {`v.i - v.j`, `9`}, {`v.i * v.j`, `-14`}, {`v.i / v.j`, `-3.5`}, {`v.i % v.j`, `1`}, {`v.i ** 2`, `49`},
		{`v.f + 1`, `2.5`}, {`v.f`, `1.50`}, {`-v.i`, `-7`}, {`+v.i`, `7`}, {`-v.f`, `-1.5`},
		{`v.big + 1`, `error: 9223372036854775807 + 1: overflow of int`},
		{`v.big * 2`, `error: 9223372036854775807 * 2: overflow of int`},
		{`v.j - v.big`, `error: -2 - 9223372036854775807: overflow of int`},
		{`v.i / (v.j + 2)`, `error: /: division by zero`}, {`v.i % (v.j + 2)`, `error: %: division by zero`},
		{`v.noInt + 1`, `null`}, {`1 + v.noInt`, `null`}, {`v.no * 2`, `null`}, {`-v.noInt`, `null`}, {`v.noInt / (v.j + 2)`, `null`},
		{`v.s + "!"`, `"Héllo!"`}, {`"a" + v.s + "b" + v.any`, `"aHéllobtext"`}, {`v.s + v.noString`, `null`},
		{`v.any + 1`, `error: +: not defined for`},
		{`v.i == 7`, `true`}, {`v.i == 7.0`, `true`}, {`v.i != 7`, `false`}, {`7 == v.i`, `true`}, {`v.s == "Héllo"`, `true`},
		{`v.any == 1`, `false`}, {`v.any == "text"`, `true`}, {`v.any != "text"`, `false`}, {`v.anyInt == "5"`, `false`}, {`v.anyInt == 5.0`, `true`},
		{`v.noInt == 7`, `null`}, {`v.noInt != 7`, `null`}, {`v.noString == "x"`, `null`}, {`v.no == v.no`, `null`},
		{`v.noInt == nil`, `true`}, {`v.noInt != nil`, `false`}, {`v.i == nil`, `false`}, {`nil == v.noBool`, `true`}, {`v.i != nil`, `true`},
		{`v.i < 8`, `true`}, {`v.i <= 7`, `true`}, {`v.i > 7`, `false`}, {`v.i >= 7.5`, `false`}, {`v.s < "I"`, `true`}, {`v.noInt < 3`, `null`},
		{`1 < v.i < 8`, `true`}, {`v.any < 3`, `error: cannot compare string "text" with int 3`},
		{`v.b && v.i == 7`, `true`}, {`v.b and not v.b`, `false`}, {`v.noBool && false`, `false`}, {`v.noBool && true`, `null`}, {`true && v.noBool`, `null`},
		{`false && v.noBool`, `false`}, {`v.noBool || true`, `true`}, {`v.noBool || false`, `null`}, {`not v.noBool`, `null`}, {`!v.b`, `false`},
		{`v.b || v.i / (v.j + 2) > 1`, `true`}, {`!v.b && v.i / (v.j + 2) > 1`, `false`}, {`v.any && true`, `error: want a bool, got string "text"`},
		{`v.noInt ?? 3`, `3`}, {`v.i ?? 3`, `7`}, {`v.no ?? v.noInt ?? "x"`, `"x"`},
		{`v.b ? "yes" : "no"`, `"yes"`}, {`v.noBool ? "yes" : "no"`, `"no"`}, {`if v.i > 3 { "a" } else { "b" }`, `"a"`},
		{`v.s in ["a", "Héllo"]`, `true`}, {`v.s not in ["a"]`, `true`}, {`v.i in [1, 7.0]`, `true`}, {`v.noInt in [1]`, `null`}, {`v.i in v.ints`, `false`},
		{`"a" in v.o`, `true`}, {`"q" in v.o`, `false`}, {`v.any in ["text"]`, `true`}, {`v.anyInt in ["5"]`, `false`}, {`3 in v.ints`, `true`},
		{`v.s contains "ll"`, `true`}, {`v.s startsWith "Hé"`, `true`}, {`v.s endsWith "x"`, `false`}, {`v.noString contains "x"`, `null`}, {`v.ints contains 3`, `true`},
		{`v.any contains "ex"`, `true`}, {`v.anyInt contains "ex"`, `error: contains does not work on int 5 and string "ex"`},
		{`v.s matches "^H.*o$"`, `true`}, {`v.s not matches "z"`, `true`}, {`v.noString matches "x"`, `null`}, {`v.anyInt matches "5"`, `error: want a string, got int 5`},
		{`1..3`, `[1,2,3]`}, {`3..1`, `[]`}, {`1..v.i`, `[1,2,3,4,5,6,7]`}, {`1..v.noInt`, `null`}, {`0..v.big`, `error: range 0..9223372036854775807 is longer than 100000 elements`},
		{`v.ints[0]`, `3`}, {`v.ints[-1]`, `2`}, {`v.ints[9]`, `null`}, {`v.o.b.c[1]`, `20`}, {`v.o?.b?.c[1]`, `20`}, {`v.o["x y"]`, `"z"`}, {`v["a b"]`, `"spaced"`},
		{`v.o.nope.deeper`, `null`}, {`v.ints[v.i - 6]`, `1`}, {`v.o[v.any]`, `null`}, {`v.any.x`, `error: cannot read field "x" of`},
		{`v.ints[1:]`, `[1,2]`}, {`v.ints[:1]`, `[3]`}, {`v.ints[-2:-1]`, `[1]`}, {`v.s[1:3]`, `"él"`}, {`v.noList[1:2]`, `null`}, {`v.ints[5:9]`, `[]`}, {`v.ints[v.noInt:]`, `null`},
		{`[v.i, v.s, nil]`, `[7,"Héllo",null]`}, {`{a: v.i, "b c": v.no, d: {e: v.f}}`, `{"a":7,"b c":null,"d":{"e":1.50}}`}, {`{}`, `{}`}, {`[]`, `[]`},
		{`{(v.s): 1, a: 2}`, `{"Héllo":1,"a":2}`}, {`{(v.noString): 1}`, `error: want a string as the key, got null`}, {`{a: 1, (v.texts[0]): 2}`, `{"a":2}`},
		{`{a: 1}.a`, `1`}, {`[1, 2][1]`, `2`}, {`nil`, `null`},
		{`split(v.urn, ":")[3]`, `"1234"`}, {`int(split(v.urn, ":")[3])`, `1234`}, {`split(v.urn, ":")[9]`, `null`}, {`split(v.noString, ":")[0]`, `null`}, {`split(v.anyInt, ":")[0]`, `error: text of split must be a string, got int 5`},
		{`v.urn | split(":") | last()`, `"1234"`},
	}
}
