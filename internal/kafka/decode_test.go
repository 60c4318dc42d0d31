package kafka

import (
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"pgregory.net/rapid"

	"streamctl/internal/record"
)

// batchOf makes a batch of a producer at an offset.
func batchOf(producer, first int64, vals ...string) *sarama.Records {
	b := &sarama.RecordBatch{Version: 2, FirstOffset: first, LastOffsetDelta: int32(len(vals) - 1), FirstTimestamp: time.UnixMilli(1000), ProducerID: producer, IsTransactional: producer >= 0}
	for i, v := range vals {
		b.Records = append(b.Records, &sarama.Record{OffsetDelta: int64(i), Value: []byte(v), TimestampDelta: time.Duration(i) * time.Millisecond})
	}
	return &sarama.Records{RecordBatch: b}
}

// marker makes a control batch: kind 0 aborts, 1 commits.
func marker(producer, at int64, kind byte) *sarama.Records {
	s := batchOf(producer, at, "")
	s.RecordBatch.Control = true
	s.RecordBatch.Records[0].Key = []byte{0, 0, 0, kind}
	return s
}

// TestAbortedRecords follows aborted transactions of interleaved producers,
// one of which began before the first offset of the answer.
func TestAbortedRecords(t *testing.T) {
	block := &sarama.FetchResponseBlock{
		AbortedTransactions: []*sarama.AbortedTransaction{{ProducerID: 2, FirstOffset: 13}, {ProducerID: 1, FirstOffset: 3}, {ProducerID: 1, FirstOffset: 17}},
		RecordsSet: []*sarama.Records{
			batchOf(1, 10, "aborted-1"), batchOf(2, 11, "kept-2"), marker(2, 12, 1), batchOf(2, 13, "aborted-2"), batchOf(-1, 14, "plain"),
			marker(1, 15, 0), batchOf(1, 16, "kept-1"), batchOf(1, 17, "aborted-1b"), marker(2, 18, 0), batchOf(2, 19, "kept-2b"), marker(1, 20, 0),
		},
	}
	got, err := convert(block, 10, true)
	if err != nil || !slices.Equal(values(got.records), []string{"kept-2", "plain", "kept-1", "kept-2b"}) || got.next != 21 {
		t.Errorf("committed: %q, next %d, %v", values(got.records), got.next, err)
	}
	if block.AbortedTransactions[0].ProducerID != 2 {
		t.Error("the answer was changed")
	}
	got, err = convert(block, 10, false)
	if err != nil || len(got.records) != 7 {
		t.Errorf("uncommitted: %q, %v", values(got.records), err)
	}
}

// TestConvertEdges covers records before the asked offset, gaps, a batch that
// is cut off, log append time, and old formats.
func TestConvertEdges(t *testing.T) {
	gap := batchOf(-1, 20, "a", "b", "c")
	gap.RecordBatch.Records = gap.RecordBatch.Records[1:2] // the others were compacted away
	appended := batchOf(-1, 30, "x", "y")
	appended.RecordBatch.LogAppendTime, appended.RecordBatch.MaxTimestamp = true, time.UnixMilli(7777)
	cut := batchOf(-1, 40, "never")
	cut.RecordBatch.PartialTrailingRecord = true
	block := &sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{batchOf(-1, 10, "0", "1", "2"), gap, appended, cut}}
	got, err := convert(block, 12, true)
	want := []record.Record{
		{Value: []byte("2"), Time: 1002, Offset: 12}, {Value: []byte("b"), Time: 1001, Offset: 21},
		{Value: []byte("x"), Time: 7777, Offset: 30}, {Value: []byte("y"), Time: 7777, Offset: 31},
	}
	if err != nil || got.next != 32 || got.cut || len(got.records) != len(want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i, r := range got.records {
		if string(r.Value) != string(want[i].Value) || r.Time != want[i].Time || r.Offset != want[i].Offset {
			t.Errorf("record %d: got %+v, want %+v", i, r, want[i])
		}
	}
	got, err = convert(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{cut}}, 40, true)
	if err != nil || !got.cut || got.next != 40 {
		t.Errorf("cut off at once: %+v, %v", got, err)
	}
	if _, err = convert(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{MsgSet: &sarama.MessageSet{}}}}, 0, true); err == nil {
		t.Error("an old format was taken")
	}
}

// TestHiddenNext holds sarama to the field that hiddenNext reads.
func TestHiddenNext(t *testing.T) {
	if _, ok := hiddenNext(&sarama.FetchResponseBlock{}); ok {
		t.Error("an offset out of nothing")
	}
	if !hasHiddenNext() {
		t.Fatal("sarama.FetchResponseBlock has no recordsNextOffset *int64 any more: batches emptied by compaction would be read for ever")
	}
}

// TestEncodedField holds sarama to the field that setEncoded writes.
func TestEncodedField(t *testing.T) {
	if !setEncoded(&sarama.RecordBatch{}, nil) {
		t.Fatal("sarama.RecordBatch has no compressedRecords []byte any more: records would be encoded twice")
	}
}

// TestDeltaMillis undoes the overflow for any difference of times.
func TestDeltaMillis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(-1<<57, 1<<57-1).Draw(t, "ms")
		if got := deltaMillis(time.Duration(ms) * time.Millisecond); got != ms {
			t.Fatalf("got %d, want %d", got, ms)
		}
	})
}

// TestSplitKeepsRecords splits a batch and finds the same records, sequences and times.
func TestSplitKeepsRecords(t *testing.T) {
	b := &batch{life: &identity{producer: 1}, sequence: 1<<31 - 2, bytes: batchOverhead}
	for i := range 5 {
		r := record.Record{Key: []byte{byte(i)}, Value: []byte{byte(i)}, Time: int64(100 - i), Headers: []record.Header{{Key: "h", Value: []byte{byte(i)}}}}
		b.add(&r, wireSize(&r))
	}
	first, second := b.split()
	if first.count != 2 || second.count != 3 || first.sequence != 1<<31-2 || second.sequence != 0 || second.first != 98 || second.latest != 98 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	second.each(func(i int, r record.Record) {
		if r.Key[0] != byte(i+2) || r.Time != int64(98-i) || r.Headers[0].Value[0] != byte(i+2) {
			t.Errorf("record %d: %+v", i, r)
		}
	})
	if first.bytes+second.bytes != b.bytes+batchOverhead {
		t.Errorf("bytes: %d and %d of %d", first.bytes, second.bytes, b.bytes)
	}
}

// TestBackoff stays within its bounds and comes to the end.
func TestBackoff(t *testing.T) {
	var b backoff
	for i := range 30 {
		most := min(backoffFirst<<min(i, 20), backoffMost)
		if d := b.next(); d < most/2 || d > most {
			t.Errorf("attempt %d: %v, want at most %v", i, d, most)
		}
	}
	b.reset()
	if d := b.next(); d > backoffFirst {
		t.Errorf("after reset: %v", d)
	}
}
