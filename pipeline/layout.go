package pipeline

import (
	"streamctl/internal/codec"
	"streamctl/operators"
)

// layout gives out the rows of the frames of one sub-topology, and keeps what
// must be done when everything that reads them is known. While a pipeline is
// only checked one layout serves all definitions: then equal places are equal
// things, and nothing is ever read.
type layout struct {
	rows   int
	shapes []*codec.Shape
	finish []func()
	memo   map[int]*memoTable // by frame row: rows that a join finds
	memos  []*memoTable
}

// memoTable counts the texts that are kept with each row that one join finds.
type memoTable struct {
	number int
	places int
}

func newLayout() *layout { return &layout{memo: map[int]*memoTable{}} }

// row gives out a row of the frame.
func (l *layout) row() int {
	l.rows++
	return l.rows - 1
}

// shape makes the shape of a row.
func (l *layout) shape() *codec.Shape {
	s := codec.NewShape()
	l.shapes = append(l.shapes, s)
	return s
}

// joined makes rows ones that one join fills together, so that texts can be
// kept with what it finds.
func (l *layout) joined(rows ...int) *memoTable {
	m := &memoTable{number: len(l.memos)}
	for _, row := range rows {
		l.memo[row] = m
	}
	l.memos = append(l.memos, m)
	return m
}

// keep gives a place for the text of a computed member that depends on the
// joined row only; nil when it depends on more, or on nothing.
func (l *layout) keep(refs []int) *operators.Memo {
	if len(refs) == 0 {
		return nil
	}
	m := l.memo[refs[0]]
	if m == nil {
		return nil
	}
	for _, r := range refs[1:] {
		if l.memo[r] != m {
			return nil
		}
	}
	m.places++
	return &operators.Memo{Table: m.number, Place: m.places - 1}
}

// settle does what waited for everything to be compiled; false = nothing waited.
func (l *layout) settle() bool {
	waiting := l.finish
	l.finish = nil
	for _, f := range waiting {
		f()
	}
	return len(waiting) > 0
}

// freeze ends the asking: shapes can then scan.
func (l *layout) freeze() {
	for _, s := range l.shapes {
		s.Freeze()
	}
}
