package kafka

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/engine"
	"streamctl/internal/kafkatest"
	"streamctl/internal/record"
)

const (
	copyPartitions = 4
	copyValue      = 190
)

// BenchmarkCopy copies a topic to another through the ports, at least once and
// exactly once, and with franz-go for comparison. An iteration is one record.
// Reported is the processor time of this process, user and system.
func BenchmarkCopy(b *testing.B) {
	opts := kafkatest.Options{Optimize: true, HeapMB: 1024}
	broker := kafkatest.Start(b, opts)
	tr, err := Open(context.Background(), Settings{Brokers: []string{broker.Addr()}, Group: "copy"})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close()
	ctx := context.Background()
	for _, topic := range []string{"in", "out"} {
		if err := tr.Control().CreateTopic(ctx, topic, copyPartitions, map[string]string{"segment.bytes": "134217728"}); err != nil {
			b.Fatal(err)
		}
	}
	filled := 0
	for _, mode := range []struct {
		name string
		run  func(b *testing.B, n int)
	}{
		{"ports/at-least-once", func(b *testing.B, n int) { copyPorts(b, tr, "", n) }},
		{"ports/exactly-once", func(b *testing.B, n int) { copyPorts(b, tr, "copy", n) }},
		{"franz-go", func(b *testing.B, n int) { copyFranz(b, broker.Addr(), n) }},
	} {
		b.Run(mode.name, func(b *testing.B) {
			b.ReportAllocs()
			if b.N > filled {
				fill(b, tr, b.N-filled)
				filled = b.N
			}
			runtime.GC()
			b.ResetTimer()
			before := cpu()
			mode.run(b, b.N)
			used := cpu() - before
			b.StopTimer()
			b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill adds n records to the input topic.
func fill(b *testing.B, tr *Transport, n int) {
	p, err := tr.NewProducer(context.Background(), "", false)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(context.Background())
	value := make([]byte, copyValue)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	for i := range n {
		for p.Buffered() > 32<<20 {
			runtime.Gosched()
		}
		p.Send(record.TopicPartition{Topic: "in", Partition: int32(i % copyPartitions)},
			record.Record{Key: fmt.Appendf(nil, "%08d", i), Value: value, Time: 1700000000000 + int64(i)})
	}
	commitAndWait(b, p, engine.Commit{})
}

func commitAndWait(b *testing.B, p engine.Producer, c engine.Commit) {
	done := make(chan error, 1)
	p.Commit(c, func(r engine.CommitResult) { done <- r.Err })
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// copyPorts copies n records as a worker of the engine would: one goroutine
// that polls, sends, and commits every 100 ms without waiting.
func copyPorts(b *testing.B, tr *Transport, id string, n int) {
	p, err := tr.NewProducer(context.Background(), id, id != "")
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(context.Background())
	s, err := tr.NewSource()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	offsets := make(map[record.TopicPartition]int64)
	for i := range int32(copyPartitions) {
		s.Start(record.TopicPartition{Topic: "in", Partition: i}, 0, engine.ReadCommitted)
	}
	done := make(chan error, 1)
	flying := false
	last := time.Now()
	commit := func() {
		asked := make(map[record.TopicPartition]int64, len(offsets))
		for tp, o := range offsets {
			asked[tp] = o
		}
		p.Commit(engine.Commit{Group: engine.GroupMeta{Group: "copy"}, Offsets: asked}, func(r engine.CommitResult) { done <- r.Err; s.Wake() })
		flying, last = true, time.Now()
	}
	finish := func(err error) {
		flying = false
		if err != nil {
			b.Fatal(err)
		}
	}
	for copied := 0; copied < n; {
		select {
		case err := <-done:
			finish(err)
		default:
		}
		if !flying && time.Since(last) > 100*time.Millisecond {
			commit()
		}
		wait := 100 * time.Millisecond
		for p.Buffered() > 32<<20 {
			time.Sleep(time.Millisecond)
		}
		for _, f := range s.Poll(wait) {
			if f.Err != nil {
				b.Fatal(f.Err)
			}
			to := record.TopicPartition{Topic: "out", Partition: f.TP.Partition}
			for i := range f.Records {
				p.Send(to, f.Records[i])
			}
			copied += len(f.Records)
			offsets[f.TP] = f.Next
			s.Release(f)
		}
	}
	if flying {
		finish(<-done)
	}
	commit()
	finish(<-done)
}

// copyFranz is the same with the fastest Go client there is, at least once.
func copyFranz(b *testing.B, addr string, n int) {
	parts := make(map[int32]kgo.Offset)
	for i := range int32(copyPartitions) {
		parts[i] = kgo.NewOffset().AtStart()
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"in": parts}),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(1_000_000), kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	for copied := 0; copied < n; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			copied++
			c.Produce(ctx, &kgo.Record{Topic: "out", Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}, func(_ *kgo.Record, err error) {
				if err != nil {
					fmt.Fprintln(os.Stderr, "produce:", err)
				}
			})
		})
	}
	if err := c.Flush(ctx); err != nil {
		b.Fatal(err)
	}
}
