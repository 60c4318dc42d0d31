package operators

import "encoding/binary"

// wire reads what operators have written for themselves, into states and the
// pipeline's own topics: numbers as varints, and bytes with their length in front.
// Once something was not there, all that follows is empty, and short says so in
// the end; so a form is read in one go, and checked once. What it gives out are
// pieces of what it reads.
type wire struct {
	rest  []byte
	short bool
}

// cut ends the reading.
func (r *wire) cut() { r.rest, r.short = nil, true }

// octet is the next byte.
func (r *wire) octet() byte {
	if len(r.rest) == 0 {
		r.cut()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// number reads a uvarint. It does not call binary.Uvarint, which is not inlined:
// rows are made of numbers.
func (r *wire) number() uint64 {
	var v uint64
	shift := 0
	rest := r.rest
	for i, b := range rest {
		if b < 0x80 {
			if shift == lastShift && b > 1 {
				break
			}
			r.rest = rest[i+1:]
			return v | uint64(b)<<(shift&63)
		}
		if shift == lastShift {
			break // more than 64 bits
		}
		v |= uint64(b&0x7f) << (shift & 63)
		shift += 7
	}
	r.cut()
	return 0
}

// lastShift is how far the last byte of a number of 64 bits is to the left.
const lastShift = 63

// signed reads a varint.
func (r *wire) signed() int64 {
	v := r.number()
	return int64(v>>1) ^ -int64(v&1)
}

// count is a number of things that follow: no more than there are bytes.
func (r *wire) count() int {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.cut()
		return 0
	}
	return int(n)
}

// take is the next n bytes.
func (r *wire) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.cut()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// bytes reads what appendBytes wrote.
func (r *wire) bytes() []byte { return r.take(r.number()) }

// appendBytes writes the length of b (uvarint), and b.
func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// text reads what appendText wrote.
func (r *wire) text() []byte {
	n := r.number()
	if n == 0 {
		return nil
	}
	return r.take(n - 1)
}

// appendText writes the length of text + 1 (uvarint), and text; 0 = null.
func appendText(dst, text []byte) []byte {
	if text == nil {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(text))+1), text...)
}
