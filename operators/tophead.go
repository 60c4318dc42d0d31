package operators

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"streamctl/state"
)

// Most changes need no more of a group's order than its first rows, and to read
// them anew for every change is most of what a change costs. So a top keeps
// them in memory: only those that a change leaves too short are read again. They
// are a copy of what the state holds, made when a group's first change comes, which is
// after the state was restored; a task that begins anew has none.

// ranked is an entry of a group's order.
type ranked struct {
	order, key []byte
	rank       int
}

func compareRanked(a, b ranked) int {
	if c := bytes.Compare(a.order, b.order); c != 0 {
		return c
	}
	return bytes.Compare(a.key, b.key)
}

// head is the beginning of a group's order.
type head struct {
	rows  []ranked // without ranks
	whole bool     // there are no other rows
}

// set takes the row at old away, and puts one in at is; nil = none. A row that
// belongs behind those that are known is not put in, for what lies between is not known.
func (h *head) set(old, is *place, most int) {
	if old != nil {
		if at, found := slices.BinarySearchFunc(h.rows, ranked{order: old.order, key: old.key}, compareRanked); found {
			h.rows = slices.Delete(h.rows, at, at+1)
		}
	}
	if is != nil {
		at, _ := slices.BinarySearchFunc(h.rows, ranked{order: is.order, key: is.key}, compareRanked)
		if at < len(h.rows) || h.whole {
			own := slices.Concat(is.order, is.key)
			n := len(is.order)
			h.rows = slices.Insert(h.rows, at, ranked{order: own[:n:n], key: own[n:]})
		}
	}
	if len(h.rows) > most {
		h.rows, h.whole = slices.Delete(h.rows, most, len(h.rows)), false
	}
}

// heads are those of the groups that changed of late: of a young generation, and
// of the one before it, which is forgotten when the young one is full.
type heads struct {
	young, old map[string]*head
	rows       int // of the young ones, and one for each of them
}

// headRows is how many rows a generation has: some 4 MB.
const headRows = 1 << 15

// find is the head of a group, nil = it is not known.
func (s *heads) find(group []byte) *head {
	if h := s.young[string(group)]; h != nil {
		return h
	}
	h := s.old[string(group)]
	if h != nil {
		delete(s.old, string(group))
		s.keep(group, h)
	}
	return h
}

// keep adds a head.
func (s *heads) keep(group []byte, h *head) {
	if s.young == nil || s.rows >= headRows {
		s.young, s.old, s.rows = map[string]*head{}, s.young, 0
	}
	s.young[string(group)] = h
	s.rows += len(h.rows) + 1
}

// forget takes the head of a group away.
func (s *heads) forget(group []byte, h *head) {
	s.rows -= len(h.rows) + 1
	delete(s.young, string(group))
}

// most is how many rows of a group are kept. With some more than are given out,
// those that leave are made up for by others that come.
func (p *top) most() int { return 2*p.spec.N + 16 }

// head is the head of a group; it has the first rows and one more, which is the
// next when one of them leaves.
func (p *top) head(group []byte) (*head, error) {
	if h := p.heads.find(group); h != nil {
		return h, nil
	}
	h := &head{whole: true}
	p.scan = append(append(p.scan[:0], topOrderEntry), group...)
	err := p.table.ScanPrefix(p.scan, func(key []byte, row *state.Row) (bool, error) {
		begin, n := binary.Uvarint(row.Value)
		rest := key[len(p.scan):]
		if n <= 0 || begin > uint64(len(rest)) {
			return false, fmt.Errorf("read order of %s: %q is not of this version", p.spec.Name, row.Value)
		}
		if len(h.rows) == p.most() {
			h.whole = false
			return false, nil
		}
		rest = slices.Clone(rest)
		h.rows = append(h.rows, ranked{order: rest[:begin:begin], key: rest[begin:]})
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	p.heads.keep(group, h)
	return h, nil
}

// move changes the head of a group as the state has been changed: the row at
// old, nil = there was none, is at is now, nil = nowhere. It makes after, the first rows
// as they are now.
func (p *top) move(group []byte, h *head, old, is *place) {
	had := len(h.rows)
	h.set(old, is, p.most())
	p.heads.rows += len(h.rows) - had
	p.after = p.rank(append(p.after[:0], h.rows[:min(len(h.rows), p.spec.N)]...))
	if !h.whole && len(h.rows) <= p.spec.N {
		p.heads.forget(group, h)
	}
}

// rank numbers the first rows of a group.
func (p *top) rank(list []ranked) []ranked {
	for i := range list {
		list[i].rank = i + 1
		if i > 0 && bytes.Equal(list[i].order, list[i-1].order) {
			list[i].rank = list[i-1].rank
		}
	}
	return list
}
