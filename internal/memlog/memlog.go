// Package memlog is the engine's transport in memory: topics with offsets,
// transactions with their markers, producer epochs, a group with generations
// and committed offsets, all behaving as Kafka's do where the engine can tell
// the difference, but deterministic: nothing happens unless a caller or the
// clock makes it happen, faults come from a script, and no test needs to sleep.
//
// It owns the log, the coordinators and the injected clock of a test. It must
// know nothing of pipelines, operators, state or any real client: it sees
// bytes, offsets and the ports of package engine only. The engine's own tests use
// it, and with it users test their pipelines (package pipetest).
//
// The tour: Log is the cluster; partition.go is one partition and its reads;
// txn.go the transaction coordinator; group.go the group coordinator;
// transport.go, source.go, producer.go and admin.go are the ports of one
// process on it; faults.go says how things go wrong; clock.go is time.
package memlog

import (
	"fmt"
	"sort"
	"strconv"
	"sync"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// Config of a Log. The zero Config is usable.
type Config struct {
	// Clock that timeouts and waits run on; nil = a new virtual Clock.
	Clock engine.Clock
	// FetchRecords bounds the records of one Fetched; 0 = 500.
	FetchRecords int
	// FetchBytes bounds the unreleased bytes of one partition; 0 = 1 MiB.
	FetchBytes int
	// TransactionTimeout aborts a transaction that is open for longer; 0 = never.
	TransactionTimeout time.Duration
	// SessionTimeout is how long a crashed member stays in the group; 0 = until
	// the next member joins.
	SessionTimeout time.Duration
	// Immediate makes every wait for something to happen end at once: Poll
	// returns empty-handed, Committed returns ErrUnstable. It suits tests that
	// step everything by hand on one goroutine.
	Immediate bool
	// Gated leaves all waiting to Faults: Poll takes what is there when Faults has
	// let it, and Committed asks it anew while offsets are unstable. It suits a
	// simulation that decides about every step.
	Gated bool
	// SlowMarkers lets time pass between the decision of a transaction and its
	// markers: they are written by WriteMarker only (with Gated).
	SlowMarkers bool
	// Audit is told of all offsets that have become a group's, with the lock held; nil = nobody.
	Audit func(Committing)
	// Faults is asked before every operation; nil = nothing fails.
	Faults Faults
}

// Committing is a commit of offsets that took effect.
type Committing struct {
	Producer string
	Group    engine.GroupMeta
	Offsets  map[record.TopicPartition]int64
}

// Log is a cluster of one broker. All its methods may be called from any
// goroutine.
type Log struct {
	cfg   Config
	clock engine.Clock

	mu         sync.Mutex
	topics     map[string]*topic
	groups     map[string]*group
	identities map[string]*identity
	endings    []*ending
	foreign    int // transactions begun by Begin, for their names
	members    int
	created    int // topics, for their ids
	transports int
	counts     map[opCount]int
	changed    chan struct{} // closed and replaced whenever something moved
}

type topic struct {
	name    string
	id      string
	configs map[string]string
	parts   []*partition
}

// New makes an empty cluster.
func New(cfg Config) *Log {
	if cfg.Clock == nil {
		cfg.Clock = NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	if cfg.FetchRecords == 0 {
		cfg.FetchRecords = 500
	}
	if cfg.FetchBytes == 0 {
		cfg.FetchBytes = 1 << 20
	}
	return &Log{
		cfg:        cfg,
		clock:      cfg.Clock,
		topics:     make(map[string]*topic),
		groups:     make(map[string]*group),
		identities: make(map[string]*identity),
		counts:     make(map[opCount]int),
		changed:    make(chan struct{}),
	}
}

// Clock is the clock the log runs on.
func (l *Log) Clock() engine.Clock { return l.clock }

// CreateTopic makes a topic; configs may be nil.
func (l *Log) CreateTopic(name string, partitions int32, configs map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics[name] != nil {
		return fmt.Errorf("create topic %s: %w", name, engine.ErrTopicExists)
	}
	if partitions < 1 {
		return fmt.Errorf("create topic %s: %d partitions", name, partitions)
	}
	l.created++
	t := &topic{name: name, id: strconv.Itoa(l.created), configs: make(map[string]string, len(configs))}
	for k, v := range configs {
		t.configs[k] = v
	}
	for range partitions {
		t.parts = append(t.parts, &partition{})
	}
	l.topics[name] = t
	l.broadcast()
	return nil
}

// GrowTopic gives a topic more partitions.
func (l *Log) GrowTopic(name string, partitions int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[name]
	if t == nil || int(partitions) <= len(t.parts) {
		return fmt.Errorf("grow topic %s to %d partitions: it is not there, or not smaller", name, partitions)
	}
	for len(t.parts) < int(partitions) {
		t.parts = append(t.parts, &partition{})
	}
	l.broadcast()
	return nil
}

// DeleteTopic removes a topic with all its records.
func (l *Log) DeleteTopic(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics[name] == nil {
		return fmt.Errorf("delete topic %s: %w", name, ErrUnknownTopic)
	}
	delete(l.topics, name)
	l.broadcast()
	return nil
}

// Rec is one record as a reader sees it.
type Rec struct {
	Partition int32
	Offset    int64
	Time      int64 // ms
	Key       []byte
	Value     []byte
	Headers   []record.Header
}

// Produce appends one record outside any transaction and says where it went.
// partition -1 picks it by murmur2 of the key as Kafka's default partitioner
// does, and partition 0 for a null key. A topic that does not exist, or not
// with that partition, is a mistake of the test and panics.
func (l *Log) Produce(topicName string, partition int32, key, value []byte, timeMs int64) (int32, int64) {
	return l.ProduceRecord(topicName, partition, record.Record{Key: key, Value: value, Time: timeMs})
}

// ProduceRecord is Produce for a record with headers.
func (l *Log) ProduceRecord(topicName string, partition int32, rec record.Record) (int32, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.mustTopic(topicName)
	p := t.pick(partition, rec.Key)
	off := l.append(record.TopicPartition{Topic: topicName, Partition: p}, nil, copyRecord(rec))
	l.broadcast()
	return p, off
}

func (t *topic) pick(partition int32, key []byte) int32 {
	if partition >= 0 {
		return partition
	}
	if key == nil {
		return 0
	}
	return partitionOf(key, int32(len(t.parts)))
}

// ReadCommitted returns, by partition, the records that a reader of committed
// data sees now.
func (l *Log) ReadCommitted(topicName string) [][]Rec { return l.read(topicName, engine.ReadCommitted) }

// ReadUncommitted returns, by partition, every data record that is still
// there: those of open and of aborted transactions too.
func (l *Log) ReadUncommitted(topicName string) [][]Rec {
	return l.read(topicName, engine.ReadUncommitted)
}

// ReadFrom returns what a reader of committed data sees of one partition from an
// offset on, and the offset to read next.
func (l *Log) ReadFrom(tp record.TopicPartition, from int64) (recs []Rec, next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, next := l.mustTopic(tp.Topic).parts[tp.Partition].read(from, engine.ReadCommitted, 0, 0)
	for _, r := range found {
		recs = append(recs, Rec{tp.Partition, r.Offset, r.Time, r.Key, r.Value, r.Headers})
	}
	return recs, next
}

// Partitions is how many partitions a topic has, 0 when there is none of the name.
func (l *Log) Partitions(topicName string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.topics[topicName]; t != nil {
		return len(t.parts)
	}
	return 0
}

func (l *Log) read(topicName string, iso engine.Isolation) [][]Rec {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.mustTopic(topicName)
	out := make([][]Rec, len(t.parts))
	for i, p := range t.parts {
		recs, _ := p.read(p.start, iso, 0, 0)
		for _, r := range recs {
			out[i] = append(out[i], Rec{int32(i), r.Offset, r.Time, r.Key, r.Value, r.Headers})
		}
	}
	return out
}

// Compact cleans a topic as Kafka's log cleaner does, at once and up to the
// last stable offset: of every key only the last committed record stays,
// aborted records go, offsets never move, so gaps appear. With
// dropTombstones the null values go too, as after delete.retention.ms, and
// the transaction markers with them.
func (l *Log) Compact(topicName string, dropTombstones bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.mustTopic(topicName).parts {
		p.compact(dropTombstones)
	}
	l.broadcast()
}

// Committed returns the committed offsets of a group, pending ones left out.
func (l *Log) Committed(groupName string) map[record.TopicPartition]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[record.TopicPartition]int64)
	if g := l.groups[groupName]; g != nil {
		for tp, off := range g.offsets {
			out[tp] = off
		}
	}
	return out
}

// Ends returns, by partition, the high watermarks of a topic and its last stable offsets.
func (l *Log) Ends(topicName string) (high, stable []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.mustTopic(topicName).parts {
		high, stable = append(high, p.end), append(stable, p.lastStable())
	}
	return high, stable
}

// Topics lists the topics' names in order.
func (l *Log) Topics() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.topics))
	for n := range l.topics {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func (l *Log) mustTopic(name string) *topic {
	t := l.topics[name]
	if t == nil {
		panic("memlog: no topic " + strconv.Quote(name))
	}
	return t
}

// lookup finds a partition; nil when the topic or the partition is not there.
func (l *Log) lookup(tp record.TopicPartition) *partition {
	t := l.topics[tp.Topic]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.parts) {
		return nil
	}
	return t.parts[tp.Partition]
}

// append adds rec to tp as part of tx (nil = none) and returns its offset.
func (l *Log) append(tp record.TopicPartition, tx *txn, rec record.Record) int64 {
	t := l.mustTopic(tp.Topic)
	if t.configs["message.timestamp.type"] == "LogAppendTime" {
		rec.Time = l.clock.Now().UnixMilli()
	}
	p := t.parts[tp.Partition]
	rec.Offset = p.end
	if tx != nil {
		tx.touch(tp, p.end)
	}
	p.entries = append(p.entries, entry{rec: rec, tx: tx})
	p.end++
	return rec.Offset
}

// broadcast tells every waiter to look again. l.mu is held.
func (l *Log) broadcast() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) group(name string) *group {
	g := l.groups[name]
	if g == nil {
		g = &group{name: name, offsets: make(map[record.TopicPartition]int64), by: make(map[record.TopicPartition]string), times: make(map[record.TopicPartition]int64), promises: make(map[record.TopicPartition]string), pending: make(map[record.TopicPartition]int)}
		l.groups[name] = g
	}
	return g
}

// copyRecord copies what the caller may reuse once the record is acknowledged.
func copyRecord(r record.Record) record.Record {
	r.Key = copyBytes(r.Key)
	r.Value = copyBytes(r.Value)
	if r.Headers != nil {
		hs := make([]record.Header, len(r.Headers))
		for i, h := range r.Headers {
			hs[i] = record.Header{Key: h.Key, Value: copyBytes(h.Value)}
		}
		r.Headers = hs
	}
	return r
}

// copyBytes keeps nil and empty apart: null is not an empty value.
func copyBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
