package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"unsafe"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// recordOverhead is what a record.Record costs in memory beside its bytes.
const recordOverhead = int(unsafe.Sizeof(record.Record{}))

// errOldFormat refuses message formats before Kafka 0.11.
var errOldFormat = errors.New("the log is in a message format older than Kafka 0.11; rewrite the topic with a newer client")

// The layout of a batch of records, of message format 2 (Kafka's documentation, "Record
// Batch"): where a field begins.
const (
	batchLengthAt    = 8 // of what follows the length itself
	batchMagicAt     = 16
	batchChecksumAt  = 17
	batchCheckedFrom = 21
	batchAttributes  = 21
	batchLastDelta   = 23
	batchFirstTime   = 27
	batchMaxTime     = 35
	batchProducer    = 43
	batchCount       = 57
	batchRecords     = 61

	batchMagic = 2
)

const (
	codecMask       = 0x07
	logAppendFlag   = 0x08
	transactionFlag = 0x10
	controlFlag     = 0x20
)

// batchView is one batch as it lies in an answer.
type batchView struct {
	first, last int64 // offsets
	attributes  uint16
	count       int
	data        []byte
}

// viewBatch cuts the next batch off data. whole is false where the answer ends
// before the batch does.
func viewBatch(data []byte) (b batchView, rest []byte, whole bool, err error) {
	if len(data) <= batchMagicAt {
		return b, nil, false, nil
	}
	if data[batchMagicAt] < batchMagic {
		return b, nil, false, errOldFormat
	}
	b.first = int64(binary.BigEndian.Uint64(data))
	end := int64(int32(binary.BigEndian.Uint32(data[batchLengthAt:]))) + batchLengthAt + 4
	if end < batchRecords {
		return b, nil, false, &batchError{b.first, errors.New("it is shorter than its own head")}
	}
	if end > int64(len(data)) {
		return b, nil, false, nil
	}
	b.data, rest = data[:end:end], data[end:]
	b.attributes = binary.BigEndian.Uint16(data[batchAttributes:])
	b.last = b.first + int64(int32(binary.BigEndian.Uint32(data[batchLastDelta:])))
	b.count = int(int32(binary.BigEndian.Uint32(data[batchCount:])))
	return b, rest, true, nil
}

// check compares the checksum.
func (b *batchView) check() error {
	if crc32.Checksum(b.data[batchCheckedFrom:], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b.data[batchChecksumAt:]) {
		return &batchError{b.first, errors.New("its checksum is wrong")}
	}
	if b.count < 0 || b.last < b.first {
		return &batchError{b.first, fmt.Errorf("it says that it has %d records up to offset %d", b.count, b.last)}
	}
	return nil
}

func (b *batchView) producer() int64 { return int64(binary.BigEndian.Uint64(b.data[batchProducer:])) }

// countRecords is how many records the batches of data say that they have: for memory that is
// taken at once, within what is likely: nobody has looked at the checksums yet.
func countRecords(data []byte) (n int) {
	for {
		b, rest, whole, err := viewBatch(data)
		if err != nil || !whole {
			return n
		}
		n += int(max(0, min(int64(b.count), b.last-b.first+1, int64(len(b.data)/leastRecord))))
		data = rest
	}
}

// leastRecord is the length of a record without anything in it.
const leastRecord = 7

// covered is what an answer brought for one partition.
type covered struct {
	records []record.Record
	next    int64 // past everything seen
	bytes   int   // in memory
	cut     bool  // the answer ends in the middle of the first batch: ask for more bytes
}

// convert turns an answer into records, beginning at offset from, and appends them to room.
// They point into the answer. With committed, records of aborted transactions are left out,
// as the Java consumer does it: a producer's transaction is aborted from the first offset
// that the broker lists for it to the producer's next control batch. A batch that cannot be
// read is an error only where none precedes it.
func (u *unpacker) convert(block *fetchBlock, from int64, committed bool, room []record.Record) (covered, error) {
	out := covered{next: from, records: room[len(room):]}
	filter := newAbortFilter(block, committed)
	for data := block.records; len(data) > 0; {
		b, rest, whole, err := viewBatch(data)
		if err == nil && !whole {
			out.cut = out.next == from
			break
		}
		if err == nil {
			err = out.add(&b, u, filter, from)
		}
		if err != nil {
			if out.next > from {
				err = nil
			}
			return out, err
		}
		data = rest
	}
	return out, nil
}

// add takes one batch.
func (c *covered) add(b *batchView, u *unpacker, filter *abortFilter, from int64) error {
	if err := b.check(); err != nil {
		return err
	}
	var records []byte
	var err error
	passes := b.count > 0
	if passes {
		if records, err = u.unpack(b.attributes&codecMask, b.data[batchRecords:]); err != nil {
			return &batchError{b.first, err}
		}
		if passes, err = filter.passes(b, records); err != nil {
			return err
		}
	}
	if passes && b.last >= from {
		before, bytes := len(c.records), c.bytes
		if err := c.append(b, records, from); err != nil {
			c.records, c.bytes = c.records[:before], bytes
			return &batchError{b.first, err}
		}
	}
	c.next = max(c.next, b.last+1)
	return nil
}

// append adds the records of one batch.
func (c *covered) append(b *batchView, data []byte, from int64) error {
	base := int64(binary.BigEndian.Uint64(b.data[batchFirstTime:]))
	fixed := b.attributes&logAppendFlag != 0
	maxTime := int64(binary.BigEndian.Uint64(b.data[batchMaxTime:]))
	var headers []record.Header
	r := recordReader{data: data}
	for range b.count {
		end := r.begin()
		delta, offset := r.varint(), b.first+r.varint()
		rec := record.Record{Key: r.bytes(), Value: r.bytes(), Time: base + delta, Offset: offset}
		if fixed {
			rec.Time = maxTime
		}
		if n := r.varint(); n != 0 && offset >= from || n < 0 || n > int64(len(r.data)) {
			headers = c.headers(&r, &rec, headers, n)
		}
		if r.failed || end < 0 || end > len(r.data) {
			return errors.New("one of its records is cut off")
		}
		r.data = r.data[len(r.data)-end:]
		if offset < from {
			continue
		}
		c.bytes += len(rec.Key) + len(rec.Value) + recordOverhead
		c.records = append(c.records, rec)
	}
	return nil
}

// headers reads the headers of a record. Growing leaves earlier records with the older array: their slices
// stay right.
func (c *covered) headers(r *recordReader, rec *record.Record, all []record.Header, n int64) []record.Header {
	if n < 0 || n > int64(len(r.data)) {
		r.failed = true
		return all
	}
	first := len(all)
	for range n {
		key := r.bytes()
		h := record.Header{Key: text(key), Value: r.bytes()}
		if r.failed {
			return all
		}
		all = append(all, h)
		c.bytes += len(h.Key) + len(h.Value) + 40
	}
	rec.Headers = all[first:len(all):len(all)]
	return all
}

// recordReader reads the records of a batch. After a failure all is nought.
type recordReader struct {
	data   []byte
	failed bool
}

// begin reads a record's length and attributes, and gives how much lies behind the record.
func (r *recordReader) begin() (behind int) {
	n := r.varint()
	if n < 1 || n > int64(len(r.data)) {
		r.fail()
		return 0
	}
	behind = len(r.data) - int(n)
	r.data = r.data[1:]
	return behind
}

func (r *recordReader) fail() { r.failed, r.data = true, nil }

// varint is a number of variable length, zigzag coded.
func (r *recordReader) varint() int64 {
	if len(r.data) > 0 && r.data[0] < 0x80 {
		v := uint64(r.data[0])
		r.data = r.data[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

// bytes is a view of bytes with their length before them; nil where that is negative.
func (r *recordReader) bytes() []byte {
	n := r.varint()
	if n < 0 || r.failed {
		return nil
	}
	if n > int64(len(r.data)) {
		r.fail()
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

// text views bytes as a string: what an answer was read into is written again only when
// nobody holds it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// abortFilter follows the transactions of one answer.
type abortFilter struct {
	committed bool
	pending   []abortedTransaction // by first offset
	aborted   map[int64]struct{}   // producers within an aborted transaction
}

func newAbortFilter(block *fetchBlock, committed bool) *abortFilter {
	f := &abortFilter{committed: committed}
	if committed && len(block.aborted) > 0 {
		f.pending = slices.Clone(block.aborted)
		slices.SortFunc(f.pending, func(a, b abortedTransaction) int {
			return int(min(max(a.first-b.first, -1), 1))
		})
		f.aborted = make(map[int64]struct{})
	}
	return f
}

// passes says whether the records of b are to be delivered. It must see all
// batches that have any, in order.
func (f *abortFilter) passes(b *batchView, records []byte) (bool, error) {
	for len(f.pending) > 0 && f.pending[0].first <= b.last {
		f.aborted[f.pending[0].producer] = struct{}{}
		f.pending = f.pending[1:]
	}
	if b.attributes&controlFlag != 0 {
		abort, err := isAbortMarker(records)
		if err != nil {
			return false, &batchError{b.first, err}
		}
		if abort {
			delete(f.aborted, b.producer())
		}
		return false, nil
	}
	if !f.committed || b.attributes&transactionFlag == 0 {
		return true, nil
	}
	_, aborted := f.aborted[b.producer()]
	return !aborted, nil
}

// isAbortMarker reads the key of a control record: version and type, 0 = abort.
func isAbortMarker(records []byte) (bool, error) {
	r := recordReader{data: records}
	r.begin()
	r.varint()
	r.varint()
	key := r.bytes()
	if r.failed {
		return false, errors.New("its control record is cut off")
	}
	return len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0, nil
}

// fetchError is the meaning of a partition's error code for the engine.
func fetchError(tp record.TopicPartition, offset int64, code error) error {
	var bad *batchError
	switch {
	case errors.Is(code, sarama.ErrOffsetOutOfRange):
		return fmt.Errorf("fetch %s/%d at offset %d: %w", tp.Topic, tp.Partition, offset, engine.ErrOffsetOutOfRange)
	case errors.As(code, &bad):
		return fmt.Errorf("fetch %s/%d: %w", tp.Topic, tp.Partition, bad)
	}
	return fmt.Errorf("fetch %s/%d at offset %d: %w", tp.Topic, tp.Partition, offset, permission(code, subject{operation: "Read", topic: tp.Topic}))
}
