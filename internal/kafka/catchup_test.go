package kafka

import (
	"fmt"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestCatchUp reads partitions that are far behind: at once with a reader that takes everything
// as it comes, which spreads them over the connections and brings them back, and
// with one that keeps what it has got, which does not. Both see every record once, in order.
func TestCatchUp(t *testing.T) {
	for _, takes := range []bool{true, false} {
		t.Run(fmt.Sprintf("takes=%v", takes), func(t *testing.T) {
			onBoth(t, func(e *env) {
				const partitions, each = 4, 3000
				tr := e.open(func(s *Settings) {
					s.FetchPartitionBytes, s.BufferPartitionBytes, s.BufferBytes = 16<<10, 32<<10, 256<<10
					s.BatchBytes = 8 << 10
				})
				topic := e.topic(tr, partitions, nil)
				p := e.producer(tr, "")
				for i := range each {
					for part := range int32(partitions) {
						p.Send(tp(topic, part), rec(fmt.Sprint(i), fmt.Sprintf("%0200d", i)))
					}
				}
				e.mustCommit(p, engine.Commit{})
				s := e.source(tr).(*source)
				for part := range int32(partitions) {
					s.Start(tp(topic, part), 0, engine.ReadCommitted)
					s.Rush(tp(topic, part))
				}
				next := make(map[record.TopicPartition]int64)
				spread, done := false, 0
				var held []*engine.Fetched
				e.await("all records", func() bool {
					got := s.Poll(100 * time.Millisecond)
					for _, f := range got {
						for _, r := range f.Records {
							if r.Offset != next[f.TP] || string(r.Key) != fmt.Sprint(r.Offset) {
								e.Fatalf("%v: offset %d after %d", f.TP, r.Offset, next[f.TP]-1)
							}
							next[f.TP]++
							done++
						}
						held = append(held, f)
					}
					if takes || len(got) == 0 {
						for _, f := range held {
							s.Release(f)
						}
						held = held[:0]
					}
					spread = spread || s.lanesUsed() > 1
					return done == partitions*each
				})
				for _, f := range held {
					s.Release(f)
				}
				if takes && !spread {
					e.Error("all partitions were read over one connection")
				}
				e.await("all on the first connection", func() bool {
					for _, f := range s.Poll(10 * time.Millisecond) {
						s.Release(f)
					}
					for part := range int32(partitions) {
						p.Send(tp(topic, part), rec("more", "more"))
					}
					e.mustCommit(p, engine.Commit{})
					return s.lanesUsed() == 1
				})
			})
		})
	}
}

// lanesUsed counts the connections that read anything.
func (s *source) lanesUsed() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.loops {
		if len(l.parts) > 0 {
			n++
		}
	}
	return n
}

// TestEager pins down how much is asked for of a partition.
func TestEager(t *testing.T) {
	p := &fetchPart{rush: true, ask: 10, end: 1000, next: 1}
	var got []int
	for _, held := range []int{0, 0, 0, 0, 5, 5, 5} {
		p.held = held
		p.judge(40)
		got = append(got, p.eager)
	}
	if want := "[20 40 40 40 20 0 0]"; fmt.Sprint(got) != want {
		t.Errorf("asked for %v, want %s", got, want)
	}
	p.held = 0
	p.judge(40)
	if p.rush = false; p.eager == 0 {
		t.Error("nothing more asked for")
	}
	if p.judge(40); p.eager != 0 {
		t.Errorf("asked for %d where nobody is in a hurry", p.eager)
	}
	p.rush = true
	p.judge(40)
	p.next = 1000
	if p.judge(40); p.eager != 0 {
		t.Errorf("asked for %d at the end", p.eager)
	}
}

// TestStopFreesWhatWasPolled stops a partition whose fetches its owner keeps, as a worker
// does that loses a task: they must not take room from the others for ever.
func TestStopFreesWhatWasPolled(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open(func(*Settings) {})
		topic := e.topic(tr, 1, nil)
		p := e.producer(tr, "")
		p.Send(tp(topic, 0), rec("k", "v"))
		e.mustCommit(p, engine.Commit{})
		s := e.source(tr).(*source)
		s.Start(tp(topic, 0), 0, engine.ReadCommitted)
		var kept []*engine.Fetched
		e.await("the record", func() bool {
			kept = append(kept, s.Poll(100*time.Millisecond)...)
			return len(kept) > 0 && len(kept[0].Records) == 1
		})
		s.Stop(tp(topic, 0))
		s.mu.Lock()
		held, lent := s.held, len(s.lent)
		s.mu.Unlock()
		if held != 0 || lent != 0 {
			e.Errorf("%d bytes of %d fetches are held for a partition that is stopped", held, lent)
		}
		for _, f := range kept {
			s.Release(f) // changes nothing
		}
		if s.held != 0 {
			e.Errorf("%d bytes held after a late release", s.held)
		}
	})
}

// TestAhead: of partitions that a restore reads, those wait that are a little ahead, for a while.
func TestAhead(t *testing.T) {
	loop := &fetchLoop{}
	now := time.UnixMilli(1_000_000)
	part := func(rush bool, next, end int64) *fetchPart {
		return &fetchPart{rush: rush, next: next, end: end, loop: loop, answered: now}
	}
	last := part(true, 0, 1<<20)
	lost := part(true, 0, 1<<40) // its leader is not known: nobody waits for it
	lost.loop = nil
	s := &source{parts: map[record.TopicPartition]*fetchPart{
		tp("t", 0): last, tp("t", 1): lost, tp("t", 2): part(false, 0, 1<<40), tp("t", 3): part(true, 0, -1),
	}}
	most := s.most()
	if most != 1<<20 {
		t.Fatalf("%d records are left of the last one, want %d", most, 1<<20)
	}
	for next, want := range map[int64]bool{0: false, 32 << 10: false, 33 << 10: true, 400 << 10: true, 512 << 10: false, 1 << 20: false} {
		if got := part(true, next, 1<<20).ahead(most, now) > 0; got != want {
			t.Errorf("%d of %d read, the last one none: ahead %v, want %v", next, 1<<20, got, want)
		}
	}
	if part(true, 3000, 6000).ahead(5999, now) > 0 {
		t.Error("a few records are too many")
	}
	if part(false, 400<<10, 1<<20).ahead(most, now) > 0 {
		t.Error("one waits that is not restored")
	}
	if part(true, 400<<10, 1<<20).ahead(most, now.Add(aheadPause)) > 0 {
		t.Error("one waits for ever")
	}
}
