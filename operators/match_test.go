package operators_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"streamctl/state"
)

const searching = `
pipeline: p
sources:
  documents: {topic: documents}
tables:
  alerts: {topic: queries, on_error: skip}
streams:
  hits:
    from: documents d
    match: {queries: alerts q, text: d.f}
    select: [{id: d.id}, {matches: matched_keys}]
sinks:
  out: {from: hits, topic: out}
`

// inBothWays runs a test with the table called name as it is, and replicated.
func inBothWays(t *testing.T, src, name string, test func(t *testing.T, src string)) {
	t.Helper()
	t.Run("split", func(t *testing.T) { test(t, src) })
	t.Run("replicated", func(t *testing.T) { test(t, replaced(src, "  "+name+": {", "  "+name+": {replicate: true, ")) })
}

// The story of streaming search: queries come, change and go; every document
// gives one result, with the keys of all queries that were there.
func TestMatchStreamingSearch(t *testing.T) {
	inBothWays(t, searching, "alerts", func(t *testing.T, src string) {
		for _, partitions := range []int{1, 3} {
			r := newRig(t, src, map[string]int{"documents": 2, "queries": partitions, "out": 1})
			tell(r, `queries q1 {"query":"foo AND bar"} @1`, `queries q2 {"query":"bar AND baz"} @1`)
			tell(r, `documents doc1 {"id":1,"f":"this has foo and bar only"} @2`, `documents doc2 {"id":2,"f":"bar and baz."} @3`,
				`documents doc3 {"id":3,"f":"foo, bar and baz"} @4`, `documents doc4 {"id":4,"f":"none"} @5`)
			tell(r, `queries q1 - @6`, `documents doc5 {"id":5,"f":"foo bar"} @7`)
			tell(r, `queries q2 {"query":"NOT bar"} @8`, `documents doc6 {"id":6,"f":"Bar"} @9`, `documents doc7 {"id":7} @10`)
			expect(t, "results", r.values("out"),
				`doc1 {"id":1,"matches":["q1"]}`, `doc2 {"id":2,"matches":["q2"]}`, `doc3 {"id":3,"matches":["q1","q2"]}`,
				`doc4 {"id":4,"matches":[]}`, `doc5 {"id":5,"matches":[]}`, `doc6 {"id":6,"matches":[]}`, `doc7 {"id":7,"matches":["q2"]}`)
		}
	})
}

// A restart between any two records changes nothing: the index is made anew from
// the state, and parts that are waiting are not lost.
func TestMatchIsRestartedAnywhere(t *testing.T) {
	script := []string{
		`queries q1 {"query":"foo AND bar"} @1`, `queries q2 {"query":"\"bar baz\" OR x*"} @1`, `queries q3 {"query":"foo"} @1`, `queries q4 {"query":"NOT foo"} @1`,
		`documents a {"id":1,"f":"foo bar baz"} @2`, `documents b {"id":2,"f":"xylophone"} @3`,
		`queries q3 {"query":"xylophone"} @4`, `queries q1 - @4`,
		`documents a {"id":3,"f":"foo bar baz"} @5`, `documents b {"id":4,"f":"a xylophone of foo"} @6`,
	}
	run := func(src string, at int) []string {
		r := newRig(t, src, map[string]int{"documents": 2, "queries": 3, "out": 1})
		for i, line := range script {
			tell(r, line)
			if i == at {
				r.reopen()
			}
		}
		return r.values("out")
	}
	inBothWays(t, searching, "alerts", func(t *testing.T, src string) {
		want := run(src, -1)
		expect(t, "without a restart", want,
			`a {"id":1,"matches":["q1","q2","q3"]}`, `a {"id":3,"matches":["q2"]}`, `b {"id":2,"matches":["q2","q4"]}`, `b {"id":4,"matches":["q2","q3"]}`)
		for at := range script {
			expect(t, fmt.Sprint("restart behind ", at), run(src, at), want...)
		}
	})
}

// Between the parts of a document lies a restart: its result comes once, when
// the last part is there.
func TestMatchIsRestartedBetweenParts(t *testing.T) {
	for _, order := range [][]int32{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		r := newRig(t, searching, map[string]int{"documents": 1, "queries": 3, "out": 1})
		for i := range 9 {
			tell(r, fmt.Sprintf(`queries q%d {"query":"foo"} @1`, i))
		}
		for i := range 4 {
			r.produce("documents", "d", fmt.Sprintf(`{"id":%d,"f":"foo"}`, i), int64(10+i))
		}
		all := `["q0","q1","q2","q3","q4","q5","q6","q7","q8"]`
		for i, p := range order {
			for _, task := range r.tasks { // the queries of one partition see all documents, the others none
				if task.sub.Name != "alerts" || task.tc.Partition == p {
					for {
						moved, err := task.step(false)
						if err != nil {
							t.Fatal(err)
						}
						if !moved {
							break
						}
					}
				}
			}
			r.stepAll("hits.match")
			if i < 2 {
				expect(t, "results before the last part", r.values("out"))
			}
			r.reopen()
			r.stepAll("hits.match")
		}
		r.mustRun()
		expect(t, fmt.Sprint("results ", order), r.values("out"),
			`d {"id":0,"matches":`+all+`}`, `d {"id":1,"matches":`+all+`}`, `d {"id":2,"matches":`+all+`}`, `d {"id":3,"matches":`+all+`}`)
		for _, task := range r.tasks {
			if table := task.tc.Tables["hits.match"]; table != nil {
				if n := countRows(t, table); n != 0 {
					t.Errorf("%d documents are still waiting for parts", n)
				}
			}
		}
	}
}

// stepAll runs the tasks of one sub-topology to the end of what is there.
func (r *rig) stepAll(sub string) {
	r.t.Helper()
	for _, task := range r.tasks {
		for task.sub.Name == sub {
			moved, err := task.step(false)
			if err != nil {
				r.t.Fatal(err)
			}
			if !moved {
				break
			}
		}
	}
}

// Queries that cannot be read are errors of the table, and those that they
// were before are gone; what is wrong is said.
func TestMatchInvalidQueries(t *testing.T) {
	inBothWays(t, searching, "alerts", invalidQueries)
}

func invalidQueries(t *testing.T, src string) {
	r := newRig(t, src, map[string]int{"documents": 3, "queries": 1, "out": 1})
	tell(r, `queries a {"query":"foo"} @1`, `queries b {"query":"foo AND"} @1`, `queries c {} @1`, `queries d {"query":7} @1`)
	tell(r, `documents 1 {"id":1,"f":"foo"} @2`, `queries a {"query":"("} @3`, `documents 2 {"id":2,"f":"foo"} @4`)
	r.reopen()
	tell(r, `documents 3 {"id":3,"f":"foo"} @5`, `queries b {"query":"foo"} @6`, `documents 4 {"id":4,"f":"foo"} @7`)
	expect(t, "results", r.values("out"), `1 {"id":1,"matches":["a"]}`, `2 {"id":2,"matches":[]}`, `3 {"id":3,"matches":[]}`, `4 {"id":4,"matches":["b"]}`)
	expect(t, "drops", r.drops(), "alerts invalid-query 4")

	strict := newRig(t, replaced(src, ", on_error: skip", ""), map[string]int{"documents": 1, "queries": 1, "out": 1})
	strict.produce("queries", "b", `{"query":"foo AND"}`, 1)
	err := strict.run()
	if err == nil || !strings.Contains(err.Error(), `queries/0@0 in alerts`) || !strings.Contains(err.Error(), `at character 8: expected a word`) {
		t.Errorf("error %v", err)
	}

	letters := newRig(t, replaced(src, "on_error: skip", "on_error: dead_letter"), map[string]int{"documents": 1, "queries": 1, "out": 1})
	tell(letters, `queries b {"query":"foo AND"} @1`)
	expect(t, "dead letters", letters.values("p.dead-letters"), `b {"query":"foo AND"}`)
}

// Fields of an object, several streams over one table, keys that are numbers,
// a re-keyed table, a union, a join in front and a filter above.
func TestMatchInItsSurroundings(t *testing.T) {
	inBothWays(t, `
pipeline: p
sources:
  web: {topic: web}
  app: {topic: app}
tables:
  rules: {topic: rules, key: int(value.id), value: value.rule}
  names: {topic: names}
streams:
  found:
    from: [web d, app d]
    where: d.id > 0
    join: [{left: names n, on: d.author == n.key}]
    match: {queries: rules, text: '{title: d.title, body: d.body}', field: text}
  hits:
    from: found
    where: len(matched_keys) > 0
  titles:
    from: web d
    match: {queries: rules, text: d.title, field: text}
    select: [{n: len(matched_keys)}, {first: 'matched_keys[0] ?? -1'}]
sinks:
  out: {from: hits, topic: out}
  counted: {from: titles, topic: titles, key: n, key_format: int}
`, "rules", matchInItsSurroundings)
}

func matchInItsSurroundings(t *testing.T, src string) {
	r := newRig(t, src, map[string]int{"web": 3, "app": 2, "rules": 2, "names": 2, "out": 1, "titles": 1})
	tell(r, `rules x {"id":10,"rule":{"text":"title:storm"}} @1`, `rules y {"id":9,"rule":{"text":"storm"}} @1`, `rules z {"id":100,"rule":{"text":"\"the storm\""}} @1`,
		`names ann {"name":"Ann"} @1`)
	tell(r, `web 1 {"id":1,"author":"ann","title":"The Storm","body":"it rains"} @2`, `app 2 {"id":2,"author":"bob","title":"Calm before","body":"the\u0020storm"} @3`,
		`web 3 {"id":3,"author":"ann","title":"Sun"} @4`, `web 4 {"id":-4,"author":"ann","title":"storm"} @5`)
	expect(t, "hits", r.values("out"),
		`1 {"id":1,"author":"ann","title":"The Storm","body":"it rains","name":"Ann","matched_keys":[9,10,100]}`,
		`2 {"id":2,"author":"bob","title":"Calm before","body":"the\u0020storm","matched_keys":[9,100]}`)
	var titles []string
	for _, line := range r.show("titles") {
		titles = append(titles, line[strings.Index(line, "{"):strings.Index(line, " @")])
	}
	expect(t, "titles", slices.Sorted(slices.Values(titles)), `{"n":0,"first":-1}`, `{"n":1,"first":9}`, `{"n":2,"first":9}`)
}

// Results of one task's documents keep their order, and headers, key and time
// go with them.
func TestMatchKeepsOrderAndHeaders(t *testing.T) {
	inBothWays(t, searching, "alerts", func(t *testing.T, src string) {
		r := newRig(t, replaced(src, "select: [{id: d.id}, {matches: matched_keys}]", "select: [{id: d.id}]"),
			map[string]int{"documents": 3, "queries": 4, "out": 3})
		for i := range 30 {
			r.produce("documents", fmt.Sprint("key", i%5), fmt.Sprintf(`{"id":%d,"f":"x"}`, i), int64(100-i))
		}
		r.mustRun()
		for key := range 5 {
			var ids []string
			for _, line := range r.values("out") {
				if strings.HasPrefix(line, fmt.Sprint("key", key, " ")) {
					ids = append(ids, line)
				}
			}
			var want []string
			for i := key; i < 30; i += 5 {
				want = append(want, fmt.Sprintf(`key%d {"id":%d}`, key, i))
			}
			expect(t, fmt.Sprint("documents of key", key), ids, want...)
		}
	})
}

// A text that cannot be searched is an error of the document.
func TestMatchTextOfAnotherKind(t *testing.T) {
	inBothWays(t, searching, "alerts", func(t *testing.T, src string) {
		r := newRig(t, replaced(src, "match:", "on_error: skip\n    match:"), map[string]int{"documents": 1, "queries": 2, "out": 1})
		tell(r, `documents a {"id":1,"f":7} @1`, `documents a {"id":2,"f":["x"]} @1`, `documents a {"id":3,"f":null} @1`, `documents a - @1`)
		expect(t, "results", r.values("out"), `a {"id":3,"matches":[]}`)
		expect(t, "drops", r.drops(), "hits null-value 1", "hits wrong-type 2")
	})
}

// tell is feed for values with spaces in them.
func tell(r *rig, records ...string) {
	r.t.Helper()
	for _, rec := range records {
		at := strings.LastIndex(rec, " @")
		parts := strings.SplitN(rec[:at], " ", 3)
		time, err := strconv.ParseInt(rec[at+2:], 10, 64)
		if err != nil {
			r.t.Fatalf("%q: %v", rec, err)
		}
		r.produce(parts[0], parts[1], parts[2], time)
		r.mustRun()
	}
}

func countRows(t *testing.T, table *state.Table) (n int) {
	t.Helper()
	if err := table.Scan(nil, nil, func([]byte, *state.Row) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	return n
}
