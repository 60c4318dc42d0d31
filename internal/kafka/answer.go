package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/record"
)

// fetchAnswer is what a broker says to a fetch (Kafka's protocol, Fetch v11 and v12).
// Records are views into the body.
type fetchAnswer struct {
	throttle time.Duration
	code     sarama.KError
	blocks   []fetchBlock
	index    map[record.TopicPartition]int // of the blocks
	memory   *fetchMemory
}

// fetchBlock is what it says of one partition.
type fetchBlock struct {
	tp        record.TopicPartition
	code      sarama.KError
	highWater int64
	stable    int64 // last stable offset
	logStart  int64
	aborted   []abortedTransaction
	records   []byte
}

// abortedTransaction is one of a producer, from an offset on.
type abortedTransaction struct{ producer, first int64 }

// errMalformed is an answer that is not built as it should be.
var errMalformed = errors.New("malformed answer to a fetch")

// parseAnswer reads the answer to a fetch.
func parseAnswer(b *body) (*fetchAnswer, error) {
	r := wireReader{data: b.data, compact: b.version >= tappedVersion}
	a := &fetchAnswer{memory: b.memory}
	a.throttle = time.Duration(r.int32()) * time.Millisecond
	a.code = sarama.KError(r.int16())
	r.int32() // session
	for range r.length() {
		topic := r.text()
		for range r.length() {
			a.blocks = append(a.blocks, r.block(topic))
			if r.failed {
				break
			}
		}
		r.tags()
		if r.failed {
			break
		}
	}
	r.tags()
	if r.failed {
		return nil, errMalformed
	}
	return a, nil
}

// of finds what was said of a partition.
func (a *fetchAnswer) of(tp record.TopicPartition) *fetchBlock {
	if a.index == nil {
		a.index = make(map[record.TopicPartition]int, len(a.blocks))
		for i := range a.blocks {
			a.index[a.blocks[i].tp] = i
		}
	}
	if i, ok := a.index[tp]; ok {
		return &a.blocks[i]
	}
	return nil
}

// room is memory for the records of an answer: that of its memory where it suffices.
func (a *fetchAnswer) room() []record.Record {
	n := 0
	for i := range a.blocks {
		n += countRecords(a.blocks[i].records)
	}
	if n > cap(a.memory.records) {
		a.memory.records = make([]record.Record, 0, n)
	}
	return a.memory.records[:0]
}

// block reads one partition.
func (r *wireReader) block(topic string) fetchBlock {
	b := fetchBlock{tp: record.TopicPartition{Topic: topic, Partition: r.int32()}, code: sarama.KError(r.int16())}
	b.highWater, b.stable, b.logStart = r.int64(), r.int64(), r.int64()
	for range r.length() {
		b.aborted = append(b.aborted, abortedTransaction{producer: r.int64(), first: r.int64()})
		r.tags()
		if r.failed {
			break
		}
	}
	r.int32() // a replica that could be read from
	n := 0
	if r.compact {
		n = r.length()
	} else {
		n = int(r.int32())
	}
	b.records = r.bytes(max(n, 0))
	r.tags()
	return b
}

// wireReader reads what Kafka's protocol is made of. After a failure all is nought.
type wireReader struct {
	data    []byte
	compact bool // lengths are varints and one more than what they say; there are tagged fields
	failed  bool
}

// bytes is a view of the next n.
func (r *wireReader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.failed, r.data = true, nil
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *wireReader) int16() int16 {
	if b := r.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if b := r.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *wireReader) int64() int64 {
	if b := r.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// uvarint is an unsigned number of variable length.
func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.failed, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

// length is that of a list, or of bytes where these are compact; null has none.
func (r *wireReader) length() int {
	if !r.compact {
		return max(0, r.atMost(int64(r.int32())))
	}
	return max(0, r.atMost(int64(min(r.uvarint(), 1<<62))-1))
}

// atMost fails for a length that cannot be: everything takes a byte.
func (r *wireReader) atMost(n int64) int {
	if n > int64(len(r.data)) {
		r.failed, r.data = true, nil
		return 0
	}
	return int(n)
}

// text is a string.
func (r *wireReader) text() string {
	if r.compact {
		return string(r.bytes(r.length()))
	}
	return string(r.bytes(int(r.int16())))
}

// tags passes over tagged fields: where the leader is now is asked for anyhow.
func (r *wireReader) tags() {
	if !r.compact {
		return
	}
	for range r.atMost(int64(min(r.uvarint(), 1<<62))) {
		r.uvarint()
		if r.bytes(r.atMost(int64(min(r.uvarint(), 1<<62)))); r.failed {
			return
		}
	}
}

// batchError is a batch that cannot be read.
type batchError struct {
	offset int64
	cause  error
}

func (e *batchError) Error() string { return fmt.Sprintf("batch at offset %d: %v", e.offset, e.cause) }

func (e *batchError) Unwrap() error { return e.cause }
