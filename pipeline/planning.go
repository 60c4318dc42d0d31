package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/state"
)

// Plan is the fourth stage: it cuts the pipeline into sub-topologies, puts
// what is joined into one, and decides what must be repartitioned. Only what a
// sink needs is planned.
func MakePlan(t *Typed) (*Plan, diag.List) {
	rename(t.Order)
	p := &planner{
		typed: t, plan: &Plan{Pipeline: t.Name, typed: t},
		flows: map[*Def][]*flow{}, tables: map[*Def]*part{}, readers: map[*Def]*InputPlan{},
		topics: map[string]*ownTopic{}, lates: map[*Def][]lateFlow{}, repeats: map[string]*flow{}, replicas: map[*Def]*InputPlan{},
	}
	for _, d := range t.Order {
		if d.Kind == SinkDef {
			p.sink(d)
		}
	}
	diags := p.finish()
	diags.Sort()
	return p.plan, diags
}

// stream plans a definition and gives what comes out of it.
func (p *planner) stream(d *Def) []*flow {
	if flows, ok := p.flows[d]; ok {
		return flows
	}
	var flows []*flow
	switch d.Kind {
	case SourceDef:
		flows = []*flow{p.source(d)}
	case TopicTableDef:
		part := p.table(d)
		flows = []*flow{{part: part, input: p.readers[d], tail: &p.readers[d].Steps, branches: []int{0}, facts: p.tableFact(d)}}
	case DerivedTableDef:
		p.table(d)
		return p.flows[d]
	case StreamDef:
		if d.lateOf != nil {
			flows = p.late(d)
			break
		}
		flows = p.query(d)
		for _, f := range flows {
			f.add(&Step{Kind: SelectStep, Def: d, Branch: f.branches[0]})
		}
	}
	p.flows[d] = flows
	return flows
}

// source plans the reading of a source.
func (p *planner) source(d *Def) *flow {
	td := p.typed.defs[d]
	part := p.newPart()
	part.keyFormat, part.fixed = td.keyFormat, []string{d.Source.Topic.Value}
	in := &InputPlan{Kind: SourceInput, Topic: d.Source.Topic.Value, Def: d, Origins: []string{d.Source.Topic.Value}}
	part.inputs = append(part.inputs, in)
	f := &flow{part: part, input: in, tail: &in.Steps, branches: []int{0}, facts: []fact{{td.recordKey}}}
	if len(td.placed) > 0 {
		f.facts = append(f.facts, fact{joinIdentity(td.placed)})
	}
	return f
}

// joinIdentity is the identity of a key of several components; "" when one of
// them equals nothing.
func joinIdentity(components []string) string {
	if slices.Contains(components, "") {
		return ""
	}
	return strings.Join(components, " , ")
}

// table plans the upkeep of a table and gives the part that has it.
func (p *planner) table(d *Def) *part {
	if part, ok := p.tables[d]; ok {
		return part.root()
	}
	if d.materialized() {
		return p.materialize(d)
	}
	if d.Kind == DerivedTableDef {
		return p.derived(d)
	}
	td := p.typed.defs[d]
	topic := d.Table.Topic.Value
	part := p.newPart()
	p.tables[d] = part
	in := &InputPlan{Kind: TableInput, Topic: topic, Def: d, Origins: []string{topic}}
	if td.rekeyed && !td.direct() {
		in = p.rekey(d, part)
	} else {
		part.keyFormat, part.fixed = td.keyFormat, []string{topic}
	}
	part.inputs = append(part.inputs, in)
	spec := state.TableSpec{Name: d.Name}
	if d.History > 0 {
		spec.Changelog = p.ownTopic(d.Name+".changelog", part, compacted())
	}
	part.tables = append(part.tables, spec)
	p.readers[d] = in
	return part
}

// direct says that a table with a key of its own needs no copy: the topic is
// partitioned by that key, which the record key alone decides.
func (td *typedDef) direct() bool {
	return !td.keyFromValue && td.keyIdentity != "" && joinIdentity(td.placed) == td.keyIdentity
}

// rekey plans the copying of a table's topic under the table's key.
func (p *planner) rekey(d *Def, to *part) *InputPlan {
	topic := d.Table.Topic.Value
	changelog := ""
	if d.History > 0 { // what is kept of it is not in the topic
		changelog = p.ownTopic(d.Name+".repartition", to, repartitionConfigs())
	} else {
		changelog = p.ownTopic(d.Name+".changelog", to, compacted())
	}
	from := p.newPart()
	from.rekeyOf = d.Name
	from.keyFormat, from.fixed = p.typed.defs[d].keyFormat, []string{topic}
	from.inputs = []*InputPlan{{Kind: RekeyInput, Topic: topic, Def: d, Origins: []string{topic}, Output: changelog}}
	if p.typed.defs[d].keyFromValue {
		keys := KeysTable(d.Name)
		from.tables = []state.TableSpec{{Name: keys, Changelog: p.ownTopic(keys+".changelog", from, compacted())}}
	}
	return &InputPlan{Kind: ChangelogInput, Topic: changelog, Def: d, Origins: []string{topic}}
}

// roomy is max.message.bytes of the pipeline's own topics: a record that its
// topic could just take still fits with the headers and members that are added.
const roomy = "8388608"

func compacted() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "max.message.bytes": roomy}
}

// repartitionConfigs: nothing expires by time, the pipeline deletes what it has read.
func repartitionConfigs() map[string]string {
	return map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": roomy}
}

// ownTopic notes a topic of the pipeline's own with the partitions of a part.
func (p *planner) ownTopic(name string, in *part, configs map[string]string) string {
	name = p.typed.Name + "." + name
	if p.topics[name] == nil {
		p.topics[name] = &ownTopic{name: name, in: in, configs: configs}
	}
	return name
}

// query plans from, where and join of a definition.
func (p *planner) query(d *Def) []*flow {
	td := p.typed.defs[d]
	if td.tableJoin {
		return p.tableJoin(d)
	}
	var flows []*flow
	base := 0
	for _, in := range d.From {
		for _, f := range p.stream(in.Def) {
			g := *f
			g.branches = nil
			for _, b := range f.branches {
				g.branches = append(g.branches, base+b)
			}
			g.add(&Step{Kind: FromStep, Def: d, Branch: g.branches[0]})
			flows = append(flows, &g)
		}
		base += p.typed.defs[in.Def].branches
	}
	if d.Query.Unnest != nil {
		addAll(flows, UnnestStep, d)
	}
	if d.Query.Where.Set && !td.late {
		addAll(flows, WhereStep, d)
	}
	for i := range d.Joins {
		if d.Joins[i].Bounds != nil {
			flows = p.streamJoin(d, i, flows)
		} else {
			flows = p.join(d, i, flows)
		}
	}
	if td.late {
		addAll(flows, WhereStep, d)
	}
	if d.Query.Match != nil {
		flows = p.match(d, flows)
	}
	if d.Query.Dedup != nil {
		flows = p.dedup(d, flows)
	}
	return flows
}

func addAll(flows []*flow, kind StepKind, d *Def) {
	for _, f := range flows {
		f.add(&Step{Kind: kind, Def: d, Branch: f.branches[0]})
	}
}

// join brings flows into the part of the table, by their partitions as they
// are or through a repartition topic.
func (p *planner) join(d *Def, i int, flows []*flow) []*flow {
	target := d.Joins[i].Def
	if target.replicated() {
		return p.joinReplica(d, i, flows)
	}
	table := p.table(target)
	ids := p.typed.defs[d].joinIdentities(i)
	var out []*flow
	for _, f := range flows {
		if f.partitionedBy(ids) && agree(f.part, table) {
			unitePart(table.root(), f.part)
			f.input.Placed = true
		} else if f = p.repartition(f, d, i, table, ids); f == nil {
			continue // it goes on in one that is planned already
		}
		out = append(out, f)
	}
	if in := p.readers[target]; in != nil {
		in.Placed = true
	}
	for _, f := range out {
		if d.Joins[i].Wait > 0 {
			p.delay(f, d, i, len(out))
		}
		f.add(&Step{Kind: JoinStep, Def: d, Join: i, Branch: f.branches[0]})
	}
	return out
}

// repartition ends f in a topic of the pipeline's own and gives the flow that
// begins there; nil when another one has begun there already.
func (p *planner) repartition(f *flow, d *Def, i int, to *part, ids []string) *flow {
	return p.cross(f, &Step{Def: d, Join: i}, to, ids)
}

// cross is repartition by a step that says what for.
func (p *planner) cross(f *flow, s *Step, to *part, ids []string) *flow {
	d, i := s.Def, s.Join
	topic := p.ownTopic(p.repartitionName(d, i, s.Right), to, repartitionConfigs())
	s.Kind, s.Branch, s.Topic, s.Aligned = RepartitionStep, f.branches[0], topic, f.partitionedBy(ids)
	f.end(s)
	var known fact
	for _, b := range f.branches {
		known = append(known, ids[b])
	}
	if on := p.repeats[topic]; on != nil {
		if on.input.Def != d || on.input.Join != i || on.input.Right != s.Right {
			p.diags.Add(diag.Errorf(codeTopicTwice, d.Decl.Span, "%s %q and %s %q would share the repartition topic %q", d.Kind, d.Name, on.input.Def.Kind, on.input.Def.Name, topic).
				WithNote(on.input.Def.Decl.Span, "%q is defined here", on.input.Def.Name).
				WithHelp("the topic is called by the names of the stream and the table it is joined with: rename one of them"))
			return nil
		}
		on.branches = append(on.branches, f.branches...)
		on.facts[0] = append(on.facts[0], known...)
		on.input.Origins = sortedUnion(on.input.Origins, f.input.Origins)
		on.lag = max(on.lag, f.lag)
		on.input.Lag = on.lag
		return nil
	}
	in := &InputPlan{Kind: RepartitionInput, Topic: topic, Def: d, Join: i, Right: s.Right, Origins: f.input.Origins, Lag: f.lag}
	to.root().inputs = append(to.root().inputs, in)
	on := &flow{part: to, input: in, tail: &in.Steps, branches: slices.Clone(f.branches), facts: []fact{known}, lag: f.lag}
	p.repeats[topic] = on
	return on
}

// repartitionName names a repartition by what the user wrote.
func (p *planner) repartitionName(d *Def, i int, right bool) string {
	if i == dedupStep {
		return d.Name + ".dedup.repartition"
	}
	if i < 0 {
		return d.Name + ".repartition"
	}
	if right {
		return joinName(d, i) + ".right.repartition"
	}
	return joinName(d, i) + ".repartition"
}

// joinName names a join by what the user wrote. A definition that joins one
// thing several times tells the joins apart by their aliases.
func joinName(d *Def, i int) string {
	name, times := d.Name+"-"+d.Joins[i].Def.Name, 0
	for _, j := range d.Joins {
		if j.Def == d.Joins[i].Def {
			times++
		}
	}
	if times > 1 {
		name += "-" + d.Joins[i].Alias
	}
	return name
}

func sortedUnion(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// derived plans a table made by group_by.
func (p *planner) derived(d *Def) *part {
	td := p.typed.defs[d]
	flows := p.query(d)
	ids := make([]string, len(td.groups))
	for b := range ids {
		ids[b] = joinIdentity(td.groups[b])
	}
	in := p.homeOf(sidesOf(flows, ids))
	for _, f := range flows {
		if f.partitionedBy(ids) && agree(in, f.part) {
			unitePart(in, f.part)
		}
	}
	p.tables[d] = in
	var out []*flow
	for _, f := range flows {
		if f.part.root() == in.root() && f.partitionedBy(ids) {
			f.input.Placed = true
		} else if f = p.repartition(f, d, -1, in.root(), ids); f == nil {
			continue
		}
		if d.windowed() {
			p.lates[d] = append(p.lates[d], lateFlow{f, f.tail})
		}
		f.add(&Step{Kind: GroupStep, Def: d, Branch: f.branches[0]})
		out = append(out, &flow{part: f.part, input: f.input, tail: f.tail, branches: []int{0}, facts: p.tableFact(d), lag: f.lag + d.heldBack()})
	}
	root := in.root()
	root.tables = append(root.tables, state.TableSpec{Name: d.Name, Changelog: p.ownTopic(d.Name+".changelog", in, compacted())})
	p.flows[d] = out
	return root
}

// sink plans a sink and all that it reads.
func (p *planner) sink(d *Def) {
	td := p.typed.defs[d]
	for _, f := range p.stream(d.From[0].Def) {
		s := &Step{Kind: SinkStep, Def: d, Branch: f.branches[0], Topic: d.Sink.Topic.Value}
		switch {
		case td.changes:
			s.Keep = !d.Sink.Key.Set && !f.strewn
		case d.Sink.Key.Set:
			s.Keep = f.partitionedBy(td.sinkKeys)
		default:
			s.Keep = f.input.Kind == SourceInput
		}
		f.end(s)
	}
}

// finish makes the sub-topologies of the parts that are left and gives every
// topic its partitions.
func (p *planner) finish() (diags diag.List) {
	p.keepHistories()
	for _, part := range p.parts {
		if part.into != nil {
			continue
		}
		p.plan.Subs = append(p.plan.Subs, p.sub(part))
	}
	slices.SortFunc(p.plan.Subs, func(a, b *SubPlan) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range sortedKeys(p.topics) {
		t := p.topics[name]
		p.plan.Topics = append(p.plan.Topics, operators.InternalTopic{Name: name, PartitionsLike: t.in.root().like(), Configs: t.configs})
	}
	p.deadLetters()
	return append(p.diags, p.checkTopics()...)
}

// sub makes the sub-topology of a part.
func (p *planner) sub(part *part) *SubPlan {
	s := &SubPlan{KeyFormat: part.keyFormat, Inputs: part.inputs, Tables: part.tables}
	order := map[*Def]int{}
	for i, d := range p.typed.Order {
		order[d] = i
	}
	for _, in := range s.Inputs {
		updatesFirst(in.Steps)
		readersFirst(in.Steps, order)
		leftFirst(in.Steps)
	}
	slices.SortFunc(s.Inputs, func(a, b *InputPlan) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Topic, b.Topic))
	})
	slices.SortFunc(s.Tables, func(a, b state.TableSpec) int { return strings.Compare(a.Name, b.Name) })
	switch {
	case part.rekeyOf != "":
		s.Name = KeysTable(part.rekeyOf)
	case len(s.Tables) > 0:
		s.Name = s.Tables[0].Name
		if own := slices.IndexFunc(s.Tables, func(t state.TableSpec) bool { return !strings.Contains(t.Name, ".") }); own >= 0 {
			s.Name = s.Tables[own].Name // a definition's, rather than that of what one of its steps keeps
		}
	default:
		s.Name = s.Inputs[0].Def.Name
	}
	for _, in := range s.Inputs {
		in.settle(s, p.typed)
	}
	slices.Sort(s.Outputs)
	s.Outputs = slices.Compact(s.Outputs)
	return s
}

// settle decides what depends on the sub-topology as a whole, and collects
// what the input's operators write.
func (in *InputPlan) settle(s *SubPlan, typed *Typed) {
	if in.Output != "" {
		s.Outputs = append(s.Outputs, in.Output)
	}
	s.Outputs = append(s.Outputs, in.Copies...)
	eachStep(in.Steps, func(step *Step) {
		if step.Topic != "" {
			s.Outputs = append(s.Outputs, step.Topic)
		}
		if step.Kind == SinkStep && s.KeyFormat != typed.defs[step.Def].keyFormat {
			step.Keep = false // the key's bytes are others
		}
	})
}

// updatesFirst puts branches that update a table before those that may read it:
// of a record that does both, the update counts.
func updatesFirst(steps []*Step) {
	for _, s := range steps {
		updatesFirst(s.Next)
	}
	slices.SortStableFunc(steps, func(a, b *Step) int { return cmp.Compare(rank([]*Step{a}), rank([]*Step{b})) })
}

// rank orders what happens at one event time: tables, updates of derived
// tables, the rest.
func (in *InputPlan) rank() int {
	if in.Kind == TableInput || in.Kind == ChangelogInput {
		return 0
	}
	return rank(in.Steps)
}

func rank(steps []*Step) int {
	rank := 2
	eachStep(steps, func(s *Step) {
		if s.Kind == GroupStep || s.Kind == MaterializeStep || s.Kind == TopStep || s.Kind == QueriesStep {
			rank = 1
		}
	})
	return rank
}

// eachStep visits steps and those behind them.
func eachStep(steps []*Step, visit func(*Step)) {
	for _, s := range steps {
		visit(s)
		eachStep(s.Next, visit)
	}
}

// like names the topics whose partitions those of the part's own topics follow:
// outer ones that are taken as they are, else all that its records come from.
func (p *part) like() []string {
	var names []string
	if len(p.fixed) > 0 {
		names = slices.Clone(p.fixed)
	} else {
		for _, in := range p.inputs {
			if in.Table == "" && in.Join != documentsStep && !in.foreignInput() { // a copy has the partitions of the others
				names = append(names, in.Origins...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// deadLetters adds the topic of the records that could not be processed, where
// a definition asks for it.
func (p *planner) deadLetters() {
	var like []string
	for _, s := range p.plan.Subs {
		if !s.deadLetters() {
			continue
		}
		s.Outputs = sortedUnion(s.Outputs, []string{p.plan.DeadLetterTopic()})
		for _, in := range s.Inputs {
			like = sortedUnion(like, in.Origins)
		}
	}
	if like != nil {
		p.plan.Topics = append(p.plan.Topics, operators.InternalTopic{Name: p.plan.DeadLetterTopic(), PartitionsLike: like,
			Configs: map[string]string{"max.message.bytes": roomy}})
		slices.SortFunc(p.plan.Topics, func(a, b operators.InternalTopic) int { return strings.Compare(a.Name, b.Name) })
	}
}

// DeadLetterTopic is where records go that could not be processed, if a
// definition asks for it.
func (p *Plan) DeadLetterTopic() string { return p.Pipeline + ".dead-letters" }

// deadLetters says whether a definition in s sends dead letters.
func (s *SubPlan) deadLetters() bool {
	found := false
	for _, in := range s.Inputs {
		found = found || in.Def.OnError == DeadLetter
		eachStep(in.Steps, func(step *Step) { found = found || step.deadLetters() })
	}
	return found
}

// checkTopics refuses topics of the user's that have names of the pipeline's own.
func (p *planner) checkTopics() (diags diag.List) {
	for _, d := range p.typed.Order {
		t := d.topic()
		if d.Kind == SinkDef {
			t = d.Sink.Topic
		}
		if p.topics[t.Value] != nil && t.Set {
			diags.Errorf(codeTopicTwice, t.Span, "topic %q is one of the pipeline's own", t.Value).
				Help = fmt.Sprintf("topics that begin with %q belong to the pipeline: choose another name", p.typed.Name+".")
		}
	}
	return diags
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
