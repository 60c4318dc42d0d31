package operators_test

import "testing"

// A window that is given once is a fact: what it holds can be taken apart, and
// counted without ever being taken back.
func TestUnnestOfFinalWindows(t *testing.T) {
	r := newRig(t, `pipeline: p
sources:
  facts: {topic: facts, fields: {who: string, what: string}}
tables:
  sets:
    from: facts f
    group_by: {who: f.who}
    window: {tumbling: 10s}
    emit: final
    select: [{things: collect_set(f.what)}]
  counts: {from: each e, group_by: {what: e.what}, select: [{n: count()}]}
streams:
  each: {from: sets s, unnest: s.things as what, select: [{what: what}]}
sinks:
  out: {from: counts, topic: counts}
`, map[string]int{"facts": 1})
	for i, what := range []string{"a", "b", "a", "c"} {
		r.produce("facts", "k", `{"who":"x","what":"`+what+`"}`, int64(1000*i))
	}
	r.produce("facts", "k", `{"who":"x","what":"b"}`, 12_000)
	r.produce("facts", "k", `{"who":"x","what":"z"}`, 30_000)
	r.mustRun()
	expect(t, "counts", r.values("counts"), `a {"n":1}`, `b {"n":1}`, `b {"n":2}`, `c {"n":1}`)
}
