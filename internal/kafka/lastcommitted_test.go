package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestLastCommitted: who committed an offset last is known to everybody, also
// while a transaction with a newer offset is open. A producer that vanished
// with its transaction open is shut out by opening another one with its id,
// and nothing of it holds up anybody any more.
func TestLastCommitted(t *testing.T) {
	onBoth(t, func(e *env) {
		group := e.name("group")
		var armed atomic.Bool
		stopped, resume := make(chan struct{}), make(chan struct{})
		tr := e.open(func(s *Settings) {
			s.Group = group
			s.Crash = func(step string) {
				if step == crashBeforeEndTxn && armed.CompareAndSwap(true, false) {
					close(stopped)
					<-resume
				}
			}
		})
		topic := e.topic(tr, 1, nil)
		in, out := tp(topic, 0), tp(e.topic(tr, 1, nil), 0)
		meta := engine.GroupMeta{Group: group}
		admin := tr.Admin()
		last, err := admin.LastCommitted(e.ctx(), []record.TopicPartition{in})
		if err != nil || len(last) != 0 {
			t.Fatalf("before the first commit: %v, %v", last, err)
		}
		id := e.name("p")
		gone := e.producer(tr, id)
		gone.Send(out, rec("k", "1"))
		e.mustCommit(gone, engine.Commit{Offsets: map[record.TopicPartition]int64{in: 5}, Group: meta})
		want := engine.LastCommit{Offset: 5, By: id}
		e.await("the commit is seen", func() bool {
			last, err = admin.LastCommitted(e.ctx(), []record.TopicPartition{in})
			return err == nil && last[in] == want
		})
		// It stops with its next offset in an open transaction.
		armed.Store(true)
		gone.Send(out, rec("k", "2"))
		result := make(chan engine.CommitResult, 1)
		gone.Commit(engine.Commit{Offsets: map[record.TopicPartition]int64{in: 9}, Group: meta}, func(r engine.CommitResult) { result <- r })
		<-stopped
		if last, err = admin.LastCommitted(e.ctx(), []record.TopicPartition{in}); err != nil || last[in] != want {
			t.Errorf("beside an open transaction: %v, %v; want %v", last, err, want)
		}
		heir, err := tr.NewProducer(e.ctx(), id, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := heir.Close(e.ctx()); err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(e.ctx(), 10*time.Second)
		defer cancel()
		committed, err := admin.Committed(soon, []record.TopicPartition{in})
		if err != nil || committed[in] != 5 {
			t.Errorf("after it was shut out: %v, %v; want 5", committed, err)
		}
		close(resume)
		if r := <-result; !errors.Is(r.Err, engine.ErrFenced) {
			t.Errorf("the one that was shut out commits: %v", r.Err)
		}
		e.settle(tr, out)
		if got := values(e.readAll(tr, out)); len(got) != 1 || got[0] != "1" {
			t.Errorf("out holds %v, want 1 only", got)
		}
	})
}

// TestStreamTimeBesideOffsets: what was committed beside an offset is found by who
// takes the task over, with transactions and without. An offset that stays is committed
// again for a new stream time, and for work that time alone has brought about. Set from
// outside, an offset has none.
func TestStreamTimeBesideOffsets(t *testing.T) {
	onBoth(t, func(e *env) {
		for _, exactly := range []bool{true, false} {
			group := e.name("group")
			tr := e.open(func(s *Settings) { s.Group = group })
			in := tp(e.topic(tr, 1, nil), 0)
			id := e.name("p")
			p, err := tr.NewProducer(e.ctx(), id, exactly)
			if err != nil {
				t.Fatal(err)
			}
			by := ""
			if exactly {
				by = id
			}
			for _, c := range []struct {
				time  int64
				timed bool
			}{{1_700_000_000_000, false}, {1_700_000_000_500, false}, {1_700_000_000_500, true}} {
				e.mustCommit(p, engine.Commit{
					Offsets: map[record.TopicPartition]int64{in: 5}, StreamTimes: map[record.TopicPartition]int64{in: c.time},
					Group: engine.GroupMeta{Group: group}, Timed: c.timed,
				})
				want := engine.LastCommit{Offset: 5, By: by, StreamTime: c.time}
				with, err := tr.Admin().CommittedWith(e.ctx(), []record.TopicPartition{in})
				if err != nil || with[in] != want {
					t.Errorf("exactly once %v: %+v, %v; want %+v", exactly, with[in], err, want)
				}
			}
			if err := p.Close(e.ctx()); err != nil {
				t.Fatal(err)
			}
			if err := tr.Admin().(*Admin).SetGroupOffsets(e.ctx(), map[record.TopicPartition]int64{in: 5}); err != nil {
				t.Fatal(err)
			}
			with, err := tr.Admin().CommittedWith(e.ctx(), []record.TopicPartition{in})
			if err != nil || with[in] != (engine.LastCommit{Offset: 5}) {
				t.Errorf("set from outside: %+v, %v", with[in], err)
			}
		}
	})
}
