package match

import (
	"slices"
	"strings"
	"testing"

	"github.com/clipperhouse/uax29/v2/words"
	"pgregory.net/rapid"
)

// cutByLibrary is what cut must do, without its short cuts.
func cutByLibrary(text string) (cut []string) {
	var c cutter
	for it := words.FromString(text); it.Next(); {
		if w := []byte(it.Value()); isWord(w) {
			cut = append(cut, string(c.foldUnicode(w)))
		}
	}
	return cut
}

func cutBySelf(text string) (cut []string) {
	var c cutter
	c.each([]byte(text), func(w []byte) { cut = append(cut, string(w)) })
	return cut
}

func checkCut(t interface{ Fatalf(string, ...any) }, text string) {
	if got, want := cutBySelf(text), cutByLibrary(text); !slices.Equal(got, want) {
		t.Fatalf("%q\n got  %q\n want %q", text, got, want)
	}
}

// pieces are what the rules of words tell apart, and what they hold together.
var pieces = []string{
	"a", "Bc", "7", "42", " ", "  ", ".", ",", ":", ";", "'", `"`, "_", "-", "\t", "\r", "\n", "\r\n", "\x00", "é", "É", "ß", "\u0301", "\u200d", "\u00ad",
	"’", "א", "東", "カ", "ー", "©", "ℹ", "🇩", "🇪", "👩", "٣", "ﬁ", "İ", "\xff", "\xc3", "\u00a0", "\u3000", "\u2028",
}

// The short cuts of the cutter change nothing.
func TestWordsAreThoseOfTheLibrary(t *testing.T) {
	for _, a := range pieces {
		for _, b := range pieces {
			for _, c := range pieces {
				checkCut(t, a+b+c)
				checkCut(t, "x"+a+b+c+"y")
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		checkCut(t, strings.Join(rapid.SliceOf(rapid.SampledFrom(pieces)).Draw(t, "pieces"), ""))
	})
}

func FuzzWords(f *testing.F) {
	f.Add("Foo, bar. can't 3.14 foo_bar  \u0301x東京")
	f.Fuzz(func(t *testing.T, text string) { checkCut(t, text) })
}
