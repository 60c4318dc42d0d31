package pipetest

import (
	"maps"
	"os"
	"slices"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/pipeline"
)

// compiled is one pipeline of a suite.
type compiled struct {
	*pipeline.Result
	path string
	// followed are the tables whose rows are expected.
	followed map[string]*port
}

func (c *compiled) name() string { return c.Pipeline.Name }

// own gives the pipeline's own name for what a test calls NAME or PIPELINE.NAME.
func (c *compiled) own(name string) (string, bool) {
	pipeline, rest, qualified := strings.Cut(name, ".")
	if !qualified {
		return name, true
	}
	return rest, pipeline == c.name()
}

// compileAll compiles the pipelines of a suite and gives their texts to sources.
func compileAll(s *Suite, sources map[string][]byte) ([]*compiled, diag.List) {
	var out []*compiled
	seen := make(map[string]*compiled)
	for _, named := range s.Pipelines {
		src, err := os.ReadFile(named.Path)
		if err != nil {
			at := named.span
			if at == (diag.Span{}) {
				at = diag.Span{File: s.Path}
			}
			return nil, diag.List{diag.Errorf(codeBadValue, at, "read the pipeline of the tests: %v", err).
				WithHelp("name it with `pipeline: FILE`, relative to the file of the tests")}
		}
		c := &compiled{path: named.Path, followed: make(map[string]*port)}
		list := c.compile(src, s)
		if c.File != nil && c.File.Syntax != nil {
			maps.Copy(sources, c.File.Syntax.Sources())
		}
		if list.HasErrors() {
			return nil, list // warnings alone are validate's
		}
		if seen[c.name()] != nil {
			return nil, diag.List{diag.Errorf(codeDuplicateName, named.span, "two pipelines are called %q", c.name()).
				WithHelp("what runs side by side has names of its own: groups and topics are called by them")}
		}
		seen[c.name()] = c
		out = append(out, c)
	}
	return out, nil
}

// compile takes a pipeline through the compiler. Each table whose rows are
// expected gets a sink of the test's own, by which its changes are followed.
func (c *compiled) compile(src []byte, s *Suite) diag.List {
	opts := pipeline.ParseOptions{Set: s.set}
	r, list := pipeline.Compile(c.path, src, opts)
	c.Result = r
	if list.HasErrors() {
		return list
	}
	file, _ := pipeline.Parse(c.path, src, opts)
	places := make(map[string]diag.Span)
	for name, at := range s.followed() {
		table, ok := c.own(name)
		if !ok || !slices.ContainsFunc(r.Pipeline.Tables, func(d *pipeline.Def) bool { return d.Title() == table }) || places[table] != (diag.Span{}) {
			continue // what is no table at all is said later, with the nearest name
		}
		topic := tableTopic + c.name() + "." + table
		file.Sinks = append(file.Sinks, &pipeline.Sink{
			Declared: pipeline.Declared{Name: setText("test-" + table)},
			From:     setText(table), Topic: setText(topic), KeyFormat: setText("json"), Format: setText("json"),
		})
		c.followed[table] = &port{name: table, topic: topic, format: codec.FormatJSON, keyFormat: codec.FormatJSON}
		places[table] = at
	}
	if len(places) == 0 {
		return nil
	}
	with, more := compileFile(file)
	if more.HasErrors() {
		var out diag.List
		for name, at := range places {
			out.Errorf(codeBadValue, at, "the rows of %s cannot be followed: %s", name, more[0].Message)
		}
		return out
	}
	c.Result = with
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

// formatOf is the format of a definition that has been checked.
func formatOf(t pipeline.Text, otherwise codec.Format) codec.Format {
	if f, err := codec.ParseFormat(t.Value); err == nil && t.Set {
		return f
	}
	return otherwise
}
