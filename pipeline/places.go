package pipeline

import (
	"fmt"
	"strings"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/operators"
)

// Canonical texts name what expressions read by where it comes from: a path of
// a topic's value or key, a table, a group. Rows of a layout are given these
// names when they are given out.

// nameDocument names the rows of a binding that holds a document and its key.
func (l *layout) nameDocument(b *binding, prefix string) {
	doc := b.space.(*document)
	l.places[doc.row] = place{label: prefix + "value", slot: func(slot int) string {
		path, want := doc.shape.SlotPath(slot)
		return prefix + "value" + pathBehind(path) + wantBehind(want)
	}}
	components := b.key.components
	l.places[b.key.row] = place{label: prefix + "key", slot: func(slot int) string {
		if slot > 0 && len(components) > 0 {
			return fmt.Sprintf("%skey[%d]", prefix, slot-1)
		}
		return prefix + "key"
	}}
}

func pathBehind(path []codec.Step) string {
	text := codec.PathText(path)
	if text == "" || text[0] == '[' {
		return text
	}
	return "." + text
}

// wantBehind tells how a field is read: another type refuses other records.
func wantBehind(w codec.Want) string {
	if w == codec.WantAny {
		return ""
	}
	return ":" + w.String()
}

// nameGroups names the row of a derived table: first the group's key, then its aggregates.
func (l *layout) nameGroups(row int, prefix string, keys int) {
	l.places[row] = place{label: prefix + "row", slot: func(slot int) string {
		if slot < keys {
			return fmt.Sprintf("%sgroup[%d]", prefix, slot)
		}
		return fmt.Sprintf("%saggregate[%d]", prefix, slot-keys)
	}}
}

// nameSelection names computed columns by what computes them.
func (l *layout) nameSelection(s *selection) {
	l.places[s.row] = place{label: "selection", slot: func(slot int) string {
		return l.computed(s, s.project.Column(slot))
	}}
}

func (l *layout) computed(s *selection, c operators.Computed) string {
	switch {
	case c.Program != nil:
		return c.Program.Canonical(l.place)
	case len(c.First) > 0:
		names := make([]string, len(c.First))
		for i, ref := range c.First {
			names[i] = l.place(ref)
		}
		return "first(" + strings.Join(names, ", ") + ")"
	}
	return "object(" + strings.Join(l.columns(s), ", ") + ")"
}

// place names what lies at ref.
func (l *layout) place(ref expr.Ref) string {
	p, known := l.places[ref.Row]
	if !known {
		return fmt.Sprintf("unnamed row %d", ref.Row)
	}
	return p.slot(ref.Slot)
}

// columns writes what a select list gives, one text per entry.
func (l *layout) columns(s *selection) []string {
	var out []string
	for _, c := range s.columns {
		if c.of == nil {
			out = append(out, memberName(c.name)+" "+c.program.Canonical(l.place))
			continue
		}
		text := "all of " + strings.Join(l.value(c.of), ", ")
		if len(c.except) > 0 {
			text += " except " + strings.Join(c.except, ", ")
		}
		out = append(out, text)
	}
	return out
}

// value writes what the value of a binding is made of.
func (l *layout) value(b *binding) []string {
	switch space := b.space.(type) {
	case *document:
		return []string{l.places[space.row].label}
	case *selection:
		return l.columns(space)
	case *groupSpace:
		return space.names()
	}
	return []string{"unnamed value"}
}

// joined is the table of a join of d as its expressions see it. A table that is
// joined a second time gets another name than the first time.
func (c *compiler) joined(d *Def, i int) *joinedTable {
	j := d.Joins[i]
	t := c.table(j.Def, j.Alias)
	joins := func(of []ResolvedJoin) (n int) {
		for _, other := range of {
			n += count(other.Def == j.Def)
		}
		return n
	}
	times := joins(d.Joins[:i]) + d.inFront(func(in *Def) int { return joins(in.Joins) })
	if times == 0 {
		return t
	}
	prefix := fmt.Sprintf("%s#%d.", j.Def.Name, times+1)
	if t.doc != nil {
		c.layout.nameDocument(t.binding, prefix)
	} else {
		c.layout.nameGroups(t.row, prefix, len(c.typed[j.Def].groupTypes))
	}
	return t
}

// inFront adds up what the definitions are counted as that records may have passed before
// they come to d: of several ways, of the one with most.
func (d *Def) inFront(countAs func(*Def) int) int {
	memo := map[*Def]int{} // ways multiply where they fork and meet
	var most func(*Def) int
	most = func(d *Def) int {
		n, known := memo[d]
		if !known {
			for _, in := range d.From {
				n = max(n, most(in.Def)+countAs(in.Def))
			}
			memo[d] = n
		}
		return n
	}
	return most(d)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// numbered begins the canonical names of what a definition adds to a record, so that
// those of several that it passes differ.
func numbered(name string, inFront int) string {
	if inFront == 0 {
		return name + "."
	}
	return fmt.Sprintf("%s[%d].", name, inFront)
}
