package memlog

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

func TestPollWaitsForDataWakeOrTime(t *testing.T) {
	e := newEnv(t)
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	s.Poll(0) // the empty end
	got := make(chan []*engine.Fetched, 1)
	poll := func() { got <- s.Poll(time.Second) }

	go poll()
	e.log.Produce("out", 0, nil, []byte("x"), 0)
	if f := <-got; len(f) != 1 || len(f[0].Records) != 1 {
		t.Errorf("data: %+v", f)
	}
	go poll()
	s.Wake()
	if f := <-got; f != nil {
		t.Errorf("wake: %+v", f)
	}
	go poll()
	e.clk.AwaitTimers(1)
	e.clk.Advance(time.Second)
	if f := <-got; f != nil {
		t.Errorf("time: %+v", f)
	}
}

func TestUnreleasedBytesStopFetching(t *testing.T) {
	e := newEnvWith(t, Config{FetchBytes: 1000})
	for range 20 {
		e.log.Produce("out", 0, nil, make([]byte, 300), 0)
	}
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	var held []*engine.Fetched
	for {
		f := s.Poll(0)
		if len(f) == 0 {
			break
		}
		held = append(held, f...)
	}
	n := 0
	for _, f := range held {
		n += len(f.Records)
	}
	if n != 3 {
		t.Fatalf("%d records of 364 bytes were fetched with a budget of 1000", n)
	}
	for _, f := range held {
		s.Release(f)
	}
	if f := s.Poll(0); len(f) != 1 {
		t.Error("nothing is fetched after the release")
	}
}

func TestReleasingTwicePanics(t *testing.T) {
	e := newEnv(t)
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	f := s.Poll(0)
	s.Release(f[0])
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s.Release(f[0])
}

func TestStopDropsAPartition(t *testing.T) {
	e := newEnv(t)
	e.log.Produce("out", 0, nil, []byte("x"), 0)
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	s.Stop(out0)
	if f := s.Poll(0); len(f) != 0 {
		t.Errorf("got %+v", f[0])
	}
}

func TestSendsAfterCommitBelongToTheNextUnit(t *testing.T) {
	gate := make(chan struct{})
	e := newEnvWith(t, Config{Faults: Script{{OpCommit, 1}: {Wait: gate}}.Faults})
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	first := start(p, engine.Commit{})
	p.Send(out0, rec("k", "2"))
	if p.Buffered() == 0 {
		t.Error("a send during a commit left at once")
	}
	close(gate)
	if res := <-first; res.Err != nil || res.Next[out0] != 1 {
		t.Fatalf("got %+v", res)
	}
	e.expectValues("out", "0:1 ")
	if res := e.commit(p, engine.Commit{}); res.Err != nil || res.Next[out0] != 3 {
		t.Fatalf("got %+v", res)
	}
	e.expectValues("out", "0:1 2:2 ")
}

func TestAFailedCommitTakesTheNextUnitWithIt(t *testing.T) {
	gate := make(chan struct{})
	e := newEnvWith(t, Config{Faults: Script{{OpCommit, 1}: {Wait: gate, Outcome: Aborted}}.Faults})
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	first := start(p, engine.Commit{})
	p.Send(out0, rec("k", "2"))
	close(gate)
	if res := <-first; !errors.Is(res.Err, engine.ErrAborted) {
		t.Fatalf("got %+v", res)
	}
	e.commit(p, engine.Commit{})
	e.expectValues("out", "")
}

func TestUnknownOutcomeThatWasCommitted(t *testing.T) {
	e := newEnvWith(t, Config{Faults: Script{{OpCommit, 1}: {Outcome: UnknownCommitted}}.Faults})
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 1}}); !errors.Is(res.Err, engine.ErrAborted) {
		t.Fatalf("got %+v", res)
	}
	e.expectValues("out", "0:1 ")
	if got := e.log.Committed("g")[in0]; got != 1 {
		t.Errorf("offset %d, want 1", got)
	}
}

func TestFencedByFault(t *testing.T) {
	e := newEnvWith(t, Config{Faults: Script{{OpCommit, 1}: {Outcome: Fenced}}.Faults})
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	if res := e.commit(p, engine.Commit{}); !errors.Is(res.Err, engine.ErrFenced) {
		t.Fatalf("got %+v", res)
	}
	p.Send(out0, rec("k", "2"))
	e.expectValues("out", "")
}

func TestSendCopies(t *testing.T) {
	e := newEnv(t)
	p := e.producer("a")
	r := rec("k", "1")
	p.Send(out0, r)
	r.Value[0] = '2'
	if res := e.commit(p, engine.Commit{}); res.Err != nil {
		t.Errorf("got %v", res.Err)
	}
	e.expectValues("out", "0:1 ")
}

func TestCrash(t *testing.T) {
	for name, f := range map[string]Fault{
		"by hand":       {},
		"before commit": {Outcome: CrashBefore},
		"after commit":  {Outcome: CrashAfter},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvWith(t, Config{Faults: Script{{OpCommit, 1}: f}.Faults})
			s, p := e.source(), e.producer("a")
			s.Start(out0, 0, engine.ReadCommitted)
			s.Poll(0)
			p.Send(out0, rec("k", "1"))
			if name == "by hand" {
				e.tr.Crash()
			}
			if res := e.commit(p, engine.Commit{}); !errors.Is(res.Err, ErrCrashed) {
				t.Errorf("commit: %v", res.Err)
			}
			if f := s.Poll(time.Hour); len(f) != 1 || !errors.Is(f[0].Err, ErrCrashed) {
				t.Errorf("poll: %+v", f)
			}
			if _, err := e.tr.NewSource(); !errors.Is(err, ErrCrashed) {
				t.Errorf("source: %v", err)
			}
			if _, err := e.tr.Join(context.Background(), engine.Membership{}); !errors.Is(err, ErrCrashed) {
				t.Errorf("join: %v", err)
			}
			want := ""
			if name == "after commit" {
				want = "0:1 "
			}
			e.expectValues("out", want)
		})
	}
}

func TestScriptedFetchFaults(t *testing.T) {
	broken := errors.New("broken")
	e := newEnvWith(t, Config{Faults: Script{{OpFetch, 1}: {Skip: true}, {OpFetch, 2}: {Err: broken}}.Faults})
	s := e.source()
	s.Start(out0, 0, engine.ReadCommitted)
	if f := s.Poll(0); len(f) != 0 {
		t.Errorf("skipped fetch brought %+v", f[0])
	}
	if f := s.Poll(0); len(f) != 1 || f[0].Err != broken {
		t.Errorf("got %+v", f)
	}
}

func TestDelayedAdmin(t *testing.T) {
	e := newEnvWith(t, Config{Faults: Script{{OpTopics, 1}: {Delay: time.Minute}}.Faults})
	got := make(chan int, 1)
	go func() {
		m, err := e.tr.Admin().Topics(context.Background(), []string{"in", "nowhere"})
		if err != nil {
			t.Error(err)
		}
		got <- len(m)
	}()
	e.clk.AwaitTimers(1)
	e.clk.Advance(time.Minute)
	if n := <-got; n != 1 {
		t.Errorf("%d topics", n)
	}
}

// A timer of one Advance may come while another one moves the clock further.
func TestClockNeverGoesBack(t *testing.T) {
	c := NewClock(time.Unix(0, 0))
	c.AfterFunc(time.Second, func() { c.Advance(time.Hour) })
	c.Advance(2 * time.Second)
	if now, want := c.Now(), time.Unix(1, 0).Add(time.Hour); !now.Equal(want) {
		t.Errorf("the clock shows %v, want %v", now, want)
	}
}

func TestClockFiresInOrder(t *testing.T) {
	c := NewClock(time.Unix(0, 0))
	var mu sync.Mutex
	var got []string
	note := func(s string) func() {
		return func() { mu.Lock(); got = append(got, s); mu.Unlock() }
	}
	c.AfterFunc(3*time.Second, note("c"))
	c.AfterFunc(time.Second, func() {
		note("a")()
		c.AfterFunc(time.Second, note("b"))
	})
	stop := c.AfterFunc(2*time.Second, note("stopped"))
	c.AfterFunc(9*time.Second, note("late"))
	stop()
	c.Advance(5 * time.Second)
	if len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "c" {
		t.Errorf("fired %v", got)
	}
	if !c.Now().Equal(time.Unix(5, 0)) {
		t.Errorf("now %v", c.Now())
	}
}

func TestParallelUse(t *testing.T) {
	e := newEnv(t)
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c"} {
		wg.Go(func() {
			tr := e.log.Transport(TransportConfig{Group: "g"})
			p, err := tr.NewProducer(context.Background(), id, true)
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				p.Send(out0, rec(id, "v"))
				if res := <-start(p, engine.Commit{}); res.Err != nil {
					t.Error(res.Err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(e.log.ReadCommitted("out")[0]); n != 150 {
		t.Errorf("%d records", n)
	}
}

// The expected hashes are those of Apache Kafka's own UtilsTest.
func TestPartitionerIsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestDiscardAbortsTheOpenUnit(t *testing.T) {
	e := newEnv(t)
	p := e.producer("a")
	p.Send(out0, rec("k", "1"))
	p.Discard()
	p.Send(out0, rec("k", "2"))
	if res := e.commit(p, engine.Commit{}); res.Err != nil || res.Next[out0] != 3 {
		t.Fatalf("got %+v", res)
	}
	e.expectValues("out", "2:2 ")
}

func TestNothingLeavesBetweenAFailedCommitAndDiscard(t *testing.T) {
	e := newEnvWith(t, Config{Faults: Script{{OpCommit, 1}: {Outcome: Aborted}}.Faults})
	p := e.producer("a")
	p.Send(out0, rec("k", "lost"))
	e.commit(p, engine.Commit{})
	p.Send(out0, rec("k", "computed from what was not committed"))
	if res := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in0: 1}}); !errors.Is(res.Err, engine.ErrAborted) {
		t.Errorf("commit before Discard: %v", res.Err)
	}
	p.Discard()
	p.Send(out0, rec("k", "1"))
	e.commit(p, engine.Commit{})
	e.expectValues("out", "2:1 ")
}
