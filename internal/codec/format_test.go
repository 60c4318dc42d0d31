package codec

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"streamctl/internal/value"
)

func TestFormatNames(t *testing.T) {
	for f := FormatJSON; f <= FormatDouble; f++ {
		if back, err := ParseFormat(f.String()); err != nil || back != f {
			t.Errorf("ParseFormat(%s) = %v, %v", f, back, err)
		}
	}
	if _, err := ParseFormat("JSON"); err == nil || !strings.Contains(err.Error(), `parse format "JSON"`) {
		t.Errorf("ParseFormat(JSON): %v", err)
	}
	if (FormatDouble + 1).String() != "unknown format" {
		t.Error("name of no format")
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		f    Format
		in   string
		want string // kind and JSON, or the error
	}{
		{FormatJSON, `{"a": 1}`, `json {"a": 1}`}, {FormatJSON, ` 12 `, "int 12"}, {FormatJSON, ``, "decode json: invalid JSON at byte 0: unexpected end"}, {FormatJSON, `null`, "null null"},
		{FormatString, "", `string ""`}, {FormatString, "12é", `string "12é"`}, {FormatString, "a\xff", "decode string: not valid UTF-8 (format bytes takes anything)"}, {FormatBytes, "a\xff", `bytes "Yf8="`},
		{FormatInt, "\xff\xff\xff\xfe", "int -2"}, {FormatInt, "\x7f\xff\xff\xff", "int 2147483647"}, {FormatInt, "123", "decode int: want 4 bytes, got 3"}, {FormatInt, "", "decode int: want 4 bytes, got 0"},
		{FormatLong, "\x80\x00\x00\x00\x00\x00\x00\x00", "int -9223372036854775808"}, {FormatLong, "1234", "decode long: want 8 bytes, got 4"},
		{FormatDouble, "\x3f\xf8\x00\x00\x00\x00\x00\x00", "float 1.5"}, {FormatDouble, "123456789", "decode double: want 8 bytes, got 9"},
		{FormatDouble, "\x7f\xf8\x00\x00\x00\x00\x00\x00", "decode double: read double: result is not a number"}, {FormatDouble, "\xff\xf0\x00\x00\x00\x00\x00\x00", "decode double: read double: overflow of float"},
		{FormatDouble + 1, "x", "decode unknown format: no such format"},
	} {
		v, err := Decode(c.f, []byte(c.in))
		got := v.Kind.String() + " " + string(value.AppendJSON(nil, v))
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Decode(%s, %q) = %s, want %s", c.f, c.in, got, c.want)
		}
		k, keyErr := DecodeKey(c.f, []byte(c.in))
		if !value.Equal(k, v) || (keyErr == nil) != (err == nil) || keyErr != nil && !strings.HasPrefix(keyErr.Error(), "decode key as ") {
			t.Errorf("DecodeKey(%s, %q) = %v, %v", c.f, c.in, k, keyErr)
		}
	}
	for f := FormatJSON; f <= FormatDouble; f++ {
		if v, err := Decode(f, nil); err != nil || v.Kind != value.Null {
			t.Errorf("Decode(%s, nil) = %v, %v", f, v, err)
		}
		if b, err := Encode([]byte("x"), f, value.NullV()); err != nil || b != nil {
			t.Errorf("Encode(%s, null) = %v, %v", f, b, err)
		}
		if b, err := EncodeKey([]byte("x"), f, value.Value{}); err != nil || b != nil {
			t.Errorf("EncodeKey(%s, absent) = %v, %v", f, b, err)
		}
		if _, err := EncodeKey(nil, f, value.OfInvalid("problem")); err == nil {
			t.Errorf("EncodeKey(%s, invalid) is no error", f)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		f               Format
		json, want, key string // key: as want when empty
	}{
		{FormatJSON, `{ "b":1.0,"a":2}`, `{ "b":1.0,"a":2}`, `{"a":2,"b":1}`}, {FormatJSON, `1.50`, `1.50`, `1.5`}, {FormatJSON, `"x"`, `"x"`, ""},
		{FormatString, `"a\"b"`, `a"b`, ""}, {FormatString, `1234`, `1234`, ""}, {FormatString, `1234.0`, `1234.0`, `1234`}, {FormatString, `[1, 2]`, `[1, 2]`, `[1,2]`}, {FormatString, `true`, `true`, ""},
		{FormatBytes, `"héy"`, "héy", ""}, {FormatBytes, `1`, "encode as bytes: cannot hold int 1", "encode key as bytes: cannot hold int 1"},
		{FormatInt, `-2`, "\xff\xff\xff\xfe", ""}, {FormatInt, `7.0`, "\x00\x00\x00\x07", ""}, {FormatInt, `2147483648`, "encode as int: cannot hold int 2147483648", "encode key as int: cannot hold int 2147483648"},
		{FormatInt, `"7"`, `encode as int: cannot hold string "7"`, `encode key as int: cannot hold string "7"`}, {FormatLong, `-1`, "\xff\xff\xff\xff\xff\xff\xff\xff", ""}, {FormatLong, `1.5`, "encode as long: cannot hold float 1.5", "encode key as long: cannot hold float 1.5"},
		{FormatLong, `9223372036854775808`, "encode as long: cannot hold number 9223372036854775808", "encode key as long: cannot hold number 9223372036854775808"},
		{FormatDouble, `1.5`, "\x3f\xf8\x00\x00\x00\x00\x00\x00", ""}, {FormatDouble, `2`, "\x40\x00\x00\x00\x00\x00\x00\x00", ""}, {FormatDouble, `9007199254740993`, "encode as double: cannot hold int 9007199254740993", "encode key as double: cannot hold int 9007199254740993"},
		{FormatDouble, `{}`, "encode as double: cannot hold object {}", "encode key as double: cannot hold object {}"}, {FormatDouble + 1, `1`, "encode as unknown format: cannot hold int 1", "encode key as unknown format: cannot hold int 1"},
	} {
		v, err := value.ParseJSON(c.json)
		if err != nil {
			t.Fatal(err)
		}
		if c.key == "" {
			c.key = c.want
		}
		for want, encode := range map[string]func([]byte, Format, value.Value) ([]byte, error){"~" + c.want: Encode, "~~" + c.key: EncodeKey} {
			tildes := want[:strings.LastIndexByte(want[:2], '~')+1]
			out, err := encode([]byte(tildes), c.f, v)
			got := string(out)
			if err != nil {
				got = tildes + err.Error()
			}
			if got != want {
				t.Errorf("%s of %s: %q, want %q", c.f, c.json, got, want)
			}
		}
	}
	for name, encode := range map[string]func([]byte, Format, value.Value) ([]byte, error){"Encode": Encode, "EncodeKey": EncodeKey} {
		for _, f := range []Format{FormatString, FormatBytes} {
			if out, err := encode(nil, f, value.OfString("")); out == nil || len(out) > 0 || err != nil {
				t.Errorf("%s(%s) of an empty string = %#v, %v: it must not be null", name, f, out, err)
			}
		}
	}
	if out, err := Encode(nil, FormatBytes, value.OfBytes([]byte{0, 255})); err != nil || !bytes.Equal(out, []byte{0, 255}) {
		t.Errorf("bytes: %v, %v", out, err)
	}
}

func TestFormatsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		cases := map[Format]value.Value{
			FormatString: value.OfString(text), FormatBytes: value.OfBytes([]byte(text)), FormatJSON: value.OfString(text),
			FormatInt: value.OfInt(int64(rapid.Int32().Draw(t, "int"))), FormatLong: value.OfInt(rapid.Int64().Draw(t, "long")),
			FormatDouble: value.OfFloat(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "double")),
		}
		for f, v := range cases {
			for name, encode := range map[string]func([]byte, Format, value.Value) ([]byte, error){"Encode": Encode, "EncodeKey": EncodeKey} {
				out, err := encode([]byte{}, f, v)
				if err != nil {
					t.Fatalf("%s(%s, %s): %v", name, f, v.Short(), err)
				}
				if back, err := Decode(f, out); err != nil || !value.Equal(back, v) || back.Kind != v.Kind {
					t.Fatalf("%s(%s, %s) reads back as %s %s, %v", name, f, v.Short(), back.Kind, back.Short(), err)
				}
			}
		}
	})
}
