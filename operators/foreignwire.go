package operators

import (
	"encoding/binary"
	"errors"
)

// What the two sides of a foreign-key join tell each other. Both topics are the
// pipeline's own; what lies in them is
//
//	subscriptions   key: the foreign key   1 | flags | number | left key
//	answers         key: the left key      1 | flags | number | time, ms | length, foreign key | row
//
// with numbers as uvarints, the time as a varint, keys and rows as JSON.

const foreignVersion = 1

// Flags.
const (
	foreignAway    = 1 // of a subscription: it ends
	foreignPresent = 2 // of an answer: there is a row
	foreignTimed   = 4 // of an answer: its time is known
)

var errForeign = errors.New("the record was not written by this version of the pipeline")

// subscription asks for a row of the right table, and for its changes.
type subscription struct {
	away   bool
	number uint64 // of the left row's foreign keys, one after the other
	left   []byte // its key
}

func (s *subscription) append(dst []byte) []byte {
	flags := byte(0)
	if s.away {
		flags |= foreignAway
	}
	dst = binary.AppendUvarint(append(dst, foreignVersion, flags), s.number)
	return append(dst, s.left...)
}

func (s *subscription) read(b []byte) error {
	if len(b) < 3 || b[0] != foreignVersion {
		return errForeign
	}
	number, n := binary.Uvarint(b[2:])
	if n <= 0 {
		return errForeign
	}
	s.away, s.number, s.left = b[1]&foreignAway != 0, number, b[2+n:]
	return nil
}

// answer is the row of the right table that a left row refers to.
type answer struct {
	number  uint64 // of the subscription
	foreign []byte // the key of the row
	row     []byte // JSON, nil = there is none
	time    int64  // of the row, where it is known
	timed   bool
}

func (a *answer) append(dst []byte) []byte {
	flags := byte(0)
	if a.row != nil {
		flags |= foreignPresent
	}
	if a.timed {
		flags |= foreignTimed
	}
	dst = binary.AppendUvarint(append(dst, foreignVersion, flags), a.number)
	dst = binary.AppendVarint(dst, a.time)
	dst = append(binary.AppendUvarint(dst, uint64(len(a.foreign))), a.foreign...)
	return append(dst, a.row...)
}

func (a *answer) read(b []byte) error {
	if len(b) < 3 || b[0] != foreignVersion {
		return errForeign
	}
	flags, b := b[1], b[2:]
	number, n := binary.Uvarint(b)
	if n <= 0 {
		return errForeign
	}
	time, m := binary.Varint(b[n:])
	if m <= 0 {
		return errForeign
	}
	b = b[n+m:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return errForeign
	}
	a.number, a.time, a.timed = number, time, flags&foreignTimed != 0
	a.foreign, a.row = b[n:n+int(size)], nil
	if flags&foreignPresent != 0 {
		a.row = b[n+int(size):]
	}
	return nil
}

// foreignRow is what the left side keeps of one of its rows: what it is, what
// it refers to, and what is known of that.
//
//	flags | number | time | foreign key | answer time | left row | right row | shown left | shown right
//
// Texts have their length in front. Shown is the result that stands while an
// answer is waited for; otherwise it follows from the rest.
type foreignRow struct {
	number  uint64
	time    int64  // of the left row
	foreign []byte // nil = null: it refers to nothing
	known   bool   // the answer has come, or none is needed
	right   []byte // nil = there is no such row
	rightAt int64
	timed   bool // rightAt is known
	left    []byte
	// While the answer is waited for: whether there is a result, and which.
	shown                 bool
	shownLeft, shownRight []byte
}

const (
	foreignKnown   = 1
	foreignShown   = 2
	foreignRightAt = 4
)

func (r *foreignRow) append(dst []byte) []byte {
	flags := byte(0)
	for flag, set := range map[byte]bool{foreignKnown: r.known, foreignShown: r.shown, foreignRightAt: r.timed} {
		if set {
			flags |= flag
		}
	}
	dst = binary.AppendUvarint(append(dst, flags), r.number)
	dst = binary.AppendVarint(binary.AppendVarint(dst, r.time), r.rightAt)
	for _, text := range [][]byte{r.foreign, r.left, r.right, r.shownLeft, r.shownRight} {
		dst = appendText(dst, text)
	}
	return dst
}

func (r *foreignRow) read(b []byte) error {
	if len(b) == 0 {
		return errForeign
	}
	flags := b[0]
	number, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return errForeign
	}
	b = b[1+n:]
	var times [2]int64
	for i := range times {
		if times[i], n = binary.Varint(b); n <= 0 {
			return errForeign
		}
		b = b[n:]
	}
	t := blobReader{b: b}
	*r = foreignRow{
		number: number, time: times[0], rightAt: times[1],
		known: flags&foreignKnown != 0, shown: flags&foreignShown != 0, timed: flags&foreignRightAt != 0,
		foreign: t.text(), left: t.text(), right: t.text(), shownLeft: t.text(), shownRight: t.text(),
	}
	if t.short {
		return errForeign
	}
	return nil
}
