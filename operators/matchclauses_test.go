package operators_test

import "testing"

// What stands in front of a match and behind it in the same definition.
func TestMatchBetweenOtherClauses(t *testing.T) {
	inBothWays(t, `
pipeline: p
sources:
  letters: {topic: letters}
  replies: {topic: replies}
tables:
  alerts: {topic: queries}
  per_query: {from: hits h, group_by: h.n, select: [{n: h.n}, {docs: count()}]}
streams:
  lines:
    from: letters l
    unnest: l.lines as line
    match: {queries: alerts, text: line}
    dedup: {by: line, within: 1h}
    select: [{line: line}, {at: line_index}, {found: matched_keys}]
  pairs:
    from: letters l
    join: [{inner: replies r, on: l.id == r.to, within: 1m}]
    match: {queries: alerts, text: 'l.title + " " + r.title'}
  hits:
    from: lines x
    where: len(x.found) > 0
    select: [{n: len(x.found)}]
sinks:
  out: {from: lines, topic: out}
  pairs_out: {from: pairs, topic: pairs}
  counts: {from: per_query, topic: counts}
`, "alerts", matchBetweenOtherClauses)
}

func matchBetweenOtherClauses(t *testing.T, src string) {
	r := newRig(t, src, map[string]int{"letters": 2, "replies": 2, "queries": 3, "out": 1, "pairs": 1, "counts": 1})
	tell(r, `queries q1 {"query":"storm"} @1`, `queries q2 {"query":"\"calm storm\" OR sea"} @1`,
		`letters a {"id":1,"title":"calm","lines":["a storm","the sea","a storm","calm"]} @1000`,
		`replies x {"to":1,"title":"storm"} @1001`)
	r.reopen()
	tell(r, `letters b {"id":2,"title":"sea","lines":["a storm","Storm"]} @1002`, `replies y {"to":2,"title":"none"} @1003`)
	expect(t, "lines", r.values("out"),
		`a {"line":"a storm","at":0,"found":["q1"]}`, `a {"line":"the sea","at":1,"found":["q2"]}`, `a {"line":"calm","at":3,"found":[]}`,
		`b {"line":"Storm","at":1,"found":["q1"]}`)
	expect(t, "pairs", r.values("pairs"),
		`a {"id":1,"lines":["a storm","the sea","a storm","calm"],"to":1,"title":"storm","matched_keys":["q1","q2"]}`,
		`b {"id":2,"lines":["a storm","Storm"],"to":2,"title":"none","matched_keys":["q2"]}`)
	expect(t, "counts", r.values("counts"), `1 {"n":1,"docs":1}`, `1 {"n":1,"docs":2}`, `1 {"n":1,"docs":3}`)
}

// Streams that do not lie together have copies of their own of a replicated table, and
// one that joins and matches it has one. A row without a query is told of once for each
// way in which queries are read.
func TestMatchOfReplicatedTables(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  web: {topic: web}
  app: {topic: app}
tables:
  rules: {topic: rules, key: int(value.id), on_error: dead_letter, replicate: true}
streams:
  found:
    from: [web d, app d]
    join: [{left: rules r, on: d.about == r.key}]
    match: {queries: rules, text: d.text}
    select: [{about: r.query}, {found: matched_keys}]
  loud:
    from: web d
    match: {queries: rules, text: d.text, field: 'upper(query)'}
  unread:
    from: app d
    on_error: skip
    match: {queries: rules, text: d.about}
    select: [{text: d.text}]
sinks:
  out: {from: found, topic: out}
  loud_out: {from: loud, topic: loud}
  unread_out: {from: unread, topic: unread}
`, map[string]int{"web": 3, "app": 2, "rules": 2, "out": 1, "loud": 1, "unread": 1})
	tell(r, `rules x {"id":10,"query":"storm or"} @1`, `rules y {"id":9,"query":"storm or calm"} @1`, `rules z {"id":100,"query":"("} @1`)
	tell(r, `web 1 {"about":9,"text":"a Storm or calm"} @2`, `app 2 {"about":8,"text":"or storm"} @3`, `rules y - @4`)
	r.reopen()
	tell(r, `web 3 {"about":9,"text":"a Storm or calm"} @5`)
	expect(t, "found", r.values("out"), `1 {"about":"storm or calm","found":[9,10]}`, `2 {"about":null,"found":[10]}`, `3 {"about":null,"found":[10]}`)
	// In capitals it is an operator, which the second word is missing to.
	expect(t, "loud", r.values("loud"), `1 {"about":9,"text":"a Storm or calm","matched_keys":[9]}`, `3 {"about":9,"text":"a Storm or calm","matched_keys":[]}`)
	expect(t, "unread", r.values("unread"))
	expect(t, "drops", r.drops(), "rules invalid-query 3", "unread wrong-type 1")
	expect(t, "dead letters", r.values("p.dead-letters"), `x {"id":10,"query":"storm or"}`, `z {"id":100,"query":"("}`, `z {"id":100,"query":"("}`)
}

// Without transactions a copy of a document may come twice. What is left over
// of it goes when a later document of the same task is complete.
func TestMatchForgetsRepeatedParts(t *testing.T) {
	r := newRig(t, searching, map[string]int{"documents": 1, "queries": 3, "out": 1})
	tell(r, `queries q {"query":"foo"} @1`, `documents a {"id":1,"f":"foo"} @2`)
	for p := range 2 { // as after a process that died in the midst of sending
		r.append("p.hits.documents", int32(p), r.topics["p.hits.documents"][p][0])
	}
	r.mustRun()
	if n := r.waitingParts(); n != 1 {
		t.Fatalf("%d documents wait for parts, want the repeated one", n)
	}
	r.reopen()
	tell(r, `documents a {"id":2,"f":"foo"} @3`)
	if n := r.waitingParts(); n != 0 {
		t.Errorf("%d documents still wait for parts that will not come", n)
	}
	expect(t, "results", r.values("out"), `a {"id":1,"matches":["q"]}`, `a {"id":2,"matches":["q"]}`)
}

// Two sources with tasks of the same number do not sweep away each other's parts.
func TestMatchSweepsPerSender(t *testing.T) {
	r := newRig(t, replaced(searching, "documents: {topic: documents}", "documents: {topic: documents}\n  notes: {topic: notes}", "from: documents d", "from: [documents d, notes d]"),
		map[string]int{"documents": 1, "notes": 1, "queries": 2, "out": 1})
	tell(r, `queries q {"query":"foo"} @1`)
	r.produce("notes", "n", `{"id":1,"f":"foo"}`, 2)
	r.stepAll("notes")
	// The first partition sees the note; the second only what comes from documents.
	first := r.topics["p.hits.documents"]
	for _, task := range r.tasks {
		if task.sub.Name == "alerts" && task.tc.Partition == 0 {
			for moved := true; moved; {
				var err error
				if moved, err = task.step(false); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	r.stepAll("hits.match")
	late := first[1]
	first[1] = nil
	r.produce("documents", "d", `{"id":2,"f":"foo"}`, 3)
	r.stepAll("documents")
	first[1] = append(first[1], late...) // behind that of the document
	for i := range first[1] {
		first[1][i].Offset = int64(i)
	}
	r.mustRun()
	expect(t, "results", r.values("out"), `d {"id":2,"matches":["q"]}`, `n {"id":1,"matches":["q"]}`)
}

// Queries that have outlived their ttl find nothing more.
func TestMatchQueriesExpire(t *testing.T) {
	r := newRig(t, replaced(searching, "topic: queries", "topic: queries, ttl: 1h"), map[string]int{"documents": 1, "queries": 2, "out": 1})
	tell(r, `queries q1 {"query":"foo"} @1000`, `queries q2 {"query":"foo"} @3000000`, `documents a {"id":1,"f":"foo"} @3000001`,
		`documents a {"id":2,"f":"foo"} @3601001`, `queries q1 {"query":"foo"} @3601002`, `documents a {"id":3,"f":"foo"} @3601003`)
	r.reopen()
	tell(r, `documents a {"id":4,"f":"foo"} @6600001`)
	expect(t, "results", r.values("out"), `a {"id":1,"matches":["q1","q2"]}`, `a {"id":2,"matches":["q2"]}`, `a {"id":3,"matches":["q1","q2"]}`, `a {"id":4,"matches":["q1"]}`)
}

// What a window gives once is a document like any other, also when several of
// them leave at one time.
func TestMatchOfFinalWindows(t *testing.T) {
	r := newRig(t, `pipeline: p
sources:
  facts: {topic: facts, fields: {who: string, what: string}}
tables:
  alerts: {topic: queries}
  sets:
    from: facts f
    group_by: {who: f.who}
    window: {tumbling: 10s}
    emit: final
    select: [{who: f.who}, {things: collect_set(f.what)}]
streams:
  found: {from: sets s, match: {queries: alerts, text: 'join(s.things, " ")'}, select: [{who: s.who}, {found: matched_keys}]}
sinks:
  out: {from: found, topic: out, key: who}
`, map[string]int{"facts": 1, "queries": 3, "out": 1})
	tell(r, `queries both {"query":"a AND b"} @1`, `queries one {"query":"c"} @1`)
	tell(r, `facts k {"who":"x","what":"a"} @1000`, `facts k {"who":"y","what":"c"} @1000`, `facts k {"who":"x","what":"b"} @2000`, `facts k {"who":"z","what":"d"} @3000`)
	r.reopen()
	tell(r, `facts k {"who":"x","what":"a"} @30000`)
	expect(t, "results", r.values("out"), `x {"who":"x","found":["both"]}`, `y {"who":"y","found":["one"]}`, `z {"who":"z","found":[]}`)
}

// What a join of streams has held back is not late behind a match, and meets there what came
// for it meanwhile.
func TestMatchOfWhatWasHeldBack(t *testing.T) {
	r := newRig(t, `pipeline: p
sources:
  letters: {topic: letters}
  replies: {topic: replies}
  stamps: {topic: stamps}
tables:
  alerts: {topic: queries}
streams:
  pairs:
    from: letters l
    join: [{left: replies r, on: l.key == r.key, within: 10m}]
    select: [{text: l.text}]
  found: {from: pairs p, match: {queries: alerts, text: p.text}, select: [{text: p.text}, {found: matched_keys}]}
  stamped:
    from: found f
    join: [{left: stamps s, on: f.key == s.key, within: 5s}]
    select: [{text: f.text}, {stamp: s.name}]
sinks:
  out: {from: stamped, topic: out}
`, map[string]int{"letters": 1, "replies": 1, "stamps": 1, "queries": 1, "out": 1})
	r.produce("letters", "a", `{"text":"foo"}`, 1000)
	r.mustRun()
	r.produce("letters", "b", `{"text":"bar"}`, 1000+10*60_000+2000) // the first one leaves: nobody has replied
	r.mustRun()
	r.produce("stamps", "z", `{}`, 1000+10*60_000+2000)
	r.mustRun()
	expect(t, "held back in time", r.show("out"))
	r.produce("stamps", "a", `{"name":"S"}`, 1002)
	r.mustRun()
	expect(t, "met", r.show("out"), `0 a {"text":"foo","stamp":"S"} @1002`)
}

// Where a row has its query can be said with the table's alias or without it; what an alias
// means is each stream's own.
func TestMatchFieldByAlias(t *testing.T) {
	for field, want := range map[string]string{
		"rule": "bare", "q.rule": "bare", "q": "aliased", "q.rule ?? q.q.rule": "bare", "q.q": "aliased", `value.q`: "aliased",
	} {
		r := newRig(t, replaced(searching, "queries: alerts q", "field: '"+field+"', queries: alerts q"), map[string]int{"documents": 1, "queries": 2, "out": 1})
		tell(r, `queries k {"rule":"bare","q":"aliased"} @1`, `documents a {"id":1,"f":"`+want+`"} @2`)
		expect(t, field, r.values("out"), `a {"id":1,"matches":["k"]}`)
	}
	r := newRig(t, `
pipeline: p
sources:
  documents: {topic: documents}
tables:
  alerts: {topic: queries}
streams:
  mine: {from: documents d, match: {queries: alerts q, text: d.f, field: q.rule}, select: [{mine: matched_keys}]}
  other: {from: documents d, match: {queries: alerts o, text: d.f, field: q.rule}, select: [{other: matched_keys}]}
sinks:
  a: {from: mine, topic: mine}
  b: {from: other, topic: other}
`, map[string]int{"documents": 1, "queries": 1, "mine": 1, "other": 1})
	tell(r, `queries k {"rule":"row","q":{"rule":"member"}} @1`, `documents a {"f":"row"} @2`, `documents b {"f":"member"} @3`)
	expect(t, "by the alias", r.values("mine"), `a {"mine":["k"]}`, `b {"mine":[]}`)
	expect(t, "by the field of that name", r.values("other"), `a {"other":[]}`, `b {"other":["k"]}`)
}
