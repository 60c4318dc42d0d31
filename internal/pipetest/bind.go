package pipetest

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/pipeline"
)

// deadLetters is what expect: calls the topic of the dead letters.
const deadLetters = "dead_letters"

// tableTopic begins the topic by which a test follows a table.
const tableTopic = "streamctl.test."

// port is a topic of the pipeline under the name that a test uses for it.
type port struct {
	name              string
	topic             string
	format, keyFormat codec.Format
}

// bound is a Suite with its pipeline: every name stands for a topic.
type bound struct {
	suite    *Suite
	compiled *pipeline.Result
	inputs   map[string]*port // sources, and tables from topics
	outputs  map[string]*port // sinks, and the dead letters
	tables   map[string]*port // those whose rows are expected
}

// bind compiles the pipeline of a suite and gives its names their meaning. The
// files by whose texts the list is printed come with it.
func bind(s *Suite) (*bound, map[string][]byte, diag.List) {
	sources := s.Sources()
	src, err := os.ReadFile(s.Pipeline)
	if err != nil {
		at := s.named
		if at == (diag.Span{}) {
			at = diag.Span{File: s.Path}
		}
		return nil, sources, diag.List{diag.Errorf(codeBadValue, at, "read the pipeline of the tests: %v", err).
			WithHelp("name it with `pipeline: FILE`, relative to the file of the tests")}
	}
	b := &bound{suite: s, inputs: map[string]*port{}, outputs: map[string]*port{}, tables: map[string]*port{}}
	list := b.compile(src)
	if b.compiled.File != nil && b.compiled.File.Syntax != nil {
		for name, text := range b.compiled.File.Syntax.Sources() {
			sources[name] = text
		}
	}
	if list.HasErrors() {
		return nil, sources, list
	}
	list = nil // warnings are validate's
	b.ports()
	p := &parser{suite: s}
	for _, t := range s.Tests {
		b.test(p, t)
	}
	list.Append(p.faults)
	list.Sort()
	return b, sources, list
}

// compile takes the pipeline through the compiler. Each table whose rows are
// expected gets a sink of the test's own, by which its changes are followed.
func (b *bound) compile(src []byte) diag.List {
	r, list := pipeline.Compile(b.suite.Pipeline, src, pipeline.ParseOptions{Set: b.suite.set})
	b.compiled = r
	followed := b.suite.followed()
	if list.HasErrors() || len(followed) == 0 {
		return list
	}
	file, _ := pipeline.Parse(b.suite.Pipeline, src, pipeline.ParseOptions{Set: b.suite.set})
	for name := range followed {
		if !slices.ContainsFunc(r.Pipeline.Tables, func(d *pipeline.Def) bool { return d.Name == name }) {
			continue // said later, with the nearest name
		}
		file.Sinks = append(file.Sinks, &pipeline.Sink{
			Declared: pipeline.Declared{Name: setText("test-" + name)},
			From:     setText(name), Topic: setText(tableTopic + name), KeyFormat: setText("json"), Format: setText("json"),
		})
		b.tables[name] = &port{name, tableTopic + name, codec.FormatJSON, codec.FormatJSON}
	}
	with, more := compileFile(file)
	if more.HasErrors() {
		var out diag.List
		for name, at := range followed {
			if b.tables[name] != nil {
				out.Errorf(codeBadValue, at, "the rows of %s cannot be followed: %s", name, more[0].Message)
			}
		}
		return out
	}
	b.compiled = with
	return nil
}

func setText(s string) pipeline.Text { return pipeline.Text{Value: s, Set: true} }

// compileFile is pipeline.Compile behind its first stage.
func compileFile(file *pipeline.File) (*pipeline.Result, diag.List) {
	r := &pipeline.Result{File: file}
	var list, more diag.List
	if r.Pipeline, list = pipeline.Resolve(file); list.HasErrors() {
		return r, list
	}
	if r.Typed, more = pipeline.Typecheck(r.Pipeline); more.HasErrors() {
		return r, more
	}
	if r.Plan, more = pipeline.MakePlan(r.Typed); more.HasErrors() {
		return r, more
	}
	r.Topology, more = pipeline.Bind(r.Plan)
	return r, more
}

// ports lists what tests may name.
func (b *bound) ports() {
	for _, d := range b.compiled.Pipeline.Sources {
		s := d.Source
		b.inputs[d.Name] = &port{d.Name, s.Topic.Value, formatOf(s.Format, codec.FormatJSON), formatOf(s.KeyFormat, codec.FormatString)}
	}
	for _, d := range b.compiled.Pipeline.Tables {
		if t := d.Table; d.Kind == pipeline.TopicTableDef {
			b.inputs[d.Name] = &port{d.Name, t.Topic.Value, formatOf(t.Format, codec.FormatJSON), formatOf(t.KeyFormat, codec.FormatString)}
		}
	}
	letters := b.compiled.Topology.Pipeline + ".dead-letters"
	for _, sub := range b.compiled.Topology.Subs {
		if slices.ContainsFunc(sub.Outputs, func(o operators.OutputSpec) bool { return o.Topic == letters }) {
			b.outputs[deadLetters] = &port{deadLetters, letters, codec.FormatBytes, codec.FormatBytes}
		}
	}
	for _, d := range b.compiled.Pipeline.Sinks {
		if s := d.Sink; !strings.HasPrefix(s.Topic.Value, tableTopic) {
			b.outputs[d.Name] = &port{d.Name, s.Topic.Value, formatOf(s.Format, codec.FormatJSON), formatOf(s.KeyFormat, codec.FormatString)}
		}
	}
}

// formatOf is the format of a definition that has been checked.
func formatOf(t pipeline.Text, otherwise codec.Format) codec.Format {
	if f, err := codec.ParseFormat(t.Value); err == nil && t.Set {
		return f
	}
	return otherwise
}

func names(ports map[string]*port) []string {
	out := make([]string, 0, len(ports))
	for name := range ports {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// test binds the names of one test, and encodes what it sends.
func (b *bound) test(p *parser, t *Test) {
	for name := range t.partitions {
		if name != "" && b.inputs[name] == nil && b.outputs[name] == nil {
			all := append(names(b.inputs), names(b.outputs)...)
			p.unknown(codeUnknownName, t.places[name], name, all, "there is no source, table or sink %q", name)
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
		}
	}
}

func (b *bound) send(p *parser, t *Test, at diag.Span, a *send) {
	a.port = b.inputs[a.name]
	if a.port == nil {
		if b.outputs[a.name] != nil {
			p.faults.Errorf(codeUnknownName, at, "%q is a sink: nothing is sent to it", a.name).
				Help = "what comes out is looked at with `expect: {" + a.name + ": [...]}`"
			return
		}
		p.unknown(codeUnknownName, at, a.name, append(names(b.inputs), words()...), "there is no source, no table with a topic and no step %q", a.name)
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
	s.port = b.outputs[s.name]
	if s.port == nil {
		if s.name == deadLetters {
			p.faults.Errorf(codeUnknownName, s.span, "the pipeline has no dead letters").Help = "it has with `on_error: dead_letter`"
			return
		}
		if near := diag.Nearest(s.name, names(b.outputs)); near == "" && b.isTable(s.name) {
			p.faults.Errorf(codeUnknownName, s.span, "%q is a table, not a sink", s.name).Help = "its rows are looked at with `expect_table:`"
			return
		}
		p.unknown(codeUnknownName, s.span, s.name, names(b.outputs), "there is no sink %q", s.name)
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

func (b *bound) isTable(name string) bool {
	return slices.ContainsFunc(b.compiled.Pipeline.Tables, func(d *pipeline.Def) bool { return d.Name == name })
}

func (b *bound) expectTable(p *parser, a *expectTable) {
	var all []string
	for _, d := range b.compiled.Pipeline.Tables {
		all = append(all, d.Name)
	}
	for _, rows := range a.tables {
		if rows.port = b.tables[rows.name]; rows.port == nil {
			p.unknown(codeUnknownName, rows.span, rows.name, all, "there is no table %q", rows.name)
		}
	}
}

// expectDropped checks names and reasons: a count of what does not exist is
// always 0.
func (b *bound) expectDropped(p *parser, a *expectDropped) {
	var all, reasons []string
	for _, d := range b.compiled.Pipeline.Order {
		all = append(all, d.Name)
	}
	for _, r := range operators.Reasons {
		reasons = append(reasons, r.Name)
	}
	for _, by := range a.operators {
		if !slices.Contains(all, by.name) {
			p.unknown(codeUnknownName, by.span, by.name, all, "there is no definition %q", by.name)
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
	for _, ports := range []map[string]*port{b.inputs, b.outputs} {
		for name, port := range ports {
			if n, ok := t.partitions[name]; ok && port.topic == topic {
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
	for _, ports := range []map[string]*port{b.outputs, b.tables} {
		for _, port := range ports {
			if !slices.Contains(out, port.topic) {
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
