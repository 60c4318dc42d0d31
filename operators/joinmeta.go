package operators

import (
	"encoding/binary"
	"errors"
	"slices"
)

// joinMeta is what a join remembers over a restart beside its records: the row
// metaKey, which is written with every commit.
type joinMeta struct {
	seq uint64 // the last number that was given
	// emitted: rows that were to leave before this time have left, ms.
	emitted int64
	lives   []joinLife // of which there are pages, and the one that is being lived: the last
}

// joinLife is a life: pages with numbers up to last count.
type joinLife struct{ id, last uint64 }

// errJoinLayout is met where nobody has asked for the plan of a pipeline that is
// older than its state.
var errJoinLayout = errors.New("the state was written by an earlier version, which kept a row per key: reset it")

// next gives a number.
func (m *joinMeta) next() uint64 {
	m.seq++
	return m.seq
}

// life is the one that is being lived.
func (m *joinMeta) life() uint64 { return m.lives[len(m.lives)-1].id }

// begin begins a life; now is the wall clock, ms. Lives that no commit knows of may have
// had any number: that of the clock tells them apart.
func (m *joinMeta) begin(now int64) {
	id := uint64(max(now, 1))
	if n := len(m.lives); n > 0 {
		id = max(id, m.lives[n-1].id+1)
	}
	m.lives = append(m.lives, joinLife{id: id})
}

// knows says whether a page belongs to the state.
func (m *joinMeta) knows(p pageID) bool {
	i, found := slices.BinarySearchFunc(m.lives, p.life, func(l joinLife, id uint64) int {
		if l.id < id {
			return -1
		}
		return int(min(l.id-id, 1))
	})
	return found && p.number <= m.lives[i].last
}

// forget forgets the lives of which there is no page, before a new one begins.
func (m *joinMeta) forget(there map[uint64]bool) {
	m.lives = slices.DeleteFunc(m.lives, func(l joinLife) bool { return !there[l.id] })
}

// AppendRow implements state.Encoder:
//
//	seq (uvarint) | emitted (varint) | number of lives | for each: itself, the last of its pages (uvarints)
func (m *joinMeta) AppendRow(dst []byte) []byte {
	dst = binary.AppendVarint(binary.AppendUvarint(dst, m.seq), m.emitted)
	dst = binary.AppendUvarint(dst, uint64(len(m.lives)))
	for i, l := range m.lives {
		if i == len(m.lives)-1 {
			l.last = m.seq
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, l.id), l.last)
	}
	return dst
}

func (m *joinMeta) decode(b []byte) error {
	r := wire{rest: b}
	m.seq, m.emitted = r.number(), r.signed()
	if !r.short && len(r.rest) == 0 {
		return errJoinLayout
	}
	m.lives = make([]joinLife, r.count())
	for i := range m.lives {
		m.lives[i] = joinLife{id: r.number(), last: r.number()}
	}
	if r.short {
		return errJoinRow
	}
	return nil
}
