package codec

import (
	"encoding/binary"
	"math/bits"

	"streamctl/internal/value"
)

// nameTable finds the node that a member's name leads to. It is an open hash
// table over the length and up to 16 bytes of the name, at most a quarter
// full, so that a name nobody wants is known by its length or by one look.
// The zero table knows no name.
type nameTable struct {
	lengths uint64 // bit min(len, 63) is set for the lengths that occur
	shift   uint8
	entries []nameEntry
}

// nameEntry is one wanted name as nameWords gives it.
type nameEntry struct {
	first, last uint64
	name        string
	node        *node // nil = free
}

const hashFactor = 0x9E3779B97F4A7C15 // 2^64 / golden ratio (Knuth, multiplicative hashing)

func newNameTable(nodes []*node) nameTable {
	if len(nodes) == 0 {
		return nameTable{}
	}
	size := uint(bits.Len(uint(len(nodes)*4 - 1)))
	t := nameTable{shift: uint8(64 - size), entries: make([]nameEntry, 1<<size)}
	for _, n := range nodes {
		name := n.path[len(n.path)-1].Name
		t.lengths |= 1 << min(len(name), 63)
		first, last := nameWords([]byte(name))
		i := t.place(first, last, len(name))
		for t.entries[i].node != nil {
			i = (i + 1) & (len(t.entries) - 1)
		}
		t.entries[i] = nameEntry{first: first, last: last, name: name, node: n}
	}
	return t
}

func (t *nameTable) place(first, last uint64, length int) int {
	return int((first ^ bits.RotateLeft64(last, 23) ^ uint64(length)<<56) * hashFactor >> t.shift)
}

// nameWords gives the first eight bytes of name, padded with zeros, and the
// last eight of one that is longer.
func nameWords(name []byte) (first, last uint64) {
	n := len(name)
	if n > 8 {
		return binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
	}
	for i := n - 1; i >= 0; i-- {
		first = first<<8 | uint64(name[i])
	}
	return first, 0
}

// find returns the node for name, whose words are given, nil if nobody wants it.
// The table must not be empty.
func (t *nameTable) find(first, last uint64, name []byte) *node {
	for i := t.place(first, last, len(name)); ; i++ {
		e := &t.entries[i&(len(t.entries)-1)]
		if e.node == nil {
			return nil
		}
		if e.first == first && e.last == last && len(e.name) == len(name) &&
			(len(name) <= 16 || e.name == string(name)) {
			return e.node
		}
	}
}

// member reads the member's name at i, the colon, and white space around them.
// It returns the node that the name leads to and the offset of the value, or a fault.
func (t *nameTable) member(doc []byte, i int) (child *node, next int) {
	if i = value.LexSpace(doc, i); i >= len(doc) || doc[i] != '"' {
		return nil, value.LexUnexpected(i)
	}
	from := i + 1
	if from+8 > len(doc) {
		return t.oddMember(doc, i)
	}
	var to int // the closing quote
	first, last := binary.LittleEndian.Uint64(doc[from:]), uint64(0)
	if marks := value.StringMarks(first); marks != 0 {
		at := bits.TrailingZeros64(marks) &^ 7
		first &= 1<<at - 1
		to = from + at>>3
	} else {
		if to = markAmong(doc, from+8); to < 0 {
			end, plain := value.LexString(doc, i+8) // goes on behind the eight plain bytes
			if !plain {
				return t.oddMember(doc, i)
			}
			to = end - 1
		}
		if to > from+8 {
			last = binary.LittleEndian.Uint64(doc[to-8:])
		}
	}
	if doc[to] != '"' {
		return t.oddMember(doc, i)
	}
	if t.lengths>>min(to-from, 63)&1 != 0 {
		child = t.find(first, last, doc[from:to])
	}
	if to+1 < len(doc) && doc[to+1] == ':' {
		return child, value.LexSpace(doc, to+2)
	}
	return child, colon(doc, to+1)
}

// markAmong is the offset of the first of the eight bytes from j on that ends plain text
// (see value.StringMarks), -1 if none does or doc is at its end: names mostly end here.
func markAmong(doc []byte, j int) int {
	if j+8 > len(doc) {
		return -1
	}
	marks := value.StringMarks(binary.LittleEndian.Uint64(doc[j:]))
	if marks == 0 {
		return -1
	}
	return j + bits.TrailingZeros64(marks)>>3
}

// oddMember is member for a name with escapes, beyond ASCII, malformed, or at the very end.
func (t *nameTable) oddMember(doc []byte, i int) (child *node, next int) {
	end, plain := value.LexString(doc, i)
	if end < 0 {
		return nil, end
	}
	name := doc[i+1 : end-1]
	if !plain {
		name = value.Unescape(nil, name)
	}
	if len(t.entries) > 0 {
		first, last := nameWords(name)
		child = t.find(first, last, name)
	}
	return child, colon(doc, end)
}

// colon reads a colon with white space around it.
func colon(doc []byte, i int) int {
	if i = value.LexSpace(doc, i); i >= len(doc) || doc[i] != ':' {
		return value.LexUnexpected(i)
	}
	return value.LexSpace(doc, i+1)
}
