package match

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/words"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// cutter cuts texts into folded words. Its memory is used again and again.
type cutter struct {
	words []span
	bytes []byte // of all words, folded; spare ones behind them

	fold  cases.Caser
	ready bool
	form  []byte // steps on the way
	cased []byte
}

// span is where a word lies.
type span struct{ from, to int32 }

// spare is how many bytes lie behind the words at least, so that a key can be read
// in one go.
const spare = keyBytes + 1

// Classes of ASCII characters that are no letter and no digit, by what they do
// to a word that they stand behind.
const (
	apart  = iota // nothing: the word has ended
	joins         // they can hold it together with a letter or digit behind them
	beyond        // not decided here
)

// ascii tells of ASCII characters what becomes of them in a word, 0 = they are in
// none, and else their class. Bytes of other characters are beyond. It never changes.
var ascii = func() (t struct{ folded, class [256]byte }) {
	for c := range 256 {
		b := byte(c)
		switch {
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9':
			t.folded[b] = b
		case b >= 'A' && b <= 'Z':
			t.folded[b] = b + 'a' - 'A'
		case b == '.', b == ',', b == ':', b == ';', b == '\'':
			t.class[b] = joins
		case b == '_', b >= utf8.RuneSelf:
			t.class[b] = beyond
		}
	}
	return t
}()

// cut finds the words of text, in order, and folds them.
//
// The rules are the library's. What needs few of them is decided here, since most
// text is like that: a run of ASCII letters and digits with nothing behind it that could
// belong to the same word, and ASCII characters between words.
func (c *cutter) cut(text []byte) {
	c.words = c.words[:0]
	if need := len(text) + spare; cap(c.bytes) < need {
		c.bytes = make([]byte, 0, 2*need)
	}
	c.bytes = c.bytes[:0]
	for at := 0; at < len(text); {
		if n := c.simple(text[at:]); n > 0 {
			at += n
			continue
		}
		it := words.FromBytes(text[at:])
		it.Next()
		word := it.Value()
		at += len(word)
		if isWord(word) {
			from := len(c.bytes)
			c.bytes = append(c.bytes, c.folding(word)...)
			c.words = append(c.words, span{int32(from), int32(len(c.bytes))})
		}
	}
	c.bytes = slices.Grow(c.bytes, spare)
}

// word is one of the words that were cut, and room what lies behind its beginning.
func (c *cutter) word(at span) []byte { return c.bytes[at.from:at.to] }
func (c *cutter) room(at span) []byte { return c.bytes[at.from:cap(c.bytes)] }

// each calls fn for every word of text in order. The word is only good during the call.
func (c *cutter) each(text []byte, fn func(word []byte)) {
	c.cut(text)
	for _, at := range c.words {
		fn(c.word(at))
	}
}

// simple takes a word, or what stands between words, from the beginning of text
// and tells how long it was; 0 = it is not as simple as that.
func (c *cutter) simple(text []byte) int {
	if ascii.folded[text[0]] == 0 {
		return between(text)
	}
	from, n := len(c.bytes), 0
	for n < len(text) {
		b := ascii.folded[text[n]]
		if b == 0 {
			if class := ascii.class[text[n]]; class == beyond || class == joins && !parted(text[n+1:]) {
				c.bytes = c.bytes[:from]
				return 0
			}
			break
		}
		c.bytes = append(c.bytes, b)
		n++
	}
	c.words = append(c.words, span{int32(from), int32(from + n)})
	return n
}

// parted says whether what follows a character that can join does not.
func parted(rest []byte) bool {
	return len(rest) == 0 || ascii.folded[rest[0]] == 0 && rest[0] < utf8.RuneSelf
}

// between is how many of the characters that text begins with belong to no word.
// The last one before a character beyond ASCII may belong to that; and spaces belong together.
func between(text []byte) int {
	n := 0
	for n < len(text) && ascii.folded[text[n]] == 0 && ascii.class[text[n]] != beyond {
		n++
	}
	if n == len(text) || text[n] < utf8.RuneSelf {
		return n
	}
	for n--; n > 0 && text[n] == ' ' && text[n-1] == ' '; {
		n--
	}
	return max(n, 0)
}

// isWord tells a word from what stands between words.
func isWord(b []byte) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if ascii.folded[c] != 0 {
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

// folding returns the form in which words are compared; it is good until the next call.
func (c *cutter) folding(word []byte) []byte {
	c.form = c.form[:0]
	for _, b := range word {
		if b >= utf8.RuneSelf {
			return c.foldUnicode(word)
		}
		if f := ascii.folded[b]; f != 0 {
			b = f
		}
		c.form = append(c.form, b)
	}
	return c.form
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
	c.form = norm.NFKC.Append(c.form[:0], cased[:n]...)
	return c.form
}
