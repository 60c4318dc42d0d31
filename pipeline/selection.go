package pipeline

import (
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/value"
	"streamctl/operators"
)

// selection is a select list over the bindings of a query: the space of the
// stream that the query makes. Columns that only name something else are never
// copied; computed ones are evaluated once per record, and only when somebody
// reads them.
type selection struct {
	layout  *layout
	columns []*column
	row     int                // frame row of computed columns
	project *operators.Project // evaluates them; its columns grow while readers are compiled
	whole   int                // slot of the value as a whole, -1 = nobody reads it

	members map[string]expr.Type // that are known
	sure    map[string]bool      // of members: every record has it
	typ     expr.Type            // of the value
}

// column is one entry of a select list.
type column struct {
	in     *selection
	name   string
	of     *binding // spread: alias.*
	except []string

	program *expr.Program
	plain   *plainPath // the expression only names this
	slot    int        // among the computed columns, -1 = nobody reads it
	written int        // how many documents have it
	claimed bool       // its select list answers for the path
}

// plainPath is an expression that is a path and nothing more.
type plainPath struct {
	of   *binding
	path []codec.Step
}

func newSelection(l *layout) *selection {
	row := l.row()
	s := &selection{layout: l, row: row, project: &operators.Project{Row: row}, whole: -1}
	l.nameSelection(s)
	return s
}

// add appends a column.
func (s *selection) add(c *column) {
	c.in = s
	s.columns = append(s.columns, c)
}

// at finds the last column that has the path. A spread of a document may have
// it or not, be it declared or not: then what comes before decides where it is absent.
func (s *selection) at(path []codec.Step) (*expr.Resolved, string) {
	if len(path) == 0 {
		return s.all(), ""
	}
	if path[0].IsIndex {
		return nil, "the value is an object, which has no elements"
	}
	name := path[0].Name
	var maybe []*column
	for i := len(s.columns) - 1; i >= 0; i-- {
		c := s.columns[i]
		switch is := c.presence(name); {
		case is == present && c.certain(name):
			if len(maybe) == 0 {
				return s.of(c, path)
			}
			return s.firstOf(append(maybe, c), path)
		case is != absent:
			maybe = append(maybe, c)
		}
	}
	switch len(maybe) {
	case 0:
		return nil, ""
	case 1:
		return s.of(maybe[0], path)
	}
	return s.firstOf(maybe, path)
}

func (c *column) presence(name string) presence {
	switch {
	case c.of == nil && c.name == name:
		return present
	case c.of == nil || slices.Contains(c.except, name):
		return absent
	}
	return c.of.space.has(name)
}

// certain says that every record has the member, as null if need be. Of a
// document one knows only that it may: a declared field may be absent, and a left
// join may have found no row.
func (c *column) certain(name string) bool {
	if c.of == nil {
		return true
	}
	switch of := c.of.space.(type) {
	case *document:
		return false
	case *selection:
		return of.sure[name]
	}
	return true
}

// of resolves a path whose first step is a member of c.
func (s *selection) of(c *column, path []codec.Step) (*expr.Resolved, string) {
	if c.of != nil {
		c.of.used = true
		return c.of.space.at(path)
	}
	if c.plain != nil {
		s.claim(c)
		return c.plain.of.resolve(slices.Concat(c.plain.path, path[1:]))
	}
	t, problem, ok := typeAt(c.program.Type(), path[1:])
	if !ok {
		return nil, problem
	}
	if ref, ok := c.program.Ref(); ok {
		return &expr.Resolved{Ref: ref, Type: t, Rest: path[1:]}, ""
	}
	if c.slot < 0 {
		c.slot = s.project.Add(operators.Computed{Program: c.program})
	}
	return &expr.Resolved{Ref: expr.Ref{Row: s.row, Slot: c.slot}, Type: t, Rest: path[1:]}, ""
}

// firstOf makes a computed column of the first of columns that has the member.
func (s *selection) firstOf(columns []*column, path []codec.Step) (*expr.Resolved, string) {
	var first []expr.Ref
	var typ expr.Type
	for i, c := range columns {
		res, problem := s.of(c, path[:1])
		if res == nil {
			return nil, problem
		}
		if typ = unite(typ, res.Type); i == 0 {
			typ = res.Type
		}
		first = append(first, res.Ref)
		s.layout.direct[res.Ref.Row] = true
	}
	typ, problem, ok := typeAt(typ, path[1:])
	if !ok {
		return nil, problem
	}
	slot := s.project.Add(operators.Computed{First: first})
	return &expr.Resolved{Ref: expr.Ref{Row: s.row, Slot: slot}, Type: typ, Rest: path[1:]}, ""
}

// write notes that a document has the column. What is computed of other values than
// those of one joined row is computed where it is written; if that happens twice it is
// done before, so that it happens once, and fails once.
func (c *column) write() {
	c.in.claim(c)
	c.written++
	_, constant := c.program.Const()
	_, plain := c.program.Ref()
	if c.written == 2 && c.slot < 0 && !constant && !plain && c.in.layout.memoOf(c.program) == nil {
		c.slot = c.in.project.Add(operators.Computed{Program: c.program})
	}
}

// all makes a computed column of the whole value.
func (s *selection) all() *expr.Resolved {
	if s.whole < 0 {
		s.whole = s.project.Add(operators.Computed{Doc: s.doc()})
	}
	return &expr.Resolved{Ref: expr.Ref{Row: s.row, Slot: s.whole}, Type: s.typ}
}

func (s *selection) has(name string) presence {
	if _, ok := s.members[name]; ok {
		return present
	}
	best := absent
	for _, c := range s.columns {
		best = max(best, c.presence(name))
	}
	return best
}

func (s *selection) names() []string { return fieldNames(s.typ) }

// seal computes the type of the value when all columns are there: streams over
// streams then need not ask each other again and again.
func (s *selection) seal() {
	s.members, s.sure = map[string]expr.Type{}, map[string]bool{}
	s.typ = expr.Type{Kind: expr.Object}
	for _, c := range s.columns {
		if c.of == nil {
			s.members[c.name], s.sure[c.name] = c.program.Type(), true
			continue
		}
		t := c.of.typ
		open := t.Kind != expr.Object || t.Open
		if open { // it may have any of the members before it
			s.typ.Open = true
			for name := range s.members {
				if !slices.Contains(c.except, name) {
					s.members[name] = expr.Type{}
				}
			}
		}
		for _, f := range t.Fields {
			if slices.Contains(c.except, f.Name) {
				continue
			}
			before, known := s.members[f.Name]
			s.members[f.Name] = f.Type
			if c.certain(f.Name) {
				s.sure[f.Name] = true
			} else if known {
				s.members[f.Name] = unite(before, f.Type)
			}
		}
	}
	for _, name := range sortedKeys(s.members) {
		s.typ.Fields = append(s.typ.Fields, expr.Field{Name: name, Type: s.members[name]})
	}
}

// piece is what one part of a select list writes: the members of a document,
// or one named value.
type piece struct {
	doc    *document
	drop   []string          // of doc
	policy *operators.Policy // of the definition that spreads doc

	name   string
	column *column                 // nil = nothing is computed
	slot   func() (expr.Ref, bool) // where the value lies once it is computed anyway
}

// pieces flattens the select list: spreads of derived streams become what
// these are made of.
func (s *selection) pieces() []piece {
	var out []piece
	for _, c := range s.columns {
		if c.of == nil {
			out = append(out, piece{name: c.name, column: c, slot: func() (expr.Ref, bool) {
				return expr.Ref{Row: s.row, Slot: c.slot}, c.slot >= 0
			}})
			continue
		}
		c.of.used = true
		for _, p := range c.of.space.pieces() {
			if p.doc == nil {
				if !slices.Contains(c.except, p.name) {
					out = append(out, p)
				}
				continue
			}
			p.drop = slices.Concat(p.drop, c.except)
			if p.policy == nil {
				p.policy = s.project.Policy
			}
			out = append(out, p)
		}
	}
	return out
}

// doc is how the value is written. What it needs is asked for now; how members
// that others read too are written is known when the layout is done.
func (s *selection) doc() *operators.Doc { return docOf(s.layout, s.pieces()) }

// docOf lets later pieces win over earlier ones and makes the writer.
func docOf(l *layout, pieces []piece) *operators.Doc {
	d := &operators.Doc{Whole: -1}
	type later struct {
		names   []string
		docs    []piece
		members []operators.Members
	}
	var after later
	for i := len(pieces) - 1; i >= 0; i-- {
		p := pieces[i]
		if p.doc != nil {
			l.direct[p.doc.row] = true
			part := operators.Part{Below: slices.Clone(after.members)}
			part.Row, part.Policy = p.doc.row, p.policy
			for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.drop, after.names)))) {
				part.Drop = append(part.Drop, p.doc.shape.Cut(name))
			}
			d.Parts = append(d.Parts, part)
			after.docs = append(after.docs, p)
			after.members = append(after.members, part.Members)
			continue
		}
		if slices.Contains(after.names, p.name) {
			continue
		}
		after.names = append(after.names, p.name)
		if p.column != nil {
			p.column.write()
		}
		part := operators.Part{Name: memberName(p.name)}
		for _, doc := range after.docs {
			if !slices.Contains(doc.drop, p.name) {
				part.Unless = append(part.Unless, operators.Presence{Row: doc.doc.row, Cut: doc.doc.shape.Cut(p.name)})
			}
		}
		d.Parts = append(d.Parts, part)
		at := len(d.Parts) - 1
		l.finish = append(l.finish, func() { l.setValue(&d.Parts[len(d.Parts)-1-at].Value, p) })
	}
	slices.Reverse(d.Parts)
	return d
}

// setValue says where a named value comes from when it is written.
func (l *layout) setValue(v *operators.MemberValue, p piece) {
	if ref, ok := p.slot(); ok {
		v.IsRef, v.Ref = true, ref
		l.direct[ref.Row] = true
		return
	}
	v.Owners = p.column.in.owners(p.column)
	l.members = append(l.members, member{p.column.program, v})
}

// memberName is a member's name with its colon as JSON text.
func memberName(name string) string {
	return string(append(value.AppendQuoted(nil, name), ':'))
}
