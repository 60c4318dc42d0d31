package pipeline

import (
	"fmt"
	"slices"
	"strconv"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
)

// Bind is the last stage: it makes the operators of a plan. The texts have
// been checked, so that a diagnostic here is a fault of ours; it is reported
// all the same. Nothing is opened and nothing runs.
func Bind(p *Plan) (*operators.Topology, diag.List) {
	t := &operators.Topology{Pipeline: p.Pipeline, Internal: p.Topics}
	var diags diag.List
	var binders []*binder
	carriers := map[string]*carrier{}
	for _, s := range p.Subs {
		b := &binder{plan: p, sub: s, c: newCompiler(p.typed.defs), carriers: carriers}
		t.Subs = append(t.Subs, b.bind())
		binders = append(binders, b)
		diags.Append(b.c.diags)
	}
	settle(binders, carriers)
	for _, b := range binders {
		b.c.layout.freeze()
	}
	diags.Sort()
	return t, diags
}

// binder makes the operators of one sub-topology.
type binder struct {
	plan     *Plan
	sub      *SubPlan
	c        *compiler
	carriers map[string]*carrier // by repartition topic
	writers  []writer
	streams  map[*StreamJoinPlan]*boundJoin
	seen     map[*Def]*operators.DedupState
	indexes  map[string]*operators.QueryIndex // by table and expression
}

// cursor is where the walk over the steps of an input is.
type cursor struct {
	in   *InputPlan
	out  *binding   // what the definition that was finished last gives
	view []*binding // what the definition being walked through sees
}

func (b *binder) bind() *operators.SubTopology {
	s := &operators.SubTopology{Name: b.sub.Name, Tables: b.sub.Tables}
	blueprint := &operators.Blueprint{Pipeline: b.plan.Pipeline, DeadLetters: -1, DeadLetterTopic: b.plan.DeadLetterTopic()}
	for i, topic := range b.sub.Outputs {
		s.Outputs = append(s.Outputs, b.output(topic))
		if topic == blueprint.DeadLetterTopic {
			blueprint.DeadLetters = i
		}
	}
	for _, in := range b.sub.Inputs {
		s.Inputs = append(s.Inputs, inputSpec(in))
		s.Waits = s.Waits || waits(in.Steps)
		s.Timely = s.Timely || timely(in)
		blueprint.Heads = append(blueprint.Heads, b.head(in))
	}
	l := b.c.layout
	blueprint.Rows = func() int { return l.rows }
	blueprint.Joins = func() int { return len(l.memos) }
	s.Build = blueprint.Build
	return s
}

// inputSpec tells the engine what an input is.
func inputSpec(in *InputPlan) operators.InputSpec {
	s := operators.InputSpec{Topic: in.Topic, Name: in.Def.Title(), Span: in.Def.Decl.Span}
	switch in.Kind {
	case TableInput, ChangelogInput:
		if in.Def.History > 0 {
			s.Awaited = in.Kind == ChangelogInput
			s.Purge = s.Awaited
			break
		}
		s.Table = in.table()
		s.Feeds = len(in.Steps) > 0
	case RepartitionInput, SubscriptionInput, AnswerInput:
		s.Purge = true
	}
	if in.Kind == ChangelogInput || in.Kind == RepartitionInput || in.foreignInput() {
		s.Internal = true
	} else {
		s.OnGap = in.Def.OnGap
	}
	return s
}

// output describes a topic that the sub-topology writes.
func (b *binder) output(topic string) operators.OutputSpec {
	s := operators.OutputSpec{Topic: topic, Internal: true, Unfed: b.unfed(topic)}
	for _, d := range b.plan.typed.Sinks {
		if d.Sink.Topic.Value == topic {
			n, _ := strconv.ParseInt(d.Sink.Partitions.Value, 10, 32) // the parser has refused what is no number
			s = operators.OutputSpec{Topic: topic, Partitions: int32(n), Span: d.Sink.Topic.Span}
		}
	}
	return s
}

// head makes an input with all operators behind it.
func (b *binder) head(in *InputPlan) operators.Head {
	switch in.Kind {
	case SourceInput:
		h := &operators.Source{Decoder: b.decoder(in)}
		h.Next = b.nodes(in.Steps, cursor{in: in, out: b.c.root(in.Def).in})
		return h
	case TableInput:
		r := b.c.root(in.Def)
		h := &operators.TableInput{Decoder: b.decoder(in), Name: in.Def.Name, Value: r.value, Timed: b.plan.typed.defs[in.Def].timed, TTL: in.Def.TTL.Milliseconds()}
		if b.plan.typed.defs[in.Def].rekeyed {
			h.Keys = components(r.key)
		}
		h.History = in.history()
		h.Reader, h.Next = b.changes(in)
		return h
	case ChangelogInput:
		h := &operators.ChangelogInput{History: in.history(), Policy: b.c.policy(in.Def), Name: in.table(), Timed: b.plan.typed.defs[in.Def].timed, TTL: in.Def.TTL.Milliseconds()}
		h.Reader, h.Next = b.changes(in)
		return h
	case RekeyInput:
		return b.rekey(in)
	case SubscriptionInput:
		return b.foreignAsked(in)
	case AnswerInput:
		return b.foreignResult(in)
	}
	switch in.Join {
	case topStep:
		return b.repartitionedTop(in)
	case keyStep:
		return b.repartitionedByKey(in)
	case documentsStep:
		return b.matcher(in)
	case partsStep:
		return b.gathered(in)
	}
	return b.repartitioned(in)
}

// decoder describes how the topic of a source or table is read.
func (b *binder) decoder(in *InputPlan) operators.Decoder {
	d, td, r := in.Def, b.plan.typed.defs[in.Def], b.c.root(in.Def)
	out := operators.Decoder{
		Policy: b.c.policy(d), Format: td.format, KeyFormat: td.keyFormat,
		Shape: r.doc.shape, Row: r.doc.row, KeyRow: r.in.key.row,
		KeyUsed:   func() bool { return r.in.key.used },
		Timestamp: r.timestamp, MaxAhead: d.MaxAhead.Milliseconds(),
		Placed: r.placed, CheckPlacement: in.Placed || len(r.placed) > 0,
	}
	if d.Kind == TopicTableDef {
		out.Table = true
		out.Envelope, _ = operators.ParseEnvelope(d.Table.Envelope.Value) // the parser has refused others
	}
	return out
}

// changes makes the operators that take the changes of a topic table.
func (b *binder) changes(in *InputPlan) (*operators.Table, []*operators.Node) {
	if len(in.Steps) == 0 {
		return nil, nil
	}
	t := b.c.table(in.Def, "")
	b.c.layout.notJoined(t.memo)
	b.c.outs[outKey{in.Def, 0}] = t.binding
	reader := b.table(t)
	reader.Name = in.table()
	return reader, b.nodes(in.Steps, cursor{in: in, out: t.binding})
}

// table describes how the rows of a topic table are decoded for a binding.
func (b *binder) table(t *joinedTable) *operators.Table {
	key := t.key
	return &operators.Table{
		Name: t.def.Name, Shape: t.doc.shape, Row: t.doc.row, KeyRow: key.row,
		KeyUsed: func() bool { return key.used }, Components: len(key.components),
		Number: t.memo.number, Memos: func() int { return t.memo.places },
		Lazy: func() bool { return t.memo.lazy },
	}
}

func (b *binder) rekey(in *InputPlan) operators.Head {
	r, td := b.c.root(in.Def), b.plan.typed.defs[in.Def]
	h := &operators.Rekey{
		Decoder: b.decoder(in), Name: in.Def.Name, Keys: components(r.key), Value: r.value,
	}
	if in.Output != "" {
		h.Output, h.Topic = slices.Index(b.sub.Outputs, in.Output), in.Output
		h.Format = b.plan.readerOf(in.Output).KeyFormat
	}
	for _, topic := range in.Copies {
		h.Copies = append(h.Copies, operators.Copy{Output: slices.Index(b.sub.Outputs, topic), Topic: topic})
	}
	for _, d := range in.Queries {
		h.Queries = append(h.Queries, b.index(d, ""))
	}
	if td.keyFromValue {
		h.Memory = KeysTable(in.Def.Name)
	}
	return h
}

// readerOf is the sub-topology that reads one of the pipeline's own topics.
func (p *Plan) readerOf(topic string) *SubPlan {
	for _, s := range p.Subs {
		for _, in := range s.Inputs {
			if in.Topic == topic {
				return s
			}
		}
	}
	panic(fmt.Sprintf("pipeline: nothing reads %s", topic))
}

// inputOf is the input that reads one of the pipeline's own topics.
func (p *Plan) inputOf(topic string) *InputPlan {
	for _, in := range p.readerOf(topic).Inputs {
		if in.Topic == topic {
			return in
		}
	}
	return nil
}

// repartitioned makes the head behind a repartition topic.
func (b *binder) repartitioned(in *InputPlan) operators.Head {
	d, l := in.Def, b.c.layout
	if in.Join == -1 && carriesChanges(b.plan.typed.defs, d) {
		view := b.carriedChanges(in)
		h := b.repartitionedChanges(in, view)
		h.Next = b.nodes(in.Steps, cursor{in: in, view: view})
		return h
	}
	h := &operators.Repartitioned{Policy: b.c.policy(d), Lag: in.Lag.Milliseconds()}
	for _, topic := range in.Origins {
		h.Origins = append(h.Origins, operators.Origin{Topic: topic, KeyFormat: b.plan.keyFormat(topic)})
	}
	view := b.carried(in)
	first := view[0].key
	h.KeyRow, h.KeyUsed = first.row, func() bool { return first.used }
	if len(view) == 1 {
		doc := view[0].space.(*document)
		h.Shape, h.Row = doc.shape, doc.row
		h.Parts = func() []operators.CarriedPart { return nil }
	} else {
		c := &carrier{head: &document{row: l.row(), shape: l.shape()}, view: view}
		b.carriers[in.Topic] = c
		h.Shape, h.Row = c.head.shape, c.head.row
		h.Parts = func() []operators.CarriedPart { return c.parts }
	}
	h.Next = b.nodes(in.Steps, cursor{in: in, view: view})
	return h
}

// keyFormat is the format of the keys of an outer topic.
func (p *Plan) keyFormat(topic string) codec.Format {
	for d, td := range p.typed.defs {
		if t := d.topic(); t.Set && t.Value == topic {
			return td.keyFormat
		}
	}
	return 0
}

// nodes makes the operators of steps that follow at.
func (b *binder) nodes(steps []*Step, at cursor) []*operators.Node {
	var out []*operators.Node
	for _, s := range steps {
		out = append(out, b.node(s, at)...)
	}
	return out
}

// node makes the operators of one step and of those behind it.
func (b *binder) node(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	switch s.Kind {
	case FromStep:
		in, _ := d.input(s.Branch, b.plan.typed.defs)
		at.view = []*binding{at.out.as(in.Alias)}
		return b.nodes(s.Next, at)
	case WhereStep:
		condition, _ := c.where(d, at.view)
		return one(&operators.Filter{Policy: c.policy(d), Condition: condition}, b.nodes(s.Next, at))
	case JoinStep:
		return b.join(s, at)
	case SelectStep:
		whole := len(d.Query.Select) == 0 && len(at.view) == 1
		at.out, at.view = c.selected(d, at.view), nil
		next := b.nodes(s.Next, at)
		if sel, ok := at.out.space.(*selection); ok && !whole {
			return one(sel.project, next)
		}
		return next
	case GroupStep:
		return b.group(s, at)
	case LateStep:
		return b.lateStep(s, at)
	case UnnestStep:
		return b.unnest(s, at)
	case DedupStep:
		return b.dedup(s, at)
	case StreamJoinStep:
		return b.streamJoin(s, at)
	case TableJoinStep:
		return b.tableJoin(s, at)
	case DelayStep:
		return b.delay(s, at)
	case ForeignStep:
		return b.foreignLeft(s, at)
	case ForeignAnswerStep:
		return one(b.foreignAnswer(s, at.out), nil)
	case MaterializeStep:
		return b.materialize(s, at)
	case TopStep:
		return b.top(s, at)
	case MatchStep:
		return one(b.scatter(s, at), nil)
	case SearchStep:
		return b.search(s, at)
	case QueriesStep:
		return one(&operators.Queries{Index: b.index(d, s.Table), Key: at.out.key.refs(), Told: s.Table != ""}, nil)
	case RepartitionStep:
		switch s.Join {
		case topStep:
			return one(b.repartitionTop(s, at), nil)
		case keyStep:
			return one(b.repartitionByKey(s, at), nil)
		}
		return one(b.repartition(s, at), nil)
	}
	return one(b.sink(s, at), nil)
}

func one(spec operators.Spec, next []*operators.Node) []*operators.Node {
	return []*operators.Node{{Spec: spec, Next: next}}
}

// join makes a join, and behind one with a derived table the columns of that.
func (b *binder) join(s *Step, at cursor) []*operators.Node {
	c, d, j := b.c, s.Def, s.Def.Joins[s.Join]
	if j.AsOf {
		return b.asOf(s, at)
	}
	t := c.table(j.Def, j.Alias)
	spec := &operators.Join{Policy: c.policy(d), Left: j.Left, Keys: c.join(d, s.Join, at.view, t)}
	if t.doc != nil {
		spec.Table = b.table(t)
		if s.Table != "" {
			spec.Table.Name = s.Table
		}
	} else {
		spec.Groups = b.groups(t)
	}
	at.view = append(slices.Clip(at.view), t.binding)
	next := b.nodes(s.Next, at)
	if t.selection != nil {
		t.selection.project.Policy = c.policy(d)
		next = one(t.selection.project, next)
	}
	return one(spec, next)
}

// groups describes how the rows of a derived table are decoded for a binding.
func (b *binder) groups(t *joinedTable) *operators.Groups {
	td := b.plan.typed.defs[t.def]
	return &operators.Groups{
		Name: t.def.Name, Keys: len(td.groupTypes), Aggregations: aggregations(td.aggregates),
		Row: t.row, Having: t.having,
	}
}

// group makes the aggregate of a derived table and the columns behind it.
func (b *binder) group(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	if d.windowed() {
		return b.window(s, at)
	}
	td := b.plan.typed.defs[d]
	row := c.layout.row()
	list := slices.Clone(td.aggregates)
	sel := c.derive(d, at.view, row, &list)
	spec := &operators.Aggregate{Policy: c.policy(d), KeyExprs: c.groupKeys(d, at.view), Members: -1, Every: d.emitEvery, TTL: d.TTL.Milliseconds()}
	spec.Groups = operators.Groups{
		Name: d.Name, Keys: len(td.groupTypes), Aggregations: aggregations(td.aggregates),
		Row: row, Having: sel.having,
	}
	if c.overChanges(d) {
		spec.Members = members(td.aggregates)
	}
	for i := range spec.Aggregations {
		spec.Aggregations[i].Args = sel.args[i]
	}
	at.out = &binding{typ: sel.typ, space: sel.selection, key: groupKey(row, td)}
	at.view = nil
	next := one(sel.project, b.nodes(s.Next, at))
	if sel.having != nil {
		next = one(&operators.Filter{Policy: c.policy(d), Condition: sel.having}, next)
	}
	return one(spec, next)
}

// repartition makes the step that sends a stream to a topic of the pipeline's own.
func (b *binder) repartition(s *Step, at cursor) operators.Spec {
	c, d := b.c, s.Def
	if s.Join == -1 && carriesChanges(b.plan.typed.defs, d) {
		return b.repartitionChanges(s, at.view, c.groupKeys(d, at.view))
	}
	reader := b.plan.inputOf(s.Topic)
	spec := &operators.Repartition{
		Policy: c.policy(d), Topic: s.Topic, Output: slices.Index(b.sub.Outputs, s.Topic),
		Format: b.plan.readerOf(s.Topic).KeyFormat, Origins: map[string]int{},
	}
	for i, topic := range reader.Origins {
		spec.Origins[topic] = i
	}
	if s.Join == dedupStep {
		spec.KeepNull = true
		spec.Keys = c.dedupKeys(d, at.view)
	} else if s.Join >= 0 && d.Joins[s.Join].Bounds != nil {
		at.view = b.sideView(s, at)
		spec.KeepNull = b.keepsNull(s)
		spec.Keys = b.sideKeys(s, at.view)
	} else if s.Join >= 0 {
		j := d.Joins[s.Join]
		spec.KeepNull = j.Left
		// The table is compiled for the condition's sake only: it is not here.
		scratch := newCompiler(b.plan.typed.defs)
		spec.Keys = c.join(d, s.Join, at.view, scratch.table(j.Def, j.Alias))
	} else {
		spec.Keys = c.groupKeys(d, at.view)
	}
	if len(at.view) == 1 {
		spec.Doc = docOfBinding(c.layout, at.view[0])
		return spec
	}
	spec.Doc = &operators.Doc{Whole: -1}
	b.writers = append(b.writers, writer{s.Topic, at.view, spec.Doc})
	return spec
}

// docOfBinding writes the whole value of a binding.
func docOfBinding(l *layout, in *binding) *operators.Doc {
	if doc, ok := in.space.(*document); ok {
		return &operators.Doc{Whole: doc.row}
	}
	return docOf(l, in.space.pieces())
}

// sink makes a sink.
func (b *binder) sink(s *Step, at cursor) operators.Spec {
	c, d, td := b.c, s.Def, b.plan.typed.defs[s.Def]
	spec := &operators.Sink{
		Policy: c.policy(d), Output: slices.Index(b.sub.Outputs, s.Topic), Topic: s.Topic,
		Key: c.sinkKey(d, at.out), KeyFormat: td.keyFormat, Format: td.format,
		Keep: s.Keep, Like: at.in.Topic,
	}
	if td.changes && spec.Key == nil {
		spec.TableKey = at.out.key.refs()
	}
	if td.format == codec.FormatJSON {
		spec.Doc = docOfBinding(c.layout, at.out)
		return spec
	}
	whole, _ := at.out.space.at(nil)
	c.layout.direct[whole.Ref.Row] = true
	spec.Whole = &whole.Ref
	return spec
}

// refs are the places of the components of a table's key, or of the whole of a simple one.
func (k *keySpace) refs() []expr.Ref {
	k.used = true
	if k.own == nil || len(k.components) == 1 {
		return []expr.Ref{{Row: k.row}}
	}
	refs := make([]expr.Ref, len(k.components))
	for i := range refs {
		refs[i] = expr.Ref{Row: k.row, Slot: i}
	}
	return refs
}
