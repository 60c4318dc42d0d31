package operators_test

import (
	"errors"
	"strings"
	"testing"

	"streamctl/operators"
)

// answering is a pipeline whose records can fail in a path that a select list names,
// and who is to answer for that. Every definition skips, so that what is
// counted says who did.
type answering struct {
	name, defs string
	records    []string // of the topic in, with key k
	rows       []string // of the topic t, with key k
	drops      []string
	out        []string // values of the topic out
}

func answeringCases() []answering {
	return []answering{
		{name: "a path of two steps", defs: `
streams:
  s: {from: in x, select: [{a: x.a.z}]}
sinks: {o: {from: s, topic: out}}`,
			records: []string{`{"a":5}`, `{"a":{"z":1}}`, `{"a":null}`, `{}`, `[1]`, `{"a":5,"a":{"z":2}}`},
			drops:   []string{"s expression 2"},
			out:     []string{`{"a":1}`, `{"a":null}`, `{"a":null}`, `{"a":2}`}},
		{name: "a path of one step over what is no object", defs: `
streams:
  s: {from: in x, select: [{a: x.a}, {b: x.b}]}
sinks: {o: {from: s, topic: out}}`,
			records: []string{`5`, `{"a":5}`, `[1]`},
			drops:   []string{"s expression 2"},
			out:     []string{`{"a":5,"b":null}`}},
		{name: "an element that a group is made of", defs: `
streams:
  s: {from: in x, select: [{b: "x.b[0]"}]}
tables:
  g: {from: s y, group_by: y.b, select: [{n: count()}]}
sinks: {o: {from: g, topic: out}}`,
			records: []string{`{"b":5}`, `{"b":[1]}`, `{"b":{"c":1}}`},
			drops:   []string{"s expression 2"},
			out:     []string{`{"n":1}`}},
		{name: "each for its own step", defs: `
streams:
  s: {from: in x, select: [{a: x.q.a}]}
  r: {from: s y, select: [{b: y.a.z}]}
  q: {from: r y, select: [{c: y.b}]}
sinks: {o: {from: q, topic: out}}`,
			records: []string{`{"q":5}`, `{"q":{"a":5}}`, `{"q":{"a":{"z":5}}}`, `{"q":[]}`},
			drops:   []string{"r expression 1", "s expression 2"},
			out:     []string{`{"c":5}`}},
		{name: "what nobody reads", defs: `
streams:
  s: {from: in x, select: [{a: x.a.z}, {b: x.b}]}
  r: {from: s y, select: ["y.* except [a]"]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":5,"b":1}`},
			out:     []string{`{"b":1}`}},
		{name: "once for all who read", defs: `
streams:
  s: {from: in x, select: [{a: x.a.z}, {b: x.b + 1}]}
  r: {from: s y, where: y.a != 7}
sinks: {o: {from: s, topic: out}, p: {from: s, topic: other}, q: {from: r, topic: third}}`,
			records: []string{`{"a":5,"b":1}`, `{"a":{"z":1},"b":"x"}`, `{"a":{"z":1},"b":1}`},
			drops:   []string{"s expression 2"},
			out:     []string{`{"a":1,"b":2}`}},
		{name: "columns of a joined row, written", defs: `
streams:
  s: {from: in x, join: [{left: t y, on: x.key == y.key}], select: [{a: y.a.z}]}
  r: {from: s y, select: [{b: y.a}]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"n":1}`}, rows: []string{`{"a":5}`},
			drops: []string{"s expression 1"}},
		{name: "columns of a joined row, a step of each", defs: `
streams:
  s: {from: in x, join: [{left: t y, on: x.key == y.key}], select: [{a: y.a}]}
  r: {from: s y, select: [{b: y.a.z}]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"n":1}`}, rows: []string{`{"a":5}`},
			drops: []string{"r expression 1"}},
		{name: "columns of a joined row, read", defs: `
streams:
  s: {from: in x, join: [{left: t y, on: x.key == y.key}], select: [{a: y.a.z}]}
  r: {from: s y, where: y.a == nil}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"n":1}`}, rows: []string{`{"a":5}`},
			drops: []string{"s expression 1"}},
		{name: "behind a repartition", defs: `
streams:
  s: {from: in x, select: [{a: x.a.z}, {k: x.k}]}
  r: {from: s y, join: [{left: t t, on: y.k == t.key}], select: [y.*, t.*]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":5,"k":"k"}`, `{"a":{"z":1},"k":"k"}`}, rows: []string{`{"n":1}`},
			drops: []string{"s expression 1"},
			out:   []string{`{"a":1,"k":"k","n":1}`}},
		{name: "joined with the key of a path", defs: `
streams:
  s: {from: in x, select: [{k: x.a.k}]}
  r: {from: s y, join: [{inner: t t, on: y.k == t.key}], select: [t.*]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":5}`, `{"a":{"k":"k"}}`}, rows: []string{`{"n":1}`},
			drops: []string{"s expression 1"},
			out:   []string{`{"n":1}`}},
		{name: "of the elements of a path", defs: `
streams:
  s: {from: in x, select: [{l: x.a.l}]}
  r: {from: s y, unnest: y.l as i, select: [{b: i.b}]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":5}`, `{"a":{"l":[{"b":1},5]}}`},
			drops:   []string{"r expression 1", "s expression 1"},
			out:     []string{`{"b":1}`}},
		{name: "freed of duplicates by a path", defs: `
streams:
  s: {from: in x, select: [{a: x.a.z}]}
  r: {from: s y, dedup: {by: y.a, within: 1h}}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":5}`, `{"a":{"z":1}}`, `{"a":5}`},
			drops:   []string{"s expression 2"},
			out:     []string{`{"a":1}`}},
		{name: "the changes of a table", defs: `
streams:
  s: {from: t x, select: [{a: x.a.z}]}
sinks: {o: {from: s, topic: out}}`,
			rows:  []string{`{"a":{"z":1}}`, `{"a":5}`, `{"a":6}`, `{"a":{"z":2}}`},
			drops: []string{"s expression 2"},
			out:   []string{`{"a":1}`, `-`, `{"a":2}`}},
		{name: "the key of a sink", defs: `
streams:
  s: {from: in x, select: [{a: x.a.z}]}
sinks: {o: {from: s, topic: out, key: a}}`,
			records: []string{`{"a":5}`, `{"a":{"z":1}}`},
			drops:   []string{"s expression 1"},
			out:     []string{`{"a":1}`}},
		{name: "a field that the later of two spreads may have", defs: `
streams:
  s: {from: in x, join: [{left: t y, on: x.key == y.key}], select: [x.*, y.*]}
  r: {from: s y, select: [{a: y.a}]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":1}`}, rows: []string{`5`},
			drops: []string{"s expression 1"}},
		{name: "a spread of what is no object", defs: `
streams:
  s: {from: in x, select: [x.*, {b: 1}]}
  r: {from: s y, select: [y.*, {c: 2}]}
sinks: {o: {from: r, topic: out}}`,
			records: []string{`{"a":1}`, `5`, `[]`},
			drops:   []string{"s wrong-type 2"},
			out:     []string{`{"a":1,"b":1,"c":2}`}},
	}
}

// The definition that names a path answers for the records in which it leads
// through what has no such part, whoever reads it.
func TestWhoNamesAPathAnswersForIt(t *testing.T) {
	for _, c := range answeringCases() {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "pipeline: p\non_error: skip\nsources: {in: {topic: in}}\n"+withTable(c.defs), map[string]int{"in": 1, "t": 1, "out": 1})
			for i, doc := range c.rows {
				if len(r.topics["t"]) > 0 {
					r.produce("t", "k", doc, int64(i+1))
				}
			}
			for i, doc := range c.records {
				r.produce("in", "k", doc, int64(100+i))
			}
			r.mustRun()
			expect(t, "drops", r.drops(), c.drops...)
			var values []string
			for _, rec := range r.topics["out"][0] {
				values = append(values, text(rec.Value))
			}
			expect(t, "values", values, c.out...)
		})
	}
}

// withTable defines the table t beside others.
func withTable(defs string) string {
	if strings.Contains(defs, "tables:") {
		return strings.Replace(defs, "tables:", "tables:\n  t: {topic: t}", 1)
	}
	return "tables: {t: {topic: t}}" + defs
}

// A stream that fails is not overruled by a sink that skips, and a stream that
// sends to the dead letters has its dead letter, once.
func TestASinkDoesNotAnswerForAPathOfItsStream(t *testing.T) {
	src := `
pipeline: p
sources: {in: {topic: in}}
streams:
  s: {from: in x, on_error: POLICY, select: [{a: x.a.z}]}
sinks: {o: {from: s, topic: out, on_error: skip}, p: {from: s, topic: other, on_error: skip}}
`
	r := newRig(t, replaced(src, "POLICY", "fail"), nil)
	r.produce("in", "k", `{"a":5}`, 1)
	var re *operators.RecordError
	if err := r.run(); !errors.As(err, &re) || re.Operator != "s" || !strings.Contains(err.Error(), "a is not an object") {
		t.Errorf("got %v, want an error in s", err)
	}
	r = newRig(t, replaced(src, "POLICY", "dead_letter"), map[string]int{"in": 1})
	r.produce("in", "k", `{"a":5}`, 1)
	r.mustRun()
	expect(t, "drops", r.drops(), "s expression 1")
	if letters := r.values("p.dead-letters"); len(letters) != 1 || letters[0] != `k {"a":5}` {
		t.Errorf("dead letters %q", letters)
	}
}
