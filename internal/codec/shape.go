package codec

import (
	"encoding/base64"
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

	// What freeze computes for Scan:
	leaf      bool // exactly one slot here, none below, no cut: the quick case
	slot      int  // of a leaf
	want      Want // of a leaf
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

// SlotPath tells what was asked for with a slot.
func (s *Shape) SlotPath(slot int) (path []Step, want Want) {
	return s.slots[slot].node.path, s.slots[slot].want
}

// Freeze ends the asking and makes Scan possible. Freezing twice does nothing.
func (s *Shape) Freeze() {
	if s.frozen {
		return
	}
	s.frozen = true
	s.root.freeze(s.slots)
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
func (n *node) freeze(slots []slot) []int {
	for _, group := range [][]*node{n.names, n.items, n.ends} {
		for _, c := range group {
			n.below = append(n.below, c.freeze(slots)...)
		}
	}
	what := "the document"
	if len(n.path) > 0 {
		what = PathText(n.path)
	}
	n.notObject = what + " is not an object"
	n.notList = what + " is not a list"
	n.table = newNameTable(n.names)
	if n.leaf = len(n.slots) == 1 && len(n.below) == 0 && n.cut < 0; n.leaf {
		n.slot, n.want = n.slots[0], slots[n.slots[0]].want
	}
	return append(slices.Clone(n.slots), n.below...)
}

// accept checks v against the want of a slot and converts numbers. text is the
// JSON text of v if it is at hand: an int wanted as a float keeps it.
func (w Want) accept(v value.Value, text string) (value.Value, bool) {
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
		return value.OfFloatText(f, text), true
	case WantString:
		return v, v.Kind == value.String
	case WantObject:
		return v, v.IsObject()
	case WantList:
		return v, v.IsList()
	case WantBytes:
		if v.Kind != value.String {
			return v, false
		}
		data, err := base64.StdEncoding.DecodeString(v.AsString())
		if err != nil {
			return v, false
		}
		return value.OfBytes(data), true
	}
	return v, false
}
