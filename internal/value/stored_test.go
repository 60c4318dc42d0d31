package value

import "testing"

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
