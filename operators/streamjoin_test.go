package operators_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/state"
)

// streamJoinPipeline joins orders with payments; KIND and BOUNDS are filled in.
const streamJoinPipeline = `
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments}
streams:
  paid:
    from: orders o
    join: [{KIND: payments p, on: o.key == p.key, BOUNDS}]
    select: [{o: o.id}, {p: p.id}]
sinks:
  out: {from: paid, topic: out}
`

func paid(kind, bounds string) string {
	return replaced(streamJoinPipeline, "KIND", kind, "BOUNDS", bounds)
}

// single gives every topic of streamJoinPipeline one partition.
func single() map[string]int { return map[string]int{"orders": 1, "payments": 1, "out": 1} }

func TestStreamJoinInner(t *testing.T) {
	r := everyRestart(t, paid("inner", "within: 10ms"), single(), []input{
		{"orders", "a", `{"id":1}`, 1000},
		{"payments", "a", `{"id":2}`, 989}, // late by one
		{"payments", "a", `{"id":3}`, 990}, // exactly on
		{"payments", "b", `{"id":4}`, 1000},
		{"payments", "a", `{"id":5}`, 1010},
		{"payments", "a", `{"id":6}`, 1010}, // equal times
		{"payments", "a", `{"id":7}`, 1011}, // one behind
		{"orders", "a", `{"id":8}`, 1011},
		{"orders", "-", `{"id":9}`, 1011},
		{"orders", "a", `-`, 1011},
		{"payments", "a", `null`, 1011},
	}, "out")
	expect(t, "out", r.show("out"),
		`0 a {"o":1,"p":3} @1000`,
		`0 a {"o":1,"p":5} @1010`,
		`0 a {"o":1,"p":6} @1010`,
		`0 a {"o":8,"p":5} @1011`,
		`0 a {"o":8,"p":6} @1011`,
		`0 a {"o":8,"p":7} @1011`)
	expect(t, "drops", r.drops(), "paid late 1", "paid null-key 1", "paid null-value 2")
}

func TestStreamJoinLeft(t *testing.T) {
	r := everyRestart(t, paid("left", "before: 0ms, after: 10ms, grace: 5ms"), single(), []input{
		{"orders", "a", `{"id":1}`, 1000},
		{"orders", "b", `{"id":2}`, 1001},
		{"payments", "a", `{"id":3}`, 999}, // not before
		{"orders", "-", `{"id":4}`, 1002},  // a null key waits for nobody
		{"payments", "-", `{"id":5}`, 1002},
		{"payments", "a", `{"id":6}`, 1015}, // time moves to the end of the grace of 1
		{"payments", "a", `{"id":7}`, 1010}, // a late partner, just in time
		{"payments", "x", `{"id":8}`, 1016}, // 1 has been matched
		{"payments", "x", `{"id":9}`, 1017}, // now 2 leaves
		{"payments", "b", `{"id":10}`, 1012},
		{"orders", "b", `{"id":11}`, 1001}, // too late
		{"orders", "b", `{"id":12}`, 1002}, // just in time
		{"payments", "x", `{"id":13}`, 9000},
	}, "out")
	expect(t, "out", r.show("out"),
		`0 - {"o":4,"p":null} @1002`,
		`0 a {"o":1,"p":7} @1010`,
		`0 b {"o":2,"p":null} @1001`,
		`0 b {"o":12,"p":10} @1012`)
	expect(t, "drops", r.drops(), "paid late 1", "paid no-match 4", "paid null-key 1")
}

func TestStreamJoinOuter(t *testing.T) {
	r := everyRestart(t, paid("outer", "within: 10ms"), single(), []input{
		{"orders", "a", `{"id":1}`, 1000},
		{"payments", "b", `{"id":2}`, 1000},
		{"orders", "b", `{"id":3}`, 1005},
		{"payments", "c", `{"id":4}`, 1005},
		{"payments", "-", `{"id":5}`, 1005},
		{"orders", "-", `{"id":6}`, 1005},
		{"orders", "c", `{"id":7}`, 1003},
		{"orders", "d", `{"id":8}`, 1004},
		{"payments", "e", `{"id":9}`, 1002},
		{"payments", "z", `{"id":10}`, 2000}, // a jump: all leave, in the order of their times
	}, "out")
	expect(t, "out", r.show("out"),
		`0 b {"o":3,"p":2} @1005`,
		`0 - {"o":null,"p":5} @1005`,
		`0 - {"o":6,"p":null} @1005`,
		`0 c {"o":7,"p":4} @1005`,
		`0 a {"o":1,"p":null} @1000`,
		`0 e {"o":null,"p":9} @1002`,
		`0 d {"o":8,"p":null} @1004`)
}

// TestStreamJoinCarries: the key and headers of a pair are the left record's,
// also where both come from the state; those of an unmatched right one its own.
func TestStreamJoinCarries(t *testing.T) {
	src := `
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments, key_format: int}
streams:
  paid:
    from: orders o
    join: [{outer: payments p, on: o.n == p.n && o.m == p.m, within: 10ms}]
sinks:
  out: {from: paid, topic: out}
  keys: {from: keyed, topic: keys, key: k}
`
	src = strings.Replace(src, "sinks:", `  keyed: {from: paid x, select: [{k: x.o.n}]}
sinks:`, 1)
	src = strings.Replace(src, "within: 10ms}]", "within: 10ms}]\n    select: [{o: o}, {p: p}, {ok: o.key}, {pk: p.key}]", 1)
	r := newRig(t, src, map[string]int{"orders": 3, "payments": 2, "out": 1, "keys": 1})
	h := func(name, value string) record.Header { return record.Header{Key: name, Value: []byte(value)} }
	four := string([]byte{0, 0, 0, 4})
	r.produce("payments", four, `{"n":1,"m":"x","big":12345678901234567890}`, 1000, h("from", "payment"), h("empty", ""))
	r.produce("orders", "ord", `{"n":1.0,"m":"x"}`, 1001, h("from", "order"))
	r.produce("payments", four, `{"n":2,"m":"x"}`, 1002, h("from", "other"))
	r.mustRun()
	r.reopen()
	r.produce("payments", four, `{"n":1,"m":"x"}`, 1003)
	r.mustRun()
	for p := range 3 { // time moves in all tasks
		r.append("orders", int32(p), record.Record{Key: []byte("z"), Value: []byte(fmt.Sprintf(`{"n":%d,"m":null}`, p)), Time: 5000})
	}
	for n := range 20 {
		r.produce("payments", four, fmt.Sprintf(`{"n":%d,"m":"time"}`, n), 5000)
	}
	r.mustRun()
	var got []string
	for _, rec := range r.topics["out"][0] {
		if rec.Time < 5000 {
			got = append(got, fmt.Sprintf("%q %s %v @%d", rec.Key, rec.Value, rec.Headers, rec.Time))
		}
	}
	slices.Sort(got)
	expect(t, "out", got,
		`"4" {"o":null,"p":{"n":2,"m":"x"},"ok":null,"pk":4} [{from [111 116 104 101 114]}] @1002`,
		`"ord" {"o":{"n":1.0,"m":"x"},"p":{"n":1,"m":"x","big":12345678901234567890},"ok":"ord","pk":4} [{from [111 114 100 101 114]}] @1001`,
		`"ord" {"o":{"n":1.0,"m":"x"},"p":{"n":1,"m":"x"},"ok":"ord","pk":4} [{from [111 114 100 101 114]}] @1003`)
}

// TestStreamJoinWithItself: a record meets all others of its key, and itself once.
func TestStreamJoinWithItself(t *testing.T) {
	src := `
pipeline: p
sources: {views: {topic: views}}
streams:
  pairs:
    from: views a
    join: [{inner: views b, on: a.key == b.key, within: 10ms}]
    select: [{a: a.id}, {b: b.id}]
sinks: {out: {from: pairs, topic: out}}
`
	r := everyRestart(t, src, map[string]int{"views": 1, "out": 1}, []input{
		{"views", "x", `{"id":1}`, 1000},
		{"views", "x", `{"id":2}`, 1010},
		{"views", "x", `{"id":3}`, 1011},
		{"views", "y", `{"id":4}`, 1011},
	}, "out")
	expect(t, "out", r.values("out"),
		`x {"a":1,"b":1}`,
		`x {"a":2,"b":1}`, `x {"a":1,"b":2}`, `x {"a":2,"b":2}`,
		`x {"a":3,"b":2}`, `x {"a":2,"b":3}`, `x {"a":3,"b":3}`,
		`y {"a":4,"b":4}`)
}

// TestStreamJoinChain joins three streams and a table in one definition. Rows that
// the first join has held back are not late for the second, whether time
// moves in small steps or jumps.
func TestStreamJoinChain(t *testing.T) {
	src := `
pipeline: p
sources: {a: {topic: a}, b: {topic: b}, c: {topic: c}}
tables: {names: {topic: names}}
streams:
  all:
    from: a x
    join:
      - {left: b y, on: x.key == y.key, within: 10ms}
      - {left: c z, on: x.key == z.key, within: 10ms}
      - {left: names n, on: x.key == n.key}
    where: x.id != 99 || z.id == nil
    select: [{x: x.id}, {y: y.id}, {z: z.id}, {n: n.name}]
sinks: {out: {from: all, topic: out}}
`
	parts := map[string]int{"a": 1, "b": 1, "c": 1, "names": 1, "out": 1}
	script := []input{
		{"names", "k", `{"name":"K"}`, 0},
		{"a", "k", `{"id":1}`, 1000},
		{"c", "k", `{"id":2}`, 1002},
		{"a", "l", `{"id":3}`, 1004},
		{"b", "l", `{"id":4}`, 1005},
	}
	want := []string{
		`0 k {"x":1,"y":null,"z":2,"n":"K"} @1002`,
		`0 l {"x":3,"y":4,"z":null,"n":null} @1005`,
	}
	jump := everyRestart(t, src, parts, append(slices.Clone(script), input{"b", "t", `{"id":9}`, 5000}), "out")
	expect(t, "out behind a jump", jump.show("out"), want...)
	steps := slices.Clone(script)
	for at := int64(1006); at < 1060; at++ {
		steps = append(steps, input{"b", "t", `{"id":9}`, at})
	}
	slow := newRig(t, src, parts)
	for _, in := range steps {
		slow.produce(in.topic, in.key, in.value, in.time)
		slow.mustRun()
	}
	expect(t, "out behind small steps", slow.show("out"), want...)
}

// TestStreamJoinChainRepartitioned: the second join has another key than the
// first, so that what the first gives travels through a topic.
func TestStreamJoinChainRepartitioned(t *testing.T) {
	src := `
pipeline: p
sources: {a: {topic: a}, b: {topic: b}, c: {topic: c}}
streams:
  all:
    from: a x
    where: x.id > 0
    join:
      - {inner: b y, on: x.key == y.key, within: 10ms}
      - {inner: c z, on: y.c == z.key, within: 1h}
    select: [x.*, {y: y.id}, {yk: y.key}, {z: z.id}, {zk: z.key}]
sinks: {out: {from: all, topic: out}}
`
	r := newRig(t, src, map[string]int{"a": 3, "b": 3, "c": 2, "out": 1})
	for n := range 20 {
		key := fmt.Sprint(n)
		r.produce("a", key, fmt.Sprintf(`{"id":%d}`, n), 1000)
		r.produce("b", key, fmt.Sprintf(`{"id":%d,"c":"%d"}`, 100+n, n%5), 1001)
	}
	for n := range 5 {
		r.produce("c", fmt.Sprint(n), fmt.Sprintf(`{"id":%d}`, 200+n), 1002)
	}
	r.mustRun()
	got := r.values("out")
	if len(got) != 19 {
		t.Fatalf("%d results, want 19: %v", len(got), got)
	}
	for n := 1; n < 20; n++ {
		want := fmt.Sprintf(`%d {"id":%d,"y":%d,"yk":"%d","z":%d,"zk":"%d"}`, n, n, 100+n, n, 200+n%5, n%5)
		if !slices.Contains(got, want) {
			t.Errorf("missing %s", want)
		}
	}
}

// TestStreamJoinUnions: both sides are unions, lie in other partitions than
// asked for, and a group_by stands behind.
func TestStreamJoinUnions(t *testing.T) {
	src := `
pipeline: p
sources: {a: {topic: a}, b: {topic: b}, c: {topic: c}, d: {topic: d}}
streams:
  rights: {from: [c x, d x], select: [{k: x.k}, {n: x.n}, {rk: x.key}]}
tables:
  sums:
    from: [a l, b l]
    join: [{inner: rights r, on: l.k == r.k, within: 1m}]
    group_by: r.k
    select: [{k: r.k}, {sum: sum(l.n * r.n)}, {rows: count()}]
sinks: {out: {from: sums, topic: out}}
`
	r := newRig(t, src, map[string]int{"a": 2, "b": 3, "c": 1, "d": 2, "out": 1})
	want := map[int]int{}
	for n := range 40 {
		topic := []string{"a", "b", "c", "d"}[n%4]
		r.produce(topic, fmt.Sprint(n), fmt.Sprintf(`{"k":%d,"n":%d}`, n/8, n), 1000+int64(n))
	}
	r.mustRun()
	r.reopen()
	for k := range 5 {
		for l := range 8 {
			for o := range 8 {
				if l%4 < 2 && o%4 >= 2 {
					want[k] += (8*k + l) * (8*k + o)
				}
			}
		}
	}
	last := map[string]string{}
	for _, line := range r.values("out") {
		key, value, _ := strings.Cut(line, " ")
		last[key] = value
	}
	for k, sum := range want {
		if got, w := last[fmt.Sprint(k)], fmt.Sprintf(`{"k":%d,"sum":%d,"rows":16}`, k, sum); got != w {
			t.Errorf("group %d: got %s, want %s", k, got, w)
		}
	}
}

// TestStreamJoinHotKey: a key with more records than a row holds, over
// restarts and out of order.
func TestStreamJoinHotKey(t *testing.T) {
	r := newRig(t, paid("left", "within: 1h"), single())
	const n = 500
	for i := range n {
		r.produce("orders", "hot", fmt.Sprintf(`{"id":%d}`, i), 1000+int64((i*7)%n))
		if i%100 == 50 {
			r.mustRun()
			r.reopen()
		}
	}
	r.mustRun()
	r.reopen()
	r.produce("payments", "hot", `{"id":-1}`, 5000)
	r.mustRun()
	out := r.topics["out"][0]
	if len(out) != n {
		t.Fatalf("%d pairs, want %d", len(out), n)
	}
	seven := 0 // partners come in the order of their times
	for i := range n {
		for (seven*7)%n != i {
			seven = (seven + 1) % n
		}
		if want := fmt.Sprintf(`{"o":%d,"p":-1}`, seven); string(out[i].Value) != want {
			t.Fatalf("pair %d is %s, want %s", i, out[i].Value, want)
		}
	}
}

// TestStreamJoinStateStaysSmall: what nothing can match any more is deleted, from the
// state and by tombstones from the changelog.
func TestStreamJoinStateStaysSmall(t *testing.T) {
	for _, kind := range []string{"inner", "outer"} {
		r := newRig(t, paid(kind, "within: 1s"), single())
		most := 0
		for i := range 4000 {
			topic := []string{"orders", "payments"}[i%2]
			r.produce(topic, fmt.Sprintf("key-%d", i/3), fmt.Sprintf(`{"id":%d}`, i), 10*int64(i))
			if i%500 != 499 {
				continue
			}
			r.mustRun()
			r.reopen()
			rows := 0
			scan(t, r, "paid-payments.join", func([]byte) { rows++ })
			most = max(most, rows)
		}
		// Two buckets and a grace of none, at 100 records a second.
		if most > 500 {
			t.Errorf("%s: %d rows", kind, most)
		}
	}
}

// scan visits the keys of a state table of all tasks.
func scan(t *testing.T, r *rig, table string, visit func(key []byte)) {
	t.Helper()
	for _, task := range r.tasks {
		if tbl := task.tc.Tables[table]; tbl != nil {
			if err := tbl.Scan(nil, nil, func(key []byte, _ *state.Row) (bool, error) { visit(key); return true, nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestStreamJoinBeforeWindows: rows that a join has held back are not late for a
// window, be it in the same task or behind a repartition.
func TestStreamJoinBeforeWindows(t *testing.T) {
	for _, group := range []string{"o.key", "o.id"} {
		src := replaced(`
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments}
tables:
  counts:
    from: orders o
    join: [{left: payments p, on: o.key == p.key, within: 50ms}]
    group_by: GROUP
    window: {tumbling: 10ms}
    select: [{n: count()}, {paid: count(p.id)}]
sinks:
  out: {from: counts, topic: out}
`, "GROUP", group)
		r := newRig(t, src, map[string]int{"orders": 1, "payments": 1, "out": 1})
		for i := range 20 {
			r.produce("orders", fmt.Sprint("k", i), fmt.Sprintf(`{"id":%d}`, i), 1000+int64(i)*7)
			if i%2 == 0 {
				r.produce("payments", fmt.Sprint("k", i), `{"id":1}`, 1000+int64(i)*7+3)
			}
			r.mustRun()
			if i%5 == 4 {
				r.reopen()
			}
		}
		for i := range 100 {
			r.produce("payments", "t", `{}`, 1150+int64(i))
			r.mustRun()
		}
		if n := len(r.topics["out"][0]); n != 20 {
			t.Errorf("by %s: %d rows, want 20; drops %v", group, n, r.drops())
		}
		for _, drop := range r.drops() {
			if strings.Contains(drop, "late") {
				t.Errorf("by %s: %s", group, drop)
			}
		}
	}
}

// TestStreamJoinLeftFirst: a record that goes both ways is taken by the left side
// first, in whatever order the definitions stand.
func TestStreamJoinLeftFirst(t *testing.T) {
	src := `
pipeline: p
sources: {views: {topic: views}}
streams:
  copies: {from: views c}
  pairs:
    from: views a
    join: [{inner: copies b, on: a.key == b.key, within: 10ms}]
    select: [{a: a.id}, {b: b.id}]
sinks:
  copied: {from: copies, topic: copies}
  out: {from: pairs, topic: out}
`
	r := newRig(t, src, map[string]int{"views": 1, "out": 1, "copies": 1})
	r.produce("views", "x", `{"id":1}`, 1000)
	r.produce("views", "x", `{"id":2}`, 1001)
	r.mustRun()
	expect(t, "out", r.values("out"), `x {"a":1,"b":1}`, `x {"a":2,"b":1}`, `x {"a":1,"b":2}`, `x {"a":2,"b":2}`)
}

// Behind an outer join a record without a partner has its own key, whichever
// side it is of: in a sink, in a group, in a further join.
func TestStreamJoinOuterKeepsTheRecordsKey(t *testing.T) {
	const src = `
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments}
streams:
  paid:
    from: orders o
    join: [{outer: payments p, on: o.n == p.n, within: 10ms}]
    select: [{o: o.key}, {p: p.key}]
tables:
  per_key:
    from: paid v
    group_by: v.key
    select: [{key: key}, {n: count()}]
sinks:
  out: {from: paid, topic: out}
  counts: {from: per_key, topic: counts}
`
	counts := map[string]int{"orders": 1, "payments": 1, "out": 1, "counts": 1}
	r := everyRestart(t, src, counts, []input{
		{"orders", "a", `{"n":1}`, 1000},
		{"payments", "b", `{"n":1}`, 1001},
		{"payments", "c", `{"n":2}`, 1002},
		{"orders", "d", `{"n":3}`, 1003},
		{"orders", "a", `{"n":9}`, 2000},
	}, "counts")
	expect(t, "out", r.show("out"), `0 a {"o":"a","p":"b"} @1001`, `0 c {"o":null,"p":"c"} @1002`, `0 d {"o":"d","p":null} @1003`)
	expect(t, "counts", r.show("counts"), `0 a {"key":"a","n":1} @1001`, `0 c {"key":"c","n":1} @1002`, `0 d {"key":"d","n":1} @1003`)
}
