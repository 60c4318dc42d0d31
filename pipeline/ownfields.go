package pipeline

import (
	"fmt"
	"slices"

	"streamctl/internal/diag"
	"streamctl/operators"
)

// Fields that an operator adds to the user's own: `rank` of a top, `matched_keys` of a
// match. Where it is known that a record has a field of that name already, one of the
// two would be lost without a word, and that is refused. Where it is not known,
// because nothing is declared, the operator's wins (docs/language.md).

// checkRank refuses a top whose rows have a rank of their own.
func (c *compiler) checkRank(d *Def, row *binding) {
	t := d.Query.Top
	if t.List.Set || row.space.has(rankField) != present {
		return
	}
	at, from := t.Span, d
	if len(d.Query.Select) == 0 && d.From[0].Def.split() {
		from = d.From[0].Def
	}
	name, named := columnNamed(from, rankField)
	if named {
		at = name
	}
	e := diag.Errorf(codeTop, at, "the rows have a field %s, which would be overwritten: a top writes the place of a row there", rankField)
	switch {
	case named:
		e.Help = fmt.Sprintf("give the column another name, such as own_%s", rankField)
	case len(d.Query.Select) > 0:
		e.Help = fmt.Sprintf("leave it out, or give it another name: select: [\"x.* except [%s]\", {own_%s: x.%s}]", rankField, rankField, rankField)
	default:
		e.Help = fmt.Sprintf("select what the rows are made of, with another name for it: [\"x.* except [%s]\", {own_%s: x.%s}]", rankField, rankField, rankField)
	}
	c.diags.Add(e)
}

// columnNamed finds the entry of a select list that gives a field its name.
func columnNamed(d *Def, name string) (diag.Span, bool) {
	i := slices.IndexFunc(d.Query.Select, func(col Column) bool { return col.Spread == "" && col.Name.Value == name })
	if i < 0 {
		return diag.Span{}, false
	}
	return d.Query.Select[i].Name.Span, true
}

// checkMatchedKeys refuses a match whose documents have a list of keys of their own,
// where both would become one field.
func (c *compiler) checkMatchedKeys(d *Def, view []*binding) {
	at, both := d.Query.Match.Span, len(d.Query.Select) == 0
	for _, col := range d.Query.Select {
		if col.Spread == "*" && !excepts(col, operators.MatchedKeys) {
			at, both = col.Span, true
		}
	}
	for _, b := range view {
		if b.isMatched() || b.space.has(operators.MatchedKeys) != present || !both && b.alias != "" {
			continue
		}
		c.diags.Errorf(codeMatch, at, "the documents have a field %s, which would be overwritten: a match writes the keys of the queries there", operators.MatchedKeys).
			Help = fmt.Sprintf("give the documents an alias and select by name: [d.*, {found: %s}]", operators.MatchedKeys)
		return
	}
}

// excepts says that a spread leaves a field out.
func excepts(col Column, name string) bool {
	return slices.ContainsFunc(col.Except, func(e Text) bool { return e.Value == name })
}
