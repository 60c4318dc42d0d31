package match

import (
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/words"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// cutter cuts texts into folded words. Its memory is used again and again.
type cutter struct {
	fold   cases.Caser
	ready  bool
	folded []byte // result
	form   []byte // steps on the way
	cased  []byte
}

// each calls fn for every word of text in order. The word is only good during the call.
func (c *cutter) each(text []byte, fn func(word []byte)) {
	for it := words.FromBytes(text); it.Next(); {
		if word := it.Value(); isWord(word) {
			fn(c.folding(word))
		}
	}
}

// isWord tells a word from what stands between words.
func isWord(b []byte) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				return true
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r)) {
			return true
		}
		i += n
	}
	return false
}

// folding returns the form in which words are compared.
func (c *cutter) folding(word []byte) []byte {
	upper := false
	for _, b := range word {
		if b >= utf8.RuneSelf {
			return c.foldUnicode(word)
		}
		upper = upper || b >= 'A' && b <= 'Z'
	}
	if !upper {
		return word
	}
	out := c.folded[:0]
	for _, b := range word {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		out = append(out, b)
	}
	c.folded = out
	return out
}

// foldUnicode is folding for words beyond ASCII: NFKC, case folding, NFKC.
func (c *cutter) foldUnicode(word []byte) []byte {
	if !c.ready {
		c.fold, c.ready = cases.Fold(), true
	}
	c.form = norm.NFKC.Append(c.form[:0], word...)
	const longer = 3 // a folded letter takes at most so many times its bytes
	if need := longer * len(c.form); cap(c.cased) < need {
		c.cased = make([]byte, need)
	}
	cased := c.cased[:cap(c.cased)]
	c.fold.Reset()
	n, _, err := c.fold.Transform(cased, c.form, true)
	if err != nil { // not in the time of a document: memory was not enough
		c.cased = c.fold.Bytes(c.form)
		cased, n = c.cased, len(c.cased)
	}
	c.folded = norm.NFKC.Append(c.folded[:0], cased[:n]...)
	return c.folded
}
