package operators_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"streamctl/internal/record"
	"streamctl/pipeline"
	"streamctl/state"
)

// onDisk opens a pipeline with a state on disk and a cache of the usual size.
func onDisk(b *testing.B, src string) *joinBench {
	b.Helper()
	result, diags := pipeline.Compile("bench.yaml", []byte(src), pipeline.ParseOptions{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	return openBench(b, result.Topology.Subs[0], state.Options{Dir: b.TempDir()})
}

// measure drives a bench through before records, and measures those that follow.
func (j *joinBench) measure(before int, step func(i int)) {
	n := before
	for i := range n {
		step(i)
	}
	j.b.ReportAllocs()
	j.changes = 0
	began := cpuTime(j.b)
	for j.b.Loop() {
		step(n)
		n++
	}
	j.b.ReportMetric(float64(cpuTime(j.b)-began)/float64(j.b.N), "cpu-ns/op")
	j.b.ReportMetric(float64(j.changes)/float64(j.b.N), "changes/op")
}

// BenchmarkTumblingCountOnDisk counts views per key and minute, three of each key and
// window at random times.
func BenchmarkTumblingCountOnDisk(b *testing.B) {
	for _, keys := range []int{100_000, 200_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			j := onDisk(b, `
pipeline: p
sources:
  views: {topic: views, key_format: string, fields: {n: int}}
tables:
  counts:
    from: views v
    group_by: {who: v.key}
    window: {tumbling: 1m}
    select: ['*', {views: count()}, {from: window.start}]
sinks:
  out: {from: counts, topic: out, key_format: json}
`)
			random := rand.New(rand.NewPCG(1, 2))
			value := []byte(`{"n":17,"sessionId":"0123456789abcdef","pageKey":"profile-view","trackingKey":"invitation-email","extra":{"a":[1,2.50],"b":null}}`)
			j.measure(6*keys, func(i int) {
				key := fmt.Appendf(nil, "user-%d", random.IntN(keys))
				j.step("views", &record.Record{Key: key, Value: value, Time: int64(i) * 60_000 / int64(3*keys), Offset: int64(i)})
			})
		})
	}
}

// BenchmarkDedupOnDisk sees every record twice, half the span apart.
func BenchmarkDedupOnDisk(b *testing.B) {
	for _, within := range []int{100_000, 400_000} {
		b.Run(fmt.Sprint(within), func(b *testing.B) {
			j := onDisk(b, replaced(dedupPipeline, "BY", "e.key", "WITHIN", "1m"))
			value := []byte(`{"orderId":123456,"customer":"urn:customer:77","total":129.90,"currency":"EUR","channel":"web"}`)
			j.measure(4*within, func(i int) {
				n := i
				if i%2 == 1 {
					n = max(0, i-within/2-1)
				}
				j.step("events", &record.Record{Key: fmt.Appendf(nil, "event-%d", n), Value: value, Time: int64(i) * 60_000 / int64(within), Offset: int64(i)})
			})
		})
	}
}
