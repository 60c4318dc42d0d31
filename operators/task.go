package operators

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/internal/value"
)

// arenaReserve is the room asked for before an output of unknown size is
// written: an output that fits is not copied.
const arenaReserve = 2 << 10

// Task is what the operators of one task share: what the engine lends, and
// memory for what they emit.
type Task struct {
	*TaskContext
	Pipeline string

	arena           arena
	headers         []record.Header // of the record's outputs
	deadLetters     int             // output, -1 = no policy needs it
	deadLetterTopic string
	deadLetterLimit limit
	rows            int // of a frame
	joins           int // memo tables
	// shared holds operators that several inputs of the task lead to, by their specs.
	shared map[any]any
}

// Blueprint is the heads and operators of a sub-topology's tasks: immutable, shared
// by them.
type Blueprint struct {
	Pipeline        string
	DeadLetters     int // output that dead letters go to, -1 = none
	DeadLetterTopic string
	Rows            func() int // rows of a frame, known once everything is compiled
	Joins           func() int // memo tables, likewise
	Heads           []Head
}

// Head is the immutable form of an input with the operators behind it.
type Head interface {
	// Open makes the input of one task.
	Open(t *Task) (Input, error)
}

// Build makes the inputs of one task: SubTopology.Build.
func (b *Blueprint) Build(tc *TaskContext) ([]Input, error) {
	t := &Task{
		TaskContext: tc, Pipeline: b.Pipeline,
		deadLetters: b.DeadLetters, deadLetterTopic: b.DeadLetterTopic,
		rows: b.Rows(), joins: b.Joins(), shared: make(map[any]any),
	}
	if tc.Counters == nil {
		return nil, errors.New("build task: no counters")
	}
	if tc.Timers == nil {
		tc.Timers = &Timers{}
	}
	if t.deadLetters >= 0 {
		t.deadLetterLimit = t.limitOf(t.deadLetterTopic)
	}
	var inputs []Input
	for _, h := range b.Heads {
		in, err := h.Open(t)
		if err != nil {
			return nil, fmt.Errorf("build task %d: %w", tc.Partition, err)
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// again says that a result of what is processed now may have been sent before.
func (t *Task) again() bool { return t.Again != nil && t.Again() }

// begin begins to process the record in e.
func (t *Task) begin(e *Event) {
	t.arena.reset()
	t.headers = t.headers[:0]
	e.Frame.Now = t.Now()
}

// event makes the Event of an input.
func (t *Task) event() *Event {
	e := &Event{joined: make([]*tableRow, t.joins), lazy: make([]*lazyRow, t.joins)}
	e.Frame.Rows = make([]*value.Row, t.rows)
	return e
}

// withHeader is headers and one more, in memory that holds until the next record.
func (t *Task) withHeader(headers []record.Header, h record.Header) []record.Header {
	const piece = 256
	n := len(headers) + 1
	if cap(t.headers)-len(t.headers) < n {
		t.headers = make([]record.Header, 0, max(piece, n))
	}
	start := len(t.headers)
	t.headers = append(append(t.headers, headers...), h)
	return slices.Clip(t.headers[start:])
}

// originHeader is the name of the header with which records of repartition
// topics tell what the record they came from was: its topic (by number),
// partition, offset and key. Outer topics never carry it.
const originHeader = "streamctl.origin"

const originVersion = 1

// appendOrigin writes an originHeader's value:
//
//	version (1) | topic number | partition | offset (uvarints) | 0, or 1 and the key
func appendOrigin(dst []byte, topic int, at record.Position, key []byte) []byte {
	dst = append(dst, originVersion)
	dst = binary.AppendUvarint(dst, uint64(topic))
	dst = binary.AppendUvarint(dst, uint64(at.Partition))
	dst = binary.AppendUvarint(dst, uint64(at.Offset))
	if key == nil {
		return append(dst, 0)
	}
	return append(append(dst, 1), key...)
}

// parseOrigin reads what appendOrigin wrote; the topic is a number still.
func parseOrigin(b []byte) (at record.Position, topic int, key []byte, err error) {
	r := wire{rest: b}
	version, number := r.octet(), r.number()
	at.Partition, at.Offset = int32(r.number()), int64(r.number())
	if r.octet() == 1 {
		key = r.rest
	}
	if version != originVersion || r.short {
		return record.Position{}, 0, nil, errors.New("read origin header: not written by this version")
	}
	return at, int(min(number, math.MaxInt32)), key, nil
}

// originHeaders are the headers of e and one more: where e came from.
func (t *Task) originHeaders(e *Event, origins map[string]int) []record.Header {
	a := &t.arena
	origin := a.end(appendOrigin(a.begin(len(e.Key)+32), origins[e.Origin.Topic], e.Origin, e.Key))
	return t.withHeader(e.Headers, record.Header{Key: originHeader, Value: origin})
}

// fromOrigin takes the origin header, which is the last one, off a record of
// the pipeline's own: e is then where the record came from.
func (e *Event) fromOrigin(rec *record.Record, origins []Origin) error {
	last := len(rec.Headers) - 1
	if last < 0 || rec.Headers[last].Key != originHeader {
		return faultf(ReasonInvalidValue, "the record has no origin header: it was not written by this pipeline")
	}
	e.Headers = rec.Headers[:last:last]
	at, number, key, err := parseOrigin(rec.Headers[last].Value)
	if err != nil || number >= len(origins) {
		return faultf(ReasonInvalidValue, "the origin header is not of this version of the pipeline")
	}
	at.Topic = origins[number].Topic
	e.Origin, e.Key, e.KeyFormat = at, key, origins[number].KeyFormat
	return nil
}

// placement checks that records lie in the partition that the default
// partitioner gives their key. A sub-topology that joins them relies on it, and
// when a topic gets more partitions, producers begin to put keys elsewhere at a
// moment that nobody announces. So all are checked where that costs next to
// nothing, because the record's own key decides; where something in the value
// does, every one of the first, then a sample.
type placement struct {
	seen  int64
	count int32 // of the topic's partitions
	// byValue says that a record lay right by partitioned_by, but not by its own key.
	byValue bool
}

// How many records of a partition are checked in full.
const (
	placementFirst  = 100
	placementSample = 1024
)

// due says whether the next record is to be checked in full.
func (p *placement) due(key []byte, partition int32) bool {
	p.seen++
	if p.seen <= placementFirst || p.seen%placementSample == 0 {
		return true
	}
	return !p.byValue && key != nil && codec.Partition(key, p.count) != partition
}

// misplaced is the error of a record in the wrong partition, nil for a right one.
func misplaced(key []byte, what string, partition, partitions int32) error {
	if key == nil {
		return nil
	}
	if want := codec.Partition(key, partitions); want != partition {
		return faultf(ReasonWrongPartition, "the record is in partition %d, but its %s %q belongs in partition %d of %d: the topic is not partitioned by it with Kafka's default partitioner", partition, what, shorten(key), want, partitions)
	}
	return nil
}
