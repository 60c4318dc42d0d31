package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/operators"
	"streamctl/state"
)

// Stored queries. `match` tests the documents of a stream against the queries
// that the rows of a table hold:
//
//	documents -> MatchStep --topic of documents--> queries' part --topic of parts--> gathering part -> behind
//
// The queries stay where their table lies; a copy of each document goes to
// every partition of it, and what the partitions find is put together again in
// a part of its own (operators/match.go says why three steps). The gathering is
// a boundary (see boundary.go): what is behind sees the bindings as they were, and
// one more, the list of the keys of the queries.
//
// A replicated table of queries is in every task: documents are matched where they are,
// and none of this is needed (search.go).

const (
	// codeMatch: what a match asks for cannot be done.
	codeMatch diag.Code = "match"
)

// Numbers that stand for a join's where a topic belongs to a match; see topStep.
const (
	documentsStep = -4 // from the documents to the queries
	partsStep     = -5 // from the queries to where parts meet
)

// match reads match:, a mapping.
func (p *parser) match(n *syntax.Node) *Match {
	m := &Match{Span: n.Span}
	if n.Kind != syntax.Mapping {
		p.wrongType(n, "match", "a mapping with queries and text")
		return nil
	}
	at := n.Span
	if len(n.Entries) > 0 {
		at = n.Entries[0].Key.Span
	}
	ok := false
	p.mapping(n, "match", at, []key{
		{name: "queries", read: func(v *syntax.Node) { m.Queries, ok = p.input(v) }, required: "queries: TABLE"},
		{name: "text", read: p.expression(&m.Text), required: "text: EXPRESSION"},
		{name: "field", read: p.expression(&m.Field)},
	}, hints{
		"query": "name what a row holds its query in with `field`",
		"table": "did you mean \"queries\"?",
		"on":    "did you mean \"text\"?",
		"by":    "did you mean \"text\"?",
	})
	if !ok {
		return nil
	}
	return m
}

// matched resolves the table of queries.
func (r *resolver) matched(d *Def) {
	m := d.Query.Match
	if m == nil {
		return
	}
	in, ok := r.input(d, m.Queries.Name, m.Queries.Alias, m.Queries.NameSpan, m.Queries.Text.Span)
	if !ok {
		return
	}
	switch {
	case in.Def.Kind == SourceDef || in.Def.Kind == StreamDef:
		r.list.Add(diag.Errorf(codeMatch, m.Queries.NameSpan, "%q is a %s: stored queries are the rows of a table", in.Def.Name, in.Def.Kind).
			WithNote(in.Def.Decl.Span, "it is defined here").
			WithHelp("define its topic under tables: a new row under the same key changes a query, and a null value takes it away"))
		return
	case in.Def.Kind != TopicTableDef || in.Def.Table.Versioned.Set:
		what := "computed"
		if in.Def.Kind == TopicTableDef {
			what = "versioned"
		}
		r.list.Add(diag.Errorf(codeMatch, m.Queries.NameSpan, "table %q is %s: stored queries must be the rows of a topic, as they are now", in.Def.Name, what).
			WithNote(in.Def.Decl.Span, "it is defined here").
			WithHelp("write the queries to a topic, and define that under tables:"))
		return
	}
	d.Match = &in
	if at := strings.Index(d.Query.Where.Value, operators.MatchedKeys); at >= 0 {
		where := d.Query.Where
		r.list.Errorf(codeMatch, where.Node.At(at, at+len(operators.MatchedKeys)), "%s is not known yet where documents are chosen", operators.MatchedKeys).
			Help = fmt.Sprintf("where says which documents are matched; choose among the results in a stream above: `from: %s`, `where: len(%s) > 0`", d.Name, operators.MatchedKeys)
	}
	for _, other := range slices.Concat(d.Query.From, joinInputs(d.Query)) {
		if other.Alias == operators.MatchedKeys {
			r.list.Errorf(codeAlias, other.AliasSpan, "%s is what match calls its result", operators.MatchedKeys).
				Help = "choose another alias"
		}
	}
}

func joinInputs(q *Query) []Input {
	var inputs []Input
	for _, j := range q.Joins {
		inputs = append(inputs, j.Input)
	}
	return inputs
}

// typedMatch is what the checks found out about a match.
type typedMatch struct {
	front int           // branches in front
	kept  []keptBinding // what goes on behind, without the list of keys
}

// defineMatch checks a match, and gives what the definition sees behind it; nil
// where that is another view for each branch.
func (c *compiler) defineMatch(d *Def, streamed []*binding) []*binding {
	td := c.typed[d]
	td.match = &typedMatch{front: td.branches}
	if td.changes && td.final { // what is given once is a fact
		td.changes = false
	}
	if td.changes {
		c.diags.Add(diag.Errorf(codeMatch, d.Query.Match.Span, "%q holds a table's changes: only the records of a stream can be matched", d.From[0].Def.Name).
			WithNote(d.From[0].Def.Decl.Span, "it is defined here").
			WithHelp("define the topic of the documents under sources:"))
	}
	if d.Match != nil {
		c.matchQuery(d, c.table(d.Match.Def, "").binding)
	}
	if d.searches() {
		if streamed == nil {
			return nil // by branch, see searched
		}
		return c.searched(d, streamed)
	}
	for b := range td.branches {
		view := streamed
		if view == nil {
			view = c.defineJoins(d, b)
		}
		c.matchText(d, view)
		td.match.kept = uniteKept(td.match.kept, view)
	}
	td.branches = 1
	return c.matchView(d).view
}

// matchText compiles what is searched.
func (c *compiler) matchText(d *Def, view []*binding) *expr.Program {
	p := c.program(d.Query.Match.Text, scopeOf(view...), expr.Want{})
	if p == nil {
		return nil
	}
	switch p.Type().Kind {
	case expr.String, expr.Object, expr.Any:
	default:
		c.diags.Errorf(codeMatch, d.Query.Match.Text.Span, "text is of type %s: only a string, or an object of strings, can be searched", p.Type()).
			Help = "queries find words of a string; of an object they can name the member, as title:word"
	}
	return p
}

// matchQuery compiles where the rows of the table, in, have their queries. Their
// fields are bare; the alias may be written, unless it is a field's name as well.
func (c *compiler) matchQuery(d *Def, in *binding) *expr.Program {
	text := d.Query.Match.Field
	if !text.Set {
		return c.program(Text{Value: "query", Set: true, Span: d.Query.Match.Queries.Text.Span}, scopeOf(in.as("")), expr.Want{Kind: expr.String, For: "field"})
	}
	bindings := []*binding{in.as("")}
	alias := d.Match.Alias
	hidden := in.space.has(alias) == present || in.space.has(alias) == unknown && oneLine(text.Value) == alias
	if alias != "" && !hidden {
		bindings = append(bindings, in.as(alias))
	}
	return c.program(text, scopeOf(bindings...), expr.Want{Kind: expr.String, For: "field"})
}

// matchView draws the boundary behind a match.
func (c *compiler) matchView(d *Def) *boundary {
	keys := keptBinding{alias: operators.MatchedKeys, value: c.matchedType(d)}
	b := c.layout.bound(append(slices.Clone(c.typed[d].match.kept), keys))
	for n, v := range b.view {
		c.layout.nameKept(v, fmt.Sprintf("matched[%d].", n))
	}
	return b
}

// matchedType is the type of the list of keys.
func (c *compiler) matchedType(d *Def) expr.Type {
	list := expr.Type{Kind: expr.List}
	if d.Match != nil {
		elem := c.typed[d.Match.Def].key
		list.Elem = &elem
	}
	return list
}

// matchedColumn is what `*` and a missing select list make of the list of keys.
func matchedColumn(span diag.Span) Column {
	name := Text{Value: operators.MatchedKeys, Set: true, Span: span}
	return Column{Span: span, Name: name, Expr: name}
}

// isMatched says that b is the list of keys of a match.
func (b *binding) isMatched() bool {
	return b.alias == operators.MatchedKeys && b.typ.Kind == expr.List
}

// matchState is the name of the state in which parts of documents wait.
func matchState(d *Def) string { return d.Name + ".match" }

// match brings documents to all partitions of the queries, and what is found
// to a part of its own.
func (p *planner) match(d *Def, flows []*flow) []*flow {
	if d.searches() {
		return p.search(d, flows)
	}
	queries := p.table(d.Match.Def)
	p.indexed(d, p.readers[d.Match.Def])
	together := p.newPart()
	documents := p.ownTopic(d.Name+".documents", queries, repartitionConfigs())
	parts := p.ownTopic(d.Name+".parts", together, repartitionConfigs())
	in := &InputPlan{Kind: RepartitionInput, Topic: documents, Def: d, Join: documentsStep, Output: parts}
	out := &InputPlan{Kind: RepartitionInput, Topic: parts, Def: d, Join: partsStep}
	for _, f := range flows {
		in.Origins = sortedUnion(in.Origins, f.input.Origins)
		out.Lag = max(out.Lag, f.lag)
		f.end(&Step{Kind: MatchStep, Def: d, Branch: f.branches[0], Topic: documents})
	}
	out.Origins = in.Origins
	queries = queries.root()
	queries.inputs = append(queries.inputs, in)
	together.inputs = []*InputPlan{out}
	name := matchState(d)
	together.tables = []state.TableSpec{{Name: name, Changelog: p.ownTopic(name+".changelog", together, compacted())}}
	return []*flow{{part: together, input: out, tail: &out.Steps, branches: []int{0}, lag: out.Lag}}
}

// indexed lets the changes that reader brings into the index. Definitions that read
// the queries alike share one.
func (p *planner) indexed(d *Def, reader *InputPlan) {
	for _, s := range reader.Steps {
		if s.Kind == QueriesStep && s.Def.queryIdentity() == d.queryIdentity() {
			return
		}
	}
	reader.Steps = append(reader.Steps, &Step{Kind: QueriesStep, Def: d, Table: reader.Table})
}

// queryText is the expression that gives a row's query.
func (d *Def) queryText() string {
	if f := d.Query.Match.Field; f.Set {
		return oneLine(f.Value)
	}
	return "query"
}

// queryIdentity is the same for definitions that find the query of a row in the same
// place. What an alias means is not the same for all of them.
func (d *Def) queryIdentity() string {
	text := d.queryText()
	if alias := d.Match.Alias; alias != "" && strings.Contains(text, alias) {
		return text + " with " + alias
	}
	return text
}

// scatter makes the step that sends documents to all partitions of the queries.
func (b *binder) scatter(s *Step, at cursor) operators.Spec {
	spec := &operators.Scatter{
		Policy: b.c.policy(s.Def), Topic: s.Topic, Output: slices.Index(b.sub.Outputs, s.Topic),
		Text: b.c.matchText(s.Def, at.view), Doc: keepBindings(b.c.layout, at.view), Input: at.in.Topic, Origins: map[string]int{},
	}
	for i, topic := range b.plan.inputOf(s.Topic).Origins {
		spec.Origins[topic] = i
	}
	return spec
}

// index is the index of the queries that d matches, one for all that share it; copied
// is the copy of the table that they lie in, "" = the table itself.
func (b *binder) index(d *Def, copied string) *operators.QueryIndex {
	table := cmp.Or(copied, d.Match.Def.Name)
	name := table + " " + d.queryIdentity()
	if x := b.indexes[name]; x != nil {
		return x
	}
	t := b.c.table(d.Match.Def, "")
	b.c.layout.notJoined(t.memo)
	x := &operators.QueryIndex{Policy: b.c.policy(d.Match.Def), Query: b.c.matchQuery(d, t.binding), Reader: b.table(t)}
	x.Reader.Name = table
	if b.indexes == nil {
		b.indexes = map[string]*operators.QueryIndex{}
	}
	b.indexes[name] = x
	return x
}

// matcher makes the head that reads the copies of documents.
func (b *binder) matcher(in *InputPlan) operators.Head {
	return &operators.Match{
		Policy: b.c.policy(in.Def), Index: b.index(in.Def, ""), Documents: in.Topic,
		Output: slices.Index(b.sub.Outputs, in.Output), Topic: in.Output,
	}
}

// gathered makes the head that puts the parts of documents together.
func (b *binder) gathered(in *InputPlan) operators.Head {
	bound := b.c.matchView(in.Def)
	h := &operators.Gather{Policy: b.c.policy(in.Def), Name: matchState(in.Def), Kept: bound.read(), Lag: in.Lag.Milliseconds()}
	for _, topic := range in.Origins {
		h.Origins = append(h.Origins, operators.Origin{Topic: topic, KeyFormat: b.plan.keyFormat(topic)})
	}
	h.Next = b.nodes(in.Steps, cursor{in: in, view: bound.view})
	return h
}

// walkMatch is walk for a definition with a match.
func (k *canon) walkMatch(d *Def) walked {
	t := k.matchTable(d)
	return walked{
		k: k, topics: t.Inputs, view: k.c.matchView(d).view,
		origin: []string{"matched (" + t.Fingerprint + ")"},
	}
}

// matchTable describes the state in which parts of documents wait.
func (k *canon) matchTable(d *Def) *TableDescription {
	return k.state(matchState(d), func(t *TableDescription) {
		queries := k.table(d.Match.Def)
		lines, topics := k.documents(d)
		t.Inputs = sortedUnion(queries.origins(), topics)
		query := k.c.matchQuery(d, k.c.table(d.Match.Def, "").binding)
		t.Key = []string{"documents of " + strings.Join(topics, ", ")}
		t.Definition = append(lines, fmt.Sprintf("queries %s (%s): %s", d.Match.Def.Name, queries.Fingerprint, k.expr(query)), t.Key[0])
	})
}

// documents writes what is searched, and what travels with it.
func (k *canon) documents(d *Def) (lines, topics []string) {
	var blocks [][]string
	for b := range k.typed.defs[d].match.front {
		x := k.walkFront(d, b)
		own := []string{"text " + k.expr(k.c.matchText(d, x.view))}
		for _, v := range x.view {
			own = append(own, k.c.layout.value(v)...)
			own = append(own, "as "+v.alias)
		}
		blocks = append(blocks, slices.Concat(own, x.lines(own), x.policies()))
		topics = sortedUnion(topics, x.topics)
	}
	return sortedBlocks(blocks), topics
}

// matchTopic writes what lies in the topics of a match.
func (k *canon) matchTopic(in *InputPlan) RepartitionDescription {
	r := RepartitionDescription{Topic: in.Topic, Of: in.Def.Name, Definition: k.matchTable(in.Def).Definition}
	if in.Join == documentsStep {
		r.Definition, _ = k.documents(in.Def)
	}
	r.Fingerprint = fingerprint(r.Definition)
	return r
}

// matchTables describes what the matches in a sub-topology keep.
func (k *canon) matchTables(s *SubPlan) []TableDescription {
	var out []TableDescription
	for _, in := range s.Inputs {
		if in.Kind == RepartitionInput && in.Join == partsStep {
			t := *k.matchTable(in.Def)
			t.Sub = s.Name
			out = append(out, t)
		}
	}
	return out
}

// match writes where documents go.
func (w *textWriter) match(s *Step, depth int) {
	m := s.Def.Query.Match
	w.linef(depth, "match %s with the queries of %s", oneLine(m.Text.Value), s.Def.Match.Def.Name)
	w.linef(depth+1, "a copy of each document to every partition of %s", s.Topic)
}

// matchInput writes what comes out of the topics of a match.
func (w *textWriter) matchInput(in *InputPlan) {
	d := in.Def
	if in.Join == documentsStep {
		w.linef(2, "as documents of %s %s", d.Kind, d.Name)
		w.linef(2, "finds queries of %s by %s, sends their keys to %s", d.Match.Def.Name, d.queryText(), in.Output)
		return
	}
	w.linef(2, "as parts of the documents of %s", d.Name)
	w.linef(2, "keeps them in %s until those of all partitions are there, then gives %s", matchState(d), operators.MatchedKeys)
}
