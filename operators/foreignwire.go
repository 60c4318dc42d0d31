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
	r := wire{rest: b}
	version, flags := r.octet(), r.octet()
	s.away, s.number, s.left = flags&foreignAway != 0, r.number(), r.rest
	if version != foreignVersion || r.short {
		return errForeign
	}
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
	return append(appendBytes(dst, a.foreign), a.row...)
}

func (a *answer) read(b []byte) error {
	r := wire{rest: b}
	version, flags := r.octet(), r.octet()
	*a = answer{number: r.number(), time: r.signed(), timed: flags&foreignTimed != 0, foreign: r.bytes()}
	if version != foreignVersion || r.short {
		return errForeign
	}
	if flags&foreignPresent != 0 {
		a.row = r.rest
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
	again                 bool // what became of it meanwhile may have been sent before: see Event.Again
}

// foreignFlags say what a foreignRow is.
type foreignFlags byte

const (
	foreignKnown   foreignFlags = 1
	foreignShown   foreignFlags = 2
	foreignRightAt foreignFlags = 4
	foreignAgain   foreignFlags = 8
)

func (f foreignFlags) when(set bool) foreignFlags {
	if set {
		return f
	}
	return 0
}

func (r *foreignRow) append(dst []byte) []byte {
	flags := foreignKnown.when(r.known) | foreignShown.when(r.shown) | foreignRightAt.when(r.timed) | foreignAgain.when(r.again)
	dst = binary.AppendUvarint(append(dst, byte(flags)), r.number)
	dst = binary.AppendVarint(binary.AppendVarint(dst, r.time), r.rightAt)
	for _, text := range [][]byte{r.foreign, r.left, r.right, r.shownLeft, r.shownRight} {
		dst = appendText(dst, text)
	}
	return dst
}

func (r *foreignRow) read(b []byte) error {
	t := wire{rest: b}
	flags := foreignFlags(t.octet())
	*r = foreignRow{
		known: flags&foreignKnown != 0, shown: flags&foreignShown != 0, timed: flags&foreignRightAt != 0,
		again:  flags&foreignAgain != 0,
		number: t.number(), time: t.signed(), rightAt: t.signed(),
		foreign: t.text(), left: t.text(), right: t.text(), shownLeft: t.text(), shownRight: t.text(),
	}
	if t.short {
		return errForeign
	}
	return nil
}
