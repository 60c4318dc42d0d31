package match

import (
	"encoding/binary"
	"errors"
)

// A document that meets several indexes is cut into words once, where it comes
// from, and travels in the form of a Cutter:
//
//	how many different words | each: its length, its bytes (folded)
//	how many words | each: which of the different ones
//
// Numbers are uvarints. An index then looks up every word once, however often
// the document has it, and reads the order of the words only when it seeks a phrase.

// Cutter cuts texts for Index.AddCut. Its memory is used again and again.
type Cutter struct {
	cut    cutter
	hash   hasher
	seats  []seat // a hash table with linear probing; a power of two
	round  uint32 // of which text the seats are
	words  []byte
	places []byte
	first  []span // of every different word, where it stands in cut
}

// seat is where a different word of the text of a round is found.
type seat struct {
	key    wordKey
	round  uint32
	number uint32
}

const firstSeats = 512

// NewCutter makes a cutter.
func NewCutter() *Cutter {
	return &Cutter{hash: newHasher(), seats: make([]seat, firstSeats)}
}

// AppendCut appends text, cut.
func (c *Cutter) AppendCut(dst, text []byte) []byte {
	c.cut.cut(text)
	c.prepare(len(c.cut.words))
	for _, s := range c.cut.words {
		c.places = binary.AppendUvarint(c.places, uint64(c.number(s)))
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(c.first))), c.words...)
	return append(binary.AppendUvarint(dst, uint64(len(c.cut.words))), c.places...)
}

// prepare makes room for so many words, with as many seats again.
func (c *Cutter) prepare(words int) {
	c.words, c.places, c.first = c.words[:0], c.places[:0], c.first[:0]
	size := len(c.seats)
	for size < 2*words {
		size *= 2
	}
	if c.round++; size > len(c.seats) || c.round == 0 {
		c.seats, c.round = make([]seat, size), 1
	}
}

// number is which of the different words the one at s is.
func (c *Cutter) number(s span) uint32 {
	word := c.cut.word(s)
	k := c.hash.key(c.cut.room(s), len(word))
	mask := len(c.seats) - 1
	for at := c.hash.home(k) & mask; ; at = (at + 1) & mask {
		t := &c.seats[at]
		if t.round != c.round {
			*t = seat{k, c.round, uint32(len(c.first))}
			c.first = append(c.first, s)
			c.words = append(binary.AppendUvarint(c.words, uint64(len(word))), word...)
			return t.number
		}
		if t.key == k && (!k.long() || string(c.cut.word(c.first[t.number])) == string(word)) {
			return t.number
		}
	}
}

var errCut = errors.New("read the words of a text: damaged")

// readCut finds the words of a text that was cut, and the order in which they stand.
func readCut(dst []span, cut []byte) (words []span, places []byte, err error) {
	n, at := number(cut, 0)
	for ; n > 0 && at > 0; n-- {
		var size uint64
		if size, at = number(cut, at); at == 0 || size > uint64(len(cut)-at) {
			return nil, nil, errCut
		}
		dst = append(dst, span{int32(at), int32(at + int(size))})
		at += int(size)
	}
	if at == 0 {
		return nil, nil, errCut
	}
	if _, at = number(cut, at); at == 0 {
		return nil, nil, errCut
	}
	return dst, cut[at:], nil
}

// number reads a uvarint of b at a place, and says where it ends, 0 = nowhere.
func number(b []byte, at int) (n uint64, end int) {
	if at < len(b) && b[at] < 0x80 {
		return uint64(b[at]), at + 1
	}
	n, size := binary.Uvarint(b[at:])
	if size <= 0 {
		return 0, 0
	}
	return n, at + size
}
