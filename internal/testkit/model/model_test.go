package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The interpreter is compared with the engine elsewhere. Here it is held to the
// sentences of the documents by hand, so that the two are not wrong together.

// run takes records "topic key value @time" ("-" = null) and shows what the sink
// out has got, and what was dropped.
func run(t *testing.T, pipeline string, records ...string) []string {
	t.Helper()
	m, err := New("pipeline: p\non_error: skip\n"+pipeline+"\nsinks:\n  out: {from: result, topic: out}\n", Layout{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range records {
		var topic, key, val string
		var at int64
		if _, err := fmt.Sscanf(text, "%s %s %s @%d", &topic, &key, &val, &at); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		rec := Record{Topic: topic, Time: at}
		if key != "-" {
			rec.Key = []byte(key)
		}
		if val != "-" {
			rec.Value = []byte(val)
		}
		if err := m.Take(rec); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for _, o := range m.Outputs("out") {
		out = append(out, fmt.Sprintf("%s %s @%d", o.Key, o.Value, o.Time))
	}
	var drops []string
	for reason, n := range m.Drops() {
		drops = append(drops, fmt.Sprintf("dropped %s %d", reason, n))
	}
	slices.Sort(drops)
	return append(out, drops...)
}

func TestMeaning(t *testing.T) {
	for _, c := range []struct {
		name, pipeline string
		records, want  []string
	}{
		{"only the stream side of a stream-table join triggers; a null value drops", `
sources: {s: {topic: s}}
tables: {t: {topic: t}}
streams: {result: {from: s v, join: [{left: t w, on: v.k == w.key}], select: [{n: v.n}, {m: w.m}]}}`,
			[]string{`s x {"k":"a","n":1} @1`, `t a {"m":5} @2`, `s x {"k":"a","n":2} @3`, `t a - @4`, `s x {"k":"a"} @5`, `s x {} @6`, `s x - @7`},
			[]string{`x {"m":null,"n":1} @1`, `x {"m":5,"n":2} @3`, `x {"m":null,"n":null} @5`, `x {"m":null,"n":null} @6`, `dropped result null-value 1`}},
		{"an update of a table subtracts the old row and adds the new one", `
tables: {t: {topic: t}, result: {from: t v, group_by: v.g, select: [{n: count()}, {s: sum(v.x)}]}}`,
			[]string{`t a {"g":1,"x":5} @1`, `t b {"g":1,"x":2} @2`, `t a {"g":1,"x":7} @3`, `t a {"g":2,"x":7} @4`, `t b - @5`},
			[]string{`1 {"n":1,"s":5} @1`, `1 {"n":2,"s":7} @2`, `1 {"n":2,"s":9} @3`, `1 {"n":1,"s":2} @4`, `2 {"n":1,"s":7} @4`, `1 {"n":0,"s":null} @5`}},
		{"a row that stops qualifying is retracted", `
sources: {s: {topic: s}}
tables: {result: {from: s v, group_by: v.key, select: [{n: count()}], having: n < 2}}`,
			[]string{`s a {} @1`, `s a {} @2`, `s a {} @3`}, []string{`a {"n":1} @1`, `a - @2`}},
		{"a window is [start, end) and closes at end + grace", `
sources: {s: {topic: s}}
tables: {result: {from: s v, group_by: v.key, window: {tumbling: 10ms, grace: 5ms}, select: [{n: count()}]}}`,
			[]string{`s a {} @9`, `s a {} @14`, `s a {} @9`, `s a {} @15`, `s a {} @9`},
			[]string{`["a",0] {"n":1} @9`, `["a",10] {"n":1} @14`, `["a",0] {"n":2} @9`, `["a",10] {"n":2} @15`, `dropped result late 1`}},
		{"a jump over several windows loses none of them", `
sources: {s: {topic: s}}
tables: {result: {from: s v, group_by: v.key, window: {tumbling: 10ms}, emit: final, select: [{n: count()}]}}`,
			[]string{`s a {} @5`, `s b {} @6`, `s a {} @12`, `s c {} @99`},
			[]string{`["a",0] {"n":1} @5`, `["b",0] {"n":1} @6`, `["a",10] {"n":1} @12`}},
		{"a session takes what lies no more than its gap away, and merges", `
sources: {s: {topic: s}}
tables: {result: {from: s v, group_by: v.key, window: {session: 10ms, grace: 1s}, select: [{n: count()}]}}`,
			[]string{`s a {} @10`, `s a {} @31`, `s a {} @21`, `s a {} @20`},
			[]string{`["a",10] {"n":1} @10`, `["a",31] {"n":1} @31`, `["a",31] - @31`, `["a",21] {"n":2} @31`, `["a",21] - @31`, `["a",10] {"n":4} @31`}},
		{"bounds of a stream join are inclusive, and an unmatched row leaves once they have passed", `
sources: {l: {topic: l}, r: {topic: r}}
streams: {result: {from: l v, join: [{left: r w, on: v.key == w.key, within: 10ms}], select: [{l: v.n}, {r: w.n}]}}`,
			[]string{`l a {"n":1} @10`, `r a {"n":2} @20`, `l b {"n":3} @20`, `r b {"n":4} @31`, `l c {"n":5} @20`},
			[]string{`a {"l":1,"r":2} @20`, `b {"l":3,"r":null} @20`, `dropped result late 1`}},
	} {
		got := run(t, c.pipeline, c.records...)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got  %s\n want %s", c.name, strings.Join(got, "\n      "), strings.Join(c.want, "\n      "))
		}
	}
}
