package pipeline

import (
	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/operators"
)

// Who answers for a path.
//
// A column that only names something costs nothing: who reads it looks where it
// lies. Such a path fails where it leads through a value that is no object, or no
// list, and then whoever meets that first would have to answer for it: a sink, or
// a group_by of another definition, whose on_error says nothing of it. So the
// select list that names a path looks, before it hands a record on, whether what
// lies there can be read (operators.Project.Check), if something behind reads the
// column and the path can fail at all. A path of which an earlier select list has
// made all but the name, as y.a behind `a: x.q.a`, is that one's.
//
// Rows that a join finds are not always decoded, for their columns may be texts
// that are kept with them (layout.decideMembers). Where nothing else is read of
// such a row there is nothing to look at: the error shows where the text is
// written, and goes to its owner from there (operators.MemberValue.Owners).

// check is a path that a select list is to look at.
type check struct {
	project *operators.Project
	path    *expr.Program
	ref     expr.Ref
}

// claim makes the select list answer for a column that something reads. It does
// nothing for a column that cannot fail in a path, or has been claimed.
func (s *selection) claim(c *column) {
	if c.claimed {
		return
	}
	c.claimed = true
	if ref, ok := c.fallible(); ok && !s.checks(ref) {
		s.layout.checks = append(s.layout.checks, check{s.project, c.program, ref})
	}
}

// fallible says whether the column names a path that can fail, and where that
// lies. Of what is declared to be of a type the source sees to that.
func (c *column) fallible() (expr.Ref, bool) {
	if c.plain == nil || wantOf(c.program.Type()) != codec.WantAny || c.plain.names() != nil {
		return expr.Ref{}, false
	}
	return c.program.Ref()
}

// checks says that s looks at a sibling of the path at ref anyway: one fails where the
// other does. Rows that hold no documents have no paths.
func (s *selection) checks(ref expr.Ref) bool {
	shape := s.layout.documents[ref.Row]
	if shape == nil {
		return true
	}
	path, _ := shape.SlotPath(ref.Slot)
	for _, other := range s.layout.checks {
		if other.project != s.project || other.ref.Row != ref.Row {
			continue
		}
		if known, _ := shape.SlotPath(other.ref.Slot); siblings(path, known) {
			return true
		}
	}
	return len(path) == 0
}

// siblings says that two paths lead to parts of the same object, or list.
func siblings(a, b []codec.Step) bool {
	if len(a) != len(b) || len(a) == 0 {
		return false
	}
	last := len(a) - 1
	for i := range last {
		if a[i] != b[i] {
			return false
		}
	}
	return a[last].IsIndex == b[last].IsIndex
}

// names is the column of an earlier select list that the path names, and nothing
// more; nil where there is no such one.
func (p *plainPath) names() *column {
	path := p.path
	if len(path) == 2 && path[0].Name == "value" && p.of.space.has("value") != present {
		path = path[1:]
	}
	s, ok := p.of.space.(*selection)
	if !ok || len(path) != 1 {
		return nil
	}
	return s.named(path[0].Name)
}

// named is the column that has a name for certain, also if another select list has
// made it and this one passes it on.
func (s *selection) named(name string) *column {
	for i := len(s.columns) - 1; i >= 0; i-- {
		c := s.columns[i]
		switch {
		case c.presence(name) == absent:
			continue
		case c.of == nil:
			return c
		case !c.certain(name):
			return nil
		}
		if of, ok := c.of.space.(*selection); ok {
			return of.named(name)
		}
		return nil
	}
	return nil
}

// owners are the definitions that have made what a column names, the first one first.
func (s *selection) owners(c *column) []operators.Owner {
	own := operators.Owner{Program: c.program, Policy: s.project.Policy}
	if c.plain == nil {
		return []operators.Owner{own}
	}
	of, ok := c.plain.of.space.(*selection)
	if !ok || len(c.plain.path) == 0 || c.plain.path[0].IsIndex {
		return []operators.Owner{own}
	}
	before := of.named(c.plain.path[0].Name)
	if before == nil {
		return []operators.Owner{own}
	}
	return append(before.in.owners(before), own)
}

// decideChecks lets the select lists look at what their columns name. Of rows that
// are kept as texts there is nothing to look at.
func (l *layout) decideChecks() {
	for _, c := range l.checks {
		if m := l.memo[c.ref.Row]; m == nil || !m.lazy {
			c.project.Check(c.ref, c.path)
		}
	}
}
