package pipetest

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/pipeline"
)

// deadLetters is what expect: calls the topic of the dead letters, and deadLettersToo
// where a sink of the pipeline is called so.
const (
	deadLetters    = "dead_letters"
	deadLettersToo = "dead-letters"
)

// namesLetters says whether a name is that of dead letters.
func namesLetters(name string) bool {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return name == deadLetters || name == deadLettersToo
}

// tableTopic begins the topic by which a test follows a table.
const tableTopic = "streamctl.test."

// port is a topic of the pipeline under the name that a test uses for it.
type port struct {
	name              string
	topic             string
	format, keyFormat codec.Format
	letters           bool // it is the topic of dead letters
}

// bound is a Suite with its pipelines: every name stands for a topic.
type bound struct {
	suite    *Suite
	programs []*compiled
	inputs   *namespace // sources, and tables from topics
	outputs  *namespace // sinks, and the dead letters
	tables   *namespace // those whose rows are expected
	all      *namespace // all definitions
	anyTable *namespace // tables among them
}

// bind compiles the pipelines of a suite and gives its names their meaning. The
// files by whose texts the list is printed come with it.
func bind(s *Suite) (*bound, map[string][]byte, diag.List) {
	sources := s.Sources()
	programs, list := compileAll(s, sources)
	if list.HasErrors() {
		return nil, sources, list
	}
	many := len(programs) > 1
	b := &bound{
		suite: s, programs: programs, inputs: newNamespace(many), outputs: newNamespace(many), tables: newNamespace(many),
		all: newNamespace(many), anyTable: newNamespace(many),
	}
	for _, c := range programs {
		b.ports(c)
	}
	p := &parser{suite: s}
	for _, t := range s.Tests {
		b.test(p, t)
	}
	p.faults.Sort()
	return b, sources, p.faults
}

// ports lists what tests may name of a pipeline.
func (b *bound) ports(c *compiled) {
	in := func(name string, topic, format, keyFormat pipeline.Text) {
		b.inputs.add(c.name(), &port{name: name, topic: topic.Value, format: formatOf(format, codec.FormatJSON), keyFormat: formatOf(keyFormat, codec.FormatString)})
	}
	for _, d := range c.Pipeline.Sources {
		in(d.Title(), d.Source.Topic, d.Source.Format, d.Source.KeyFormat)
	}
	for _, d := range c.Pipeline.Tables {
		if d.Kind == pipeline.TopicTableDef {
			in(d.Title(), d.Table.Topic, d.Table.Format, d.Table.KeyFormat)
		}
		b.anyTable.add(c.name(), &port{name: d.Title()})
		if followed := c.followed[d.Title()]; followed != nil {
			b.tables.add(c.name(), followed)
		}
	}
	letters := c.name() + ".dead-letters"
	for _, sub := range c.Topology.Subs {
		if slices.ContainsFunc(sub.Outputs, func(o operators.OutputSpec) bool { return o.Topic == letters }) {
			name := deadLetters
			if slices.ContainsFunc(c.Pipeline.Sinks, func(d *pipeline.Def) bool { return d.Name == deadLetters }) {
				name = deadLettersToo
			}
			b.outputs.add(c.name(), &port{name, letters, codec.FormatBytes, codec.FormatBytes, true})
			break
		}
	}
	for _, d := range c.Pipeline.Sinks {
		if s := d.Sink; !strings.HasPrefix(s.Topic.Value, tableTopic) {
			b.outputs.add(c.name(), &port{name: d.Name, topic: s.Topic.Value, format: formatOf(s.Format, codec.FormatJSON), keyFormat: formatOf(s.KeyFormat, codec.FormatString)})
		}
	}
	for _, d := range c.Pipeline.Order {
		b.all.add(c.name(), &port{name: d.Title()})
	}
}

// test binds the names of one test, and encodes what it sends.
func (b *bound) test(p *parser, t *Test) {
	if !slices.ContainsFunc(t.steps, func(st step) bool { return st.expects() }) {
		p.faults.Errorf(codeMissingField, t.Span, "test %q expects nothing: it would pass whatever the pipeline does", t.Name).
			Help = "add a step: expect, expect_table, expect_dropped or expect_error; `expect: {SINK: []}` says that nothing comes"
	}
	for name := range t.partitions {
		if name != "" && b.inputs.get(name) == nil && b.outputs.get(name) == nil {
			p.unknown(codeUnknownName, t.places[name], name, append(b.inputs.names(), b.outputs.names()...), "there is no source, table or sink %q", name)
		}
	}
	for _, st := range t.steps {
		switch a := st.action.(type) {
		case *send:
			b.send(p, t, st.span, a)
		case *expect:
			for _, s := range a.sinks {
				b.expectSink(p, s)
			}
		case *expectTable:
			b.expectTable(p, a)
		case *expectDropped:
			b.expectDropped(p, a)
		case *restart:
			b.named(p, &a.which)
		case *stop:
			b.named(p, &a.which)
		case *start:
			b.named(p, &a.which)
		}
	}
}

// named checks the name of the pipeline that a step is about.
func (b *bound) named(p *parser, w *which) {
	var names []string
	for _, c := range b.programs {
		names = append(names, c.name())
	}
	if w.pipeline != "" && !slices.Contains(names, w.pipeline) {
		p.unknown(codeUnknownName, w.span, w.pipeline, names, "there is no pipeline %q here", w.pipeline)
	}
}

func (b *bound) send(p *parser, t *Test, at diag.Span, a *send) {
	a.port = b.inputs.get(a.name)
	if a.port == nil && b.inputs.ambiguous(p, at, a.name) {
		return
	}
	if a.port == nil {
		if b.outputs.get(a.name) != nil {
			p.faults.Errorf(codeUnknownName, at, "%q is a sink: nothing is sent to it", a.name).
				Help = "what comes out is looked at with `expect: {" + a.name + ": [...]}`"
			return
		}
		p.unknown(codeUnknownName, at, a.name, append(b.inputs.names(), words()...), "there is no source, no table with a topic and no step %q", a.name)
		return
	}
	for _, r := range a.records {
		r.keyBytes = b.encode(p, &r.key, a.port.keyFormat, true)
		r.valueBytes = b.encode(p, &r.value, a.port.format, false)
		if n := b.partitions(t, a.port.topic); r.partition >= n {
			p.faults.Errorf(codeBadValue, r.span, "%s has no partition %d here: there is %s", a.name, r.partition, count(int(n), "partition")).
				Help = "write `partitions: N` in the test; partitions count from 0"
		}
	}
}

// encode writes what is sent in the format of its topic.
func (b *bound) encode(p *parser, f *field, format codec.Format, key bool) []byte {
	if !f.given || f.raw {
		return f.bytes
	}
	encode := codec.Encode
	if key {
		encode = codec.EncodeKey
	}
	out, err := encode(nil, format, valueOf(f.node, &p.faults))
	if err != nil {
		p.faults.Errorf(codeBadValue, f.node.Span, "%s: %v", f.name, err)
	}
	return out
}

func (b *bound) expectSink(p *parser, s *expectSink) {
	s.port = b.outputs.get(s.name)
	if s.port == nil && b.outputs.ambiguous(p, s.span, s.name) {
		return
	}
	if s.port == nil {
		if s.name == deadLetters {
			p.faults.Errorf(codeUnknownName, s.span, "the pipeline has no dead letters").Help = "it has with `on_error: dead_letter`"
			return
		}
		if near := diag.Nearest(s.name, b.outputs.names()); near == "" && b.anyTable.get(s.name) != nil {
			p.faults.Errorf(codeUnknownName, s.span, "%q is a table, not a sink", s.name).Help = "its rows are looked at with `expect_table:`"
			return
		}
		p.unknown(codeUnknownName, s.span, s.name, b.outputs.names(), "there is no sink %q", s.name)
		return
	}
	for _, w := range s.records {
		if w.key != nil && !w.key.raw {
			w.key.pattern = w.key.pattern.asWritten(s.port.keyFormat, true, w.key.node)
		}
		if w.value != nil && !w.value.raw {
			w.value.pattern = w.value.pattern.asWritten(s.port.format, false, w.value.node)
		}
	}
}

func (b *bound) expectTable(p *parser, a *expectTable) {
	for _, rows := range a.tables {
		if rows.port = b.tables.get(rows.name); rows.port == nil && !b.tables.ambiguous(p, rows.span, rows.name) {
			p.unknown(codeUnknownName, rows.span, rows.name, b.anyTable.names(), "there is no table %q", rows.name)
		}
	}
}

// expectDropped checks names and reasons: a count of what does not exist is
// always 0.
func (b *bound) expectDropped(p *parser, a *expectDropped) {
	var reasons []string
	for _, r := range operators.Reasons {
		reasons = append(reasons, r.Name)
	}
	for _, by := range a.operators {
		if b.all.get(by.name) == nil && !b.all.ambiguous(p, by.span, by.name) {
			p.unknown(codeUnknownName, by.span, by.name, b.all.names(), "there is no definition %q", by.name)
		}
		for _, d := range by.reasons {
			if !slices.Contains(reasons, d.reason) {
				p.unknown(codeUnknownName, d.span, d.reason, reasons, "nothing is dropped with the reason %q", d.reason)
			}
		}
	}
}

// partitions says how many partitions a topic has in a test.
func (b *bound) partitions(t *Test, topic string) int32 {
	for name, n := range t.partitions {
		for _, space := range []*namespace{b.inputs, b.outputs} {
			if port := space.get(name); port != nil && port.topic == topic {
				return n
			}
		}
	}
	if n, ok := t.partitions[""]; ok {
		return n
	}
	return 1
}

// watched lists the topics whose records are collected.
func (b *bound) watched() []string {
	var out []string
	for _, space := range []*namespace{b.outputs, b.tables} {
		for _, port := range space.ports {
			if port != nil && !slices.Contains(out, port.topic) {
				out = append(out, port.topic)
			}
		}
	}
	slices.Sort(out)
	return out
}

// letterFields are what a dead letter says of itself, under the names of its headers
// without their beginning.
func letterFields() []string {
	return []string{"reason", "operator", "error", "topic", "offset"}
}

// letterHeader is the header of one of them.
func letterHeader(field string) string { return fmt.Sprintf("streamctl.%s", field) }
