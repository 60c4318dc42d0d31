package pipetest

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// began is what the clock of a test shows at first, unless the file says otherwise.
func began() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

const maxPartitions = 64

// ParseSuite reads a file of tests. The Suite is complete when the list holds no error.
func ParseSuite(path string, src []byte) (*Suite, diag.List) {
	tree, list := syntax.Parse(path, src)
	s := &Suite{Path: path, syntax: tree}
	p := &parser{suite: s, faults: list}
	if tree.Root == nil {
		if !list.HasErrors() {
			p.faults.Errorf(codeMissingField, diag.Span{File: path}, "the file is empty").
				Help = "write `tests:` and a list of tests below it"
		}
		return s, p.faults
	}
	p.file(tree.Root)
	p.faults.Sort()
	return s, p.faults
}

// parser turns the tree into a Suite. Every method goes on after a fault.
type parser struct {
	suite  *Suite
	faults diag.List
	common testSettings
}

// testSettings are what a file may say for all its tests, and each test for itself.
type testSettings struct {
	clock      time.Time
	partitions map[string]int32
	places     map[string]diag.Span
}

// key is a key that a mapping may have, and who reads its value.
type key struct {
	name string
	read func(*syntax.Node)
}

// mapping reads the entries of n in the order of keys, so that those that others
// depend on come first, and refuses what is not among them.
func (p *parser) mapping(n *syntax.Node, what string, keys []key) bool {
	if !p.wants(n, syntax.Mapping, what) {
		return false
	}
	for _, k := range keys {
		if value := n.Get(k.name); value != nil {
			k.read(value)
		}
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	for _, e := range n.Entries {
		if slices.Contains(names, e.Key.Value) {
			continue
		}
		p.unknown(codeUnknownField, e.Key.Span, e.Key.Value, names, "unknown field %q in %s", e.Key.Value, what)
	}
	return true
}

// unknown reports a name that is none of names.
func (p *parser) unknown(code diag.Code, at diag.Span, name string, names []string, format string, args ...any) {
	d := p.faults.Errorf(code, at, format, args...)
	if near := diag.Nearest(name, names); near != "" {
		d.Help = fmt.Sprintf("did you mean %q?", near)
	} else if len(names) > 0 {
		d.Help = "there are: " + strings.Join(names, ", ")
	}
}

// wants says whether n is of a kind, and reports when it is not.
func (p *parser) wants(n *syntax.Node, kind syntax.Kind, what string) bool {
	if n.Kind == kind && !(kind == syntax.Scalar && n.IsNull()) {
		return true
	}
	article := map[syntax.Kind]string{syntax.Mapping: "a mapping", syntax.Sequence: "a list", syntax.Scalar: "a value"}[kind]
	p.faults.Errorf(codeWrongType, n.Span, "%s: expected %s, got %s", what, article, n.Describe())
	return false
}

// file reads the whole of it.
func (p *parser) file(root *syntax.Node) {
	s := p.suite
	s.Pipelines = []NamedPipeline{{Path: defaultPipeline(s.Path)}}
	p.common = testSettings{clock: began(), partitions: map[string]int32{}, places: map[string]diag.Span{}}
	keys := []key{{"pipeline", p.pipelines}, {"set", func(n *syntax.Node) { s.set = p.settings(n) }}}
	keys = append(keys, p.settingKeys(&p.common)...)
	keys = append(keys, key{"tests", p.tests})
	if p.mapping(root, "the tests file", keys) && root.Get("tests") == nil {
		p.faults.Errorf(codeMissingField, root.At(0, 0), "the tests file has no tests").
			Help = "write `tests:` and a list of tests below it, each with a name and steps"
	}
}

// pipelines reads the file of a pipeline, or a list of them.
func (p *parser) pipelines(n *syntax.Node) {
	items := []*syntax.Node{n}
	if n.Kind == syntax.Sequence && len(n.Items) > 0 {
		items = n.Items
	}
	p.suite.Pipelines = nil
	for _, item := range items {
		if p.wants(item, syntax.Scalar, "pipeline") {
			p.suite.Pipelines = append(p.suite.Pipelines, NamedPipeline{p.beside(item.Value), item.Span})
		}
	}
}

// beside is a path as the file of tests means it: from where that lies.
func (p *parser) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(p.suite.Path), path)
}

// settings reads `set: {path: value}`.
func (p *parser) settings(n *syntax.Node) []string {
	var out []string
	if !p.wants(n, syntax.Mapping, "set") {
		return nil
	}
	for _, e := range n.Entries {
		if p.wants(e.Value, syntax.Scalar, "set") {
			out = append(out, e.Key.Value+"="+e.Value.Value)
		}
	}
	return out
}

func (p *parser) settingKeys(s *testSettings) []key {
	return []key{
		{"clock", func(n *syntax.Node) {
			if m := p.moment(n, "clock"); m != nil {
				s.clock = time.UnixMilli(m.from(s.clock)).UTC()
			}
		}},
		{"partitions", func(n *syntax.Node) { p.partitions(n, s) }},
	}
}

// partitions reads a number, or a number per source, table or sink.
func (p *parser) partitions(n *syntax.Node, s *testSettings) {
	if n.Kind == syntax.Mapping {
		for _, e := range n.Entries {
			s.partitions[e.Key.Value], s.places[e.Key.Value] = int32(p.number(e.Value, "partitions", 1, maxPartitions)), e.Key.Span
		}
		return
	}
	s.partitions[""] = int32(p.number(n, "partitions", 1, maxPartitions))
}

// number reads a whole number; least when there is none.
func (p *parser) number(n *syntax.Node, what string, least, most int64) int64 {
	if !p.wants(n, syntax.Scalar, what) {
		return least
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || i < least || i > most {
		d := p.faults.Errorf(codeBadValue, n.Span, "%s: expected a whole number from %d, got %s", what, least, n.Describe())
		if most < math.MaxInt32 {
			d.Help = fmt.Sprintf("write a number from %d to %d", least, most)
		}
		return least
	}
	return i
}

// tests reads the list of tests.
func (p *parser) tests(n *syntax.Node) {
	if !p.wants(n, syntax.Sequence, "tests") {
		return
	}
	seen := make(map[string]diag.Span)
	for _, item := range n.Items {
		t := p.test(item)
		if t == nil {
			continue
		}
		if first, twice := seen[t.Name]; twice {
			p.faults.Add(diag.Errorf(codeDuplicateName, t.Span, "the name %q is given to two tests", t.Name).
				WithNote(first, "first given here").WithHelp("--run chooses tests by their names: give each its own"))
		}
		seen[t.Name] = t.Span
		p.suite.Tests = append(p.suite.Tests, t)
	}
	if len(n.Items) == 0 {
		p.faults.Errorf(codeMissingField, n.Span, "there is no test in the list")
	}
}

func (p *parser) test(n *syntax.Node) *Test {
	t := &Test{Span: n.At(0, 0)}
	own := testSettings{clock: p.common.clock, partitions: map[string]int32{}, places: map[string]diag.Span{}}
	for name, count := range p.common.partitions {
		own.partitions[name], own.places[name] = count, p.common.places[name]
	}
	steps := false
	keys := append([]key{{"name", func(n *syntax.Node) {
		if p.wants(n, syntax.Scalar, "name") {
			t.Name, t.Span = n.Value, n.Span
		}
	}}}, p.settingKeys(&own)...)
	keys = append(keys, key{"steps", func(n *syntax.Node) { steps, t.steps = true, p.steps(n) }})
	if !p.mapping(n, "a test", keys) {
		return nil
	}
	if t.Name == "" {
		p.faults.Errorf(codeMissingField, t.Span, "a test has no name").Help = "add `name: WHAT IS TRUE`"
	}
	if !steps {
		p.faults.Errorf(codeMissingField, t.Span, "test %q has no steps", t.Name).
			Help = "add `steps:` and a list of what is sent and expected"
	}
	t.clock, t.partitions, t.places = own.clock, own.partitions, own.places
	return t
}

// moment reads a time: a duration since the clock began, a date, or ms since 1970.
func (p *parser) moment(n *syntax.Node, what string) *moment {
	if !p.wants(n, syntax.Scalar, what) {
		return nil
	}
	m := &moment{span: n.Span}
	text, negative := strings.CutPrefix(n.Value, "-")
	if d, err := unit(text); err == nil && (text == "0" || n.Tag == syntax.TagStr) {
		if m.relative, m.offset = true, d; negative {
			m.offset = -d
		}
		return m
	}
	if ms, err := strconv.ParseInt(n.Value, 10, 64); err == nil && n.Tag == syntax.TagInt {
		m.ms = ms
		return m
	}
	if t, err := time.Parse(time.RFC3339Nano, n.Value); err == nil {
		m.ms = t.UnixMilli()
		return m
	}
	p.faults.Errorf(codeBadValue, n.Span, "%s: %s is no time", what, n.Describe()).
		Help = "write a duration since the beginning of the test (90s, 2h), a date (2026-01-01T00:00:00Z), or milliseconds since 1970"
	return nil
}

// duration reads a length of time.
func (p *parser) duration(n *syntax.Node, what string) time.Duration {
	if !p.wants(n, syntax.Scalar, what) {
		return 0
	}
	d, err := unit(n.Value)
	if err != nil {
		p.faults.Errorf(codeBadDuration, n.Span, "%s: %s is no duration", what, n.Describe()).
			Help = "write a number and a unit: 500ms, 30s, 10m, 2h, 1d, 1h30m"
	}
	return d
}
