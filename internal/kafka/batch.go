package kafka

import (
	"encoding/binary"
	"math"
	"math/bits"
	"reflect"
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

// batch collects the records of one partition that are sent at once, encoded
// as they go over the wire: nothing of a record is kept, and the memory serves
// again for another batch when this one has been acknowledged.
type batch struct {
	part   *outPart
	unit   *unit
	bytes  int // upper bound of what it takes on the wire, uncompressed
	born   time.Time
	data   []byte // records in Kafka's format, version 2
	count  int
	first  int64 // Kafka timestamps
	latest int64

	// Set when it is sent for the first time; a retry sends the same again.
	life     *identity
	sequence int32
	wire     sarama.RecordBatch
}

// add appends a copy of rec.
func (b *batch) add(rec *record.Record, size int) {
	at := min(max(rec.Time, -1), latestTime)
	if b.count == 0 {
		b.first, b.latest = at, at
	}
	b.latest = max(b.latest, at)
	delta, index := at-b.first, int64(b.count)
	d := binary.AppendVarint(b.data, int64(bodySize(rec, delta, index)))
	d = append(d, 0) // attributes
	d = binary.AppendVarint(d, delta)
	d = binary.AppendVarint(d, index)
	d = appendBytes(d, rec.Key)
	d = appendBytes(d, rec.Value)
	d = binary.AppendVarint(d, int64(len(rec.Headers)))
	for i := range rec.Headers {
		h := &rec.Headers[i]
		d = binary.AppendVarint(d, int64(len(h.Key)))
		d = append(d, h.Key...)
		d = appendBytes(d, h.Value)
	}
	b.data = d
	b.count++
	b.bytes += size
}

// bodySize is what rec takes in a batch behind its length.
func bodySize(rec *record.Record, delta, index int64) int {
	n := 1 + varintSize(delta) + varintSize(index) + bytesSize(rec.Key) + bytesSize(rec.Value) + varintSize(int64(len(rec.Headers)))
	for i := range rec.Headers {
		h := &rec.Headers[i]
		n += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	return n
}

// varintSize is the length of v as a zigzag varint.
func varintSize(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}

// bytesSize is what nullable bytes take, with their length.
func bytesSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

// appendBytes appends nullable bytes: their length, -1 for null, and themselves.
func appendBytes(d, p []byte) []byte {
	if p == nil {
		return binary.AppendVarint(d, -1)
	}
	return append(binary.AppendVarint(d, int64(len(p))), p...)
}

// encode fills the wire form at the first sending.
func (b *batch) encode(codec sarama.CompressionCodec, transactional bool) {
	if b.wire.Records != nil {
		return // a retry
	}
	b.wire = sarama.RecordBatch{
		Version: 2, PartitionLeaderEpoch: -1, Codec: codec, CompressionLevel: sarama.CompressionLevelDefault,
		LastOffsetDelta: int32(b.count - 1), FirstTimestamp: wireTime(b.first), MaxTimestamp: wireTime(b.latest),
		ProducerID: b.life.producer, ProducerEpoch: b.life.epoch, FirstSequence: b.sequence,
		IsTransactional: transactional,
	}
	if codec == sarama.CompressionNone && setEncoded(&b.wire, b.data) {
		b.wire.Records = make([]*sarama.Record, b.count) // it counts them, and looks at none
		return
	}
	b.wire.Records = make([]*sarama.Record, 0, b.count)
	b.each(func(i int, rec record.Record) {
		r := &sarama.Record{Key: rec.Key, Value: rec.Value, OffsetDelta: int64(i), TimestampDelta: time.Duration(rec.Time-b.first) * time.Millisecond}
		for _, h := range rec.Headers {
			r.Headers = append(r.Headers, &sarama.RecordHeader{Key: bytesOf(h.Key), Value: h.Value})
		}
		b.wire.Records = append(b.wire.Records, r)
	})
}

// encodedField is the place of sarama's unexported field for records that have
// been encoded and compressed; -1 where this version of sarama has none.
func encodedField() uintptr {
	f, ok := reflect.TypeFor[sarama.RecordBatch]().FieldByName("compressedRecords")
	if !ok || f.Type != reflect.TypeFor[[]byte]() {
		return math.MaxUint
	}
	return f.Offset
}

// setEncoded gives sarama the records of an uncompressed batch as bytes. sarama
// would encode them into a buffer of its own and copy that into the request's;
// with the bytes in that buffer's place it only copies. Without the field, the
// caller has to go the long way.
func setEncoded(b *sarama.RecordBatch, data []byte) bool {
	at := encodedField()
	if at == math.MaxUint {
		return false
	}
	*(*[]byte)(unsafe.Add(unsafe.Pointer(b), at)) = data
	return true
}

// bytesOf views a string as bytes that nobody writes. An empty one is not nil:
// a header key must not be null.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// wireTime is the time that sarama writes as ms; the zero time is written as -1.
func wireTime(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// reset makes the batch empty and keeps its memory.
func (b *batch) reset() { *b = batch{data: b.data[:0]} }

// each calls f with every record as it was added; their bytes are the batch's.
func (b *batch) each(f func(i int, rec record.Record)) {
	d := recordReader{data: b.data}
	for i := range b.count {
		d.begin()
		rec := record.Record{Time: b.first + d.varint()}
		d.varint() // index
		rec.Key, rec.Value = d.bytes(), d.bytes()
		for range d.varint() {
			key := d.bytes()
			rec.Headers = append(rec.Headers, record.Header{Key: text(key), Value: d.bytes()})
		}
		f(i, rec)
	}
}

// split divides a sequenced batch that is too large for the broker in two,
// which carry its sequence on.
func (b *batch) split() (*batch, *batch) {
	half := b.count / 2
	first := &batch{part: b.part, unit: b.unit, bytes: batchOverhead, born: b.born, life: b.life, sequence: b.sequence}
	second := &batch{part: b.part, unit: b.unit, bytes: batchOverhead, born: b.born, life: b.life, sequence: addSequence(b.sequence, half)}
	b.each(func(i int, rec record.Record) {
		if i < half {
			first.add(&rec, wireSize(&rec))
		} else {
			second.add(&rec, wireSize(&rec))
		}
	})
	return first, second
}

// addSequence counts on within 31 bits, as brokers do.
func addSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}
