package memlog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestBehavesAsKafka is the table of what the engine relies on: what Kafka
// does, and a check that the log does the same.
func TestBehavesAsKafka(t *testing.T) {
	for _, c := range []struct {
		kafka string
		check func(t *testing.T, e *env)
	}{
		{"a transaction marker takes an offset in every partition written to", markerTakesOffset},
		{"a committed read stops at the first offset of the oldest open transaction", stableOffset},
		{"an uncommitted read goes to the high watermark and sees aborted records", uncommittedRead},
		{"a committed read passes over aborted records and the position moves past them", abortedFiltered},
		{"a partition that ends in a marker is reported as fully read", tailMarker},
		{"an empty partition is reported as fully read once", emptyPartition},
		{"offsets in a transaction become visible at its commit only", offsetsAtCommit},
		{"offset fetch waits while an open transaction carries the offset", unstableOffsets},
		{"offsets of an aborted transaction leave the old ones", abortedOffsets},
		{"a transaction with offsets only writes no marker into data topics", offsetsOnly},
		{"initialising a transactional id aborts what it left open", initAborts},
		{"initialising a transactional id fences the older producer", initFences},
		{"a transaction open for longer than its timeout is aborted, its producer fenced", txnTimeout},
		{"a commit that a rebalance has overtaken counts", staleGeneration},
		{"a member that was put out cannot commit offsets", kickedMember},
		{"tasks that are taken away can be committed until acknowledged", commitWhileRevoking},
		{"compaction keeps the last record per key and leaves gaps", compaction},
		{"compaction does not pass the last stable offset", compactionStops},
		{"deleting records moves the start; reads below are out of range", purge},
		{"a read beyond the end is out of range", beyondEnd},
		{"null and empty values differ", nullValues},
		{"the group's offsets survive its members", offsetsSurvive},
		{"LogAppendTime replaces the producer's time", appendTime},
		{"a record above max.message.bytes is refused", tooLarge},
		{"without transactions records are visible before offsets are committed", atLeastOnce},
	} {
		t.Run(c.kafka, func(t *testing.T) { c.check(t, newEnv(t)) })
	}
}

// env is a log with topics in (2 partitions) and out (1), and a process.
type env struct {
	t   *testing.T
	log *Log
	tr  *Transport
	clk *Clock
}

var in0 = record.TopicPartition{Topic: "in", Partition: 0}
var in1 = record.TopicPartition{Topic: "in", Partition: 1}
var out0 = record.TopicPartition{Topic: "out", Partition: 0}

func newEnv(t *testing.T) *env { return newEnvWith(t, Config{}) }

func newEnvWith(t *testing.T, cfg Config) *env {
	t.Helper()
	clk := NewClock(time.Unix(1000, 0))
	cfg.Clock = clk
	l := New(cfg)
	for name, n := range map[string]int32{"in": 2, "out": 1} {
		if err := l.CreateTopic(name, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	return &env{t, l, l.Transport(TransportConfig{Name: "p1", Group: "g"}), clk}
}

func (e *env) producer(id string) engine.Producer {
	e.t.Helper()
	p, err := e.tr.NewProducer(context.Background(), id, true)
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

func (e *env) commit(p engine.Producer, c engine.Commit) engine.CommitResult {
	c.Group.Group = "g"
	return <-start(p, c)
}

// start begins a commit and gives its result when it is done.
func start(p engine.Producer, c engine.Commit) <-chan engine.CommitResult {
	ch := make(chan engine.CommitResult, 1)
	p.Commit(c, func(r engine.CommitResult) { ch <- r })
	return ch
}

func rec(k, v string) record.Record {
	return record.Record{Key: []byte(k), Value: []byte(v), Time: 7}
}

func (e *env) values(topic string) string {
	s := ""
	for _, part := range e.log.ReadCommitted(topic) {
		for _, r := range part {
			s += fmt.Sprintf("%d:%s ", r.Offset, r.Value)
		}
	}
	return s
}

func (e *env) expectValues(topic, want string) {
	e.t.Helper()
	if got := e.values(topic); got != want {
		e.t.Errorf("%s holds %q, want %q", topic, got, want)
	}
}

func (e *env) ends(iso engine.Isolation, tp record.TopicPartition) int64 {
	e.t.Helper()
	m, err := e.tr.Admin().Ends(context.Background(), []record.TopicPartition{tp}, iso)
	if err != nil {
		e.t.Fatal(err)
	}
	return m[tp]
}

func (e *env) source() engine.Source {
	e.t.Helper()
	s, err := e.tr.NewSource()
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func markerTakesOffset(t *testing.T, e *env) {
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	p.Send(in0, rec("k", "1"))
	res := e.commit(p, engine.Commit{})
	if res.Err != nil || res.Next[out0] != 1 || res.Next[in0] != 1 {
		t.Fatalf("commit: %+v", res)
	}
	p.Send(out0, rec("k", "2"))
	if res = e.commit(p, engine.Commit{}); res.Next[out0] != 3 {
		t.Errorf("second record's next offset is %d, want 3: record, marker, record", res.Next[out0])
	}
	if hw := e.ends(engine.ReadUncommitted, out0); hw != 4 {
		t.Errorf("high watermark %d, want 4", hw)
	}
	e.expectValues("out", "0:1 2:2 ")
}

func stableOffset(t *testing.T, e *env) {
	e.log.Produce("out", 0, nil, []byte("a"), 0)
	tx := e.log.Begin()
	tx.Produce("out", 0, nil, []byte("b"), 0)
	e.log.Produce("out", 0, nil, []byte("c"), 0)
	if lso := e.ends(engine.ReadCommitted, out0); lso != 1 {
		t.Errorf("last stable offset %d, want 1", lso)
	}
	e.expectValues("out", "0:a ")
	tx.Commit()
	e.expectValues("out", "0:a 1:b 2:c ")
	if lso := e.ends(engine.ReadCommitted, out0); lso != 4 {
		t.Errorf("last stable offset %d after the marker, want 4", lso)
	}
}

func uncommittedRead(t *testing.T, e *env) {
	aborted, open := e.log.Begin(), e.log.Begin()
	aborted.Produce("out", 0, nil, []byte("a"), 0)
	open.Produce("out", 0, nil, []byte("o"), 0)
	aborted.Abort()
	s := e.source()
	s.Start(out0, 0, engine.ReadUncommitted)
	f := s.Poll(0)
	if len(f) != 1 || len(f[0].Records) != 2 || f[0].Next != 3 || f[0].End != 3 {
		t.Fatalf("got %+v", f[0])
	}
}

func abortedFiltered(t *testing.T, e *env) {
	tx := e.log.Begin()
	tx.Produce("out", 0, nil, []byte("a"), 0)
	tx.Abort()
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	f := s.Poll(0)
	if len(f) != 1 || len(f[0].Records) != 0 || f[0].Next != 2 || f[0].End != 2 {
		t.Fatalf("got %+v", f)
	}
}

func tailMarker(t *testing.T, e *env) {
	tx := e.log.Begin()
	tx.Produce("out", 0, nil, []byte("a"), 0)
	tx.Commit()
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	f := s.Poll(0)
	if len(f) != 1 || len(f[0].Records) != 1 || f[0].Next != f[0].End || f[0].Next != 2 {
		t.Fatalf("got %+v", f[0])
	}
	if f = s.Poll(0); len(f) != 0 {
		t.Errorf("told twice of the same end: %+v", f[0])
	}
}

func emptyPartition(t *testing.T, e *env) {
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	f := s.Poll(0)
	if len(f) != 1 || f[0].Next != 0 || f[0].End != 0 || f[0].Records != nil {
		t.Fatalf("got %+v", f)
	}
	if f = s.Poll(0); len(f) != 0 {
		t.Errorf("told twice: %+v", f[0])
	}
}

func offsetsAtCommit(t *testing.T, e *env) {
	gate := make(chan struct{})
	e.log.cfg.Faults = Script{{OpCommit, 1}: {Wait: gate}}.Faults
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	done := start(p, engine.Commit{Group: engine.GroupMeta{Group: "g"}, Offsets: map[record.TopicPartition]int64{in0: 5}})
	if got := e.log.Committed("g"); len(got) != 0 {
		t.Errorf("offset visible before the commit: %v", got)
	}
	e.expectValues("out", "")
	close(gate)
	if res := <-done; res.Err != nil {
		t.Fatal(res.Err)
	}
	if got := e.log.Committed("g")[in0]; got != 5 {
		t.Errorf("committed offset %d, want 5", got)
	}
	e.expectValues("out", "0:1 ")
}

func unstableOffsets(t *testing.T, e *env) {
	e.log.cfg.Faults = Script{{OpCommit, 1}: {Outcome: CrashBefore}}.Faults
	p := e.producer("a")
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 5}}); !errors.Is(res.Err, ErrCrashed) {
		t.Fatalf("commit: %v", res.Err)
	}
	again := e.log.Transport(TransportConfig{Group: "g"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := again.Admin().Committed(ctx, []record.TopicPartition{in1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	e.log.cfg.Immediate = true
	if _, err := again.Admin().Committed(context.Background(), []record.TopicPartition{in0}); !errors.Is(err, ErrUnstable) {
		t.Errorf("offset in an open transaction: %v", err)
	}
	e.log.cfg.Immediate = false
	got := make(chan error, 1)
	go func() {
		offs, err := again.Admin().Committed(context.Background(), []record.TopicPartition{in0})
		if err == nil && len(offs) != 0 {
			err = fmt.Errorf("offsets %v after an abort", offs)
		}
		got <- err
	}()
	if _, err := again.NewProducer(context.Background(), "a", true); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func abortedOffsets(t *testing.T, e *env) {
	e.log.cfg.Faults = Script{{OpCommit, 2}: {Outcome: UnknownAborted}}.Faults
	p := e.producer("a")
	e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 5}})
	p.Send(out0, rec("k", "lost"))
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 9}}); !errors.Is(res.Err, engine.ErrAborted) {
		t.Fatalf("commit: %v", res.Err)
	}
	p.Send(out0, rec("k", "computed from what was not committed"))
	p.Discard()
	p.Send(out0, rec("k", "kept"))
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 7}}); res.Err != nil {
		t.Fatalf("after being initialised anew: %v", res.Err)
	}
	if got := e.log.Committed("g")[in0]; got != 7 {
		t.Errorf("offset %d, want 7", got)
	}
	e.expectValues("out", "2:kept ")
}

func offsetsOnly(t *testing.T, e *env) {
	p := e.producer("a")
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 5}}); res.Err != nil {
		t.Fatal(res.Err)
	}
	for _, tp := range []record.TopicPartition{in0, out0} {
		if hw := e.ends(engine.ReadUncommitted, tp); hw != 0 {
			t.Errorf("%v ends at %d", tp, hw)
		}
	}
}

func initAborts(t *testing.T, e *env) {
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	e.tr.Crash()
	e.log.Produce("out", 0, nil, []byte("after"), 0)
	e.expectValues("out", "")
	if _, err := e.log.Transport(TransportConfig{Group: "g"}).NewProducer(context.Background(), "a", true); err != nil {
		t.Fatal(err)
	}
	e.expectValues("out", "1:after ")
}

func initFences(t *testing.T, e *env) {
	old := e.producer("a")
	old.Send(out0, rec("k", "old"))
	young := e.producer("a")
	old.Send(out0, rec("k", "old too"))
	young.Send(out0, rec("k", "young"))
	if res := e.commit(old, engine.Commit{}); !errors.Is(res.Err, engine.ErrFenced) {
		t.Errorf("older producer: %v", res.Err)
	}
	if res := e.commit(young, engine.Commit{}); res.Err != nil {
		t.Errorf("younger producer: %v", res.Err)
	}
	e.expectValues("out", "2:young ")
	old.Discard()
	old.Send(out0, rec("k", "back"))
	if res := e.commit(old, engine.Commit{}); res.Err != nil {
		t.Errorf("older producer that took its id back: %v", res.Err)
	}
	young.Send(out0, rec("k", "too late"))
	if res := e.commit(young, engine.Commit{}); !errors.Is(res.Err, engine.ErrFenced) {
		t.Errorf("younger producer after that: %v", res.Err)
	}
	e.expectValues("out", "2:young 4:back ")
}

func txnTimeout(t *testing.T, e *env) {
	e.log.cfg.TransactionTimeout = time.Minute
	p := e.producer("a")
	p.Send(out0, rec("k", "slow"))
	e.clk.Advance(59 * time.Second)
	if lso := e.ends(engine.ReadCommitted, out0); lso != 0 {
		t.Errorf("aborted too early")
	}
	e.clk.Advance(time.Second)
	if lso := e.ends(engine.ReadCommitted, out0); lso != 2 {
		t.Errorf("last stable offset %d, want 2 after the abort", lso)
	}
	if res := e.commit(p, engine.Commit{}); !errors.Is(res.Err, engine.ErrFenced) {
		t.Errorf("commit after the timeout: %v", res.Err)
	}
	p.Discard()
	p.Send(out0, rec("k", "again"))
	if res := e.commit(p, engine.Commit{}); res.Err != nil {
		t.Errorf("commit of the repetition: %v", res.Err)
	}
	e.expectValues("out", "2:again ")
}

func compaction(t *testing.T, e *env) {
	for _, kv := range []string{"A42", "B21", "A44", "C12", "A45"} {
		e.log.Produce("out", 0, []byte(kv[:1]), []byte(kv[1:]), 0)
	}
	e.log.Produce("out", 0, []byte("D"), nil, 0)
	e.log.Compact("out", false)
	e.expectValues("out", "1:21 3:12 4:45 5: ")
	e.log.Compact("out", true)
	e.expectValues("out", "1:21 3:12 4:45 ")
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	f := s.Poll(0)
	if len(f) != 1 || f[0].Next != 6 || f[0].End != 6 || f[0].LogStart != 0 {
		t.Errorf("the gap at the tail is not passed: %+v", f[0])
	}
}

func compactionStops(t *testing.T, e *env) {
	e.log.Produce("out", 0, []byte("A"), []byte("1"), 0)
	tx := e.log.Begin()
	tx.Produce("out", 0, []byte("A"), []byte("2"), 0)
	e.log.Compact("out", true)
	e.expectValues("out", "0:1 ")
	tx.Abort()
	e.log.Compact("out", true)
	e.expectValues("out", "0:1 ")
}

func purge(t *testing.T, e *env) {
	for range 4 {
		e.log.Produce("out", 0, nil, []byte("x"), 0)
	}
	if err := e.tr.Admin().Purge(context.Background(), map[record.TopicPartition]int64{out0: 3}); err != nil {
		t.Fatal(err)
	}
	e.expectValues("out", "3:x ")
	s := e.source()
	s.Start(out0, 2, engine.ReadCommitted)
	f := s.Poll(0)
	if len(f) != 1 || !errors.Is(f[0].Err, engine.ErrOffsetOutOfRange) || f[0].LogStart != 3 {
		t.Fatalf("got %+v", f[0])
	}
	if f = s.Poll(0); len(f) != 0 {
		t.Error("a failed partition goes on")
	}
	if err := e.tr.Admin().Purge(context.Background(), map[record.TopicPartition]int64{out0: 5}); !errors.Is(err, engine.ErrOffsetOutOfRange) {
		t.Errorf("purge past the end: %v", err)
	}
}

func beyondEnd(t *testing.T, e *env) {
	s := e.source()
	s.Start(out0, 1, engine.ReadCommitted)
	if f := s.Poll(0); len(f) != 1 || !errors.Is(f[0].Err, engine.ErrOffsetOutOfRange) {
		t.Errorf("got %+v", f)
	}
}

func nullValues(t *testing.T, e *env) {
	p := e.producer("a")
	p.Send(out0, record.Record{Key: []byte{}, Value: nil})
	p.Send(out0, record.Record{Key: nil, Value: []byte{}})
	e.commit(p, engine.Commit{})
	got := e.log.ReadCommitted("out")[0]
	if got[0].Key == nil || got[0].Value != nil || got[1].Key != nil || got[1].Value == nil {
		t.Errorf("got %#v", got)
	}
}

func appendTime(t *testing.T, e *env) {
	if err := e.log.CreateTopic("lat", 1, map[string]string{"message.timestamp.type": "LogAppendTime"}); err != nil {
		t.Fatal(err)
	}
	e.log.Produce("lat", -1, nil, nil, 5)
	if got := e.log.ReadCommitted("lat")[0][0].Time; got != e.clk.Now().UnixMilli() {
		t.Errorf("time %d", got)
	}
}

func tooLarge(t *testing.T, e *env) {
	if err := e.log.CreateTopic("small", 1, map[string]string{"max.message.bytes": "100"}); err != nil {
		t.Fatal(err)
	}
	p := e.producer("a")
	p.Send(record.TopicPartition{Topic: "small"}, record.Record{Value: make([]byte, 200)})
	if err := p.Err(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func atLeastOnce(t *testing.T, e *env) {
	e.log.cfg.Faults = Script{{OpCommit, 1}: {Outcome: Aborted}}.Faults
	p, err := e.tr.NewProducer(context.Background(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	p.Send(out0, rec("k", "1"))
	e.expectValues("out", "0:1 ")
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 3}}); !errors.Is(res.Err, engine.ErrAborted) {
		t.Errorf("got %v", res.Err)
	}
	if got := e.log.Committed("g"); len(got) != 0 {
		t.Errorf("offsets %v", got)
	}
	p.Discard()
	p.Send(out0, rec("k", "1"))
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 3}}); res.Err != nil || res.Next[out0] != 2 {
		t.Errorf("got %+v", res)
	}
	e.expectValues("out", "0:1 1:1 ")
	if got := e.log.Committed("g")[in0]; got != 3 {
		t.Errorf("offset %d", got)
	}
}
