package value

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// The Lex functions walk JSON text strictly by RFC 8259. Each takes the text
// and the offset of a token's first byte and returns the offset after it. A
// fault is a negative result that packs where and why (LexError unpacks it), so
// that the fast road carries no error values; the callers compare once.

// MaxDepth is the deepest nesting of arrays and objects that is read.
const MaxDepth = 1000

type faultCode int

const (
	faultUnexpected faultCode = iota
	faultControl
	faultEscape
	faultUTF8
	faultNumber
	faultDepth
	faultTrailing
)

func fault(at int, code faultCode) int { return -(at<<3 | int(code)) - 1 }

// SyntaxError is text that is not JSON.
type SyntaxError struct {
	Offset int // of the first byte that cannot be, in bytes
	Text   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Text)
}

// LexError explains the negative result of a Lex function over doc.
func LexError(doc []byte, result int) *SyntaxError {
	packed := -(result + 1)
	at, code := packed>>3, faultCode(packed&7)
	e := &SyntaxError{Offset: at}
	if at >= len(doc) && code != faultDepth {
		e.Text = "unexpected end"
		return e
	}
	switch code {
	case faultControl:
		e.Text = fmt.Sprintf("control character 0x%02x in a string must be escaped", doc[at])
	case faultEscape:
		e.Text = "unknown escape in a string"
	case faultUTF8:
		e.Text = "string is not valid UTF-8"
	case faultNumber:
		e.Text = "malformed number"
	case faultDepth:
		e.Text = fmt.Sprintf("nested deeper than %d", MaxDepth)
	case faultTrailing:
		e.Text = fmt.Sprintf("unexpected %s after the value", show(doc[at:]))
	default:
		e.Text = "unexpected " + show(doc[at:])
	}
	return e
}

// show quotes the first character of rest.
func show(rest []byte) string {
	r, n := utf8.DecodeRune(rest)
	if r == utf8.RuneError && n <= 1 {
		return fmt.Sprintf("byte 0x%02x", rest[0])
	}
	return fmt.Sprintf("%q", r)
}

// LexSpace returns the offset of the first byte at or after i that is not JSON
// white space, len(doc) if there is none. It is inlined for the usual case that there is none.
func LexSpace(doc []byte, i int) int {
	if i < len(doc) && doc[i] <= ' ' {
		return lexSpaces(doc, i)
	}
	return i
}

func lexSpaces(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\r' || doc[i] == '\t') {
		i++
	}
	return i
}

// LexEnd checks that only white space follows at i.
func LexEnd(doc []byte, i int) int {
	if i = LexSpace(doc, i); i < len(doc) {
		return fault(i, faultTrailing)
	}
	return i
}

// LexString reads the string whose opening quote is at i. plain is true when
// it has no escapes: its value then is doc[i+1:end-1] as it stands.
func LexString(doc []byte, i int) (end int, plain bool) {
	j, ends := lexPlain(doc, i)
	if ends {
		return j + 1, true
	}
	return lexStringFrom(doc, j)
}

// lexPlain passes the plain text of the string at i; ends says that the closing quote is
// behind it. If not, lexStringFrom goes on there. It is inlined: most strings have nothing else.
func lexPlain(doc []byte, i int) (j int, ends bool) {
	j = skipPlain(doc, i+1)
	return j, j < len(doc) && doc[j] == '"'
}

// lexStringFrom goes on inside a string at i.
func lexStringFrom(doc []byte, i int) (end int, plain bool) {
	plain = true
	for i < len(doc) {
		c := doc[i]
		switch {
		case c == '"':
			return i + 1, plain
		case c == '\\':
			plain = false
			if i = lexEscape(doc, i); i < 0 {
				return i, false
			}
		case c < ' ':
			return fault(i, faultControl), false
		case c < utf8.RuneSelf:
			i = skipPlain(doc, i+1)
		case c-0xc2 < 0xe0-0xc2 && i+1 < len(doc) && doc[i+1]&0xc0 == 0x80: // of two bytes, as most beyond ASCII
			i += 2
		default:
			r, n := utf8.DecodeRune(doc[i:])
			if r == utf8.RuneError && n <= 1 {
				return fault(i, faultUTF8), false
			}
			i += n
		}
	}
	return fault(len(doc), faultUnexpected), false
}

// lexEscape reads the escape whose backslash is at i.
func lexEscape(doc []byte, i int) int {
	if i+1 >= len(doc) {
		return fault(len(doc), faultUnexpected)
	}
	switch doc[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(doc) {
				return fault(len(doc), faultUnexpected)
			}
			if hexDigit(doc[j]) < 0 {
				return fault(j, faultEscape)
			}
		}
		return i + 6
	}
	return fault(i+1, faultEscape)
}

func hexDigit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// Unescape appends the value of a string's inside (between the quotes), which
// LexString has accepted. An escaped surrogate without its other half becomes
// U+FFFD, as in encoding/json.
func Unescape(dst, inside []byte) []byte {
	for i := 0; i < len(inside); {
		c := inside[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = inside[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(inside[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if len(inside)-i >= 6 && inside[i] == '\\' && inside[i+1] == 'u' {
					low = utf16.DecodeRune(r, hex4(inside[i+2:]))
				}
				if r = low; r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func hex4(b []byte) rune {
	return hexDigit(b[0])<<12 | hexDigit(b[1])<<8 | hexDigit(b[2])<<4 | hexDigit(b[3])
}

// LexNumber reads the number at i. integer is true when it has neither
// fraction nor exponent.
func LexNumber(doc []byte, i int) (end int, integer bool) {
	if i < len(doc) && doc[i] == '-' {
		i++
	}
	switch {
	case i >= len(doc):
		return fault(len(doc), faultUnexpected), false
	case doc[i] == '0':
		i++
	case doc[i]-'1' < 9:
		i = lexDigits(doc, i)
	default:
		return fault(i, faultNumber), false
	}
	if i >= len(doc) || doc[i] != '.' && doc[i]|0x20 != 'e' {
		return i, true
	}
	if doc[i] == '.' {
		start := i + 1
		if i = lexDigits(doc, start); i == start {
			return fault(i, faultNumber), false
		}
	}
	if i < len(doc) && doc[i]|0x20 == 'e' {
		i++
		if i < len(doc) && (doc[i] == '+' || doc[i] == '-') {
			i++
		}
		start := i
		if i = lexDigits(doc, start); i == start {
			return fault(i, faultNumber), false
		}
	}
	return i, false
}

func lexDigits(doc []byte, i int) int {
	for i < len(doc) && doc[i]-'0' < 10 {
		i++
	}
	return i
}

// lexWord reads the literal word at i.
func lexWord(doc []byte, i int, word string) int {
	for j := 0; j < len(word); j++ {
		if i+j >= len(doc) || doc[i+j] != word[j] {
			return fault(i+j, faultUnexpected)
		}
	}
	return i + len(word)
}

// LexValue reads the value at i, whatever it is. depth is the number of arrays
// and objects around it.
func LexValue(doc []byte, i, depth int) int {
	if i >= len(doc) {
		return fault(len(doc), faultUnexpected)
	}
	switch c := doc[i]; c {
	case '"':
		i, _ = LexString(doc, i)
		return i
	case '{', '[':
		return lexTree(doc, i, depth)
	default:
		return lexScalar(doc, i)
	}
}

// lexScalar reads a number or a literal word.
func lexScalar(doc []byte, i int) int {
	switch c := doc[i]; c {
	case 't':
		return lexWord(doc, i, "true")
	case 'f':
		return lexWord(doc, i, "false")
	case 'n':
		return lexWord(doc, i, "null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		i, _ = LexNumber(doc, i)
		return i
	}
	return fault(i, faultUnexpected)
}

// lexTree reads the array or object at i without recursion: what encloses the
// current place is one bit per level.
func lexTree(doc []byte, i, depth int) int {
	var isObject [(MaxDepth + 64) / 64]uint64
	level := -1     // of the innermost open array or object, counted from i
	object := false // what that is
	for {
		// A value begins at i.
		if i = LexSpace(doc, i); i >= len(doc) {
			return fault(i, faultUnexpected)
		}
		switch c := doc[i]; c {
		case '"':
			if j, ends := lexPlain(doc, i); ends {
				i = j + 1
			} else {
				i, _ = lexStringFrom(doc, j)
			}
		case '{', '[':
			if level++; depth+level >= MaxDepth {
				return fault(i, faultDepth)
			}
			bit := uint64(1) << (level & 63)
			isObject[level>>6] &^= bit
			if object = c == '{'; object {
				isObject[level>>6] |= bit
			}
			if i = LexSpace(doc, i+1); i < len(doc) && doc[i] == c+2 { // it closes at once
				break
			}
			if object {
				if i = LexName(doc, i); i < 0 {
					return i
				}
			}
			continue
		default:
			i = lexScalar(doc, i)
		}
		if i < 0 {
			return i
		}
		// It has ended: close what closes here, then go to the next value.
		for {
			if i = LexSpace(doc, i); i >= len(doc) {
				return fault(i, faultUnexpected)
			}
			c := doc[i]
			if c == ',' {
				i++
				break
			}
			if object && c != '}' || !object && c != ']' {
				return fault(i, faultUnexpected)
			}
			i++
			if level--; level < 0 {
				return i
			}
			object = isObject[level>>6]>>(level&63)&1 != 0
		}
		if object {
			if i = LexName(doc, i); i < 0 {
				return i
			}
		}
	}
}

// LexName reads a member's name and colon, with white space before and
// between, and returns the offset after the colon.
func LexName(doc []byte, i int) int {
	if i = LexSpace(doc, i); i >= len(doc) || doc[i] != '"' {
		return fault(i, faultUnexpected)
	}
	if j, ends := lexPlain(doc, i); ends {
		i = j + 1
	} else if i, _ = lexStringFrom(doc, j); i < 0 {
		return i
	}
	if i = LexSpace(doc, i); i >= len(doc) || doc[i] != ':' {
		return fault(i, faultUnexpected)
	}
	return i + 1
}

// LexUnexpected is the result of a Lex function for a byte at i that cannot be there.
func LexUnexpected(i int) int { return fault(i, faultUnexpected) }
