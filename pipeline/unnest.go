package pipeline

import (
	"fmt"
	"strings"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/operators"
)

// Elements of lists. `unnest: o.items as item` stands right behind from: what
// follows sees the record and, beside it, an element and its position as bindings of
// their own, item and item_index. They have no key.

const (
	// codeUnnest: what is unnested is no list, or its elements cannot be named.
	codeUnnest diag.Code = "unnest"
)

// unnest reads `LIST as ALIAS`.
func (p *parser) unnest(n *syntax.Node) *Unnest {
	t := p.expressionText(n)
	if !t.Set {
		return nil
	}
	const help = "write the list and what an element is called: `unnest: x.items as item`"
	at := strings.LastIndex(t.Value, " as ")
	if at < 0 {
		p.list.Errorf(codeUnnest, t.Span, "unnest needs a name for the elements").Help = help
		return nil
	}
	list, alias := strings.TrimRight(t.Value[:at], " \t\n"), strings.TrimSpace(t.Value[at+4:])
	start := len(t.Value) - len(strings.TrimLeft(t.Value[at+4:], " \t\n"))
	u := &Unnest{
		Span:  t.Span,
		List:  Text{Value: list, Set: true, Span: t.Node.At(0, len(list)), Node: t.Node},
		Alias: Text{Value: alias, Set: true, Span: t.Node.At(start, start+len(alias)), Node: t.Node},
	}
	if list == "" || alias == "" {
		p.list.Errorf(codeUnnest, t.Span, "unnest needs a list and a name for its elements").Help = help
		return nil
	}
	if !p.aliasOK(u.Alias) {
		return nil
	}
	return u
}

// elementIndex is what the position of an element is called.
func elementIndex(alias string) string { return alias + "_index" }

// unnested checks that the element and its position have names of their own.
func (r *resolver) unnested(d *Def) {
	if d.Query == nil || d.Query.Unnest == nil {
		return
	}
	u := d.Query.Unnest
	for _, in := range append(append([]Input(nil), d.Query.From...), joinInputs(d.Query)...) {
		if in.Alias == u.Alias.Value || in.Alias == elementIndex(u.Alias.Value) {
			r.list.Add(diag.Errorf(codeAlias, in.AliasSpan, "the alias %q is given twice", in.Alias).
				WithNote(u.Alias.Span, "an element is called %s, its position %s", u.Alias.Value, elementIndex(u.Alias.Value)).
				WithHelp("give each input of a query an alias of its own"))
			return
		}
	}
}

// own is how many bindings a definition has in front of its joins.
func (d *Def) own() int {
	if d.Query != nil && d.Query.Unnest != nil {
		return 3
	}
	return 1
}

// front is what a definition sees in front of its joins along a branch that
// gives in.
func (c *compiler) front(d *Def, in *binding) []*binding {
	view := []*binding{in}
	if d.own() == 1 {
		return view
	}
	elem := expr.Type{}
	if p := c.unnestList(d, view); p != nil && p.Type().Elem != nil {
		elem = *p.Type().Elem
	}
	return append(view, c.elements(d, elem)...)
}

// unnestList compiles the list.
func (c *compiler) unnestList(d *Def, view []*binding) *expr.Program {
	p := c.program(d.Query.Unnest.List, scopeOf(view...), expr.Want{})
	if p == nil {
		return nil
	}
	switch p.Type().Kind {
	case expr.List, expr.Any:
	default:
		c.diags.Errorf(codeUnnest, d.Query.Unnest.List.Span, "%s is of type %s: only a list has elements", p.Text(), p.Type()).
			Help = "name a list, or make one: `[x]`"
	}
	return p
}

// elements makes the bindings of an element and of its position.
func (c *compiler) elements(d *Def, elem expr.Type) []*binding {
	alias := d.Query.Unnest.Alias.Value
	item := c.layout.newDocument(alias, elem, expr.Type{}, nil)
	index := c.layout.newDocument(elementIndex(alias), expr.Type{Kind: expr.Int}, expr.Type{}, nil)
	item.key, index.key = nil, nil
	item.plain, index.plain = true, true
	name := numbered("element", d.inFront(func(in *Def) int { return count(in.own() > 1) }))
	c.layout.nameKept(item, name)
	c.layout.nameKept(index, name+"index.")
	return []*binding{item, index}
}

// noteElement notes the type of the elements that a branch gives.
func (td *typedDef) noteElement(d *Def, view []*binding) {
	if d.own() == 1 {
		return
	}
	elem := view[1].typ
	if td.element != nil {
		elem = unite(*td.element, elem)
	}
	td.element = &elem
}

// checkUnnest refuses a table's changes, but for those that are final: a window that
// is given once is a fact, and so is each of its elements.
func (c *compiler) checkUnnest(d *Def) {
	if d.own() == 1 || !c.typed[d].changes {
		return
	}
	if c.typed[d].final {
		c.typed[d].changes = false
		return
	}
	help := "read the topic as a source: each record then gives its elements"
	if d.From[0].Def.Kind != TopicTableDef {
		help = "take the records apart that the table is made of, and group their elements"
	}
	c.diags.Add(diag.Errorf(codeUnnest, d.Query.Unnest.Span, "%q holds a table's changes: a row that changes would leave elements behind that it no longer has", d.From[0].Def.Name).
		WithNote(d.From[0].Def.Decl.Span, "it is defined here").
		WithHelp("%s", help))
}

// elementColumn is what a missing select list adds for the element.
func elementColumn(d *Def) Column {
	return Column{Span: d.Decl.Name.Span, Name: d.Query.Unnest.Alias, Expr: Text{Value: d.Query.Unnest.Alias.Value, Set: true, Span: d.Query.Unnest.Alias.Span}}
}

// unnest makes the operator and what is behind it.
func (b *binder) unnest(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	view := c.front(d, at.view[0])
	list := c.unnestList(d, view[:1])
	row := func(v *binding) operators.ElementRow {
		doc := v.space.(*document)
		return operators.ElementRow{Shape: doc.shape, Row: doc.row, Used: func() bool { return v.used }}
	}
	spec := &operators.Unnest{Policy: c.policy(d), List: list, Element: row(view[1]), Index: row(view[2])}
	at.view = view
	return one(spec, b.nodes(s.Next, at))
}

// unnestStep writes the unnesting of a way whose view has just begun.
func (k *canon) unnestStep(d *Def, view []*binding) []walkedStep {
	if d.own() == 1 {
		return nil
	}
	return []walkedStep{{text: fmt.Sprintf("each of %s", k.expr(k.c.unnestList(d, view[:1]))), policy: policyText(d)}}
}
