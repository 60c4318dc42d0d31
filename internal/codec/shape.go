package codec

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"streamctl/internal/value"
)

// Shape is what somebody wants of the documents of one topic: fields to be
// read into slots, and members to be cut when a document is spliced. It is
// filled while a pipeline is compiled, frozen, and then read by any number of
// goroutines at once.
//
// Inside it is a tree along the wanted paths. Scan walks a document and the
// tree together; what the tree does not name is only checked.
type Shape struct {
	root   *node
	slots  []slot
	cuts   []string
	frozen bool
}

// slot is one slot as it was asked for.
type slot struct {
	node *node
	want Want
}

// node is one place of a document that lies on a wanted path.
type node struct {
	path  []Step
	slots []int   // slots that read this place itself
	below []int   // slots that read places below it, filled by freeze
	names []*node // fields below
	items []*node // items below, by index counted from the start
	ends  []*node // items below, by index counted from the end
	cut   int     // number of the cut this member is, -1 if none

	table     nameTable
	notObject string // problems of slots below when the value is of another type
	notList   string
}

// NewShape returns a Shape that wants nothing: its Scan only checks.
func NewShape() *Shape { return &Shape{root: &node{cut: -1}} }

// Slot returns the number of the slot that reads path as want; the same path
// and want give the same slot. An empty path is the whole document. Calling it
// after Freeze panics.
func (s *Shape) Slot(path []Step, want Want) int {
	s.mustBeOpen()
	n := s.root
	for i := range path {
		n = n.child(path[:i+1])
	}
	for _, number := range n.slots {
		if s.slots[number].want == want {
			return number
		}
	}
	number := len(s.slots)
	s.slots = append(s.slots, slot{node: n, want: want})
	n.slots = append(n.slots, number)
	return number
}

// Cut returns the number of the cut for the top-level member name; the same
// name gives the same number. Calling it after Freeze panics.
func (s *Shape) Cut(name string) int {
	s.mustBeOpen()
	n := s.root.child([]Step{{Name: name}})
	if n.cut < 0 {
		n.cut = len(s.cuts)
		s.cuts = append(s.cuts, name)
	}
	return n.cut
}

// Slots is the number of slots asked for.
func (s *Shape) Slots() int { return len(s.slots) }

// Freeze ends the asking and makes Scan possible. Freezing twice does nothing.
func (s *Shape) Freeze() {
	if s.frozen {
		return
	}
	s.frozen = true
	s.root.freeze()
}

func (s *Shape) mustBeOpen() {
	if s.frozen {
		panic("codec: a frozen Shape was asked for more")
	}
}

// child finds or makes the node of path, whose last step leads down from n.
func (n *node) child(path []Step) *node {
	step := path[len(path)-1]
	group := &n.names
	if step.IsIndex {
		step.Name = ""
		group = &n.items
		if step.Index < 0 {
			group = &n.ends
		}
	} else {
		step.Index = 0
	}
	for _, c := range *group {
		if c.path[len(c.path)-1] == step {
			return c
		}
	}
	c := &node{cut: -1, path: append(slices.Clone(path[:len(path)-1]), step)}
	*group = append(*group, c)
	return c
}

// freeze computes what Scan needs, bottom up, and returns all slots at and below n.
func (n *node) freeze() []int {
	for _, group := range [][]*node{n.names, n.items, n.ends} {
		for _, c := range group {
			n.below = append(n.below, c.freeze()...)
		}
	}
	what := "the document"
	if len(n.path) > 0 {
		what = PathText(n.path)
	}
	n.notObject = what + " is not an object"
	n.notList = what + " is not a list"
	n.table = newNameTable(n.names)
	return append(slices.Clone(n.slots), n.below...)
}

// nameTable finds a node by the name of a member: an open hash table over the
// length and up to 16 bytes of the name, at most a quarter full.
type nameTable struct {
	lengths uint64 // bit min(len, 63) is set for the lengths that occur
	shift   uint8
	entries []nameEntry
}

type nameEntry struct {
	first, last uint64 // see nameWords
	name        string
	node        *node // nil = free
}

const hashFactor = 0x9E3779B97F4A7C15 // 2^64 / golden ratio (Knuth)

func newNameTable(nodes []*node) nameTable {
	if len(nodes) == 0 {
		return nameTable{}
	}
	size := uint(bits.Len(uint(len(nodes)*4 - 1)))
	t := nameTable{shift: uint8(64 - size), entries: make([]nameEntry, 1<<size)}
	for _, n := range nodes {
		name := n.path[len(n.path)-1].Name
		t.lengths |= 1 << min(len(name), 63)
		first, last := nameWords([]byte(name), 0, len(name))
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

// nameWords gives the first eight bytes of doc[from:to], padded with zeros, and
// the last eight of a longer one.
func nameWords(doc []byte, from, to int) (first, last uint64) {
	n := to - from
	if n > 8 {
		return binary.LittleEndian.Uint64(doc[from:]), binary.LittleEndian.Uint64(doc[to-8:])
	}
	if from+8 <= len(doc) {
		return binary.LittleEndian.Uint64(doc[from:]) & (1<<(8*n) - 1), 0
	}
	for i := to - 1; i >= from; i-- {
		first = first<<8 | uint64(doc[i])
	}
	return first, 0
}

// find returns the node for the member name doc[from:to], nil if nobody wants it.
func (t *nameTable) find(doc []byte, from, to int) *node {
	length := to - from
	if t.lengths>>min(length, 63)&1 == 0 {
		return nil
	}
	first, last := nameWords(doc, from, to)
	for i := t.place(first, last, length); ; i = (i + 1) & (len(t.entries) - 1) {
		e := &t.entries[i]
		if e.node == nil {
			return nil
		}
		if e.first == first && e.last == last && len(e.name) == length &&
			(length <= 16 || e.name == string(doc[from:to])) {
			return e.node
		}
	}
}

// want checks v against the want of a slot and converts numbers.
func (w Want) accept(v value.Value) (value.Value, bool) {
	switch {
	case v.Kind <= value.Null || w == WantAny:
		return v, true
	case v.Kind == value.Invalid:
		return v, false
	}
	switch w {
	case WantBool:
		return v, v.Kind == value.Bool
	case WantInt:
		i, ok := v.ToInt()
		if !ok {
			return v, false
		}
		return value.OfInt(i), true
	case WantFloat:
		if v.Kind == value.Float {
			return v, true
		}
		f, ok := v.ToFloat()
		if !ok {
			return v, false
		}
		return value.OfFloatText(f, string(value.AppendJSON(nil, v))), true
	case WantString:
		return v, v.Kind == value.String
	case WantObject:
		return v, v.IsObject()
	case WantList:
		return v, v.IsList()
	}
	return v, false
}
