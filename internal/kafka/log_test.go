package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// foreign produces values to partition 0 of a topic with another client, one
// batch per call.
func (e *env) foreign(codec kgo.CompressionCodec, topic string, records ...*kgo.Record) {
	e.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(16<<20), kgo.MaxBufferedBytes(256<<20), kgo.BrokerMaxWriteBytes(200<<20), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		e.Fatal(err)
	}
	defer c.Close()
	for _, r := range records {
		r.Topic = topic
	}
	if err := c.ProduceSync(e.ctx(), records...).FirstErr(); err != nil {
		e.Fatal(err)
	}
}

// TestAllCompressionsIn reads what other clients wrote with every codec.
func TestAllCompressionsIn(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		for name, codec := range map[string]kgo.CompressionCodec{
			"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(), "none": kgo.NoCompression(),
		} {
			topic := e.topic(tr, 1, nil)
			var records []*kgo.Record
			for i := range 200 {
				records = append(records, &kgo.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "%s-%d-%s", name, i, strings.Repeat("x", 100)),
					Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}, Timestamp: time.UnixMilli(int64(1000 + i))})
			}
			e.foreign(codec, topic, records...)
			got := e.readAll(tr, tp(topic, 0))
			if len(got) != len(records) {
				e.Fatalf("%s: got %d records", name, len(got))
			}
			for i, r := range got {
				if !bytes.Equal(r.Value, records[i].Value) || r.Time != int64(1000+i) || r.Offset != int64(i) || len(r.Headers) != 1 || r.Headers[0].Key != "h" {
					e.Fatalf("%s: record %d is %+v", name, i, r)
				}
			}
		}
	})
}

// TestZipBomb refuses a small batch that grows beyond the limit, names its
// offset, and delivers what stands before it and in other partitions.
func TestZipBomb(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open(func(s *Settings) { s.MaxDecompressedBytes = 1 << 20 })
		defer func() { e.open() }() // the limit holds for the process
		bad, good := e.topic(tr, 1, map[string]string{"max.message.bytes": "20000000"}), e.topic(tr, 1, nil)
		for i := range 3 {
			e.foreign(kgo.ZstdCompression(), bad, &kgo.Record{Value: fmt.Appendf(nil, "before %d", i)})
			e.foreign(kgo.ZstdCompression(), good, &kgo.Record{Value: fmt.Appendf(nil, "good %d", i)})
		}
		e.foreign(kgo.ZstdCompression(), bad, &kgo.Record{Value: make([]byte, 8<<20)})
		e.foreign(kgo.ZstdCompression(), bad, &kgo.Record{Value: []byte("after")})
		s := e.source(tr)
		s.Start(tp(bad, 0), 0, engine.ReadCommitted)
		s.Start(tp(good, 0), 0, engine.ReadCommitted)
		var before, fine []record.Record
		var failed error
		e.await("the bomb", func() bool {
			for _, f := range s.Poll(time.Second) {
				s.Release(f)
				switch {
				case f.Err != nil && f.TP.Topic == bad:
					failed = f.Err
				case f.Err != nil:
					e.Fatal(f.Err)
				case f.TP.Topic == bad:
					before = append(before, f.Records...)
				default:
					fine = append(fine, f.Records...)
				}
			}
			return failed != nil && len(fine) == 3
		})
		if len(before) != 3 || !strings.Contains(failed.Error(), "offset 3") || !strings.Contains(failed.Error(), "larger than") {
			e.Errorf("before the bomb: %q; error: %v", values(before), failed)
		}
	})
}

// TestCompactedTopic reads a compacted topic with gaps, emptied batches and
// transaction markers, to its very end.
func TestCompactedTopic(t *testing.T) {
	onReal(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, map[string]string{
			"cleanup.policy": "compact", "segment.ms": "100", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.0",
			"min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100", "delete.retention.ms": "0",
		}), 0)
		p := e.producer(tr, e.name("id"))
		round := func(i int) {
			for k := range 20 {
				p.Send(topic, record.Record{Key: fmt.Appendf(nil, "key-%d", k), Value: fmt.Appendf(nil, "%d", i), Time: time.Now().UnixMilli()})
			}
			e.mustCommit(p, engine.Commit{})
		}
		i := 0
		var got []record.Record
		e.await("compaction", func() bool {
			round(i)
			i++
			e.settle(tr, topic)
			var next int64
			got, next = e.readTo(e.source(tr), topic, 0, engine.ReadCommitted)
			ends, err := tr.Admin().Ends(e.ctx(), []record.TopicPartition{topic}, engine.ReadCommitted)
			if err != nil || next != ends[topic] {
				e.Fatalf("covered to %d, the end is %v (%v)", next, ends[topic], err)
			}
			return i > 5 && len(got) < i*20/2
		})
		last := make(map[string]string)
		for j, r := range got {
			last[string(r.Key)] = string(r.Value)
			if j > 0 && r.Offset <= got[j-1].Offset {
				e.Fatalf("offsets go back: %d after %d", r.Offset, got[j-1].Offset)
			}
		}
		for k := range 20 {
			if v := last[fmt.Sprintf("key-%d", k)]; v != fmt.Sprint(i-1) {
				e.Errorf("key %d: got %s, want %d", k, v, i-1)
			}
		}
		// From within a gap.
		mid, _ := e.readTo(e.source(tr), topic, 1, engine.ReadCommitted)
		if len(mid) == 0 || mid[0].Offset < 1 {
			e.Errorf("from offset 1: %d records", len(mid))
		}
	})
}

// TestMarkersAtTheTail ends a partition in transaction markers, of committed
// and aborted transactions, and in nothing at all.
func TestMarkersAtTheTail(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		topic := e.topic(tr, 3, nil)
		p := e.producer(tr, e.name("id"))
		p.Send(tp(topic, 0), rec("k", "v"))
		e.mustCommit(p, engine.Commit{})
		for i := range 3 {
			p.Send(tp(topic, 0), rec("k", "aborted"))
			p.Send(tp(topic, 1), rec("k", "aborted"))
			e.await("flush", func() bool { return p.Buffered() == 0 })
			p.Discard()
			if i == 1 {
				e.mustCommit(p, engine.Commit{}) // of nothing
			}
		}
		p.Send(tp(topic, 2), rec("k", "last"))
		e.mustCommit(p, engine.Commit{})
		s := e.source(tr)
		for part, want := range []int{1, 0, 1} {
			e.settle(tr, tp(topic, int32(part)))
			got, next := e.readTo(s, tp(topic, int32(part)), 0, engine.ReadCommitted)
			ends, err := tr.Admin().Ends(e.ctx(), []record.TopicPartition{tp(topic, int32(part))}, engine.ReadCommitted)
			if err != nil || next != ends[tp(topic, int32(part))] || len(got) != want {
				e.Errorf("partition %d: %d records, covered to %d, end %v, %v", part, len(got), next, ends, err)
			}
		}
	})
}

// TestPurgeAndOutOfRange deletes records, reads what is left, and asks for
// what is gone and for what is not there yet.
func TestPurgeAndOutOfRange(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, nil), 0)
		p := e.producer(tr, "")
		for i := range 10 {
			p.Send(topic, record.Record{Value: fmt.Appendf(nil, "%d", i), Time: int64(1000 * i)})
		}
		e.mustCommit(p, engine.Commit{})
		for _, below := range []int64{4, 4} {
			if err := tr.Admin().Purge(e.ctx(), map[record.TopicPartition]int64{topic: below}); err != nil {
				e.Fatal(err)
			}
		}
		starts, err := tr.Admin().Starts(e.ctx(), []record.TopicPartition{topic})
		if err != nil || starts[topic] != 4 {
			e.Fatalf("first offset: %v, %v", starts, err)
		}
		s := e.source(tr)
		if got, _ := e.readTo(s, topic, 4, engine.ReadCommitted); len(got) != 6 || string(got[0].Value) != "4" {
			e.Errorf("left: %q", values(got))
		}
		for _, at := range []int64{2, 99} {
			s.Start(topic, at, engine.ReadCommitted)
			var failed *engine.Fetched
			e.await("the error", func() bool {
				for _, f := range s.Poll(time.Second) {
					failed = f
				}
				return failed != nil
			})
			if !errors.Is(failed.Err, engine.ErrOffsetOutOfRange) || failed.Next != at || failed.LogStart != 4 {
				e.Errorf("offset %d: %+v", at, failed)
			}
			s.Release(failed)
		}
		byTime, err := tr.Control().OffsetsAt(e.ctx(), map[record.TopicPartition]int64{topic: 5500})
		if err != nil || byTime[topic] != 6 {
			e.Errorf("offset at 5500: %v, %v", byTime, err)
		}
		byTime, err = tr.Control().OffsetsAt(e.ctx(), map[record.TopicPartition]int64{topic: 99999})
		if err != nil || byTime[topic] != -1 {
			e.Errorf("offset at 99999: %v, %v", byTime, err)
		}
	})
}

// TestTooLarge sends records that together, and one that alone, exceed what
// the topic takes.
func TestTooLarge(t *testing.T) {
	onReal(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, map[string]string{"max.message.bytes": "10000"}), 0)
		p := e.producer(tr, e.name("id"))
		want := []string{}
		for i := range 500 {
			v := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 200))
			want = append(want, v)
			p.Send(topic, record.Record{Key: []byte("k"), Value: []byte(v), Time: int64(i), Headers: []record.Header{{Key: "n", Value: fmt.Append(nil, i)}}})
		}
		result := e.mustCommit(p, engine.Commit{})
		got := e.readAll(tr, topic)
		if !slices.Equal(values(got), want) || result.Next[topic] != 500 {
			e.Fatalf("got %d records, next %d", len(got), result.Next[topic])
		}
		for i, r := range got {
			if r.Time != int64(i) || len(r.Headers) != 1 || string(r.Headers[0].Value) != fmt.Sprint(i) {
				e.Fatalf("record %d: %+v", i, r)
			}
		}
		p.Send(topic, rec("k", strings.Repeat("y", 20000)))
		r := e.commit(p, engine.Commit{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), "max.message.bytes") || errors.Is(r.Err, engine.ErrAborted) {
			e.Errorf("commit: %v", r.Err)
		}
		if p.Err() == nil {
			e.Error("Err says nothing")
		}
	})
}

// TestBackpressure does not release: fetching stops near the bound, and goes
// on after Release. A second partition is not starved by the first.
func TestBackpressure(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open(func(s *Settings) {
			s.BufferPartitionBytes, s.BufferBytes, s.FetchPartitionBytes, s.BatchBytes = 256<<10, 300<<10, 64<<10, 16<<10
		})
		topic := e.topic(tr, 2, nil)
		p := e.producer(tr, "")
		const each, size = 3000, 1000
		for i := range each {
			for part := range int32(2) {
				p.Send(tp(topic, part), record.Record{Value: append(fmt.Appendf(nil, "%06d", i), make([]byte, size)...)})
			}
		}
		e.mustCommit(p, engine.Commit{})
		s := e.source(tr)
		s.Start(tp(topic, 0), 0, engine.ReadCommitted)
		var held []*engine.Fetched
		bytes := 0
		idle := 0
		for idle < 5 {
			got := s.Poll(100 * time.Millisecond)
			if len(got) == 0 {
				idle++
			}
			for _, f := range got {
				held = append(held, f)
				bytes += f.Bytes
			}
		}
		if bytes < 128<<10 || bytes > 400<<10 {
			e.Errorf("%d bytes fetched without release, the bound is %d", bytes, 256<<10)
		}
		s.Start(tp(topic, 1), 0, engine.ReadCommitted)
		counts := make(map[int32]int)
		for _, f := range held {
			counts[0] += len(f.Records)
		}
		e.await("the second partition", func() bool {
			for _, f := range s.Poll(100 * time.Millisecond) {
				counts[f.TP.Partition] += len(f.Records)
				held = append(held, f)
			}
			return counts[1] > 0
		})
		for _, f := range held {
			s.Release(f)
		}
		e.await("all", func() bool {
			for _, f := range s.Poll(100 * time.Millisecond) {
				counts[f.TP.Partition] += len(f.Records)
				s.Release(f)
			}
			return counts[0] == each && counts[1] == each
		})
	})
}

// TestStopDropsWhatWasFetched stops a partition between fetch and poll.
func TestStopDropsWhatWasFetched(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		topic := e.topic(tr, 2, nil)
		p := e.producer(tr, "")
		p.Send(tp(topic, 0), rec("k", "old"))
		p.Send(tp(topic, 1), rec("k", "other"))
		e.mustCommit(p, engine.Commit{})
		s := e.source(tr).(*source)
		s.Start(tp(topic, 0), 0, engine.ReadCommitted)
		e.await("fetch", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.ready) > 0
		})
		s.Stop(tp(topic, 0))
		if got := s.Poll(100 * time.Millisecond); len(got) != 0 {
			e.Errorf("polled after Stop: %+v", got[0])
		}
		s.mu.Lock()
		if s.held != 0 || len(s.lent) != 0 {
			e.Errorf("%d bytes held, %d lent after Stop", s.held, len(s.lent))
		}
		s.mu.Unlock()
		if got, _ := e.readTo(s, tp(topic, 0), 0, engine.ReadCommitted); len(got) != 1 {
			e.Errorf("started again: %q", values(got))
		}
	})
}

// TestWake ends a Poll from another goroutine, and one that comes later.
func TestWake(t *testing.T) {
	onBoth(t, func(e *env) {
		s := e.source(e.open())
		began := time.Now()
		s.Wake()
		s.Poll(30 * time.Second)
		go s.Wake()
		s.Poll(30 * time.Second)
		if took := time.Since(began); took > 10*time.Second {
			e.Errorf("it took %v", took)
		}
	})
}

// TestTopicComesLater starts to fetch and to send before the topic is there.
func TestTopicComesLater(t *testing.T) {
	onReal(t, func(e *env) {
		tr := e.open()
		name := e.name("topic")
		s := e.source(tr)
		s.Start(tp(name, 0), 0, engine.ReadCommitted)
		p := e.producer(tr, e.name("id"))
		p.Send(tp(name, 0), rec("k", "early"))
		s.Poll(200 * time.Millisecond)
		if err := tr.Control().CreateTopic(e.ctx(), name, 1, nil); err != nil {
			e.Fatal(err)
		}
		e.mustCommit(p, engine.Commit{})
		if got := e.readAll(tr, tp(name, 0)); !slices.Equal(values(got), []string{"early"}) {
			e.Errorf("got %q", values(got))
		}
		var fetched int
		e.await("the early fetch", func() bool {
			for _, f := range s.Poll(time.Second) {
				fetched += len(f.Records)
			}
			return fetched == 1
		})
	})
}

// TestTopics creates, describes, lists and deletes.
func TestTopics(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		a := tr.Control()
		name := e.topic(tr, 3, map[string]string{"cleanup.policy": "compact", "retention.ms": "12345"})
		if err := a.CreateTopic(e.ctx(), name, 3, nil); !errors.Is(err, engine.ErrTopicExists) {
			e.Errorf("created twice: %v", err)
		}
		got, err := a.Topics(e.ctx(), []string{name, "not-there"})
		if err != nil || len(got) != 1 || got[name].Partitions != 3 || got[name].Configs["cleanup.policy"] != "compact" || got[name].Configs["retention.ms"] != "12345" {
			e.Errorf("topics: %+v, %v", got, err)
		}
		if err := a.SetTopicConfig(e.ctx(), name, "cleanup.policy", "delete"); err != nil {
			e.Fatal(err)
		}
		e.await("the new setting", func() bool {
			got, err := a.Topics(e.ctx(), []string{name})
			return err == nil && got[name].Configs["cleanup.policy"] == "delete" && got[name].Configs["retention.ms"] == "12345"
		})
		names, err := a.TopicNames(e.ctx())
		if err != nil || !slices.Contains(names, name) || slices.Contains(names, "__consumer_offsets") {
			e.Errorf("names: %v, %v", names, err)
		}
		ends, err := a.Ends(e.ctx(), []record.TopicPartition{tp(name, 0), tp(name, 2)}, engine.ReadCommitted)
		if err != nil || len(ends) != 2 || ends[tp(name, 2)] != 0 {
			e.Errorf("ends: %v, %v", ends, err)
		}
		if err := a.DeleteTopics(e.ctx(), []string{name, "not-there"}); err != nil {
			e.Fatal(err)
		}
		e.await("deletion", func() bool {
			got, err := a.Topics(e.ctx(), []string{name})
			if err != nil {
				e.Fatal(err)
			}
			return len(got) == 0
		})
	})
}

// TestGoroutinesEnd opens and closes everything and counts goroutines.
func TestGoroutinesEnd(t *testing.T) {
	onBoth(t, func(e *env) {
		warm := e.open()
		topic := e.topic(warm, 2, nil)
		warm.Close()
		round := func() {
			tr := e.open()
			p, err := tr.NewProducer(e.ctx(), e.name("id"), true)
			if err != nil {
				e.Fatal(err)
			}
			p.Send(tp(topic, 0), rec("k", "v"))
			e.mustCommit(p, engine.Commit{})
			p.Send(tp(topic, 1), rec("k", "open"))
			s, err := tr.NewSource()
			if err != nil {
				e.Fatal(err)
			}
			s.Start(tp(topic, 0), 0, engine.ReadCommitted)
			s.Start(tp(topic, 1), 0, engine.ReadUncommitted)
			s.Poll(time.Second)
			member := e.join(tr, tasksOf(topic, 2))
			e.next(member)
			if err := member.Leave(e.ctx(), false); err != nil {
				e.Error(err)
			}
			s.Close()
			if err := p.Close(context.Background()); err != nil {
				e.Error(err)
			}
			tr.Close()
		}
		round()
		before := runtime.NumGoroutine()
		for range 3 {
			round()
		}
		e.await("the end of goroutines", func() bool { return runtime.NumGoroutine() <= before+4 })
	})
}
