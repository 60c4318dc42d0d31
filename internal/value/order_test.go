package value

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// ordered lists values in their order; those of one line are equal.
func ordered(t *testing.T) [][]Value {
	t.Helper()
	var out [][]Value
	for _, line := range []string{
		"null",
		"false", "true",
		"-1e400", "-1.7976931348623157e308", "-9223372036854775808 -9223372036854775808.0 -9.223372036854775808e18", "-9223372036854775807", "-9007199254740993", "-9007199254740992", "-5.5", "-5",
		"-1e-400", "0 -0 0.0 -0.0", "1e-400", "2e-400", "0.1", "0.25", "1 1.0 10e-1", "5", "1234", "4321",
		"9007199254740992", "9007199254740993", "9223372036854775806", "9223372036854775807", "9223372036854775808", "9223372036854775809", "1180591620717411303424 1.180591620717411303424e21", "1180591620717411303425",
		"1.7976931348623157e308", "1e400", "1.5e400", "1e401",
		`""`, `"\u0000"`, `"\u0000\u0000"`, `"\u0000a"`, `"a"`, `"a\u0000"`, `"a\u0000b"`, `"ab"`, `"b"`, `"ä"`,
		`[]`, `[null]`, `[1]`, `[1,null]`, `[1,2] [1.0,2.0]`, `[1,10]`, `[2]`, `["a"]`, `["a",1]`, `["ab"]`,
		`{"a":1} {"a":1.0}`, `{"a":2}`,
	} {
		var equal []Value
		for _, text := range strings.Fields(line) {
			v, err := ParseJSON(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			equal = append(equal, v)
		}
		out = append(out, equal)
	}
	return out
}

func TestOrderOfBytesIsOrderOfValues(t *testing.T) {
	var last []byte
	for _, equal := range ordered(t) {
		first := AppendOrdered(nil, equal[0])
		for _, v := range equal[1:] {
			if again := AppendOrdered(nil, v); !bytes.Equal(first, again) {
				t.Errorf("%s: %x, %s: %x", AppendJSON(nil, equal[0]), first, AppendJSON(nil, v), again)
			}
		}
		if bytes.Compare(last, first) >= 0 {
			t.Errorf("%s does not come behind the one before it", AppendJSON(nil, equal[0]))
		}
		last = first
	}
}

func TestNoOrderedValueBeginsAnother(t *testing.T) {
	all := ordered(t)
	for i, a := range all {
		for j, b := range all {
			if i != j && bytes.HasPrefix(AppendOrdered(nil, a[0]), AppendOrdered(nil, b[0])) {
				t.Errorf("%s begins with %s", AppendJSON(nil, a[0]), AppendJSON(nil, b[0]))
			}
		}
	}
}

func TestOrderOfRandomNumbers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	number := func() Value {
		switch rnd.IntN(4) {
		case 0:
			return OfInt(rnd.Int64() - rnd.Int64())
		case 1:
			return OfInt(rnd.Int64N(5) - 2)
		case 2:
			return OfFloat(rnd.NormFloat64() * float64(rnd.IntN(3)))
		}
		return OfJSONNumber(strconv.Itoa(rnd.IntN(100))+"e"+strconv.Itoa(rnd.IntN(700)-350), false)
	}
	for range 20_000 {
		a, b := number(), number()
		want, _ := Compare(a, b)
		if got := bytes.Compare(AppendOrdered(nil, a), AppendOrdered(nil, b)); got != want {
			t.Fatalf("%s and %s: %d, want %d", AppendJSON(nil, a), AppendJSON(nil, b), got, want)
		}
	}
}
