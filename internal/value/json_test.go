package value

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// same compares a Value with what encoding/json (UseNumber) made of the same text.
func same(v Value, x any) error {
	switch x := x.(type) {
	case nil:
		if v.Kind != Null {
			return fmt.Errorf("want null, got %s", v.Kind)
		}
	case bool:
		if v.Kind != Bool || v.AsBool() != x {
			return fmt.Errorf("want %v, got %s %v", x, v.Kind, v.AsBool())
		}
	case string:
		if v.Kind != String || v.AsString() != x {
			return fmt.Errorf("want %q, got %s %q", x, v.Kind, v.Text)
		}
	case json.Number:
		return sameNumber(v, x)
	case []any:
		v = v.Expand()
		if v.Kind != List || len(v.Tree.Items) != len(x) {
			return fmt.Errorf("want a list of %d, got %s %q", len(x), v.Kind, v.Text)
		}
		for i := range x {
			if err := same(v.Tree.Items[i], x[i]); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case map[string]any:
		v = v.Expand()
		if v.Kind != Map || len(v.Tree.Items) != len(x) {
			return fmt.Errorf("want an object of %d, got %s", len(x), v.Kind)
		}
		for i, key := range v.Tree.Keys {
			want, ok := x[key]
			if !ok {
				return fmt.Errorf("unexpected field %q", key)
			}
			if err := same(v.Tree.Items[i], want); err != nil {
				return fmt.Errorf("%q: %w", key, err)
			}
		}
	}
	return nil
}

func sameNumber(v Value, x json.Number) error {
	i, intErr := x.Int64()
	f, floatErr := x.Float64()
	switch {
	case v.Kind == Int && intErr == nil && v.AsInt() == i:
		return nil
	case v.Kind == Float && (intErr != nil || f == 0) && floatErr == nil && v.AsFloat() == f && v.Text == x.String():
		return nil
	case v.Kind == Number && intErr != nil && v.Text == x.String():
		// Neither fits: an integer beyond int64, too great, or too small a decimal.
		if !strings.ContainsAny(v.Text, ".eE") || floatErr != nil || f == 0 && !isZero(v.Text) {
			return nil
		}
	}
	return fmt.Errorf("want the number %s, got %s %q", x, v.Kind, string(AppendJSON(nil, v)))
}

// reference decodes with encoding/json. Its known differences: it lets invalid UTF-8
// pass, and nests 10000 deep.
func reference(doc []byte) (x any, valid bool) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	valid = json.Valid(doc) && utf8.Valid(doc) && depth(doc) <= MaxDepth
	if valid && d.Decode(&x) != nil {
		panic("encoding/json does not decode what it calls valid")
	}
	return x, valid
}

// depth counts the deepest nesting of valid JSON.
func depth(doc []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// jsonSeeds are documents worth beginning from, good and bad.
func jsonSeeds() []string {
	return []string{
		``, ` `, `null`, `true`, `false`, `nul`, `truex`, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5`, `1e5`, `1E+5`, `1e`, `1e+`, `-1.25e-7`,
		`9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-9223372036854775809`, `1e400`, `1e-400`, `0e400`, `0.0e-999`,
		`123456789012345678901234567890`, `18446744073709551616.0`, `NaN`, `Infinity`, `+1`, `0x10`, `1_000`,
		`""`, `"abc"`, `"a`, `"a\`, `"\n\t\"\\\/\b\f\r"`, `"\x41"`, `"\u0041"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\u12"`, `"\u12G4"`,
		"\"a\x00b\"", "\"a\tb\"", "\"\x1f\"", "\"\x7f\"", `"héllo wörld, 世界 😀"`, "\"\xff\"", "\"abcdefgh\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\"\xf4\x90\x80\x80\"", "\xef\xbb\xbf1",
		`"12345678"`, `"1234567"`, `"123456789012345"`, `"1234567\"90"`, `"12345678\u0041"`,
		`[]`, `[ ]`, `[1]`, `[1,2,[3,{"a":[]}]]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[1}`, `[[[[]]]]`, `[]]`, `[] 1`,
		`{}`, `{ }`, `{"a":1}`, `{"a":1,"a":2}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1]`, `{"a":{"b":{"c":[1,"x",null,true]}}}`, `{"":0}`, `{"\u0061":1,"a":2}`,
		" {\r\n\t\"a\" : 1 , \"b\" : [ 1 , 2 ] } ", `{"a":1}x`, `{"a":1} {"b":2}`, `/**/1`, `'a'`,
		`{"positions":[{"job_title":"Author","company":"X"},{"job_title":"Editor"}],"n":1.50,"big":12345678901234567890}`,
		strings.Repeat("[", 1000) + strings.Repeat("]", 1000), strings.Repeat("[", 1001) + strings.Repeat("]", 1001),
		strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), strings.Repeat("[", 100000), strings.Repeat(`{"a":[`, 50000),
		strings.Repeat("9", 5000), "0." + strings.Repeat("0", 5000) + "1", "1e" + strings.Repeat("9", 5000), `"` + strings.Repeat("é", 3000) + `"`,
	}
}

func checkParse(t *testing.T, doc []byte) {
	t.Helper()
	v, err := ParseJSON(doc)
	x, valid := reference(doc)
	if (err == nil) != valid {
		t.Fatalf("ParseJSON(%.200q): error %v, valid %v", doc, err, valid)
	}
	if err != nil {
		e, ok := err.(*SyntaxError)
		if !ok || e.Offset < 0 || e.Offset > len(doc) || e.Text == "" {
			t.Fatalf("ParseJSON(%.200q): odd error %#v", doc, err)
		}
		return
	}
	if err := same(v, x); err != nil {
		t.Fatalf("ParseJSON(%.200q): %v", doc, err)
	}
	if err := same(v.expandAll(), x); err != nil {
		t.Fatalf("expandAll(%.200q): %v", doc, err)
	}
	if v.Kind == String {
		return // it may have been written with escapes
	}
	if out := AppendJSON(nil, v); !bytes.Equal(out, bytes.Trim(doc, " \t\r\n")) {
		t.Fatalf("AppendJSON(ParseJSON(%.200q)) = %.200q", doc, out)
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range jsonSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(checkParse)
}

func TestParseJSONTruncated(t *testing.T) {
	doc := []byte(`{"a":[1,-2.5e+7,"x\u00e9\n😀",true,false,null],"b":{"c":{}}} `)
	for i := range doc {
		checkParse(t, doc[:i])
		// Also without spare bytes behind it, so that reading too far would panic.
		checkParse(t, bytes.Clone(doc[:i:i]))
	}
	for i := range doc {
		for _, c := range []byte{0, '"', '\\', '}', ']', ',', ':', '0', ' ', 0x80, 0xff} {
			bad := bytes.Clone(doc)
			bad[i] = c
			checkParse(t, bad)
		}
	}
}

// Whatever ends plain text is found wherever it stands in a string, long ones
// included, and nothing else is.
func TestLexStringMarks(t *testing.T) {
	for _, mark := range []string{"", `\n`, `\u00e4`, "\u00e4", "\x1f", "\x7f", "\xff", `\x`, `" "`} {
		for n := range 300 {
			text := strings.Repeat("x", n)
			for at := 0; at <= n; at++ {
				doc := []byte(`"` + text[:at] + mark + text[at:] + `"`)
				end, plain := LexString(doc, 0)
				whole := end == len(doc)
				if valid := json.Valid(doc) && mark != "\xff"; whole != valid {
					t.Fatalf("%q at %d of %d: ends at %d", mark, at, n, end)
				}
				if whole && plain != !strings.Contains(mark, `\`) {
					t.Fatalf("%q at %d of %d: plain is %t", mark, at, n, plain)
				}
				if mark == "" {
					break
				}
			}
		}
	}
}

// Of all that begins beyond ASCII, strings take what is UTF-8, and say where it is not.
func TestLexStringUTF8(t *testing.T) {
	for first := 0x80; first < 0x100; first++ {
		for second := range 0x100 {
			if second == '\\' {
				continue
			}
			for _, rest := range []string{"", "x", "\x80", "\xbf", "\xc2", "\x80\x80", "\xbf\xbf", "\x80x", "é"} {
				inside := string([]byte{byte(first), byte(second)}) + rest
				doc := []byte(`"` + inside + `"`)
				end, plain := LexString(doc, 0)
				if want := utf8.ValidString(inside) && second >= ' ' && second != '"'; (end == len(doc) && plain) != want {
					t.Fatalf("%q ends at %d, plain %t", doc, end, plain)
				}
				if second < 0x80 && LexError(doc, end).Offset != 1 {
					t.Fatalf("%q: the fault is at %d", doc, LexError(doc, end).Offset)
				}
			}
		}
	}
}

func TestParseJSONKinds(t *testing.T) {
	for text, want := range map[string]Kind{
		"1": Int, "-9223372036854775808": Int, "9223372036854775808": Number, "1.0": Float, "1e3": Float, "-0": Float,
		"1e400": Number, "-1e400": Number, "1e-400": Number, "0e400": Float, `"x"`: String, "null": Null, "true": Bool, "[]": Raw, " {} ": Raw,
	} {
		v, err := ParseJSON(text)
		if err != nil || v.Kind != want {
			t.Errorf("ParseJSON(%s) = %s, %v; want %s", text, v.Kind, err, want)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                          `invalid JSON at byte 0: unexpected end`,
		`{"a":1`:                    `invalid JSON at byte 6: unexpected end`,
		`{"a":1]`:                   `invalid JSON at byte 6: unexpected ']'`,
		`[1,é]`:                     `invalid JSON at byte 3: unexpected 'é'`,
		"[\xff]":                    `invalid JSON at byte 1: unexpected byte 0xff`,
		`{} x`:                      `invalid JSON at byte 3: unexpected 'x' after the value`,
		`"a\q"`:                     `invalid JSON at byte 3: unknown escape in a string`,
		"\"a\n\"":                   `invalid JSON at byte 2: control character 0x0a in a string must be escaped`,
		"\"a\xff\"":                 `invalid JSON at byte 2: string is not valid UTF-8`,
		`-x`:                        `invalid JSON at byte 1: malformed number`,
		`1.x`:                       `invalid JSON at byte 2: malformed number`,
		strings.Repeat("[", 100000): `invalid JSON at byte 1000: nested deeper than 1000`,
	} {
		if _, err := ParseJSON(text); err == nil || err.Error() != want {
			t.Errorf("ParseJSON(%.20q): %v, want %s", text, err, want)
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"":                       `""`,
		"plain text, and more":   `"plain text, and more"`,
		"a\"b\\c/d<>&'":          `"a\"b\\c/d<>&'"`,
		"\x00\x1f\b\f\n\r\t\x7f": `"\u0000\u001f\b\f\n\r\t` + "\x7f" + `"`,
		"é世😀\u2028":              "\"é世😀\u2028\"",
		"a\xffb\xc3":             "\"a\uFFFDb\uFFFD\"",
		"12345678\"":             `"12345678\""`,
		"1234567é\n":             `"1234567é\n"`,
	} {
		if got := string(AppendQuoted(nil, in)); got != want {
			t.Errorf("AppendQuoted(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzAppendQuoted(f *testing.F) {
	f.Add("abc\xff\"\\\n é 12345678")
	f.Fuzz(func(t *testing.T, s string) {
		text := AppendQuoted(nil, s)
		v, err := ParseJSON(text)
		if err != nil || v.Kind != String || v.Text != strings.ToValidUTF8(string([]rune(s)), "\uFFFD") {
			t.Fatalf("%q -> %s -> %q, %v", s, text, v.Text, err)
		}
	})
}

func TestAppendJSON(t *testing.T) {
	list := OfList([]Value{OfInt(1), NullV(), {}, OfRaw(`{ "x":1.50 }`)})
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Value{}, "null"}, {NullV(), "null"}, {OfInvalid("x"), "null"}, {OfBool(true), "true"}, {OfBool(false), "false"},
		{OfInt(math.MinInt64), "-9223372036854775808"}, {OfFloat(3), "3"}, {OfFloat(1e21), "1e+21"}, {OfFloat(1e-7), "1e-7"},
		{OfFloat(0.1), "0.1"}, {OfFloat(math.NaN()), "null"}, {OfFloat(math.Inf(-1)), "null"}, {OfFloatText(1.5, "1.50"), "1.50"},
		{OfNumber("1e400"), "1e400"}, {OfBytes([]byte{0, 255}), `"AP8="`}, {list, `[1,null,null,{ "x":1.50 }]`},
		{OfMap([]string{"b", "a"}, []Value{list, OfString("x")}), `{"b":[1,null,null,{ "x":1.50 }],"a":"x"}`},
		{OfList(nil), "[]"}, {OfMap(nil, nil), "{}"},
	} {
		if got := string(AppendJSON([]byte("~"), c.v)); got != "~"+c.want {
			t.Errorf("AppendJSON = %s, want %s", got, c.want)
		}
	}
}

func TestAppendKeyAndText(t *testing.T) {
	for _, c := range []struct {
		json, key, text string
	}{
		{`1234`, `1234`, `1234`}, {`1234.0`, `1234`, `1234`}, {`1.234e3`, `1234`, `1234`}, {`-0`, `0`, `0`}, {`0.5`, `0.5`, `0.5`},
		{`1e20`, `100000000000000000000`, `100000000000000000000`}, {`100000000000000000000`, `100000000000000000000`, `100000000000000000000`},
		{`18446744073709551616`, `18446744073709551616`, `18446744073709551616`}, {`18446744073709551616.0`, `18446744073709551616`, `18446744073709551616`},
		{`1e400`, `1e400`, `1e400`}, {`10.0E+399`, `1e400`, `1e400`}, {`-12.5e-401`, `-1.25e-400`, `-1.25e-400`}, {`1e-7`, `1e-7`, `1e-7`},
		{`1e99999999999999999999`, `1e99999999999999999999`, `1e99999999999999999999`}, {`0e99999999999999999999`, `0`, `0`},
		{`"a\u0062\/"`, `"ab/"`, `ab/`}, {`true`, `true`, `true`}, {`null`, `null`, `null`},
		{`[ 1.0 , "x" , [ ] , null ]`, `[1,"x",[],null]`, `[1,"x",[],null]`},
		{`{"b":1,"a":{"d":2.0,"c":[{}]},"b":3}`, `{"a":{"c":[{}],"d":2},"b":3}`, `{"a":{"c":[{}],"d":2},"b":3}`},
	} {
		v, err := ParseJSON(c.json)
		if err != nil {
			t.Fatal(err)
		}
		if key := string(AppendKey(nil, v)); key != c.key {
			t.Errorf("AppendKey(%s) = %s, want %s", c.json, key, c.key)
		}
		if text := string(AppendText(nil, v)); text != c.text {
			t.Errorf("AppendText(%s) = %s, want %s", c.json, text, c.text)
		}
	}
	if got := string(AppendText(nil, OfBytes([]byte{1, 255}))); got != "\x01\xff" {
		t.Errorf("AppendText of bytes = %q", got)
	}
}
