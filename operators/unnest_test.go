package operators_test

import (
	"fmt"
	"slices"
	"testing"
)

func TestUnnest(t *testing.T) {
	src := `
pipeline: p
on_error: skip
sources: {orders: {topic: orders}}
streams:
  lines:
    from: orders o
    unnest: o.items as item
    where: item.n == nil || item.n > 0
    select: [{order: o.id}, {at: item_index}, {sku: item.sku}, {value: item.value}, {whole: item}]
  plain: {from: orders, unnest: 'items ?? tags as item'}
sinks:
  out: {from: lines, topic: out}
  plains: {from: plain, topic: plain, key: string(id)}
`
	r := newRig(t, src, map[string]int{"orders": 1, "out": 1, "plain": 1})
	for i, value := range []string{
		`{"id":1,"items":[{"sku":"a","n":1},{"sku":"b","n":0},{"sku":"c","n":2,"value":7}]}`,
		`{"id":2,"items":[]}`,
		`{"id":3,"tags":["x","y\u00e9"]}`,
		`{"id":4,"items":null}`,
		`{"id":5,"items":{"sku":"d"}}`,
		`{"id":6,"items":[null,[1],1e400,12345678901234567890,"t"]}`,
		"-",
	} {
		r.produce("orders", fmt.Sprint("k", i), value, int64(1000+i))
	}
	r.mustRun()
	expect(t, "out", r.show("out"),
		`0 k0 {"order":1,"at":0,"sku":"a","value":null,"whole":{"sku":"a","n":1}} @1000`,
		`0 k0 {"order":1,"at":2,"sku":"c","value":7,"whole":{"sku":"c","n":2,"value":7}} @1000`,
		`0 k5 {"order":6,"at":0,"sku":null,"value":null,"whole":null} @1005`)
	expect(t, "plain", r.show("plain"),
		`0 1 {"id":1,"items":[{"sku":"a","n":1},{"sku":"b","n":0},{"sku":"c","n":2,"value":7}],"item":{"sku":"a","n":1}} @1000`,
		`0 1 {"id":1,"items":[{"sku":"a","n":1},{"sku":"b","n":0},{"sku":"c","n":2,"value":7}],"item":{"sku":"b","n":0}} @1000`,
		`0 1 {"id":1,"items":[{"sku":"a","n":1},{"sku":"b","n":0},{"sku":"c","n":2,"value":7}],"item":{"sku":"c","n":2,"value":7}} @1000`,
		`0 3 {"id":3,"tags":["x","y\u00e9"],"item":"x"} @1002`,
		`0 3 {"id":3,"tags":["x","y\u00e9"],"item":"yé"} @1002`,
		`0 6 {"id":6,"items":[null,[1],1e400,12345678901234567890,"t"],"item":null} @1005`,
		`0 6 {"id":6,"items":[null,[1],1e400,12345678901234567890,"t"],"item":[1]} @1005`,
		`0 6 {"id":6,"items":[null,[1],1e400,12345678901234567890,"t"],"item":1e400} @1005`,
		`0 6 {"id":6,"items":[null,[1],1e400,12345678901234567890,"t"],"item":12345678901234567890} @1005`,
		`0 6 {"id":6,"items":[null,[1],1e400,12345678901234567890,"t"],"item":"t"} @1005`)
	expect(t, "drops", r.drops(),
		"lines empty-list 3", "lines expression 4", "lines null-value 1", "lines wrong-type 1",
		"plain empty-list 2", "plain null-value 1", "plain wrong-type 1")
}

// TestUnnestTravels: elements go through repartitions, joins with tables and streams,
// dedup and group_by, out of a union.
func TestUnnestTravels(t *testing.T) {
	src := `
pipeline: p
sources:
  a: {topic: a, fields: {id: int, items: [{sku: string, n: int}]}}
  b: {topic: b, fields: {id: int, items: [{sku: string, n: float}]}}
  seen: {topic: seen}
tables:
  names: {topic: names}
  sums:
    from: [a o, b o]
    unnest: o.items as item
    join: [{inner: names x, on: item.sku == x.key}]
    group_by: x.name
    select: [{name: x.name}, {n: sum(item.n)}, {first: 'sum(item_index == 0 ? 1 : 0)'}]
streams:
  views:
    from: [a o, b o]
    unnest: o.items as item
    join:
      - {left: names x, on: item.sku == x.key}
      - {inner: seen s, on: item.sku == s.sku, within: 1h}
    dedup: {by: item.sku, within: 1h}
    select: [{sku: item.sku}, {name: x.name}, {by: s.by}, {k: o.key}]
sinks:
  out: {from: sums, topic: out}
  viewed: {from: views, topic: views}
`
	r := newRig(t, src, map[string]int{"a": 2, "b": 3, "seen": 1, "names": 3, "out": 1, "views": 1})
	for n := range 3 {
		r.produce("names", fmt.Sprintf("s%d", n), fmt.Sprintf(`{"name":"n%d"}`, n%2), 0)
	}
	r.produce("a", "1", `{"id":1,"items":[{"sku":"s0","n":1},{"sku":"s1","n":2},{"sku":"s9","n":100}]}`, 1000)
	r.produce("b", "2", `{"id":2,"items":[{"sku":"s2","n":0.5}]}`, 1001)
	r.produce("b", "3", `{"id":3,"items":[{"sku":"s1","n":4}]}`, 1002)
	r.produce("seen", "-", `{"sku":"s1","by":"me"}`, 1003)
	r.produce("seen", "-", `{"sku":"s9","by":"you"}`, 1003)
	r.mustRun()
	last := map[string]string{}
	for _, line := range r.values("out") {
		last[line[:2]] = line
	}
	if last["n0"] != `n0 {"name":"n0","n":1.5,"first":2}` || last["n1"] != `n1 {"name":"n1","n":6,"first":1}` {
		t.Errorf("sums %v", last)
	}
	views := r.values("views")
	slices.Sort(views)
	if len(views) != 2 || !slices.Contains(views, `1 {"sku":"s9","name":null,"by":"you","k":"1"}`) {
		t.Errorf("views %v", views)
	}
}

// TestUnnestRefusesElements: an element of another type than declared is an error of its own.
func TestUnnestRefusesElements(t *testing.T) {
	src := `
pipeline: p
sources: {a: {topic: a, fields: {ids: [int]}}}
streams: {one: {from: a x, unnest: x.ids as id, select: [{id: id + 1}], on_error: skip}}
sinks: {out: {from: one, topic: out}}
`
	r := newRig(t, src, map[string]int{"a": 1, "out": 1})
	r.produce("a", "k", `{"ids":[1,"x",3]}`, 1000)
	r.mustRun()
	expect(t, "out", r.show("out"), `0 k {"id":2} @1000`, `0 k {"id":4} @1000`)
	expect(t, "drops", r.drops(), "one wrong-type 1")
}
