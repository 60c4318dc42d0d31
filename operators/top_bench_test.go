package operators_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// BenchmarkTop changes one of 1000 rows in each of 100 groups, of which ten are
// first: some changes move them, most do not.
func BenchmarkTop(b *testing.B) {
	const groups, rows = 100, 1000
	result, diags := pipeline.Compile("bench.yaml", []byte(`pipeline: bench
tables:
  rows: {topic: rows, fields: {group: int, x: int}}
  best: {from: rows, top: {n: 10, by: x, per: group}}
sinks:
  out: {from: best, topic: out}
`), pipeline.ParseOptions{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	db, err := state.Open(state.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var sub *operators.SubTopology
	for _, s := range result.Topology.Subs {
		if s.Name == "best" {
			sub = s
		}
	}
	store, err := db.OpenTask(sub.Name, 0, sub.Tables)
	if err != nil {
		b.Fatal(err)
	}
	out := &discard{store: store}
	inputs, err := sub.Build(&operators.TaskContext{
		Tables: map[string]*state.Table{"best": store.Table("best")}, Emitter: out, Counters: &operators.Counters{},
		Now: func() int64 { return 0 }, StreamTime: func() int64 { return 0 }, Partitions: func(string) int32 { return 1 },
	})
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	origin := []record.Header{{Key: "streamctl.origin", Value: []byte{1, 0, 0, 0, 0}}}
	tp := record.TopicPartition{Topic: sub.Inputs[0].Topic}
	change := func(i int) {
		id := rnd.IntN(groups * rows)
		doc := fmt.Appendf(nil, `{"key":"%d","new":{"group":%d,"x":%d}}`, id, id%groups, rnd.IntN(1_000_000))
		rec := record.Record{Key: fmt.Appendf(nil, "%d", id%groups), Value: doc, Headers: origin, Time: int64(i), Offset: int64(i)}
		if _, skip, err := inputs[0].Decode(&rec, tp); err != nil || skip {
			b.Fatal(err, skip)
		}
		if err := inputs[0].Process(); err != nil {
			b.Fatal(err)
		}
		if i%5000 == 4999 {
			if err := out.commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := range groups * rows {
		change(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for i := range b.N {
		change(i)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
