package pipeline

import (
	"fmt"
	"strings"

	"streamctl/expr"
)

// joinKeys are the expressions of the stream's side of a join, one per
// component of the table's key.
type joinKeys struct {
	texts      []string
	identities []string
}

// defineJoin checks the condition of a join and finds which expression of the
// stream gives each component of the table's key.
func (c *compiler) defineJoin(d *Def, i, branch int, view []*binding) []*binding {
	td, j := c.typed[d], d.Joins[i]
	c.checkOuter(d, j)
	table := c.table(j.Def, j.Alias)
	keys := c.join(d, i, view, table)
	var found joinKeys
	for _, k := range keys {
		found.texts = append(found.texts, k.Text())
	}
	found.identities = identities(keys)
	td.joins[branch] = append(td.joins[branch], found)
	return append(view, table.binding)
}

// join compiles the condition of a join: the programs of the stream's side in
// the order of the components of the table's key; nil when something is wrong.
func (c *compiler) join(d *Def, i int, view []*binding, table *joinedTable) []*expr.Program {
	j := d.Joins[i]
	on := j.Join.On
	if !on.Set || j.Def.windowed() { // the latter has been refused
		return nil
	}
	scope := scopeOf(append(view[:len(view):len(view)], table.binding)...)
	scope.Functions = c.functions
	terms, diags := expr.CompileJoin(sourceOf(on), scope, j.Alias)
	c.diags.Append(diags)
	if diags.HasErrors() {
		return nil
	}
	names := table.keyNames(c.typed[j.Def])
	keys := make([]*expr.Program, len(names))
	for _, term := range terms {
		at := table.component(c.typed[j.Def], term.Right)
		if at < 0 {
			c.diags.Errorf(codeJoinKey, term.RightSource.At(0, len(term.RightSource.Text)), "%s is not the key of table %q", term.Right.Text(), j.Def.Name).
				Help = fmt.Sprintf("%s by the table's primary key: compare with %s", findsRows(c.typed[d]), strings.Join(names, " and "))
			return nil
		}
		if keys[at] != nil {
			c.diags.Errorf(codeJoinKey, term.Span, "%s is compared twice", names[at]).
				Help = "decide with where what else must hold"
			return nil
		}
		keys[at] = term.Left
		c.layout.programs = append(c.layout.programs, term.Left)
	}
	for at, k := range keys {
		if k == nil {
			c.diags.Errorf(codeJoinKey, on.Span, "the condition leaves %s open", names[at]).
				Help = "every part of the table's key must be given"
			return nil
		}
	}
	return keys
}

// findsRows begins the help for a condition that names no key.
func findsRows(td *typedDef) string {
	if td.changes {
		return "the row that another one refers to is found"
	}
	return "a stream finds rows"
}

// keyNames writes the components of the table's key as a condition names them.
func (t *joinedTable) keyNames(td *typedDef) []string {
	if t.doc == nil {
		names := make([]string, len(td.groupNames))
		for i, n := range td.groupNames {
			names[i] = t.alias + "." + n
			if n == "" {
				names[i] = fmt.Sprintf("%s.key[%d]", t.alias, i)
			}
		}
		if len(names) == 1 {
			names[0] = t.alias + ".key"
		}
		return names
	}
	if len(td.components) == 0 {
		return []string{t.alias + ".key"}
	}
	names := make([]string, len(td.components))
	for i := range names {
		names[i] = fmt.Sprintf("%s.key[%d]", t.alias, i)
	}
	return names
}

// component says which component of the table's key p is, -1 = none.
func (t *joinedTable) component(td *typedDef, p *expr.Program) int {
	ref, ok := p.Ref()
	for i, path := range td.keyPaths {
		if res, _ := t.space.at(path); ok && path != nil && res != nil && res.Ref == ref {
			return i
		}
	}
	switch {
	case !ok:
		return -1
	case t.doc == nil: // keys come first in the row
		if ref.Row == t.row && ref.Slot < len(td.groupTypes) {
			return ref.Slot
		}
		return -1
	case ref.Row == t.key.row && len(td.components) == 0 && ref.Slot == 0:
		return 0
	case ref.Row == t.key.row && len(td.components) > 0 && ref.Slot > 0:
		return ref.Slot - 1
	}
	return -1
}
