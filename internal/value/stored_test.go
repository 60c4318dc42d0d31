package value

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Bytes and the string of their base64 text are different keys, and each comes
// back as what it was, alone or in a composite key.
func TestStoredKeysKeepBytesApart(t *testing.T) {
	raw, letters := OfBytes([]byte{0xff, 0}), OfString("/wA=")
	for _, c := range []struct {
		v    Value
		want string
	}{
		{raw, `{"$bytes":"/wA="}`},
		{letters, `"/wA="`},
		{OfInt(7), `7`},
		{OfList([]Value{OfInt(1), raw, letters}), `[1,{"$bytes":"/wA="},"/wA="]`},
		{OfRaw(`{"$bytes":1}`), `{"$bytes":1}`},
		{OfRaw(`{"$bytes":"?"}`), `{"$bytes":"?"}`},
	} {
		text := AppendStored(nil, c.v)
		if string(text) != c.want {
			t.Errorf("got %s, want %s", text, c.want)
		}
		back, err := ParseStored(text)
		if err != nil || !Equal(back, c.v) && c.v.Kind != Raw {
			t.Errorf("%s came back as %v, %v", text, back, err)
		}
		if again := AppendStored(nil, back); string(again) != c.want {
			t.Errorf("%s is written again as %s", c.want, again)
		}
	}
}

// What IsStored takes as it stands is what would be written anew.
func checkIsStored(t *testing.T, key []byte) {
	t.Helper()
	if !IsStored(key) {
		return
	}
	v, err := ParseJSON(key)
	if err != nil {
		t.Fatalf("%q is no JSON: %v", key, err)
	}
	if again := AppendStored(nil, v); !bytes.Equal(again, key) {
		t.Fatalf("%q is written as %q", key, again)
	}
}

func FuzzIsStored(f *testing.F) {
	for _, seed := range jsonSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(checkIsStored)
}

// Texts that are nearly keys, by the pieces that tell apart what is canonical from what is not.
func TestIsStoredRandom(t *testing.T) {
	pieces := []string{
		"0", "1", "12345678", "9", "-", "+", ".", "e", "E3", " ", "\t", "\n", `"`, `\`, `\"`, `\n`, `\u0041`, `\u00e4`, "a", "urn:member:", "ä", "世", "😀",
		"\xff", "\xc3", "\xed\xa0\x80", "\x00", "\x1f", "\x7f", "null", "true", "false", "[", "]", "{", "}", ":", ",", `{"$bytes":"`, "99999999999999999",
	}
	whole := rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8)
	var taken int
	rapid.Check(t, func(r *rapid.T) {
		text := strings.Join(whole.Draw(r, "pieces"), "")
		if rapid.Bool().Draw(r, "quoted") {
			text = `"` + text + `"`
		}
		if IsStored([]byte(text)) {
			taken++
		}
		checkIsStored(t, []byte(text))
	})
	if taken == 0 {
		t.Error("none was taken as it stands")
	}
}

func TestIsStored(t *testing.T) {
	for text, want := range map[string]bool{
		`1`: true, `-1`: true, `123456`: true, `999999999999999999`: true, `-999999999999999999`: true,
		`""`: true, `"a"`: true, `"urn:member:1"`: true, `"ä 世 😀"`: true, "\"\x7f\"": true,
		``: false, `-`: false, `-0`: false, `00`: false, `01`: false, `-01`: false, `+1`: false, `1.0`: false, `1e3`: false, ` 1`: false, `1 `: false, `1x`: false,
		`9999999999999999999`: false, `123456789012345678901`: false,
		`"`: false, `"a`: false, `"a" `: false, ` "a"`: false, `"a"b`: false, `"\u0061"`: false, `"\""`: false, "\"\xff\"": false, "\"\x1f\"": false,
		`null`: false, `[1]`: false, `{}`: false, `{"$bytes":"/wA="}`: false,
	} {
		if got := IsStored([]byte(text)); got != want {
			t.Errorf("IsStored(%s) = %t", text, got)
		}
		checkIsStored(t, []byte(text))
	}
}
