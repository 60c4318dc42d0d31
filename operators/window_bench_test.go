package operators_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"streamctl/internal/record"
)

// BenchmarkTumblingCount counts views of about 150 bytes per key and minute: 100 000
// keys, every update sent, 20 000 views to a minute of event time.
func BenchmarkTumblingCount(b *testing.B) {
	benchWindow(b, "{tumbling: 1m}")
}

// BenchmarkSessionCount counts them per key and session.
func BenchmarkSessionCount(b *testing.B) {
	benchWindow(b, "{session: 10s}")
}

func benchWindow(b *testing.B, window string) {
	b.Helper()
	src := `
pipeline: p
sources:
  views: {topic: page-views, key_format: string, fields: {n: int}}
tables:
  counts:
    from: views v
    group_by: {who: v.key}
    window: ` + window + `
    select: ['*', {views: count()}, {from: window.start}]
sinks:
  out: {from: counts, topic: out, key_format: json}
`
	in, out := benchInput(b, src, "counts")
	random := rand.New(rand.NewPCG(1, 2))
	records := make([]record.Record, 1<<15)
	for i := range records {
		records[i] = record.Record{
			Key:   fmt.Appendf(nil, "user-%d", random.IntN(100_000)),
			Value: fmt.Appendf(nil, `{"n":%d,"sessionId":"%016x","pageKey":"profile-view","trackingKey":"invitation-email","extra":{"a":[1,2.50],"b":null}}`, i, random.Uint64()),
		}
	}
	// Time goes on for ever, 3 ms a view: windows come and go, as the engine has it.
	tp := record.TopicPartition{Topic: "page-views"}
	at := 0
	step := func() {
		rec := &records[at%len(records)]
		rec.Offset, rec.Time = int64(at), int64(at)*3
		at++
		time, skip, err := in.Decode(rec, tp)
		if err == nil && !skip {
			err = out.timers.Advance(time)
		}
		if err == nil {
			err = in.Process()
		}
		if err == nil && at%5000 == 0 {
			err = out.commit()
		}
		if skip || err != nil {
			b.Fatal(skip, err)
		}
	}
	for range 40_000 {
		step()
	}
	out.records, out.bytes = 0, 0
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(out.bytes)/float64(out.records), "bytes/record")
}

// BenchmarkSlidingCount counts the records of one key in sliding windows that hold
// so many each, given out when they close.
func BenchmarkSlidingCount(b *testing.B) {
	for _, held := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("held=%d", held), func(b *testing.B) { benchSliding(b, held) })
	}
}

func benchSliding(b *testing.B, held int) {
	b.Helper()
	in, out := benchInput(b, fmt.Sprintf(`
pipeline: p
sources:
  views: {topic: page-views, key_format: string, fields: {n: int}}
tables:
  counts:
    from: views v
    group_by: {who: v.key}
    window: {sliding: %dms}
    emit: final
    select: ['*', {views: count()}, {from: window.start}]
sinks:
  out: {from: counts, topic: out, key_format: json}
`, held), "counts")
	tp := record.TopicPartition{Topic: "page-views"}
	at := 0
	step := func() {
		rec := &record.Record{Key: []byte("user"), Value: []byte(`{"n":1}`), Offset: int64(at), Time: int64(at)}
		at++
		time, skip, err := in.Decode(rec, tp)
		if err == nil && !skip {
			err = out.timers.Advance(time)
		}
		if err == nil {
			err = in.Process()
		}
		if err == nil && at%100 == 0 {
			err = out.commit()
		}
		if skip || err != nil {
			b.Fatal(skip, err)
		}
	}
	for range 4 * held { // until as much is forgotten as comes
		step()
	}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
