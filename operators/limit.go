package operators

import (
	"strconv"
	"sync/atomic"

	"streamctl/internal/record"
)

// What a record costs on its way, alone in a batch, is known exactly by who
// sends it, compressed as it will be. These are upper bounds of what it and each
// of its headers add to their bytes: what stays below a limit with them is not
// measured.
const (
	recordMost = 128
	headerMost = 16
)

// limit is how large the records of a topic may be.
type limit struct {
	most *atomic.Int64 // 0 = not known; nil likewise
	size func(*record.Record) int
}

// limitOf is the limit of a topic that the task writes.
func (t *Task) limitOf(topic string) limit {
	if t.Limit == nil {
		return limit{}
	}
	return limit{t.Limit(topic), t.Size}
}

// exceeded says what rec takes, and what the topic takes at most; over is true
// where that is less.
func (l *limit) exceeded(rec *record.Record) (size, most int64, over bool) {
	if l.most == nil {
		return 0, 0, false
	}
	most = l.most.Load()
	if size = roughSize(rec); size <= most || most <= 0 {
		return size, most, false
	}
	measured := *rec // or every record would go to the heap
	size = int64(l.size(&measured))
	return size, most, size > most
}

// roughSize is an upper bound of what rec takes.
func roughSize(rec *record.Record) int64 {
	n := recordMost + len(rec.Key) + len(rec.Value)
	for i := range rec.Headers {
		n += headerMost + len(rec.Headers[i].Key) + len(rec.Headers[i].Value)
	}
	return int64(n)
}

// check is the error of a result that the topic does not take.
func (l *limit) check(topic string, rec *record.Record) error {
	size, most, over := l.exceeded(rec)
	if !over {
		return nil
	}
	return faultf(ReasonTooLarge, "the result takes %d bytes, but topic %s takes %d at most (its max.message.bytes); "+
		"raise that: kafka-configs.sh --alter --topic %s --add-config max.message.bytes=%d", size, topic, most, topic, size+size/2)
}

// HeaderTruncated tells how many bytes the value of a dead letter had before it
// was cut to what its topic takes.
const HeaderTruncated = "streamctl.truncated"

// fit makes a dead letter small enough for its topic: the end of the value goes,
// and where that is not enough, the key and the headers that came with the record
// before it. own are the headers that say why. It returns false when
// nothing of use fits.
func (l *limit) fit(rec *record.Record, own []record.Header) bool {
	_, most, over := l.exceeded(rec)
	if !over {
		return true
	}
	value := rec.Value
	truncated := record.Header{Key: HeaderTruncated, Value: strconv.AppendInt(nil, int64(len(value)), 10)}
	for _, headers := range [][]record.Header{rec.Headers, own} {
		rec.Headers, rec.Value = append(headers[:len(headers):len(headers)], truncated), nil
		switch room := most - roughSize(rec); {
		case room >= int64(len(value)):
			rec.Headers, rec.Value = headers, value // the rest was too much
			return true
		case room > 0:
			rec.Value = value[:room]
			return true
		}
		rec.Key = nil
	}
	return false
}
