package pipeline

import (
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// `id_was` keeps the state of a definition that has got another name. Kafka's topics
// cannot be renamed, and rows lie on many disks under the name that they were
// written with: so that name stays the definition's identity. Whatever belongs to it (states,
// changelogs, repartition topics, marks, the recorded plan, fingerprints) is called by
// it for as long as id_was stands there; people see the new name.
//
// Up to the checks a definition has the name that others call it by, so that messages
// name what stands in the file. From the plan on, Name is the identity, and Title
// tells the other.

const (
	// codeRename: the old name cannot be this definition's.
	codeRename diag.Code = "id-was"
)

// Title is the name that the user gives the definition.
func (d *Def) Title() string {
	if d.title != "" {
		return d.title
	}
	return d.Name
}

// named is how the text of a plan names a definition.
func (d *Def) named() string {
	if d.title == "" {
		return d.Name
	}
	return d.title + " (state " + d.Name + ")"
}

// idWas reads `id_was:`.
func (p *parser) idWas(into *Text) key {
	return key{name: "id_was", read: func(n *syntax.Node) {
		t := p.text(n, "the name that the definition had")
		if !t.Set {
			return
		}
		ok := func(r rune) bool {
			return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
		}
		if !p.nameFault(t, "a name", "letters, digits, _ and -", maxDefinitionName, ok) {
			*into = t
		}
	}}
}

// renamed is what a definition says of the name it had.
func (d *Def) renamed() Text {
	switch {
	case d.Table != nil && d.Query == nil:
		return d.Table.IDWas
	case d.Query != nil:
		return d.Query.IDWas
	}
	return Text{}
}

// identities gives every definition the name that its state goes by, and refuses
// two of them with one.
func (r *resolver) identities() {
	owner := map[string]*Def{}
	for _, d := range r.out.Order {
		if !d.renamed().Set {
			owner[d.Name] = d
		}
	}
	for _, d := range r.out.Order {
		t := d.renamed()
		if !t.Set {
			continue
		}
		if t.Value == d.Decl.Name.Value {
			r.list.Errorf(codeRename, t.Span, "%s %q has this name", d.Kind, d.Name).
				Help = "remove id_was, or write the name that it had before"
			continue
		}
		d.identity = t.Value
		if first := owner[t.Value]; first != nil {
			at := first.Decl.Span
			if first.renamed().Set {
				at = first.renamed().Span
			}
			r.list.Add(diag.Errorf(codeRename, t.Span, "the name %q belongs to another %s", t.Value, first.Kind).
				WithNote(at, "to this one").
				WithHelp("state can have one owner: give that one an id_was of its own, or remove this one"))
			continue
		}
		owner[t.Value] = d
		if d.split() { // the top of a definition that groups and orders goes with it
			top := d.UsedBy[0]
			top.identity = d.identity + strings.TrimPrefix(d.topName(), d.Name)
		}
	}
}

// rename gives definitions their identity for a name: what comes behind the checks
// calls things by it.
func rename(order []*Def) {
	for _, d := range order {
		if d.identity != "" && d.title == "" {
			d.Name, d.title = d.identity, d.Name
		}
	}
}
