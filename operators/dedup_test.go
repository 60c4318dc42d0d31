package operators_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"streamctl/pipeline"
)

const dedupPipeline = `
pipeline: p
sources: {events: {topic: events}}
streams:
  first: {from: events e, dedup: {by: BY, within: WITHIN}}
sinks: {out: {from: first, topic: out}}
`

func TestDedup(t *testing.T) {
	src := replaced(dedupPipeline, "BY", "'[e.id, e.key]'", "WITHIN", "10ms")
	r := everyRestart(t, src, map[string]int{"events": 1, "out": 1}, []input{
		{"events", "a", `{"id":1,"n":1}`, 1000},
		{"events", "a", `{"id":1.0,"n":2}`, 1000}, // equal as values
		{"events", "a", `{"id":"1","n":3}`, 1000}, // another one
		{"events", "b", `{"id":1,"n":4}`, 1000},
		{"events", "a", `{"id":1,"n":5}`, 1010}, // exactly on
		{"events", "a", `{"id":1,"n":6}`, 990},  // before the first one's time
		{"events", "a", `{"id":1,"n":7}`, 989},  // one before
		{"events", "a", `{"id":1,"n":8}`, 1011}, // one behind: goes on, and counts
		{"events", "a", `{"id":1,"n":9}`, 1021},
		{"events", "a", `{"id":1,"n":10}`, 1022},
		{"events", "a", `{"id":null,"n":11}`, 1022},
		{"events", "a", `{"n":12}`, 1022},
		{"events", "-", `{"id":1,"n":13}`, 1022},
		{"events", "a", `-`, 1022},
		{"events", "z", `{"id":9,"n":14}`, 1042},
		{"events", "a", `{"id":1,"n":15}`, 1012}, // late, and known still
		{"events", "z", `{"id":9,"n":16}`, 1053},
		{"events", "a", `{"id":1,"n":17}`, 1031}, // 22 ms late: what was at 1022 is forgotten
		{"events", "a", `{"id":1,"n":18}`, 1031}, // nor is that remembered
	}, "out")
	expect(t, "out", r.show("out"),
		`0 a {"id":1,"n":1} @1000`,
		`0 a {"id":"1","n":3} @1000`,
		`0 b {"id":1,"n":4} @1000`,
		`0 a {"id":1,"n":7} @989`,
		`0 a {"id":1,"n":8} @1011`,
		`0 a {"id":1,"n":10} @1022`,
		`0 a {"id":null,"n":11} @1022`,
		`0 a {"n":12} @1022`,
		`0 - {"id":1,"n":13} @1022`,
		`0 z {"id":9,"n":14} @1042`,
		`0 z {"id":9,"n":16} @1053`,
		`0 a {"id":1,"n":17} @1031`,
		`0 a {"id":1,"n":18} @1031`)
	expect(t, "drops", r.drops(), "first duplicate 5", "first null-value 1")
}

// TestDedupModel compares with a model that looks through all that has been
// handed on.
func TestDedupModel(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 3))
		within := []int64{0, 1, 50, 3000}[random.IntN(4)]
		r := newRig(t, replaced(dedupPipeline, "BY", "e.k", "WITHIN", fmt.Sprintf("%dms", within)), map[string]int{"events": 1, "out": 1})
		passed := map[string][]int64{}
		var want []string
		time, now := int64(10_000), int64(math.MinInt64)
		for id := range 200 {
			time += random.Int64N(2 + within/4)
			if random.IntN(50) == 0 {
				time += random.Int64N(5 * (within + 1))
			}
			at, key := time, fmt.Sprint(random.IntN(3))
			if random.IntN(3) == 0 {
				at = max(0, time-random.Int64N(3*within+2))
			}
			now = max(now, at)
			known := slices.ContainsFunc(passed[key], func(p int64) bool {
				return p >= at-within && p <= at+within && p >= now-2*within
			})
			value := fmt.Sprintf(`{"k":%s,"id":%d}`, key, id)
			if !known {
				passed[key] = append(passed[key], at)
				want = append(want, fmt.Sprintf("0 x %s @%d", value, at))
			}
			r.produce("events", "x", value, at)
			r.mustRun()
			if random.IntN(20) == 0 {
				r.reopen()
			}
		}
		if got := r.show("out"); !slices.Equal(got, want) {
			expect(t, fmt.Sprintf("seed %d, within %d", seed, within), got, want...)
			return
		}
	}
}

// TestDedupUnion: the ways of a union share what has been seen, a joined row goes
// with its record through the repartition, and a group_by counts what is left.
func TestDedupUnion(t *testing.T) {
	src := `
pipeline: p
sources: {a: {topic: a}, b: {topic: b, partitioned_by: key}}
tables:
  names: {topic: names}
  counts:
    from: [a x, b x]
    join: [{left: names n, on: x.key == n.key}]
    dedup: {by: x.id, within: 1h}
    group_by: {name: n.name}
    select: [{name: n.name}, {n: count()}]
streams:
  both:
    from: [a x, b x]
    join: [{left: names n, on: x.key == n.key}]
    dedup: {by: x.key, within: 1h}
    select: [x.*, {name: n.name}, {nk: n.key}]
sinks:
  out: {from: counts, topic: out}
  lined: {from: both, topic: lined}
`
	r := newRig(t, src, map[string]int{"a": 3, "b": 3, "names": 3, "out": 1, "lined": 1})
	for k := range 6 {
		r.produce("names", fmt.Sprint(k), fmt.Sprintf(`{"name":"n%d"}`, k%2), 0)
	}
	for i := range 60 {
		r.produce([]string{"a", "b"}[i%2], fmt.Sprint(i%6), fmt.Sprintf(`{"id":%d}`, i/4), int64(1000+i))
	}
	r.mustRun()
	r.reopen()
	if n := len(r.topics["out"][0]); n != 15 { // a change for each record that counts
		t.Errorf("%d records have been counted, want 15", n)
	}
	expect(t, "lined", r.values("lined"),
		`0 {"id":0,"name":"n0","nk":"0"}`, `1 {"id":0,"name":"n1","nk":"1"}`, `2 {"id":0,"name":"n0","nk":"2"}`,
		`3 {"id":0,"name":"n1","nk":"3"}`, `4 {"id":1,"name":"n0","nk":"4"}`, `5 {"id":1,"name":"n1","nk":"5"}`)
}

// TestDedupStateStaysSmall: what has been forgotten is deleted.
func TestDedupStateStaysSmall(t *testing.T) {
	r := newRig(t, replaced(dedupPipeline, "BY", "e.key", "WITHIN", "1s"), map[string]int{"events": 1, "out": 1})
	for i := range 5000 {
		r.produce("events", fmt.Sprint("key-", i), `{}`, 10*int64(i))
	}
	r.mustRun()
	r.reopen()
	rows := 0
	scan(t, r, "first.dedup", func([]byte) { rows++ })
	if rows > 500 { // 100 a second, remembered for two, in stretches of one
		t.Errorf("%d rows", rows)
	}
}

// BenchmarkDedup sees every record twice, a second apart.
func BenchmarkDedup(b *testing.B) {
	result, diags := pipeline.Compile("bench.yaml", []byte(replaced(dedupPipeline, "BY", "e.key", "WITHIN", "1m")), pipeline.ParseOptions{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	j := openBench(b, result.Topology.Subs[0], inMemory())
	const ahead = 1000
	value := []byte(`{"orderId":123456,"customer":"urn:customer:77","total":129.90,"currency":"EUR","channel":"web"}`)
	var key []byte
	step := func(i int) {
		n := i
		if i%2 == 1 {
			n = max(0, i-ahead-1)
		}
		key = fmt.Appendf(key[:0], "event-%d", n)
		j.step("events", benchRecord(append([]byte(nil), key...), value, int64(i)))
	}
	n := 100_000
	for i := range n {
		step(i)
	}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		step(n)
		n++
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
