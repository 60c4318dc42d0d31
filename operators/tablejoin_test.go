package operators_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// joined is a pipeline that joins tables a, b and c by rest.
func joinedTables(rest string) string {
	return `
pipeline: p
tables:
  a: {topic: a}
  b: {topic: b}
  c: {topic: c}
` + rest
}

// feed produces records "topic key value @time"; "-" is a deletion.
func feed(r *rig, records ...string) {
	r.t.Helper()
	for _, rec := range records {
		var topic, key, val string
		var at int64
		if _, err := fmt.Sscanf(rec, "%s %s %s @%d", &topic, &key, &val, &at); err != nil {
			r.t.Fatalf("%q: %v", rec, err)
		}
		r.produce(topic, key, val, at)
		r.mustRun()
	}
}

func TestTableJoinTellsEveryChange(t *testing.T) {
	const def = `
streams:
  ab: {from: a x, join: [{%s: b y, on: x.key == y.key}], select: [{k: x.key}, {a: x.v}, {b: y.v}]}
sinks:
  out: {from: ab, topic: out}
`
	records := []string{
		`a 1 {"v":1} @10`, `b 1 {"v":2} @5`, `b 1 {"v":3} @20`, `a 1 - @21`, `b 1 - @22`, // left goes first
		`b 2 {"v":4} @30`, `b 2 - @31`, `a 2 - @32`, // nothing on the left
		`a 3 {"v":5} @40`, `b 3 {"v":6} @39`, `b 3 - @41`, `a 3 - @38`,
	}
	for kind, want := range map[string][]string{
		"inner": {`1 {"k":"1","a":1,"b":2} @10`, `1 {"k":"1","a":1,"b":3} @20`, `1 - @21`,
			`3 {"k":"3","a":5,"b":6} @40`, `3 - @41`},
		"left": {`1 {"k":"1","a":1,"b":null} @10`, `1 {"k":"1","a":1,"b":2} @10`, `1 {"k":"1","a":1,"b":3} @20`, `1 - @21`,
			`3 {"k":"3","a":5,"b":null} @40`, `3 {"k":"3","a":5,"b":6} @40`, `3 {"k":"3","a":5,"b":null} @41`, `3 - @38`},
		"outer": {`1 {"k":"1","a":1,"b":null} @10`, `1 {"k":"1","a":1,"b":2} @10`, `1 {"k":"1","a":1,"b":3} @20`,
			`1 {"k":"1","a":null,"b":3} @21`, `1 - @22`,
			`2 {"k":"2","a":null,"b":4} @30`, `2 - @31`,
			`3 {"k":"3","a":5,"b":null} @40`, `3 {"k":"3","a":5,"b":6} @40`, `3 {"k":"3","a":5,"b":null} @41`, `3 - @38`},
	} {
		t.Run(kind, func(t *testing.T) {
			for restart := -1; restart < len(records); restart++ {
				r := newRig(t, joinedTables(fmt.Sprintf(def, kind)), map[string]int{"a": 1, "b": 1, "c": 1, "out": 1})
				for i, rec := range records {
					feed(r, rec)
					if i == restart {
						r.reopen()
					}
				}
				expect(t, fmt.Sprintf("outputs with a restart behind %d", restart), shown(r, "out"), want...)
			}
		})
	}
}

// shown lists "key value @time" of a topic with one partition.
func shown(r *rig, topic string) []string {
	var out []string
	for _, line := range r.show(topic) {
		out = append(out, strings.TrimPrefix(line, "0 "))
	}
	return out
}

func TestChainOfTablesIsJoinedByTheKeyOfAll(t *testing.T) {
	r := newRig(t, joinedTables(`
streams:
  abc:
    from: a x
    join:
      - outer: b y
        on: x.key == y.key
      - left: c z
        on: y.key == z.key
    where: (z.v ?? 0) < 100
    select: [{a: x.v}, {b: y.v}, {c: z.v}]
sinks:
  out: {from: abc, topic: out}
`), map[string]int{"a": 3, "b": 3, "c": 3, "out": 1})
	feed(r, `c 1 {"v":3} @1`, `b 1 {"v":2} @2`, `c 1 {"v":100} @3`, `a 1 {"v":1} @4`, `c 1 {"v":99} @5`, `b 1 - @6`, `a 1 - @7`)
	expect(t, "outputs", shown(r, "out"),
		`1 {"a":null,"b":2,"c":3} @2`, `1 - @3`, `1 {"a":1,"b":2,"c":99} @5`, `1 {"a":1,"b":null,"c":99} @6`, `1 - @7`)
}

func TestTableJoinedWithItself(t *testing.T) {
	r := newRig(t, joinedTables(`
streams:
  aa: {from: a x, join: [{inner: a y, on: x.key == y.key}], select: [{s: x.v + y.v}]}
sinks:
  out: {from: aa, topic: out}
`), map[string]int{"a": 1, "out": 1})
	feed(r, `a 1 {"v":1} @1`, `a 1 {"v":2} @2`, `a 1 - @3`, `a 1 - @4`)
	expect(t, "outputs", shown(r, "out"), `1 {"s":2} @1`, `1 {"s":4} @2`, `1 - @3`)
}

func TestMaterializedTable(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  views: {topic: views}
tables:
  users: {topic: users}
  adults: {from: users u, where: u.age >= 18, select: [{name: u.name}, {at: u.key}]}
streams:
  seen: {from: views v, join: [{inner: adults a, on: v.user == a.key}], select: [{name: a.name}]}
sinks:
  table: {from: adults, topic: table}
  out: {from: seen, topic: out}
`, map[string]int{"users": 1, "views": 1, "table": 1, "out": 1})
	feed(r, `users 1 {"age":17,"name":"Ann"} @1`, `users 1 - @2`, `users 2 {"age":18,"name":"Bob"} @3`,
		`views 2 {"user":"2"} @4`, `users 2 {"age":20,"name":"Bob"} @5`)
	r.reopen()
	feed(r, `views 2 {"user":"2"} @6`, `users 2 {"age":1,"name":"Bob"} @7`, `views 2 {"user":"2"} @8`, `users 2 - @9`)
	expect(t, "table", shown(r, "table"), `2 {"name":"Bob","at":"2"} @3`, `2 {"name":"Bob","at":"2"} @5`, `2 - @7`)
	expect(t, "joined", shown(r, "out"), `2 {"name":"Bob"} @4`, `2 {"name":"Bob"} @6`)
}

// tableModel computes what a pipeline of joins over a, b and c must hold in the end.
func TestJoinsOfJoinsHoldWhatTheTablesHold(t *testing.T) {
	const src = `
pipeline: p
sources:
  hits: {topic: hits}
tables:
  a: {topic: a}
  b: {topic: b, key: value.id}
  n: {from: hits h, group_by: {k: h.k}, select: [{k: k}, {n: count()}]}
  ab: {from: a x, join: [{left: b y, on: x.key == y.key}], select: [{a: x.v}, {b: y.v}]}
  abn: {from: ab x, join: [{outer: n y, on: x.key == y.k}, {left: a z, on: x.key == z.key}], select: [{a: x.a}, {b: x.b}, {n: y.n}, {z: z.v}]}
sinks:
  out: {from: abn, topic: out}
`
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := newRig(t, src, map[string]int{"a": 2, "b": 3, "hits": 2, "out": 1})
		a, b, owner, n := map[string]int{}, map[string]int{}, map[string]string{}, map[string]int{}
		for at := range int64(120) {
			key := fmt.Sprint("k", rnd.IntN(4))
			v := rnd.IntN(9)
			switch rnd.IntN(6) {
			case 0, 1:
				feed(r, fmt.Sprintf(`a %s {"v":%d} @%d`, key, v, at))
				a[key] = v
			case 2:
				feed(r, fmt.Sprintf(`a %s - @%d`, key, at))
				delete(a, key)
			case 3:
				rec := fmt.Sprint("r", key)
				feed(r, fmt.Sprintf(`b %s {"id":"%s","v":%d} @%d`, rec, key, v, at))
				b[key], owner[rec] = v, key
			case 4:
				rec := fmt.Sprint("r", key)
				feed(r, fmt.Sprintf(`b %s - @%d`, rec, at))
				delete(b, owner[rec])
			case 5:
				feed(r, fmt.Sprintf(`hits x {"k":"%s"} @%d`, key, at))
				n[key]++
			}
			if rnd.IntN(10) == 0 {
				r.reopen()
			}
		}
		var want []string
		text := func(m map[string]int, key string) string {
			if v, ok := m[key]; ok {
				return fmt.Sprint(v)
			}
			return "null"
		}
		for i := range 4 {
			key := fmt.Sprint("k", i)
			_, inA := a[key]
			if _, inN := n[key]; !inA && !inN {
				continue
			}
			bText := "null"
			if inA {
				bText = text(b, key)
			}
			want = append(want, fmt.Sprintf(`%s {"a":%s,"b":%s,"n":%s,"z":%s}`, key, text(a, key), bText, text(n, key), text(a, key)))
		}
		expect(t, fmt.Sprintf("rows, seed %d", seed), finalRows(r, "out"), want...)
	}
}

// finalRows is the table that a topic holds, "key value" by key.
func finalRows(r *rig, topic string) []string {
	last := map[string]string{}
	for _, line := range r.values(topic) {
		key, val, _ := strings.Cut(line, " ")
		if last[key] = val; val == "-" {
			delete(last, key)
		}
	}
	var out []string
	for key, val := range last {
		out = append(out, key+" "+val)
	}
	slices.Sort(out)
	return out
}

// A join sees of an aggregated table what its having lets through, whichever
// side the change comes from.
func TestTableJoinHoldsToHaving(t *testing.T) {
	r := newRig(t, `
pipeline: p
sources:
  hits: {topic: hits}
tables:
  a: {topic: a}
  n: {from: hits h, group_by: h.k, having: n >= 2, select: [{n: count()}]}
  byfield: {from: a x, join: [{left: n y, on: x.ref == y.key}], select: [{n: y.n}]}
streams:
  an: {from: a x, join: [{left: n y, on: x.key == y.key}], select: [{v: x.v}, {n: y.n}]}
sinks:
  out: {from: an, topic: out}
  foreign: {from: byfield, topic: foreign}
`, map[string]int{"a": 1, "hits": 1, "out": 1, "foreign": 1})
	feed(r, `hits x {"k":"1"} @1`, `a 1 {"v":1,"ref":"1"} @2`, `hits x {"k":"1"} @3`, `a 1 {"v":2,"ref":"1"} @4`, `a 2 {"v":1,"ref":"3"} @5`,
		`hits x {"k":"3"} @6`, `a 3 {"v":3,"ref":"3"} @7`)
	expect(t, "outputs", r.values("out"), `1 {"v":1,"n":null}`, `1 {"v":1,"n":2}`, `1 {"v":2,"n":2}`, `2 {"v":1,"n":null}`, `3 {"v":3,"n":null}`)
	expect(t, "by a foreign key", r.values("foreign"), `1 {"n":null}`, `1 {"n":2}`, `1 {"n":2}`, `2 {"n":null}`, `3 {"n":null}`)
}

// A row that the result does not hold is no news, whatever else the result holds.
func TestJoinTellsNothingOfRowsThatItDoesNotHold(t *testing.T) {
	r := newRig(t, joinedTables(`
streams:
  abc:
    from: a x
    join:
      - left: b y
        on: x.key == y.key
      - outer: c z
        on: x.key == z.key
    select: [{b: y.v}, {c: z.v}]
sinks:
  out: {from: abc, topic: out}
`), map[string]int{"a": 1, "b": 1, "c": 1, "out": 1})
	feed(r, `c 1 {"v":3} @1`, `b 1 {"v":2} @2`, `a 1 {"v":1} @3`, `a 1 - @4`, `b 1 - @5`, `c 1 - @6`)
	expect(t, "outputs", shown(r, "out"),
		`1 {"b":null,"c":3} @1`, `1 {"b":2,"c":3} @3`, `1 {"b":null,"c":3} @4`, `1 - @6`)
}
