package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
	"streamctl/internal/codec"
)

// Fingerprints tell whether two plans mean the same. They hash canonical texts:
// lines that say what makes the rows of a table or the records of a sink, with
// every field named by the topic and path that it comes from. Aliases, names of streams,
// the order of definitions and comments are not in them, nor is what a table
// does not use.
//
// Recorded plans are compared by them, over versions of this program: the form
// of these lines must not change. Goldens hold it.

// canon writes canonical texts. It compiles the definitions once more over one
// layout, as the checks do.
type canon struct {
	plan   *Plan
	typed  *Typed
	c      *compiler
	memo   map[*Def]*TableDescription
	states map[string]*TableDescription // what state describes, by name
}

func newCanon(p *Plan) *canon {
	return &canon{plan: p, typed: p.typed, c: newCompiler(p.typed.defs), memo: map[*Def]*TableDescription{}, states: map[string]*TableDescription{}}
}

// fingerprint hashes lines.
func fingerprint(lines []string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}

func (k *canon) expr(p *expr.Program) string { return p.Canonical(k.c.layout.place) }

func (k *canon) exprs(programs []*expr.Program) []string {
	out := make([]string, len(programs))
	for i, p := range programs {
		out[i] = k.expr(p)
	}
	return out
}

// changelog is the topic from which what is kept under a name is restored.
func (k *canon) changelog(name string) string { return k.plan.Pipeline + "." + name + ".changelog" }

// state describes what an operator keeps, once: what lies behind it refers to its
// fingerprint, and may lie behind it on many ways.
func (k *canon) state(name string, describe func(*TableDescription)) *TableDescription {
	t := k.states[name]
	if t == nil {
		t = &TableDescription{Name: name, Kind: DerivedTable, Changelogs: []string{k.changelog(name)}}
		describe(t)
		t.Fingerprint = fingerprint(t.Definition)
		k.states[name] = t
	}
	return t
}

// table describes a table: what makes its rows, and where they lie.
func (k *canon) table(d *Def) *TableDescription {
	if t := k.memo[d]; t != nil {
		return t
	}
	t := &TableDescription{Name: d.Name, Title: d.title}
	k.memo[d] = t
	if d.materialized() {
		k.materialized(d, t)
	} else if d.Kind == DerivedTableDef {
		k.derivedTable(d, t)
	} else {
		k.topicTable(d, t)
	}
	t.Fingerprint = fingerprint(t.Definition)
	return t
}

// topicTable writes what makes the rows of a table that a topic holds.
func (k *canon) topicTable(d *Def, t *TableDescription) {
	td, r := k.typed.defs[d], k.c.root(d)
	t.Kind, t.Topic = TopicTable, d.Table.Topic.Value
	lines := k.topic(d, t.Topic, td)
	if d.Table.Envelope.Set {
		lines = append(lines, "envelope "+d.Table.Envelope.Value)
	}
	if td.rekeyed {
		t.Key = k.exprs(components(r.key))
		lines = append(lines, "key "+strings.Join(t.Key, ", "))
	}
	if r.value != nil {
		lines = append(lines, "row "+k.expr(r.value))
	}
	if d.History > 0 {
		lines = k.versionedTable(d, t, lines)
	} else if d.replicated() {
		lines = append(lines, "in every task")
	} else if td.rekeyed && !td.direct() {
		t.Kind = RekeyedTable
		t.Changelogs = []string{k.changelog(d.Name)}
		lines = append(lines, "partitions follow keys as "+k.plan.keeper(d.Name).KeyFormat.String())
		if td.keyFromValue {
			t.Changelogs = append(t.Changelogs, k.changelog(KeysTable(d.Name)))
		}
	}
	if td.timed {
		lines = append(lines, timedLine)
	}
	if d.TTL > 0 {
		lines = append(lines, d.ttlLine())
	}
	t.Definition = lines
}

// topic writes how the records of an outer topic are read.
func (k *canon) topic(d *Def, topic string, td *typedDef) []string {
	lines := []string{"topic " + topic, fmt.Sprintf("key %s, value %s", td.keyFormat, td.format)}
	if r := k.c.root(d); r.timestamp != nil {
		lines = append(lines, "event time "+k.expr(r.timestamp))
	}
	return append(lines, "at most ahead "+d.MaxAhead.String())
}

// derivedTable writes what makes the rows of a table by group_by.
func (k *canon) derivedTable(d *Def, t *TableDescription) {
	td := k.typed.defs[d]
	t.Kind = DerivedTable
	t.Changelogs = []string{k.changelog(d.Name)}
	var blocks [][]string
	for b := range td.groups {
		x := k.walk(d, b)
		keys := k.exprs(k.c.groupKeys(d, x.view))
		list := slices.Clone(td.aggregates)
		row := k.c.layout.row()
		k.c.layout.nameGroups(row, "", len(td.groupTypes))
		made := k.c.derive(d, x.view, row, &list)
		var aggregates []string
		for i, a := range list {
			aggregates = append(aggregates, a.of.Text(k.exprs(made.args[i])))
		}
		if b == 0 {
			for _, a := range list {
				t.Aggregates = append(t.Aggregates, a.of.Form())
			}
		}
		block := []string{"group by " + strings.Join(keys, ", "), "keep " + strings.Join(aggregates, ", ")}
		if d.windowed() {
			block = append(block, d.Window.canonical())
		}
		if made.having != nil {
			block = append(block, "having "+k.expr(made.having))
		}
		blocks = append(blocks, append(block, x.lines(slices.Concat(keys, aggregates))...))
		t.Inputs = sortedUnion(t.Inputs, x.topics)
		if b == 0 {
			t.Key = keys
		}
	}
	slices.SortFunc(blocks, func(a, b []string) int { return cmp.Compare(strings.Join(a, "\n"), strings.Join(b, "\n")) })
	t.Definition = append(slices.Concat(blocks...), "partitions follow keys as "+k.plan.keeper(d.Name).KeyFormat.String())
	if d.TTL > 0 {
		t.Definition = append(t.Definition, d.ttlLine())
	}
	if d.emitEvery > 0 { // how often is of no matter to what the rows hold
		t.Definition = append(t.Definition, "sends what has changed every so often")
	}
}

// keeper is the sub-topology that keeps a table.
func (p *Plan) keeper(table string) *SubPlan {
	for _, s := range p.Subs {
		for _, t := range s.Tables {
			if t.Name == table {
				return s
			}
		}
	}
	panic(fmt.Sprintf("pipeline: nothing keeps table %s", table))
}

// walked is one way from a topic to a definition: what filters and joins the
// records on it.
type walked struct {
	k      *canon
	origin []string // how it begins
	topics []string // outer topics that it begins at
	steps  []walkedStep
	view   []*binding // what the definition's select list sees
}

// walkedStep is a filter or a join on the way.
type walkedStep struct {
	text   string
	label  string // of a left join: what refers to it begins with this; "" = it always counts
	policy string // of its definition, "" = fail
	join   int    // of the definition at the end of the way: behind how many of its joins, counting itself
}

// walkOn is walk up to a dedup.
func (k *canon) walkOn(d *Def, branch int) walked {
	if d.searches() {
		return k.walkSearch(d, branch)
	}
	if d.Match != nil {
		return k.walkMatch(d)
	}
	return k.walkFront(d, branch)
}

// walkFront is walk up to a match.
func (k *canon) walkFront(d *Def, branch int) walked {
	if d.streamJoins() {
		return k.walkStreams(d)
	}
	in, at := d.input(branch, k.typed.defs)
	x := k.origin(in.Def, at)
	if len(d.From) > 0 && d.Kind == SinkDef {
		return x
	}
	policy := policyText(d)
	for i := range x.steps {
		x.steps[i].join = 0
	}
	x.view = k.c.front(d, k.c.out(in.Def, at).as(in.Alias))
	x.steps = append(x.steps, k.unnestStep(d, x.view)...)
	var joins []walkedStep
	if k.typed.defs[d].tableJoin {
		x.view = k.c.tableView(d, x.view[0])
		joins = k.tableJoins(d, x.view)
		x.topics = sortedUnion(x.topics, k.tablesOf(d))
	}
	for i := range d.Joins[len(joins):] {
		step, table := k.tableStep(d, i, x.view)
		step.policy = policy
		joins = append(joins, step)
		x.view = append(x.view, table)
	}
	where, late := k.c.where(d, x.view)
	var filter []walkedStep
	if where != nil {
		filter = []walkedStep{{text: "where " + k.expr(where), policy: policy}}
	}
	if late {
		filter[0].join = len(d.Joins)
		x.steps = slices.Concat(x.steps, joins, filter)
	} else {
		x.steps = slices.Concat(x.steps, filter, joins)
	}
	return x
}

// tableStep writes the join of a stream with a table.
func (k *canon) tableStep(d *Def, i int, view []*binding) (walkedStep, *binding) {
	j, t := d.Joins[i], k.c.joined(d, i)
	keys := k.c.join(d, i, view, t)
	step := walkedStep{join: i + 1}
	name := fmt.Sprintf("%s (%s)", j.Def.Name, k.table(j.Def).Fingerprint)
	kind := "inner"
	if j.Left {
		kind = "left"
		step.label = k.prefix(t)
	}
	step.text = fmt.Sprintf("%s join %s on %s%s", kind, name, strings.Join(k.exprs(keys), ", "), j.timesOf())
	return step, t.binding
}

// prefix is how canonical texts begin that read the row of a joined table.
func (k *canon) prefix(t *joinedTable) string {
	label := k.c.layout.places[t.row].label
	return label[:strings.LastIndexByte(label, '.')+1]
}

// origin begins a way at what d is read from.
func (k *canon) origin(d *Def, branch int) walked {
	x := walked{k: k}
	switch d.Kind {
	case SourceDef:
		x.topics = []string{d.Source.Topic.Value}
		x.origin = k.topic(d, d.Source.Topic.Value, k.typed.defs[d])
	case TopicTableDef, DerivedTableDef:
		t := k.table(d)
		x.topics = t.origins()
		x.origin = []string{fmt.Sprintf("changes of table %s (%s)", d.Name, t.Fingerprint)}
	default:
		return k.walk(d, branch)
	}
	return x
}

// lines writes the way for those who read what used tells: left joins that
// nothing refers to make no difference.
func (x walked) lines(used []string) []string {
	var kept []string
	for i := len(x.steps) - 1; i >= 0; i-- {
		s := x.steps[i]
		refers := func(text string) bool { return strings.Contains(text, s.label) }
		if s.label != "" && !slices.ContainsFunc(used, refers) && !slices.ContainsFunc(kept, refers) {
			continue
		}
		kept = append(kept, s.text)
	}
	slices.Reverse(kept)
	return append(slices.Clone(x.origin), kept...)
}

// policies writes what becomes of records that cannot be processed.
func (x walked) policies() []string {
	var out []string
	for _, s := range x.steps {
		if s.policy != "" {
			out = append(out, s.text+": on error "+s.policy)
		}
	}
	return out
}

// sink writes what a sink sends.
func (k *canon) sink(d *Def) SinkDescription {
	td := k.typed.defs[d]
	s := SinkDescription{Name: d.Name, Topic: d.Sink.Topic.Value}
	head := []string{fmt.Sprintf("sink to %s: key %s, value %s, on error %s", s.Topic, td.keyFormat, td.format, d.OnError)}
	var blocks [][]string
	for b := range td.branches {
		x := k.walk(d, b)
		in, at := d.input(b, k.typed.defs)
		out := k.c.out(in.Def, at)
		var own []string
		if key := k.c.sinkKey(d, out); key != nil {
			own = append(own, "key "+k.expr(key))
		}
		own = append(own, k.c.layout.value(out)...)
		blocks = append(blocks, slices.Concat(own, x.lines(own), x.policies()))
	}
	slices.SortFunc(blocks, func(a, b []string) int { return cmp.Compare(strings.Join(a, "\n"), strings.Join(b, "\n")) })
	s.Definition = append(head, slices.Concat(blocks...)...)
	s.Fingerprint = fingerprint(s.Definition)
	return s
}

// repartition writes what lies in a repartition topic: what may still be there
// when another plan begins to read it.
func (k *canon) repartition(in *InputPlan) RepartitionDescription {
	d := in.Def
	if in.Join == dedupStep {
		return k.dedupTopic(in)
	}
	if in.Join <= documentsStep {
		return k.matchTopic(in)
	}
	if in.Join >= 0 && d.streamJoins() {
		return k.streamRepartition(in)
	}
	r := RepartitionDescription{Topic: in.Topic, Of: d.Name}
	td := k.typed.defs[d]
	var blocks [][]string
	for b := range max(td.branches, len(td.groups)) {
		x := k.walk(d, b)
		var keys []*expr.Program
		var columns []string
		if in.Join < -1 {
			columns, by := k.topColumns(in, x)
			own := append(columns, "by "+by)
			blocks = append(blocks, append(own, x.lines(own)...))
			continue
		}
		if in.Join >= 0 {
			x.steps = slices.DeleteFunc(x.steps, func(s walkedStep) bool { return s.join > in.Join })
			keys = k.c.join(d, in.Join, x.view[:d.own()+in.Join], k.c.joined(d, in.Join))
		} else {
			keys = k.c.groupKeys(d, x.view)
		}
		for _, v := range x.view[:d.own()+max(in.Join, 0)] {
			columns = append(columns, k.c.layout.value(v)...)
		}
		if in.Join != 0 && len(d.Joins) > 0 || d.own() > 1 {
			// Several things travel under their aliases, those that are read behind.
			for _, v := range x.view {
				columns = append(columns, "as "+v.alias)
			}
		}
		own := append(columns, "by "+strings.Join(k.exprs(keys), ", "))
		blocks = append(blocks, append(own, x.lines(own)...))
	}
	slices.SortFunc(blocks, func(a, b []string) int { return cmp.Compare(strings.Join(a, "\n"), strings.Join(b, "\n")) })
	r.Definition = append(slices.Concat(blocks...), "partitions follow keys as "+k.plan.readerOf(in.Topic).KeyFormat.String())
	r.Several = in.Join > 0 || in.Join == -1 && len(d.Joins) > 0 || d.own() > 1
	r.Fingerprint = fingerprint(r.Definition)
	return r
}

// fields lists what expressions read of the values of a topic, sorted.
func (k *canon) fields(d *Def) []string {
	shape := k.c.root(d).doc.shape
	var out []string
	for slot := range shape.Slots() {
		path, want := shape.SlotPath(slot)
		if text := codec.PathText(path); text != "" {
			out = append(out, text+wantBehind(want))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
