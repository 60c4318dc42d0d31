package operators_test

import (
	"bytes"
	"fmt"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// benchTask opens the one task of the sub-topology that reads topic, with its
// inputs by their topics.
func benchTask(b *testing.B, src, topic string) (map[string]operators.Input, *discard) {
	b.Helper()
	result, diags := pipeline.Compile("bench.yaml", []byte(src), pipeline.ParseOptions{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS(), CacheBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	for _, sub := range result.Topology.Subs {
		inputs := map[string]operators.Input{}
		for _, in := range sub.Inputs {
			inputs[in.Topic] = nil
		}
		if _, found := inputs[topic]; !found {
			continue
		}
		store, err := db.OpenTask(sub.Name, 0, sub.Tables)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = store.Close() })
		out := &discard{timers: &operators.Timers{}, store: store}
		loop := &looping{discard: out}
		for _, o := range sub.Outputs {
			loop.topics = append(loop.topics, o.Topic)
		}
		out.loop = loop
		tc := &operators.TaskContext{
			Tables: map[string]*state.Table{}, Emitter: loop, Counters: &operators.Counters{},
			Now: func() int64 { return 1_700_000_000_000 }, StreamTime: func() int64 { return 0 },
			Partitions: func(string) int32 { return 1 }, Timers: out.timers,
		}
		for _, t := range sub.Tables {
			tc.Tables[t.Name] = store.Table(t.Name)
		}
		made, err := sub.Build(tc)
		if err == nil {
			err = out.timers.Start(0)
		}
		if err != nil {
			b.Fatal(err)
		}
		for i, in := range sub.Inputs {
			inputs[in.Topic] = made[i]
		}
		return inputs, out
	}
	b.Fatal("no such sub-topology was planned")
	return nil, nil
}

// looping is an Emitter that keeps what its task sends to itself.
type looping struct {
	*discard
	topics []string
	queue  []looped
}

type looped struct {
	topic string
	rec   record.Record
}

func (l *looping) Emit(out int, partition int32, rec record.Record) {
	if topic := l.topics[out]; topic != "out" {
		rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
		rec.Headers = []record.Header{{Key: rec.Headers[0].Key, Value: bytes.Clone(rec.Headers[0].Value)}}
		l.queue = append(l.queue, looped{topic, rec})
		return
	}
	l.discard.Emit(out, partition, rec)
}

// benchRows are changes of n rows that refer to others.
func benchRows(n int) []record.Record {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{Key: fmt.Appendf(nil, "%d", i), Time: int64(i), Offset: int64(i),
			Value: fmt.Appendf(nil, `{"name":"Engineer %d","company":"Company %d","user":"%d","extra":{"a":[1,2.50],"b":null}}`, i, i%977, i%100)}
	}
	return records
}

// BenchmarkTableJoin joins changes of 10 000 rows with the rows that another
// table has for their keys; both are kept, and every change is encoded.
func BenchmarkTableJoin(b *testing.B) {
	inputs, out := benchTask(b, `
pipeline: p
tables:
  a: {topic: a}
  b: {topic: b}
streams:
  ab: {from: a x, join: [{left: b y, on: x.key == y.key}], select: [{name: x.name}, {company: y.company}]}
sinks:
  out: {from: ab, topic: out}
`, "a")
	rows := benchRows(10_000)
	for i := range rows {
		mustTake(b, inputs["b"], &rows[i])
	}
	runBench(b, inputs["a"], rows, out)
}

// BenchmarkForeignKeyJoin joins changes of 10 000 rows that keep their foreign
// key: what they refer to has been answered.
func BenchmarkForeignKeyJoin(b *testing.B) {
	inputs, out := benchTask(b, `
pipeline: p
tables:
  a: {topic: a}
streams:
  au: {from: a x, join: [{left: a u, on: x.user == u.key}], select: [{name: x.name}, {user: u.name}]}
sinks:
  out: {from: au, topic: out}
`, "a")
	rows := benchRows(10_000)
	for i := range rows {
		mustTake(b, inputs["a"], &rows[i])
	}
	for len(out.loop.queue) > 0 {
		next := out.loop.queue[0]
		out.loop.queue = out.loop.queue[1:]
		mustTake(b, inputs[next.topic], &next.rec)
	}
	runBench(b, inputs["a"], rows[5000:], out) // nobody refers to these
}

// BenchmarkAsOf looks up rows with ten versions each as of some time between.
func BenchmarkAsOf(b *testing.B) {
	inputs, out := benchTask(b, `
pipeline: p
sources:
  s: {topic: s, partitioned_by: user}
tables:
  a: {topic: a, versioned: 365d}
streams:
  sa: {from: s x, join: [{left: a y, on: x.user == y.key, as_of: true}], select: [{name: x.name}, {was: y.name}]}
sinks:
  out: {from: sa, topic: out}
`, "a")
	rows := benchRows(10_000)
	for i := range 1000 {
		row := rows[i]
		row.Key = fmt.Appendf(nil, "%d", i%100)
		mustTake(b, inputs["a"], &row)
	}
	if err := out.commit(); err != nil {
		b.Fatal(err)
	}
	runBench(b, inputs["s"], rows, out)
}

func mustTake(b *testing.B, in operators.Input, rec *record.Record) {
	b.Helper()
	if _, skip, err := in.Decode(rec, record.TopicPartition{Topic: "bench"}); err != nil || skip {
		b.Fatal(skip, err)
	}
	if err := in.Process(); err != nil {
		b.Fatal(err)
	}
}
