package operators_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// discard is an Emitter that only counts.
type discard struct {
	records, bytes int
	table          *state.Table // of the task
	timers         *operators.Timers
	store          *state.Task
	loop           *looping // of a task that sends to itself
}

// commit writes what has changed, as the engine does all the time.
func (d *discard) commit() error {
	sealed, err := d.store.Seal(func(*state.Table, []byte, []byte) {})
	if err != nil {
		return err
	}
	return d.store.Apply(sealed)
}

func (d *discard) Emit(_ int, _ int32, rec record.Record) {
	d.records++
	d.bytes += len(rec.Key) + len(rec.Value)
}

// BenchmarkJoin is the main job's second half, and all of it where nothing has
// to be repartitioned: views of about 190 bytes are scanned, filtered, joined
// with a table of 100 000 profiles by Zipf keys, and encoded.
func BenchmarkJoin(b *testing.B) {
	const profiles, views = 100_000, 1 << 15
	in, out, table := benchJoin(b)
	for i := range profiles {
		row := fmt.Sprintf(`{"location":"San Francisco Bay Area","industry":"Internet","positions":[{"job_title":"Engineer %d","company":"Company %d"},{"job_title":"Intern","company":"ACME"}]}`, i, i%977)
		if _, err := table.Put(fmt.Appendf(nil, "%d", i), []byte(row)); err != nil {
			b.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 1, profiles-1)
	records := make([]record.Record, views)
	for i := range records {
		records[i] = record.Record{
			Key:   fmt.Appendf(nil, "%d", i),
			Value: fmt.Appendf(nil, `{"eventType":"PageViewEvent","timestamp":%d,"viewerId":%d,"sessionId":"%016x","pageKey":"profile-view","viewedProfileId":%d,"trackingKey":"invitation-email","extra":{"a":[1,2.50],"b":null}}`, 1413215518+i/100, zipf.Uint64(), random.Uint64(), zipf.Uint64()),
			Time:  int64(i), Offset: int64(i),
		}
	}
	runBench(b, in, records, out)
	b.ReportMetric(float64(len(records[0].Value)), "view-bytes")
}

// runBench processes records over and over.
func runBench(b *testing.B, in operators.Input, records []record.Record, out *discard) {
	b.Helper()
	tp := record.TopicPartition{Topic: "page-views"}
	step := func(i int) {
		if _, skip, err := in.Decode(&records[i%len(records)], tp); err != nil || skip {
			b.Fatal(skip, err)
		}
		if err := in.Process(); err != nil {
			b.Fatal(err)
		}
	}
	for i := range records {
		step(i) // rows are made or decoded at first sight
	}
	out.records, out.bytes = 0, 0
	b.ReportAllocs()
	before := cpuTime(b)
	for i := 0; b.Loop(); i++ {
		step(i)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(out.bytes)/float64(out.records), "bytes/record")
}

// benchJoin compiles the join with views that lie where their viewers do.
func benchJoin(b *testing.B) (operators.Input, *discard, *state.Table) {
	b.Helper()
	src := replaced(enrichment, "topic: page-views\n", "topic: page-views\n    partitioned_by: viewerId\n")
	in, out := benchInput(b, src, "profiles")
	return in, out, out.table
}

// benchInput compiles a pipeline and opens the input page-views of the one task of a sub-topology.
func benchInput(b *testing.B, src, name string) (operators.Input, *discard) {
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
		if sub.Name != name {
			continue
		}
		store, err := db.OpenTask(sub.Name, 0, sub.Tables)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = store.Close() })
		out := &discard{table: store.Table(name), timers: &operators.Timers{}, store: store}
		now := int64(1_700_000_000_000)
		inputs, err := sub.Build(&operators.TaskContext{
			Tables:  map[string]*state.Table{name: out.table},
			Emitter: out, Counters: &operators.Counters{},
			Now: func() int64 { return now }, StreamTime: func() int64 { return 0 },
			Partitions: func(string) int32 { return 1 },
			Timers:     out.timers,
		})
		if err != nil {
			b.Fatal(err)
		}
		for i, in := range sub.Inputs {
			if in.Topic == "page-views" {
				return inputs[i], out
			}
		}
	}
	b.Fatal("no such sub-topology was planned")
	return nil, nil
}

// cpuTime is what the process has used of the processors: on a machine that is
// shared with others it tells more than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCount keeps count, sum, minimum and maximum of 100 000 keys, every
// update encoded.
func BenchmarkCount(b *testing.B) {
	in, out := benchInput(b, countsPerViewer, "per_viewer")
	runBench(b, in, viewsOfMany(), out)
}

// BenchmarkCountCoalesced is the like with the last update of each key encoded,
// every 200 000 records: a second of a task that is well fed.
func BenchmarkCountCoalesced(b *testing.B) {
	in, out := benchInput(b, replaced(countsPerViewer, "sinks:", "    emit: {every: 1s}\nsinks:"), "per_viewer")
	runBench(b, &firing{Input: in, timers: out.timers, every: 200_000}, viewsOfMany(), out)
}

// firing is an input that fires the timers of its task every so many records.
type firing struct {
	operators.Input
	timers *operators.Timers
	every  int
	n      int
}

// Process processes the head, and what is due.
func (f *firing) Process() error {
	if f.n++; f.n%f.every == 0 {
		for _, w := range f.timers.Wall() {
			if err := w.Fire(0); err != nil {
				return err
			}
		}
	}
	return f.Input.Process()
}

const countsPerViewer = `
pipeline: p
sources:
  views: {topic: page-views, partitioned_by: viewerId, fields: {viewerId: int, dwell: int}}
tables:
  per_viewer:
    from: views v
    group_by: {viewerId: v.viewerId}
    select:
      - viewerId: v.viewerId
      - views: count()
      - seconds: sum(v.dwell)
      - shortest: min(v.dwell)
      - longest: max(v.dwell)
sinks:
  out: {from: per_viewer, topic: out}
`

// viewsOfMany are views of 100 000 viewers.
func viewsOfMany() []record.Record {
	const keys, records = 100_000, 1 << 17
	random := rand.New(rand.NewPCG(1, 2))
	made := make([]record.Record, records)
	for i := range made {
		made[i] = record.Record{Value: fmt.Appendf(nil, `{"viewerId":%d,"pageKey":"profile-view","dwell":%d}`, random.IntN(keys), random.IntN(1000)), Time: int64(i)}
	}
	return made
}

// BenchmarkAggregates keeps one aggregate of each of 1000 groups, every update encoded.
func BenchmarkAggregates(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	made := make([]record.Record, 1<<15)
	for i := range made {
		made[i] = record.Record{Value: fmt.Appendf(nil, `{"viewerId":%d,"pageKey":"profile-view","dwell":%g,"page":"page-%d"}`, random.IntN(1000), random.ExpFloat64(), random.IntN(20)), Time: int64(i)}
	}
	for _, call := range []string{"sum(v.dwell)", "avg(v.dwell)", "stddev(v.dwell)", "last(v.dwell)", "count_distinct(v.dwell)", `count_distinct(v.dwell, "approx")`,
		"top_k(v.dwell, 10)", "percentile(v.dwell, 0.99)", "histogram(v.dwell, [0.1, 0.5, 1, 2, 5])", "collect_set(v.page)", "top_k(v.page, 10)"} {
		b.Run(call, func(b *testing.B) {
			in, out := benchInput(b, `
pipeline: p
sources:
  views: {topic: page-views, partitioned_by: viewerId, fields: {viewerId: int, dwell: float, page: string}}
tables:
  per_viewer:
    from: views v
    group_by: v.viewerId
    select: [{x: '`+call+`'}]
sinks:
  out: {from: per_viewer, topic: out}
`, "per_viewer")
			runBench(b, in, made, out)
		})
	}
}
