package pipeline

import (
	"fmt"
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// queryKeys are the clauses that streams and derived tables share.
func (p *parser) queryKeys(q *Query) []key {
	return []key{
		{name: "from", read: func(n *syntax.Node) { q.From = p.from(n) }, required: "from: NAME"},
		{name: "unnest", read: func(n *syntax.Node) { q.Unnest = p.unnest(n) }},
		{name: "where", read: p.expression(&q.Where)},
		{name: "join", read: func(n *syntax.Node) { q.Joins = p.joins(n) }},
		{name: "dedup", read: func(n *syntax.Node) { q.Dedup = p.dedup(n) }},
		{name: "select", read: func(n *syntax.Node) { q.Select = p.columns(n) }},
		p.idWas(&q.IDWas),
		{name: "on_error", read: p.onError(&q.OnError)},
	}
}

// from reads `name alias` or a list of them.
func (p *parser) from(n *syntax.Node) []Input {
	if n.Kind == syntax.Sequence {
		if len(n.Items) == 0 {
			p.list.Errorf(codeWrongType, n.Span, "from: expected at least one name, got an empty list").
				Help = "name what is read: [a x, b x]"
		}
		var inputs []Input
		for _, item := range n.Items {
			if in, ok := p.input(item); ok {
				inputs = append(inputs, in)
			}
		}
		return inputs
	}
	if in, ok := p.input(n); ok {
		return []Input{in}
	}
	return nil
}

// input reads `name alias` or `name`.
func (p *parser) input(n *syntax.Node) (Input, bool) {
	t := p.text(n, "a name and an alias")
	if !t.Set {
		return Input{}, false
	}
	words := wordsOf(t)
	switch {
	case len(words) == 0:
		p.list.Errorf(codeWrongType, t.Span, "expected a name and an alias, got an empty text").
			Help = "write `NAME ALIAS`"
		return Input{}, false
	case len(words) == 3 && strings.EqualFold(words[1].Value, "as"):
		p.list.Errorf(codeBadValue, words[1].Span, "an alias is given without %q", words[1].Value).
			Help = fmt.Sprintf("write `%s %s`", words[0].Value, words[2].Value)
		words = []Text{words[0], words[2]}
	case len(words) > 2:
		p.list.Errorf(codeBadValue, words[2].Span, "expected a name and an alias, got a third word").
			Help = "several inputs are written as a list: [a x, b x]"
		return Input{}, false
	}
	in := Input{Text: t, Name: words[0].Value, NameSpan: words[0].Span}
	if len(words) == 2 && p.aliasOK(words[1]) {
		in.Alias, in.AliasSpan = words[1].Value, words[1].Span
	}
	return in, true
}

// wordsOf splits a text at white space; each word has its place.
func wordsOf(t Text) []Text {
	var words []Text
	at := 0
	for _, w := range strings.Fields(t.Value) {
		at += strings.Index(t.Value[at:], w)
		words = append(words, Text{Value: w, Set: true, Span: t.Node.At(at, at+len(w)), Node: t.Node})
		at += len(w)
	}
	return words
}

// aliasOK checks that an alias can stand in an expression.
func (p *parser) aliasOK(t Text) bool {
	for i, r := range t.Value {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if letter || i > 0 && r >= '0' && r <= '9' {
			continue
		}
		p.list.Errorf(codeBadName, t.Span, "%q cannot be an alias", t.Value).
			Help = "an alias is used in expressions: letters, digits and _, beginning with a letter"
		return false
	}
	if isReserved(t.Value) {
		p.list.Errorf(codeBadName, t.Span, "%q is a word of the expression language", t.Value).
			Help = "choose another alias"
		return false
	}
	return true
}

// isReserved lists the words that expressions read as something else.
func isReserved(word string) bool {
	switch word {
	case "and", "or", "not", "in", "let", "if", "else", "nil", "null", "true", "false",
		"matches", "contains", "startsWith", "endsWith", "window":
		return true
	}
	return false
}

// joins reads join:, a list.
func (p *parser) joins(n *syntax.Node) []Join {
	if n.Kind != syntax.Sequence {
		p.list.Errorf(codeWrongType, n.Span, "join: expected a list, got %s", n.Describe()).
			Help = "begin each join with \"- \": `- left: profiles p`"
		return nil
	}
	var joins []Join
	for _, item := range n.Items {
		if j, ok := p.join(item); ok {
			joins = append(joins, j)
		}
	}
	return joins
}

func (p *parser) join(n *syntax.Node) (Join, bool) {
	if n.Kind != syntax.Mapping {
		p.wrongType(n, "join", "a mapping with inner or left, and on")
		return Join{}, false
	}
	j := Join{Span: n.Span}
	if p.otherJoin(n) {
		return j, false
	}
	ok := false
	side := func(name string) func(*syntax.Node) {
		return func(v *syntax.Node) {
			k := keyNode(n, name)
			if j.Kind.Set {
				p.list.Add(diag.Errorf(codeConflict, k.Span, "a join is one of inner, left and outer").
					WithNote(j.Kind.Span, "this one is already %s", j.Kind.Value).
					WithHelp("write each join as an entry of its own, beginning with \"- \""))
				return
			}
			j.Kind = Text{Value: name, Set: true, Span: k.Span, Node: k}
			j.Input, ok = p.input(v)
		}
	}
	at := n.Span
	if len(n.Entries) > 0 {
		at = n.Entries[0].Key.Span
	}
	p.mapping(n, "a join", at, []key{
		{name: "inner", read: side("inner")},
		{name: "left", read: side("left")},
		{name: "outer", read: side("outer")},
		{name: "within", read: func(n *syntax.Node) { j.Within = p.text(n, "a duration") }},
		{name: "before", read: func(n *syntax.Node) { j.Before = p.text(n, "a duration") }},
		{name: "after", read: func(n *syntax.Node) { j.After = p.text(n, "a duration") }},
		{name: "grace", read: func(n *syntax.Node) { j.Grace = p.text(n, "a duration") }},
		{name: "as_of", read: func(n *syntax.Node) { j.AsOf = p.choice(n, "as_of", []string{"true", "false"}, nil) }},
		{name: "on", read: p.expression(&j.On), required: "on: a.x == b.y"},
	}, hints{
		"table": "write `left: TABLE ALIAS` or `inner: TABLE ALIAS`",
		"where": "conditions on the joined rows belong to a stream that reads this one",
	})
	if !j.Kind.Set {
		p.list.Errorf(codeMissingField, at, "a join needs inner, left or outer").
			Help = "add `left: TABLE ALIAS`, or `inner: TABLE ALIAS` to drop records without a partner"
	}
	return j, ok
}

// otherJoin reports a join that is called as in SQL and not here: then nothing else of
// it is looked at.
func (p *parser) otherJoin(n *syntax.Node) bool {
	for _, e := range n.Entries {
		help := ""
		switch strings.ToLower(e.Key.Value) {
		case "full", "full_outer", "outer_join":
			help = "write `outer: NAME ALIAS`: it gives the records of both sides, also those without a partner"
		case "right", "right_outer":
			help = "a stream can only be the left side: swap the two and write left, or use inner, or outer where both sides are streams or both are tables"
		case "left_outer":
			help = "write `left: NAME ALIAS`"
		case "cross":
			help = "every join needs an equality: write `inner: NAME ALIAS` and `on: a.x == b.y`"
		default:
			continue
		}
		p.list.Errorf(codeUnknownKey, e.Key.Span, "a join is one of inner, left and outer, not %s", e.Key.Value).Help = help
		return true
	}
	return false
}

func keyNode(n *syntax.Node, name string) *syntax.Node {
	for _, e := range n.Entries {
		if e.Key.Value == name {
			return e.Key
		}
	}
	return n
}

// columns reads select:, a list of spreads and named expressions.
func (p *parser) columns(n *syntax.Node) []Column {
	if n.Kind != syntax.Sequence {
		p.list.Errorf(codeWrongType, n.Span, "select: expected a list, got %s", n.Describe()).
			Help = "begin each entry with \"- \": `- v.*` or `- name: expression`"
		return nil
	}
	if len(n.Items) == 0 {
		p.list.Errorf(codeWrongType, n.Span, "select: expected at least one entry, got an empty list").
			Help = "leave select out to keep everything"
	}
	var columns []Column
	for _, item := range n.Items {
		columns = append(columns, p.column(item)...)
	}
	return columns
}

func (p *parser) column(n *syntax.Node) []Column {
	switch n.Kind {
	case syntax.Sequence:
		p.wrongType(n, "select", "alias.* or name: expression")
		return nil
	case syntax.Scalar:
		if c, ok := p.spread(n); ok {
			return []Column{c}
		}
		return nil
	}
	var columns []Column
	for _, e := range n.Entries {
		name := Text{Value: e.Key.Value, Set: true, Span: e.Key.Span, Node: e.Key}
		if e.Key.Value == "" {
			p.list.Errorf(codeBadName, e.Key.Span, "a field's name cannot be empty").
				Help = "write `NAME: EXPRESSION`"
			continue
		}
		if e.Value.IsNull() && e.Value.Value == "" {
			p.list.Errorf(codeWrongType, e.Key.Span, "field %q has no expression", e.Key.Value).
				Help = fmt.Sprintf("write `%s: EXPRESSION`", e.Key.Value)
			continue
		}
		columns = append(columns, Column{Span: joinSpans(e.Key.Span, e.Value.Span), Name: name, Expr: p.expressionText(e.Value)})
	}
	return columns
}

// spread reads `*`, `alias.*` and `alias.* except [a, b]`.
func (p *parser) spread(n *syntax.Node) (Column, bool) {
	t := p.text(n, "alias.* or name: expression")
	if !t.Set {
		return Column{}, false
	}
	head, rest, _ := strings.Cut(strings.TrimSpace(t.Value), " ")
	alias, dotted := strings.CutSuffix(head, ".*")
	switch {
	case head == "*":
		alias = "*"
	case !dotted || alias == "":
		p.notASpread(t, head, rest)
		return Column{}, false
	}
	c := Column{Span: t.Span, Spread: alias}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return c, true
	}
	names, ok := p.except(t, rest)
	c.Except = names
	return c, ok
}

// notASpread explains an entry that is neither a spread nor named.
func (p *parser) notASpread(t Text, head, rest string) {
	d := p.list.Errorf(codeBadValue, t.Span, "an entry of select is alias.* or name: expression")
	last := head[strings.LastIndexByte(head, '.')+1:]
	if rest == "" && last != "" && strings.IndexFunc(last, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	}) < 0 {
		d.Help = fmt.Sprintf("write `%s: %s`", last, head)
		return
	}
	d.Help = "give the expression a name: `name: " + t.Value + "`"
}

// except reads `except [a, b]`.
func (p *parser) except(t Text, rest string) ([]Text, bool) {
	at := strings.LastIndex(t.Value, rest)
	list, found := strings.CutPrefix(rest, "except")
	list = strings.TrimSpace(list)
	if !found || !strings.HasPrefix(list, "[") || !strings.HasSuffix(list, "]") {
		p.list.Errorf(codeBadValue, t.Node.At(at, at+len(rest)), "expected `except [a, b]` behind the spread").
			Help = "name the fields to leave out in brackets"
		return nil, false
	}
	at += strings.IndexByte(rest, '[') + 1
	var names []Text
	for _, part := range strings.Split(list[1:len(list)-1], ",") {
		name := strings.Trim(strings.TrimSpace(part), `"'`)
		start := at + strings.Index(part, name)
		if name == "" {
			p.list.Errorf(codeBadValue, t.Node.At(at, at+len(part)), "expected the name of a field").
				Help = "name the fields to leave out: except [a, b]"
			return nil, false
		}
		names = append(names, Text{Value: name, Set: true, Span: t.Node.At(start, start+len(name)), Node: t.Node})
		at += len(part) + 1
	}
	return names, true
}

// groupBy reads an expression, or a mapping name: expression.
func (p *parser) groupBy(n *syntax.Node) []Group {
	if n.Kind == syntax.Sequence {
		p.list.Errorf(codeWrongType, n.Span, "group_by: expected an expression or a mapping, got a list").
			Help = "name the parts of the key: `group_by: {a: x.a, b: x.b}`"
		return nil
	}
	if n.Kind == syntax.Scalar {
		return []Group{{Expr: p.expressionText(n)}}
	}
	var groups []Group
	for _, e := range n.Entries {
		groups = append(groups, Group{
			Name: Text{Value: e.Key.Value, Set: true, Span: e.Key.Span, Node: e.Key},
			Expr: p.expressionText(e.Value),
		})
	}
	if len(groups) == 0 {
		p.list.Errorf(codeWrongType, n.Span, "group_by: expected an expression, got an empty mapping").
			Help = "name the parts of the key: `group_by: {a: x.a, b: x.b}`"
	}
	return groups
}

func joinSpans(a, b diag.Span) diag.Span {
	if b.File != a.File || b.End.Offset < a.End.Offset {
		return a
	}
	return diag.Span{File: a.File, Start: a.Start, End: b.End}
}
