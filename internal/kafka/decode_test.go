package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"streamctl/internal/record"
)

// aBatch is a batch to be put on the wire.
type aBatch struct {
	producer int64 // < 0 = none, and no transaction
	first    int64
	vals     []string
	skip     int // of the records at the beginning: compacted away
	control  int // 0 = it is none, 1 = abort, 2 = commit
	appended int64
}

// wire is the batch as a broker sends it.
func (b aBatch) wire(t testing.TB) []byte {
	t.Helper()
	out := kmsg.RecordBatch{
		FirstOffset: b.first, PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(b.vals) - 1),
		FirstTimestamp: 1000, MaxTimestamp: 1000 + int64(len(b.vals)), ProducerID: b.producer, ProducerEpoch: -1, FirstSequence: -1,
	}
	if b.appended > 0 {
		out.Attributes |= logAppendFlag
		out.MaxTimestamp = b.appended
	}
	if b.producer >= 0 {
		out.Attributes |= transactionFlag
	}
	var body []byte
	for i, v := range b.vals {
		if i < b.skip {
			continue
		}
		r := kmsg.Record{TimestampDelta64: int64(i), OffsetDelta: int32(i), Value: []byte(v), Headers: []kmsg.Header{{Key: "h", Value: []byte(v)}}}
		if b.control > 0 {
			out.Attributes |= controlFlag
			r.Key = []byte{0, 0, 0, byte(b.control - 1)}
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // nought takes one byte
		body = r.AppendTo(body)
		out.NumRecords++
	}
	out.Records = body
	out.Length = int32(len(out.AppendTo(nil)) - 12)
	raw := out.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// blockOf is what an answer says of a partition with these batches.
func blockOf(t testing.TB, aborted []abortedTransaction, batches ...aBatch) *fetchBlock {
	t.Helper()
	b := &fetchBlock{aborted: aborted}
	for _, one := range batches {
		b.records = append(b.records, one.wire(t)...)
	}
	return b
}

func convert(block *fetchBlock, from int64, committed bool) (covered, error) {
	u := unpacker{limit: 1 << 20}
	return u.convert(block, from, committed, nil)
}

// TestAbortedRecords follows aborted transactions of interleaved producers,
// one of which began before the first offset of the answer.
func TestAbortedRecords(t *testing.T) {
	one := func(producer, first int64, val string) aBatch {
		return aBatch{producer: producer, first: first, vals: []string{val}}
	}
	marker := func(producer, first int64, kind int) aBatch {
		return aBatch{producer: producer, first: first, vals: []string{""}, control: kind}
	}
	block := blockOf(t, []abortedTransaction{{2, 13}, {1, 3}, {1, 17}},
		one(1, 10, "aborted-1"), one(2, 11, "kept-2"), marker(2, 12, 2), one(2, 13, "aborted-2"), one(-1, 14, "plain"),
		marker(1, 15, 1), one(1, 16, "kept-1"), one(1, 17, "aborted-1b"), marker(2, 18, 1), one(2, 19, "kept-2b"), marker(1, 20, 1))
	got, err := convert(block, 10, true)
	if err != nil || !slices.Equal(values(got.records), []string{"kept-2", "plain", "kept-1", "kept-2b"}) || got.next != 21 {
		t.Errorf("committed: %q, next %d, %v", values(got.records), got.next, err)
	}
	if block.aborted[0].producer != 2 {
		t.Error("the answer was changed")
	}
	got, err = convert(block, 10, false)
	if err != nil || len(got.records) != 7 {
		t.Errorf("uncommitted: %q, %v", values(got.records), err)
	}
}

// TestConvertEdges covers records before the asked offset, gaps, a batch that
// is cut off anywhere, batches without records, log append time, and old formats.
func TestConvertEdges(t *testing.T) {
	cut := aBatch{producer: -1, first: 40, vals: []string{"never"}}
	block := blockOf(t, nil, aBatch{producer: -1, first: 10, vals: []string{"0", "1", "2"}}, aBatch{producer: -1, first: 20, vals: []string{"a", "b", "c"}, skip: 1},
		aBatch{producer: -1, first: 30, vals: []string{"x", "y"}, appended: 7777}, aBatch{producer: -1, first: 32, vals: []string{"", ""}, skip: 2})
	whole := len(block.records)
	block.records = append(block.records, cut.wire(t)...)
	want := []record.Record{
		{Value: []byte("2"), Time: 1002, Offset: 12}, {Value: []byte("b"), Time: 1001, Offset: 21}, {Value: []byte("c"), Time: 1002, Offset: 22},
		{Value: []byte("x"), Time: 7777, Offset: 30}, {Value: []byte("y"), Time: 7777, Offset: 31},
	}
	for end := whole; end < len(block.records); end++ {
		got, err := convert(&fetchBlock{records: block.records[:end]}, 12, true)
		if err != nil || got.next != 34 || got.cut || len(got.records) != len(want) {
			t.Fatalf("got %+v, %v", got, err)
		}
		for i, r := range got.records {
			if string(r.Value) != string(want[i].Value) || r.Time != want[i].Time || r.Offset != want[i].Offset ||
				r.Key != nil || len(r.Headers) != 1 || r.Headers[0].Key != "h" || string(r.Headers[0].Value) != string(r.Value) {
				t.Errorf("record %d: got %+v, want %+v", i, r, want[i])
			}
		}
	}
	got, err := convert(&fetchBlock{records: cut.wire(t)[:50]}, 40, true)
	if err != nil || !got.cut || got.next != 40 {
		t.Errorf("cut off at once: %+v, %v", got, err)
	}
	got, err = convert(blockOf(t, nil, aBatch{producer: -1, first: 32, vals: []string{"", ""}, skip: 2}), 5, true)
	if err != nil || got.next != 34 || len(got.records) != 0 {
		t.Errorf("nothing but an empty batch: %+v, %v", got, err)
	}
	old := make([]byte, 40)
	old[batchMagicAt] = 1
	if _, err = convert(&fetchBlock{records: old}, 0, true); !errors.Is(err, errOldFormat) {
		t.Errorf("an old format was taken: %v", err)
	}
}

// TestBadBatch finds every changed byte of a batch, delivers what precedes it, and
// takes it for an error only when nothing does.
func TestBadBatch(t *testing.T) {
	good := aBatch{producer: -1, first: 10, vals: []string{"fine"}}.wire(t)
	for at := batchChecksumAt; at < len(good); at++ {
		bad := aBatch{producer: -1, first: 11, vals: []string{"bad", "bad"}}.wire(t)
		bad[at] ^= 0x10
		got, err := convert(&fetchBlock{records: slices.Concat(good, bad)}, 10, true)
		if err != nil || got.next != 11 || len(got.records) != 1 {
			t.Fatalf("byte %d: %+v, %v", at, got, err)
		}
		var what *batchError
		if got, err = convert(&fetchBlock{records: bad}, 11, true); !errors.As(err, &what) || what.offset != 11 || len(got.records) != 0 || got.next != 11 {
			t.Fatalf("byte %d: %+v, %v", at, got, err)
		}
	}
}

// TestBadRecords gives batches with a right checksum whose records are anything.
func TestBadRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		raw := aBatch{producer: -1, first: 11, vals: []string{"some", "records"}}.wire(t)
		for range rapid.IntRange(1, 4).Draw(rt, "changes") {
			raw[rapid.IntRange(batchCount, len(raw)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
		}
		binary.BigEndian.PutUint32(raw[batchChecksumAt:], crc32.Checksum(raw[batchCheckedFrom:], crc32.MakeTable(crc32.Castagnoli)))
		got, err := convert(&fetchBlock{records: raw}, 11, true)
		var bad *batchError
		if err != nil && (!errors.As(err, &bad) || bad.offset != 11 || len(got.records) != 0) {
			rt.Fatalf("%+v, %v", got, err)
		}
	})
}

// TestHostileCount takes no more memory for what a batch says that it has than its bytes can hold.
func TestHostileCount(t *testing.T) {
	raw := aBatch{producer: -1, vals: []string{"one"}}.wire(t)
	binary.BigEndian.PutUint32(raw[batchCount:], 1<<31-1)
	if n := countRecords(raw); n != 1 {
		t.Errorf("one offset, and room for %d records", n)
	}
	binary.BigEndian.PutUint32(raw[batchLastDelta:], 1<<31-1)
	if n := countRecords(slices.Concat(raw, raw)); n > 2*len(raw)/leastRecord {
		t.Errorf("%d bytes, and room for %d records", 2*len(raw), n)
	}
}

// TestMoreRecordsThanBytes takes a batch that was compressed so well that it has more records than
// bytes, and another partition's behind it in the same answer.
func TestMoreRecordsThanBytes(t *testing.T) {
	const count = 20000
	var many []byte
	for range count {
		many = append(many, 6<<1, 0, 0, 0, 1, 1, 0) // nothing but zeros and nulls
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	dense := aBatch{producer: -1, vals: []string{""}, skip: 1}.wire(t)
	dense = enc.EncodeAll(many, dense)
	binary.BigEndian.PutUint32(dense[batchLengthAt:], uint32(len(dense)-batchLengthAt-4))
	binary.BigEndian.PutUint16(dense[batchAttributes:], uint16(sarama.CompressionZSTD))
	binary.BigEndian.PutUint32(dense[batchLastDelta:], count-1)
	binary.BigEndian.PutUint32(dense[batchCount:], count)
	binary.BigEndian.PutUint32(dense[batchChecksumAt:], crc32.Checksum(dense[batchCheckedFrom:], crc32.MakeTable(crc32.Castagnoli)))
	if len(dense) >= count {
		t.Fatalf("%d records have %d bytes", count, len(dense))
	}
	loop := newFetchLoop(newLonelySource(t), loopKey{})
	a := &fetchAnswer{memory: &fetchMemory{}}
	for part := range int32(2) {
		p := &fetchPart{tp: tp("t", part), end: -1}
		loop.s.parts[p.tp] = p
		loop.asked = append(loop.asked, p)
		a.blocks = append(a.blocks, fetchBlock{tp: p.tp, records: dense, highWater: count})
	}
	loop.answered(a)
	got := loop.s.take()
	if len(got) != 2 || len(got[0].Records) != count || len(got[1].Records) != count || got[1].Err != nil {
		t.Fatalf("%d fetches: %+v", len(got), got)
	}
}

// newLonelySource is a source of a cluster that there is not.
func newLonelySource(t *testing.T) *source {
	t.Helper()
	c, err := newCluster(Settings{Brokers: []string{"127.0.0.1:1"}, Logger: slog.New(slog.DiscardHandler)}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(c)
	t.Cleanup(s.Close)
	return s
}

// TestMalformedAnswer: any bytes are an answer or an error.
func TestMalformedAnswer(t *testing.T) {
	answer := kmsg.NewPtrFetchResponse()
	part := kmsg.NewFetchResponseTopicPartition()
	part.Partition, part.ErrorCode, part.HighWatermark, part.LastStableOffset, part.LogStartOffset = 3, 6, 100, 99, 7
	part.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 8, FirstOffset: 9}}
	part.RecordBatches = aBatch{producer: 1, first: 4, vals: []string{"v"}}.wire(t)
	answer.ThrottleMillis, answer.ErrorCode = 20, 70
	answer.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{part, part}}}
	for _, version := range []int16{plainVersion, tappedVersion} {
		answer.Version = version
		raw := answer.AppendTo(nil)
		a, err := parseAnswer(&body{version: version, data: raw})
		if err != nil || len(a.blocks) != 2 || a.throttle != 20*time.Millisecond || a.code != 70 {
			t.Fatalf("version %d: %+v, %v", version, a, err)
		}
		b := a.of(record.TopicPartition{Topic: "t", Partition: 3})
		if b == nil || b.code != 6 || b.highWater != 100 || b.stable != 99 || b.logStart != 7 || len(b.aborted) != 1 ||
			b.aborted[0] != (abortedTransaction{8, 9}) || !bytes.Equal(b.records, part.RecordBatches) {
			t.Fatalf("version %d: %+v", version, b)
		}
		for end := range raw {
			if _, err := parseAnswer(&body{version: version, data: raw[:end]}); err == nil {
				t.Fatalf("version %d: %d of %d bytes are taken for the whole", version, end, len(raw))
			}
		}
		rapid.Check(t, func(rt *rapid.T) {
			bad := bytes.Clone(raw)
			for range rapid.IntRange(1, 4).Draw(rt, "changes") {
				bad[rapid.IntRange(0, len(bad)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
			}
			_, _ = parseAnswer(&body{version: version, data: bad})
		})
	}
}

// TestEncodedField holds sarama to the field that setEncoded writes.
func TestEncodedField(t *testing.T) {
	if !setEncoded(&sarama.RecordBatch{}, nil) {
		t.Fatal("sarama.RecordBatch has no compressedRecords []byte any more: records would be encoded twice")
	}
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
