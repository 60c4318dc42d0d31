package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// recordOverhead is what a record.Record costs in memory beside its bytes.
const recordOverhead = int(unsafe.Sizeof(record.Record{}))

// errOldFormat refuses message formats before Kafka 0.11.
var errOldFormat = errors.New("the log is in a message format older than Kafka 0.11; rewrite the topic with a newer client")

// covered is what an answer brought for one partition.
type covered struct {
	records []record.Record
	next    int64 // past everything seen
	bytes   int   // in memory
	cut     bool  // the answer ends in the middle of the first batch: ask for more bytes
}

// convert turns an answer into records, beginning at offset from. The records
// point into the answer's buffers; there is one allocation for them all.
// With committed, records of aborted transactions are left out, as the Java
// consumer does it: a producer's transaction is aborted from the first offset
// that the broker lists for it to the producer's next control batch.
func convert(block *sarama.FetchResponseBlock, from int64, committed bool) (covered, error) {
	out := covered{next: from}
	keep := make([]*sarama.RecordBatch, 0, len(block.RecordsSet))
	filter := newAbortFilter(block, committed)
	total := 0
	for _, set := range block.RecordsSet {
		if set.MsgSet != nil {
			return out, errOldFormat
		}
		b := set.RecordBatch
		if b == nil {
			continue
		}
		if b.PartialTrailingRecord {
			out.cut = out.next == from
			break
		}
		if end := b.LastOffset() + 1; end > out.next {
			out.next = end
		}
		if !filter.passes(b) || b.LastOffset() < from {
			continue
		}
		keep = append(keep, b)
		total += len(b.Records)
	}
	if len(block.RecordsSet) == 0 {
		if next, ok := hiddenNext(block); ok && next > out.next {
			out.next = next
		}
	}
	if total == 0 {
		return out, nil
	}
	out.records = make([]record.Record, 0, total)
	for _, b := range keep {
		out.append(b, from)
	}
	return out, nil
}

// append adds the records of one batch.
func (c *covered) append(b *sarama.RecordBatch, from int64) {
	base := millis(b.FirstTimestamp)
	fixed := int64(-1)
	if b.LogAppendTime {
		fixed = millis(b.MaxTimestamp)
	}
	var headers []record.Header
	for _, r := range b.Records {
		offset := b.FirstOffset + r.OffsetDelta
		if offset < from {
			continue
		}
		at := base + deltaMillis(r.TimestampDelta)
		if b.LogAppendTime {
			at = fixed
		}
		rec := record.Record{Key: r.Key, Value: r.Value, Time: at, Offset: offset}
		if len(r.Headers) > 0 {
			// Growing leaves earlier records with the older array: their slices stay right.
			first := len(headers)
			for _, h := range r.Headers {
				headers = append(headers, record.Header{Key: text(h.Key), Value: h.Value})
				c.bytes += len(h.Key) + len(h.Value) + 40
			}
			rec.Headers = headers[first:len(headers):len(headers)]
		}
		c.bytes += len(r.Key) + len(r.Value) + recordOverhead
		c.records = append(c.records, rec)
	}
}

// millis is the Kafka timestamp; sarama shows an unset one as the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// deltaMillis undoes sarama's conversion of a record's time to nanoseconds,
// which overflows when it is centuries from the batch's. The product of ms and
// 10^6 = 2^6 * 5^6 is known modulo 2^64: shifted by 6 bits and multiplied with
// the inverse of 5^6 modulo 2^58, it gives back every difference below 2^57 ms.
func deltaMillis(d time.Duration) int64 {
	const inverse = 76480200929599801 // of 15625 modulo 1<<58
	ms := (uint64(d) >> 6) * inverse
	return int64(ms<<6) >> 6
}

// text views bytes as a string: the buffers of an answer are never rewritten.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// abortFilter follows the transactions of one answer.
type abortFilter struct {
	committed bool
	pending   []*sarama.AbortedTransaction // by first offset
	aborted   map[int64]struct{}           // producers within an aborted transaction
}

func newAbortFilter(block *sarama.FetchResponseBlock, committed bool) *abortFilter {
	f := &abortFilter{committed: committed}
	if committed && len(block.AbortedTransactions) > 0 {
		f.pending = slices.Clone(block.AbortedTransactions)
		slices.SortFunc(f.pending, func(a, b *sarama.AbortedTransaction) int {
			return int(min(max(a.FirstOffset-b.FirstOffset, -1), 1))
		})
		f.aborted = make(map[int64]struct{})
	}
	return f
}

// passes says whether the records of b are to be delivered. It must see all
// batches in order.
func (f *abortFilter) passes(b *sarama.RecordBatch) bool {
	for len(f.pending) > 0 && f.pending[0].FirstOffset <= b.LastOffset() {
		f.aborted[f.pending[0].ProducerID] = struct{}{}
		f.pending = f.pending[1:]
	}
	if b.Control {
		if isAbortMarker(b) {
			delete(f.aborted, b.ProducerID)
		}
		return false
	}
	if !f.committed || !b.IsTransactional {
		return true
	}
	_, aborted := f.aborted[b.ProducerID]
	return !aborted
}

// isAbortMarker reads the key of a control record: version and type, 0 = abort.
func isAbortMarker(b *sarama.RecordBatch) bool {
	if len(b.Records) == 0 || len(b.Records[0].Key) < 4 {
		return false
	}
	return binary.BigEndian.Uint16(b.Records[0].Key[2:]) == 0
}

// hiddenNext is where to go on after an answer that held nothing but batches
// emptied by compaction. sarama leaves those out of RecordsSet and keeps the
// offset after them in an unexported field; without it a fetch at their place
// would find the same nothing for ever.
func hiddenNext(block *sarama.FetchResponseBlock) (int64, bool) {
	f := reflect.ValueOf(block).Elem().FieldByName("recordsNextOffset")
	if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() || f.Elem().Kind() != reflect.Int64 {
		return 0, false
	}
	return f.Elem().Int(), true
}

// fetchError is the meaning of a partition's error code for the engine.
func fetchError(tp record.TopicPartition, offset int64, code error) error {
	if errors.Is(code, sarama.ErrOffsetOutOfRange) {
		return fmt.Errorf("fetch %s/%d at offset %d: %w", tp.Topic, tp.Partition, offset, engine.ErrOffsetOutOfRange)
	}
	return fmt.Errorf("fetch %s/%d at offset %d: %w", tp.Topic, tp.Partition, offset, permission(code, subject{operation: "Read", topic: tp.Topic}))
}

// hasHiddenNext says whether this version of sarama has the field.
func hasHiddenNext() bool {
	f, ok := reflect.TypeFor[sarama.FetchResponseBlock]().FieldByName("recordsNextOffset")
	return ok && f.Type == reflect.TypeFor[*int64]()
}
