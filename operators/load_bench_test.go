package operators_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
)

// BenchmarkLoad is what a row of a topic's table costs from its record to the
// loader when the table is restored: a long text alone, members as they usually are,
// and keys of both kinds.
func BenchmarkLoad(b *testing.B) {
	pad := strings.Repeat("streamctl-", 96)
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		row  func(i int) record.Record
	}{
		{"text", func(i int) record.Record {
			return record.Record{Key: fmt.Append(nil, i+100_000), Value: fmt.Appendf(nil, `{"pad":"%016x%s"}`, random.Uint64(), pad)}
		}},
		{"members", func(i int) record.Record {
			text := func(most int) string { return pad[:1+random.IntN(most)] }
			return record.Record{Key: fmt.Append(nil, i+100_000), Value: fmt.Appendf(nil, `{"profileId":%d,"firstName":"%s","lastName":"%s","headline":"%s","industry":"%s","positions":[{"job_title":"%s","company":"%s"}]}`,
				random.IntN(1_000_000), text(10), text(12), text(60), text(20), text(20), text(20))}
		}},
		{"words", func(i int) record.Record {
			return record.Record{Key: fmt.Appendf(nil, `"urn:member:%d"`, i), Value: fmt.Appendf(nil, `{"profileId":%d,"firstName":"Ada","lastName":"Lovelace"}`, i)}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			inputs, _ := benchTask(b, loadedRows, "rows")
			records := make([]record.Record, 1<<12)
			for i := range records {
				records[i] = c.row(i)
			}
			load, ok := inputs["rows"].(operators.Loader)
			if !ok {
				b.Fatal("the input of a table is no Loader")
			}
			tp := record.TopicPartition{Topic: "rows"}
			b.ReportAllocs()
			before := cpuTime(b)
			for i := 0; b.Loop(); i++ {
				rec := &records[i%len(records)]
				key, row, skip, err := load.Load(rec, tp, true)
				if err != nil || skip || string(key) != string(rec.Key) || len(row) != len(rec.Value) {
					b.Fatal(string(key), len(row), skip, err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

const loadedRows = `
pipeline: p
sources:
  views: {topic: page-views, partitioned_by: viewerId, fields: {viewerId: int}}
tables:
  rows: {topic: rows, key_format: json}
streams:
  joined:
    from: views v
    join:
      - left: rows r
        on: v.viewerId == r.key
    select:
      - viewerId: v.viewerId
      - size: len(r.pad)
sinks:
  out: {from: joined, topic: out, key: viewerId}
`
