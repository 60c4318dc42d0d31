package operators_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const topOfTopic = `pipeline: p
tables:
  products: {topic: products, fields: {kind: string, sold: int, name: string}}
  best:
    from: products p
    top: {n: 3, by: p.sold, per: p.kind}
sinks:
  out: {from: best, topic: best, key_format: json}
`

// table applies what a topic holds: the last value of each key.
func (r *rig) table(topic string) map[string]string {
	out := map[string]string{}
	for _, log := range r.topics[topic] {
		for _, rec := range log {
			if rec.Value == nil {
				delete(out, string(rec.Key))
				continue
			}
			out[string(rec.Key)] = string(rec.Value)
		}
	}
	return out
}

// since lists what a topic has got behind the first n records of each key order.
func (r *rig) drain(topic string) []string {
	lines := r.values(topic)
	for p := range r.topics[topic] {
		r.topics[topic][p] = r.topics[topic][p][:0]
	}
	return lines
}

func TestTop(t *testing.T) {
	r := newRig(t, topOfTopic, nil)
	put := func(key, value string) {
		r.produce("products", key, value, 1000)
		r.mustRun()
	}
	put("a", `{"kind":"tea","sold":10}`)
	expect(t, "the first", r.drain("best"), `["tea","a"] {"kind":"tea","sold":10,"rank":1}`)
	put("b", `{"kind":"tea","sold":10}`)
	expect(t, "a tie", r.drain("best"), `["tea","b"] {"kind":"tea","sold":10,"rank":1}`)
	put("c", `{"kind":"tea","sold":5}`)
	expect(t, "behind a tie", r.drain("best"), `["tea","c"] {"kind":"tea","sold":5,"rank":3}`)
	put("d", `{"kind":"tea","sold":1}`)
	expect(t, "behind the border", r.drain("best"))
	put("d", `{"kind":"tea","sold":20}`)
	expect(t, "all move down", r.drain("best"),
		`["tea","a"] {"kind":"tea","sold":10,"rank":2}`, `["tea","b"] {"kind":"tea","sold":10,"rank":2}`,
		`["tea","c"] -`, `["tea","d"] {"kind":"tea","sold":20,"rank":1}`)
	put("b", `{"kind":"tea","sold":2}`)
	expect(t, "one falls out, one moves up", r.drain("best"), `["tea","b"] -`, `["tea","c"] {"kind":"tea","sold":5,"rank":3}`)
	put("a", `{"kind":"tea","sold":10,"name":"x"}`)
	expect(t, "same rank, other row", r.drain("best"), `["tea","a"] {"kind":"tea","sold":10,"name":"x","rank":2}`)
	put("a", `{"kind":"tea","sold":10,"name":"x"}`)
	expect(t, "nothing new", r.drain("best"))
	put("a", `{"kind":"jam","sold":10,"name":"x"}`)
	expect(t, "to another group", r.drain("best"), `["jam","a"] {"kind":"jam","sold":10,"name":"x","rank":1}`, `["tea","a"] -`,
		`["tea","b"] {"kind":"tea","sold":2,"rank":3}`, `["tea","c"] {"kind":"tea","sold":5,"rank":2}`)
	put("d", "-")
	expect(t, "a deletion", r.drain("best"), `["tea","b"] {"kind":"tea","sold":2,"rank":2}`, `["tea","c"] {"kind":"tea","sold":5,"rank":1}`, `["tea","d"] -`)
	put("c", `{"sold":50}`)
	expect(t, "no group", r.drain("best"), `["tea","b"] {"kind":"tea","sold":2,"rank":1}`, `["tea","c"] -`)
	expect(t, "drops", r.drops(), "best null-key 1")
}

func TestTiesAtTheBorderAreDecidedBySmallerKey(t *testing.T) {
	r := newRig(t, `pipeline: p
tables:
  n: {topic: n, key_format: long, fields: {x: float}}
  best: {from: n, top: {n: 2, by: x, order: asc}}
sinks:
  out: {from: best, topic: best}
`, nil)
	put := func(key byte, value string) {
		r.produce("n", string([]byte{0, 0, 0, 0, 0, 0, 0, key}), value, 1000)
	}
	put(100, `{"x":1}`)
	put(9, `{"x":1.0}`)
	put(11, `{"x":1}`)
	put(2, `{"x":null}`)
	r.mustRun()
	expect(t, "two of three", sortedTable(r.table("best")), `11 {"x":1,"rank":1}`, `9 {"x":1.0,"rank":1}`)
	put(9, "-")
	put(11, "-")
	r.mustRun()
	expect(t, "null comes last", sortedTable(r.table("best")), `100 {"x":1,"rank":1}`, `2 {"x":null,"rank":2}`)
}

func sortedTable(rows map[string]string) []string {
	var out []string
	for k, v := range rows {
		out = append(out, k+" "+v)
	}
	slices.Sort(out)
	return out
}

const topList = `pipeline: p
sources:
  pairs: {topic: pairs, fields: {a: int, b: int}}
tables:
  counts:
    from: pairs
    group_by: {a: a, b: b}
    select: [{a: a}, {id: b}, {count: count()}]
  also:
    from: counts c
    select: [{id: c.id}, {count: c.count}]
    top: {n: 2, by: count, per: 'key[0]', list: also_viewed}
sinks:
  out: {from: also, topic: also}
`

func TestTopAsList(t *testing.T) {
	r := newRig(t, topList, nil)
	pair := func(a, b int) {
		r.produce("pairs", "k", fmt.Sprintf(`{"a":%d,"b":%d}`, a, b), 1000)
		r.mustRun()
	}
	pair(4321, 6)
	pair(4321, 5)
	expect(t, "tie by smaller key", r.drain("also"), `4321 {"also_viewed":[{"id":6,"count":1}]}`, `4321 {"also_viewed":[{"id":5,"count":1},{"id":6,"count":1}]}`)
	pair(4321, 7)
	expect(t, "behind the border", r.drain("also"))
	pair(4321, 7)
	expect(t, "in", r.drain("also"), `4321 {"also_viewed":[{"id":7,"count":2},{"id":5,"count":1}]}`)
}

func TestTopTableIsKeptToBeJoined(t *testing.T) {
	r := newRig(t, replaced(topOfTopic, "sinks:\n", `  ranks: {from: best}
sources:
  asks: {topic: asks, fields: {kind: string, id: string}}
streams:
  answers:
    from: asks q
    join: [{left: ranks r, on: "q.kind == r.key[0] && q.id == r.key[1]"}]
    select: [{id: q.id}, {rank: r.rank}]
sinks:
  answered: {from: answers, topic: answers}
`), nil)
	r.produce("products", "a", `{"kind":"tea","sold":10}`, 1000)
	r.produce("products", "b", `{"kind":"tea","sold":11}`, 1000)
	r.mustRun()
	r.produce("asks", "-", `{"kind":"tea","id":"a"}`, 2000)
	r.produce("asks", "-", `{"kind":"tea","id":"b"}`, 2001)
	r.produce("asks", "-", `{"kind":"tea","id":"c"}`, 2002)
	r.mustRun()
	expect(t, "answers", r.values("answers"), `- {"id":"a","rank":2}`, `- {"id":"b","rank":1}`, `- {"id":"c","rank":null}`)
}

// TestTopAgainstSorting compares the table that the sink's topic makes with one
// that is sorted anew, after random changes and restarts.
func TestTopAgainstSorting(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		n := 1 + rnd.IntN(4)
		// With many rows only the beginning of a group is in memory: it grows short and is read again.
		keys, steps, values := 8, 120, 4
		if seed%2 == 1 {
			keys, steps, values = 70, 500, 60
		}
		r := newRig(t, replaced(topOfTopic, "n: 3", fmt.Sprintf("n: %d", n)), nil)
		type row struct {
			kind string
			sold int
		}
		rows := map[string]row{}
		for step := range steps {
			key := string(rune('0' + rnd.IntN(keys)))
			if rnd.IntN(5) == 0 || keys > 8 && step > steps/2 && rnd.IntN(5) > 0 {
				delete(rows, key)
				r.produce("products", key, "-", int64(step))
			} else {
				rows[key] = row{[]string{"tea", "jam"}[rnd.IntN(2)], rnd.IntN(values)}
				r.produce("products", key, fmt.Sprintf(`{"kind":%q,"sold":%d}`, rows[key].kind, rows[key].sold), int64(step))
			}
			if rnd.IntN(10) == 0 && (keys == 8 || step < steps/2) {
				r.mustRun()
				r.reopen()
			}
		}
		r.mustRun()
		var want []string
		for _, kind := range []string{"jam", "tea"} {
			var keys []string
			for k, v := range rows {
				if v.kind == kind {
					keys = append(keys, k)
				}
			}
			slices.SortFunc(keys, func(a, b string) int {
				if c := rows[b].sold - rows[a].sold; c != 0 {
					return c
				}
				return strings.Compare(a, b)
			})
			rank := 0
			for i, k := range keys[:min(n, len(keys))] {
				if i == 0 || rows[k].sold != rows[keys[i-1]].sold {
					rank = i + 1
				}
				want = append(want, fmt.Sprintf(`[%q,%q] {"kind":%q,"sold":%d,"rank":%d}`, kind, k, kind, rows[k].sold, rank))
			}
		}
		slices.Sort(want)
		expect(t, fmt.Sprintf("seed %d", seed), sortedTable(r.table("best")), want...)
	}
}

// The sides of a join of tables come to a top through one topic.
func TestTopOfAJoinOfTables(t *testing.T) {
	r := newRig(t, `pipeline: p
tables:
  a: {topic: a}
  b: {topic: b}
  best:
    from: a x
    join: [{inner: b y, on: x.key == y.key}]
    select: [{kind: x.kind}, {sold: y.sold}]
    top: {n: 1, by: sold, per: kind}
sinks:
  out: {from: best, topic: best}
`, nil)
	feed(r, `a 1 {"kind":"tea"} @1`, `b 1 {"sold":3} @2`, `b 2 {"sold":4} @3`, `a 2 {"kind":"tea"} @4`)
	expect(t, "rows", sortedTable(r.table("best")), `["tea","2"] {"kind":"tea","sold":4,"rank":1}`)
}

func TestTopOfGroupsInOneDefinition(t *testing.T) {
	r := newRig(t, `pipeline: p
sources:
  views: {topic: views, fields: {page: string, site: string}}
tables:
  best:
    from: views v
    where: v.page != "x"
    group_by: {site: v.site, page: v.page}
    select: [{site: site}, {page: page}, {views: count()}]
    top: {n: 1, by: views, per: site}
sinks:
  out: {from: best, topic: out}
`, nil)
	for _, page := range []string{"a", "b", "x", "x", "b"} {
		r.produce("views", "k", fmt.Sprintf(`{"page":%q,"site":"s"}`, page), 1000)
		r.mustRun()
	}
	expect(t, "the first", r.values("out"), `["s","a"] {"site":"s","page":"a","views":1,"rank":1}`, `["s","a"] -`, `["s","b"] {"site":"s","page":"b","views":2,"rank":1}`)
	var tables []string
	for _, s := range r.topology.Subs {
		for _, spec := range s.Tables {
			tables = append(tables, spec.Name)
		}
	}
	slices.Sort(tables)
	expect(t, "states", tables, "best", "best.top")
}

// TestTopOverRestarts restarts behind every record: of a list, of ranks that move
// between groups, and of a table that is kept from them.
func TestTopOverRestarts(t *testing.T) {
	src := replaced(topOfTopic, "sinks:\n", `  kept: {from: best}
  lists: {from: products p, select: [{name: p.name}, {sold: p.sold}], top: {n: 2, by: sold, order: asc, per: '"all"', list: least}}
sinks:
  kept_out: {from: kept, topic: kept, key_format: json}
  lists_out: {from: lists, topic: lists}
`)
	script := []input{
		{"products", "a", `{"kind":"tea","sold":10,"name":"A"}`, 1000},
		{"products", "b", `{"kind":"tea","sold":10,"name":"B"}`, 900},
		{"products", "c", `{"kind":"tea","sold":12,"name":"C"}`, 1100},
		{"products", "d", `{"kind":"tea","sold":11,"name":"D"}`, 1100},
		{"products", "a", `{"kind":"jam","sold":10,"name":"A"}`, 1200},
		{"products", "b", `{"kind":null,"sold":10,"name":"B"}`, 1300},
		{"products", "c", "-", 1400},
		{"products", "b", `{"kind":"tea","sold":1,"name":"B"}`, 1500},
		{"products", "x", "-", 1600},
	}
	r := everyRestart(t, src, map[string]int{"products": 1, "best": 1, "kept": 1, "lists": 1}, script, "best", "kept", "lists")
	expect(t, "kept", sortedTable(r.table("kept")), `["jam","a"] {"kind":"jam","sold":10,"name":"A","rank":1}`,
		`["tea","b"] {"kind":"tea","sold":1,"name":"B","rank":2}`, `["tea","d"] {"kind":"tea","sold":11,"name":"D","rank":1}`)
	expect(t, "list", sortedTable(r.table("lists")), `all {"least":[{"name":"B","sold":1},{"name":"A","sold":10}]}`)
}

// The groups of a top's rows lie by their own key: they can be joined.
func TestGroupsOfATopAreFound(t *testing.T) {
	r := newRig(t, replaced(topOfTopic, "sinks:\n", `  per_name: {from: best b, group_by: b.name, select: [{n: count()}]}
sources:
  asks: {topic: asks}
streams:
  answers: {from: asks q, join: [{left: per_name c, on: q.key == c.key}], select: [{n: c.n}]}
sinks:
  answered: {from: answers, topic: answers}
`), nil)
	feed(r, `products a {"kind":"tea","sold":1,"name":"x"} @1`, `products b {"kind":"jam","sold":2,"name":"x"} @2`, `asks x {} @3`)
	expect(t, "answers", r.values("answers"), `x {"n":2}`)
}
