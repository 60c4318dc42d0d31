package pipeline

import (
	"slices"

	"streamctl/expr"
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

	memo     map[int]*memoTable // by frame row: rows that a join finds
	memos    []*memoTable
	programs []*expr.Program // all that are evaluated
	members  []member        // values of named members that are computed where they are written
	direct   map[int]bool    // frame rows that are read other than by programs
	places   map[int]place   // what frame rows hold, for canonical texts

	documents map[int]*codec.Shape // by frame row: of those that hold documents
	checks    []check              // paths that select lists look at
}

// place says what a frame row holds, in words that do not depend on the layout.
type place struct {
	label string // of the row as a whole
	slot  func(slot int) string
}

// memoTable is what is known of the rows that one join finds.
type memoTable struct {
	number int
	rows   []int
	places int  // texts that are kept with each row
	lazy   bool // nothing else is read of the rows
}

// member is a value that a document names.
type member struct {
	program *expr.Program
	value   *operators.MemberValue
}

func newLayout() *layout {
	return &layout{memo: map[int]*memoTable{}, direct: map[int]bool{}, places: map[int]place{}, documents: map[int]*codec.Shape{}}
}

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
	m := &memoTable{number: len(l.memos), rows: rows}
	for _, row := range rows {
		l.memo[row] = m
	}
	l.memos = append(l.memos, m)
	return m
}

// notJoined takes back that rows are found by a join.
func (l *layout) notJoined(m *memoTable) {
	for _, row := range m.rows {
		delete(l.memo, row)
	}
}

// memoOf is the join whose rows alone decide what p computes, nil when there is
// no such one.
func (l *layout) memoOf(p *expr.Program) *memoTable {
	refs := p.Refs()
	if len(refs) == 0 || !p.Pure() {
		return nil
	}
	m := l.memo[refs[0].Row]
	for _, r := range refs {
		if l.memo[r.Row] != m {
			return nil
		}
	}
	return m
}

// decideMembers says for each named member how its value is had. What depends on a
// joined row only is kept as text with that row; and where such texts are all
// that is read of a join's rows, these need not be kept decoded.
func (l *layout) decideMembers() {
	kept := map[*expr.Program]*operators.Memo{}
	for _, m := range l.members {
		if l.memoOf(m.program) != nil {
			kept[m.program] = nil
		}
	}
	for _, p := range l.programs {
		if _, ok := kept[p]; ok {
			continue
		}
		for _, r := range p.Refs() {
			l.direct[r.Row] = true
		}
	}
	for _, m := range l.memos {
		m.lazy = !slices.ContainsFunc(m.rows, func(row int) bool { return l.direct[row] })
	}
	for _, m := range l.members {
		table := l.memoOf(m.program)
		if ref, ok := m.program.Ref(); ok && (table == nil || !table.lazy) {
			m.value.IsRef, m.value.Ref = true, ref
			continue
		}
		m.value.Program = m.program
		if table == nil {
			continue
		}
		if kept[m.program] == nil {
			kept[m.program] = &operators.Memo{Table: table.number, Place: table.places}
			table.places++
		}
		m.value.Memo = kept[m.program]
	}
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
	l.decideMembers()
	l.decideChecks()
	for _, s := range l.shapes {
		s.Freeze()
	}
}
