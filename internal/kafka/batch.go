package kafka

import (
	"math"
	"time"
	"unsafe"

	"github.com/IBM/sarama"

	"streamctl/internal/record"
)

// batchOverhead is the size of a record batch's header on the wire; recordMost
// and headerMost are the most that a record and a header cost there beside
// their keys and values.
const (
	batchOverhead = 61
	recordMost    = 21
	headerMost    = 10
)

// latestTime is the greatest timestamp that sarama can write (it counts
// nanoseconds): in the year 2262. Later ones are written as this one.
const latestTime = math.MaxInt64/1_000_000 - 1

// wireSize is an upper bound of what rec takes in a batch, uncompressed.
func wireSize(rec *record.Record) int {
	n := recordMost + len(rec.Key) + len(rec.Value)
	for i := range rec.Headers {
		n += headerMost + len(rec.Headers[i].Key) + len(rec.Headers[i].Value)
	}
	return n
}

// batch collects the records of one partition that are sent at once. Its
// arenas serve again for another batch when it has been acknowledged, so that
// a record costs no allocation.
type batch struct {
	part    *outPart
	unit    *unit
	bytes   int
	born    time.Time
	records []sarama.Record
	headers []sarama.RecordHeader
	spans   []headerSpan
	refs    []*sarama.Record
	hrefs   []*sarama.RecordHeader
	first   int64 // Kafka timestamps
	latest  int64

	// Set when it is sent for the first time; a retry sends the same again.
	life     *identity
	sequence int32
	wire     sarama.RecordBatch
}

// headerSpan says which headers belong to a record.
type headerSpan struct{ record, from, to int }

// add appends rec. References into the arenas are made by encode: until then
// the arenas may move.
func (b *batch) add(rec *record.Record, size int) {
	at := min(max(rec.Time, -1), latestTime)
	if len(b.records) == 0 {
		b.first, b.latest = at, at
	}
	b.latest = max(b.latest, at)
	if len(rec.Headers) > 0 {
		from := len(b.headers)
		for i := range rec.Headers {
			h := &rec.Headers[i]
			b.headers = append(b.headers, sarama.RecordHeader{Key: bytesOf(h.Key), Value: h.Value})
		}
		b.spans = append(b.spans, headerSpan{len(b.records), from, len(b.headers)})
	}
	b.records = append(b.records, sarama.Record{
		Key: rec.Key, Value: rec.Value, OffsetDelta: int64(len(b.records)),
		TimestampDelta: time.Duration(at-b.first) * time.Millisecond,
	})
	b.bytes += size
}

// bytesOf views a string as bytes that nobody writes. An empty one is not nil:
// a header key must not be null.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// encode fills the wire form at the first sending.
func (b *batch) encode(codec sarama.CompressionCodec, transactional bool) {
	if b.wire.Records != nil {
		return // a retry
	}
	b.refs = b.refs[:0]
	for i := range b.records {
		b.refs = append(b.refs, &b.records[i])
	}
	b.hrefs = b.hrefs[:0]
	for i := range b.headers {
		b.hrefs = append(b.hrefs, &b.headers[i])
	}
	for _, s := range b.spans {
		b.records[s.record].Headers = b.hrefs[s.from:s.to:s.to]
	}
	b.wire = sarama.RecordBatch{
		Version: 2, PartitionLeaderEpoch: -1, Codec: codec, CompressionLevel: sarama.CompressionLevelDefault,
		LastOffsetDelta: int32(len(b.records) - 1), FirstTimestamp: wireTime(b.first), MaxTimestamp: wireTime(b.latest),
		ProducerID: b.life.producer, ProducerEpoch: b.life.epoch, FirstSequence: b.sequence,
		IsTransactional: transactional, Records: b.refs,
	}
}

// wireTime is the time that sarama writes as ms; the zero time is written as -1.
func wireTime(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// reset lets go of the records and keeps the arenas.
func (b *batch) reset() {
	clear(b.records)
	clear(b.headers)
	*b = batch{records: b.records[:0], headers: b.headers[:0], spans: b.spans[:0], refs: b.refs[:0], hrefs: b.hrefs[:0]}
}

// split divides a sequenced batch that is too large for the broker in two,
// which carry its sequence on.
func (b *batch) split() (*batch, *batch) {
	half := len(b.records) / 2
	parts := [2]*batch{}
	for i, bounds := range [2][2]int{{0, half}, {half, len(b.records)}} {
		p := &batch{part: b.part, unit: b.unit, bytes: batchOverhead, born: b.born, life: b.life, sequence: addSequence(b.sequence, bounds[0])}
		for r := bounds[0]; r < bounds[1]; r++ {
			rec := b.recordAt(r)
			p.add(&rec, wireSize(&rec))
		}
		parts[i] = p
	}
	return parts[0], parts[1]
}

// recordAt gives back a record as it was added.
func (b *batch) recordAt(i int) record.Record {
	r := &b.records[i]
	rec := record.Record{Key: r.Key, Value: r.Value, Time: b.first + int64(r.TimestampDelta/time.Millisecond)}
	for _, s := range b.spans {
		if s.record == i {
			for _, h := range b.headers[s.from:s.to] {
				rec.Headers = append(rec.Headers, record.Header{Key: text(h.Key), Value: h.Value})
			}
		}
	}
	return rec
}

// addSequence counts on within 31 bits, as brokers do.
func addSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}
