package kafka

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestRoundTrip writes what a record can be and reads it back, with every
// compression that is written.
func TestRoundTrip(t *testing.T) {
	for _, codec := range []Compression{CompressionNone, CompressionLZ4, CompressionZSTD} {
		t.Run(string(codec), func(t *testing.T) {
			onBoth(t, func(e *env) {
				tr := e.open(func(s *Settings) { s.Compression = codec })
				config := map[string]string{}
				if e.real { // which refuses times that are an hour ahead otherwise
					config["message.timestamp.after.max.ms"] = "9223372036854775807"
				}
				topic := e.topic(tr, 2, config)
				p := e.producer(tr, e.name("id"))
				sent := []record.Record{
					{Key: []byte("k"), Value: []byte("v"), Time: 1700000000123},
					{Key: nil, Value: []byte("no key"), Time: 1700000000001},
					{Key: []byte("deleted"), Value: nil, Time: 5},
					{Key: []byte{}, Value: []byte{}, Time: 0},
					{Key: []byte("h"), Value: []byte("headers"), Time: 1800000000000, Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}}},
					{Key: []byte("unset"), Value: []byte("no time"), Time: -1},
					{Key: []byte("late"), Value: []byte("in 2260"), Time: 9151488000000},
				}
				for _, r := range sent {
					p.Send(tp(topic, 1), r)
				}
				result := e.mustCommit(p, engine.Commit{})
				if next := result.Next[tp(topic, 1)]; next != int64(len(sent)) {
					e.Errorf("next: got %d, want %d", next, len(sent))
				}
				if p.Buffered() != 0 {
					e.Errorf("buffered after commit: %d", p.Buffered())
				}
				checkSame(e.T, e.readAll(tr, tp(topic, 1)), sent)
			})
		})
	}
}

// checkSame compares records; offsets must count up from 0.
func checkSame(t *testing.T, got, want []record.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		w.Offset = int64(i)
		if !reflect.DeepEqual(g, w) {
			t.Errorf("record %d: got %+v, want %+v", i, g, w)
		}
	}
}

// TestManyBatches sends more than batches and requests hold, over many
// partitions, and checks order and completeness.
func TestManyBatches(t *testing.T) {
	for _, exactly := range []bool{true, false} {
		t.Run(fmt.Sprintf("exactly=%v", exactly), func(t *testing.T) {
			onBoth(t, func(e *env) {
				tr := e.open(func(s *Settings) { s.BatchBytes, s.RequestBytes, s.FetchPartitionBytes = 8<<10, 64<<10, 16<<10 })
				topic := e.topic(tr, 5, nil)
				id := ""
				if exactly {
					id = e.name("id")
				}
				p := e.producer(tr, id)
				const each = 4000
				for i := range each {
					for part := range int32(5) {
						p.Send(tp(topic, part), rec("k", fmt.Sprintf("%d-%d", part, i)))
					}
					if i%1500 == 1499 {
						e.mustCommit(p, engine.Commit{})
					}
				}
				result := e.mustCommit(p, engine.Commit{})
				s := e.source(tr)
				for part := range int32(5) {
					e.settle(tr, tp(topic, part))
					got, next := e.readTo(s, tp(topic, part), 0, engine.ReadCommitted)
					if len(got) != each {
						e.Fatalf("partition %d: got %d records, want %d", part, len(got), each)
					}
					for i, r := range got {
						if want := fmt.Sprintf("%d-%d", part, i); string(r.Value) != want {
							e.Fatalf("partition %d, record %d: got %s, want %s", part, i, r.Value, want)
						}
					}
					if after := got[each-1].Offset + 1; result.Next[tp(topic, part)] != after || next < after {
						e.Errorf("partition %d: Next of commit %d, covered %d; last record at %d", part, result.Next[tp(topic, part)], next, after-1)
					}
				}
			})
		})
	}
}

// TestReadCommitted interleaves committed, aborted and open transactions and
// plain records of several producers in one partition.
func TestReadCommitted(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, nil), 0)
		a, b := e.producer(tr, e.name("a")), e.producer(tr, e.name("b"))
		plain := e.producer(tr, "")
		flush := func(p *producer) { // until the broker has it, in or outside of a transaction
			e.await("flush", func() bool { return p.Buffered() == 0 })
		}
		send := func(p *producer, value string) {
			p.Send(topic, rec("k", value))
			flush(p)
		}
		send(a, "a1")
		send(b, "b1 aborted")
		send(plain, "p1")
		send(a, "a2")
		b.Discard()
		send(b, "b2")
		e.mustCommit(a, engine.Commit{})
		send(b, "b3")
		send(a, "a3 aborted")
		send(plain, "p2")
		a.Discard()
		e.mustCommit(b, engine.Commit{})
		send(plain, "p3")
		e.settle(tr, topic)
		s := e.source(tr)
		got, _ := e.readTo(s, topic, 0, engine.ReadCommitted)
		want := []string{"a1", "p1", "a2", "b2", "b3", "p2", "p3"}
		if !slices.Equal(values(got), want) {
			e.Errorf("read committed: got %q, want %q", values(got), want)
		}
		all, _ := e.readTo(s, topic, 0, engine.ReadUncommitted)
		if len(all) != 9 {
			e.Errorf("read uncommitted: got %q, want 9", values(all))
		}
		// An open transaction holds back what comes after it.
		send(a, "a4")
		send(plain, "p4")
		got, next := e.readTo(s, topic, 0, engine.ReadCommitted)
		if !slices.Equal(values(got), want) || next > all[8].Offset+4 {
			e.Errorf("with an open transaction: got %q to %d", values(got), next)
		}
		e.mustCommit(a, engine.Commit{})
		e.settle(tr, topic)
		got, _ = e.readTo(s, topic, got[6].Offset+1, engine.ReadCommitted)
		if !slices.Equal(values(got), []string{"a4", "p4"}) {
			e.Errorf("after its commit: got %q", values(got))
		}
	})
}

// TestFenced opens a producer with the id of another one that is at work.
func TestFenced(t *testing.T) {
	onBoth(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, nil), 0)
		id := e.name("id")
		old := e.producer(tr, id)
		old.Send(topic, rec("k", "lost"))
		e.await("flush", func() bool { return old.Buffered() == 0 })
		young := e.producer(tr, id)
		young.Send(topic, rec("k", "kept"))
		e.mustCommit(young, engine.Commit{})
		old.Send(topic, rec("k", "lost too"))
		if r := e.commit(old, engine.Commit{}); !errors.Is(r.Err, engine.ErrFenced) {
			e.Fatalf("commit of the older one: got %v, want fenced", r.Err)
		}
		if err := old.Err(); err != nil {
			e.Errorf("Err after being fenced: %v", err)
		}
		if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"kept"}) {
			e.Errorf("got %q", got)
		}
		// What is sent before Discard stays out; afterwards the id is taken back.
		old.Send(topic, rec("k", "stale"))
		old.Discard()
		old.Send(topic, rec("k", "again"))
		e.mustCommit(old, engine.Commit{})
		young.Send(topic, rec("k", "x"))
		if r := e.commit(young, engine.Commit{}); !errors.Is(r.Err, engine.ErrFenced) {
			e.Fatalf("commit of the other one: got %v, want fenced", r.Err)
		}
		if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"kept", "again"}) {
			e.Errorf("got %q", got)
		}
	})
}
