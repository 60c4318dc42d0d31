package value

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Plain is what a JSON string holds as it stands and nobody has to look at: ASCII
// without quotes, backslashes and controls. Most of the bytes of most documents are.

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// StringMarks marks, by their high bits, the bytes of w (eight bytes of text,
// little endian) that end a run of plain characters of a string: quotes,
// backslashes, controls and everything beyond ASCII. Only the lowest mark is
// exact: a borrow may set marks above it.
func StringMarks(w uint64) uint64 { return marks(w) & highs }

// marks is StringMarks with other bits beside.
func marks(w uint64) uint64 {
	// x^2 < 0x21 holds for x < 0x20 and for x = 0x22 (the quote) only.
	return ((w ^ ones*0x02) - ones*0x21) | ((w ^ ones*'\\') - ones) | w
}

// isPlain is what StringMarks does not mark.
func isPlain(c byte) bool {
	return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\'
}

// skipWords is skipPlain in words of eight bytes, as any machine can do it.
func skipWords(doc []byte, j int) int {
	for start := j; j+8 <= len(doc); j += 8 {
		if m := StringMarks(binary.LittleEndian.Uint64(doc[j:])); m != 0 {
			return j + bits.TrailingZeros64(m)>>3
		}
		if j == start+longPlain {
			j = skipFours(doc, j+8) - 8
		}
	}
	for j < len(doc) && isPlain(doc[j]) {
		j++
	}
	return j
}

// longPlain is behind how many bytes, a multiple of eight, a run is taken for a long one.
const longPlain = 64

// skipFours passes plain characters, four words at a time: one test for all of them.
func skipFours(doc []byte, j int) int {
	for ; j+32 <= len(doc); j += 32 {
		b := doc[j : j+32 : j+32]
		m := marks(binary.LittleEndian.Uint64(b)) | marks(binary.LittleEndian.Uint64(b[8:])) |
			marks(binary.LittleEndian.Uint64(b[16:])) | marks(binary.LittleEndian.Uint64(b[24:]))
		if m&highs != 0 {
			break
		}
	}
	return j
}
