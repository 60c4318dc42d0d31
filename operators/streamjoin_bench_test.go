package operators_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// joinBench is the one task of a join of streams, driven as the engine does:
// time moves, and what has changed is committed every so often.
type joinBench struct {
	b       *testing.B
	store   *state.Task
	timers  *operators.Timers
	inputs  map[string]operators.Input
	out     *discard
	now     int64
	changes int
	since   int
}

// commitEvery is how many records are in a commit: those of 100 ms at the rate
// that is aimed at.
const commitEvery = 10_000

// inMemory is a state of which all rows lie in the cache.
func inMemory() state.Options {
	return state.Options{Dir: "state", FS: state.NewMemFS(), CacheBytes: 256 << 20}
}

func newJoinBench(b *testing.B, kind string, options state.Options) *joinBench {
	b.Helper()
	src := `
pipeline: p
sources:
  orders: {topic: orders}
  payments: {topic: payments}
streams:
  paid:
    from: orders o
    join: [{` + kind + `: payments p, on: o.key == p.key, within: 1m}]
    select: [o.*, {amount: p.amount}, {method: p.method}]
sinks:
  out: {from: paid, topic: out}
`
	result, diags := pipeline.Compile("bench.yaml", []byte(src), pipeline.ParseOptions{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	return openBench(b, result.Topology.Subs[0], options)
}

// openBench opens the one task of a sub-topology.
func openBench(b *testing.B, sub *operators.SubTopology, options state.Options) *joinBench {
	b.Helper()
	db, err := state.Open(options)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	j := &joinBench{b: b, timers: &operators.Timers{}, inputs: map[string]operators.Input{}, out: &discard{}, now: math.MinInt64}
	if j.store, err = db.OpenTask(sub.Name, 0, sub.Tables); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.store.Close() })
	tables := map[string]*state.Table{}
	for _, t := range sub.Tables {
		tables[t.Name] = j.store.Table(t.Name)
	}
	inputs, err := sub.Build(&operators.TaskContext{
		Tables: tables, Emitter: j.out, Counters: &operators.Counters{}, Timers: j.timers,
		Now: func() int64 { return 1_700_000_000_000 }, StreamTime: func() int64 { return j.now },
		Partitions: func(string) int32 { return 1 },
	})
	if err != nil {
		b.Fatal(err)
	}
	for i, in := range sub.Inputs {
		j.inputs[in.Topic] = inputs[i]
	}
	if err := j.timers.Start(j.now); err != nil {
		b.Fatal(err)
	}
	return j
}

func benchRecord(key, value []byte, time int64) *record.Record {
	return &record.Record{Key: key, Value: value, Time: time, Offset: time}
}

func (j *joinBench) step(topic string, rec *record.Record) {
	in := j.inputs[topic]
	time, skip, err := in.Decode(rec, record.TopicPartition{Topic: topic})
	if err != nil || skip {
		j.b.Fatal(skip, err)
	}
	if time > j.now {
		j.now = time
		if err := j.timers.Advance(time); err != nil {
			j.b.Fatal(err)
		}
	}
	if err := in.Process(); err != nil {
		j.b.Fatal(err)
	}
	if j.since++; j.since == commitEvery {
		j.since = 0
		j.commit()
	}
}

func (j *joinBench) commit() {
	sealed, err := j.store.Seal(func(*state.Table, []byte, []byte) { j.changes++ })
	if err == nil {
		err = j.store.Apply(sealed)
	}
	if err != nil {
		j.b.Fatal(err)
	}
}

// BenchmarkStreamJoin joins records of about 150 bytes within a minute. Every
// key has a record every 40 s, of the one side and of the other in turn, so that each finds
// the one before it.
func BenchmarkStreamJoin(b *testing.B) {
	for _, kind := range []string{"inner", "left", "outer"} {
		b.Run(kind, func(b *testing.B) { benchStreamJoin(b, kind, 40_000, inMemory()) })
	}
}

// BenchmarkStreamJoinOnDisk is the like with a state on disk, a cache of the usual
// size, and keys of which the window does not fit there, in another order every time.
func BenchmarkStreamJoinOnDisk(b *testing.B) {
	for _, keys := range []int{100_000, 400_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			benchStreamJoin(b, "inner", keys, state.Options{Dir: b.TempDir()})
		})
	}
}

func benchStreamJoin(b *testing.B, kind string, keys int, options state.Options) {
	b.Helper()
	const apart = 40_000
	j := newJoinBench(b, kind, options)
	values := [2][]byte{
		[]byte(`{"orderId":123456,"customer":"urn:customer:77","items":[{"sku":"A-1","n":2},{"sku":"B-7","n":1}],"total":129.90,"currency":"EUR","channel":"web"}`),
		[]byte(`{"paymentId":998877,"amount":129.90,"currency":"EUR","method":"card","provider":"acme","reference":"0123456789abcdef0123456789abcdef"}`),
	}
	topics := [2]string{"orders", "payments"}
	random := rand.New(rand.NewPCG(1, 2))
	order := random.Perm(keys)
	var rec record.Record
	step := func(i int) {
		round, at := i/keys, i%keys
		// In each round a key is near where it was in the one before: never more than a
		// quarter of it earlier or later.
		if at%(keys/4) == 0 {
			part := order[at : at+keys/4]
			random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		rec = record.Record{
			Key: fmt.Appendf(nil, "order-%d", order[at]), Value: values[round%2],
			Time: int64(i) * apart / int64(keys), Offset: int64(i),
		}
		j.step(topics[round%2], &rec)
	}
	n := 5 * keys
	for i := range n {
		step(i)
	}
	j.out.records, j.changes = 0, 0
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		step(n)
		n++
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(j.out.records)/float64(b.N), "pairs/op")
	b.ReportMetric(float64(j.changes)/float64(b.N), "changes/op")
}
