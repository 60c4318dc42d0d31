package value

import (
	"strconv"
	"strings"
	"testing"
)

const profile = `{"profile":{"firstName":"Ada","positions":[{"job_title":"Author","company":"Analytical Engines Ltd"},{"job_title":"Editor"}],"industry":"Computing","summary":"A long text with some words in it, as people write them about themselves."},"version":12}`

func BenchmarkParseJSON(b *testing.B) {
	doc := []byte(profile)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseJSON(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLexString(b *testing.B) {
	for _, n := range []int{4, 20, 100, 200, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			doc := []byte(`"` + strings.Repeat("x", n) + `","next":"what comes behind it"`)
			b.SetBytes(int64(n))
			for b.Loop() {
				if end, plain := LexString(doc, 0); end != n+2 || !plain {
					b.Fatal(end, plain)
				}
			}
		})
	}
}

func BenchmarkGetDeep(b *testing.B) {
	v := must(b, profile)
	b.ReportAllocs()
	for b.Loop() {
		if v.Get("profile").Get("positions").Index(0).Get("company").Kind != String {
			b.Fatal("no company")
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	v := OfMap([]string{"jobTitle", "company", "n"}, []Value{OfString("Author of things"), OfString("Analytical Engines Ltd"), OfInt(1234)})
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendJSON(dst[:0], v)
	}
}

func BenchmarkAppendKey(b *testing.B) {
	keys := []Value{OfInt(1234567), OfString("urn:linkedin:profile:1234")}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		for _, key := range keys {
			dst = AppendKey(dst[:0], key)
		}
	}
}

func BenchmarkCompareAndAdd(b *testing.B) {
	x, y := OfInt(3), OfInt(4)
	b.ReportAllocs()
	for b.Loop() {
		sum, err := Add(x, y)
		if err != nil || !Equal(sum, OfInt(7)) {
			b.Fatal("3 + 4")
		}
	}
}
