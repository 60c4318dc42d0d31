package engine_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// clocked is a topology whose operator emits when it is told of time: "stream
// <ms>" and "wall", and notes where it started.
type clocked struct {
	every time.Duration // of its wall timer, 0 = none
	mu    sync.Mutex
	began map[int32][]int64
}

func (c *clocked) start(partition int32, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began == nil {
		c.began = make(map[int32][]int64)
	}
	c.began[partition] = append(c.began[partition], now)
}

// starts lists the stream times at which the tasks have started.
func (c *clocked) starts(partition int32) []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.began[partition])
}

type clockedInput struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (i *clockedInput) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	i.rec = *rec
	return rec.Time, false, nil
}

func (i *clockedInput) Process() error { return nil }

func (c *clocked) sub(name, in string, out string) *operators.SubTopology {
	return &operators.SubTopology{
		Name:    name,
		Inputs:  []operators.InputSpec{{Topic: in}},
		Outputs: []operators.OutputSpec{{Topic: out}},
		Waits:   true,
		Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
			emit := func(text string, at int64) {
				tc.Emitter.Emit(0, tc.Partition, record.Record{Key: []byte("k"), Value: []byte(text), Time: at})
			}
			tc.Timers.OnStart(func(now int64) error { c.start(tc.Partition, now); return nil })
			tc.Timers.OnStreamTime(func(now int64) error { emit(fmt.Sprint("stream ", now), now); return nil })
			if c.every > 0 {
				tc.Timers.OnWallClock(operators.WallTimer{Every: c.every, Fire: func(now int64) error { emit("wall", now); return nil }})
			}
			return []operators.Input{&clockedInput{tc: tc}}, nil
		},
	}
}

func (c *clocked) topology() *operators.Topology {
	return &operators.Topology{Pipeline: "p", Subs: []*operators.SubTopology{c.sub("timed", "in", "out")}}
}

// clockRun is a run on a virtual clock.
type clockRun struct {
	t     *testing.T
	log   *memlog.Log
	clock *memlog.Clock
	start time.Time
	stop  context.CancelFunc
	ended chan error
}

// clockLog has the topics "in" and "out" with two partitions, on a virtual clock.
func clockLog(t *testing.T) (*memlog.Log, *memlog.Clock) {
	t.Helper()
	clock := memlog.NewClock(time.UnixMilli(1_000_000))
	log := memlog.New(memlog.Config{Clock: clock})
	create(t, log, "in", 2)
	create(t, log, "out", 2)
	return log, clock
}

// runOn starts a run without end.
func runOn(t *testing.T, log *memlog.Log, clock *memlog.Clock, opts engine.Options) *clockRun {
	t.Helper()
	r := &clockRun{t: t, log: log, clock: clock, start: clock.Now(), ended: make(chan error, 1)}
	opts.Clock, opts.UntilEnd, opts.Workers = clock, false, 1
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() {
		_, err := engine.Run(ctx, opts)
		r.ended <- err
	}()
	t.Cleanup(cancel)
	return r
}

// until lets time pass in steps until a condition holds.
func (r *clockRun) until(what string, step time.Duration, holds func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		select {
		case err := <-r.ended:
			r.t.Fatalf("the run ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("in vain waited for: %s", what)
		}
		r.clock.AwaitTimers(1)
		r.clock.Advance(step)
	}
}

// end stops the run.
func (r *clockRun) end() {
	r.t.Helper()
	r.stop()
	deadline := time.Now().Add(30 * time.Second)
	for {
		select {
		case err := <-r.ended:
			if err != nil {
				r.t.Fatal(err)
			}
			return
		default:
		}
		if time.Now().After(deadline) {
			r.t.Fatal("the run does not end")
		}
		r.clock.Advance(10 * time.Millisecond)
	}
}

// committed lists what a topic holds for readers of committed data.
func (r *clockRun) committed(topic string, partition int) []string {
	var out []string
	for _, rec := range r.log.ReadCommitted(topic)[partition] {
		out = append(out, string(rec.Value))
	}
	return out
}

// Who loses the local state, or takes a task over, goes on at the stream time of
// whoever had it.
func TestStreamTimeSurvivesLossOfState(t *testing.T) {
	for _, exactly := range []bool{true, false} {
		log := memlog.New(memlog.Config{Clock: engine.SystemClock{}})
		create(t, log, "in", 3)
		create(t, log, "out", 3)
		produce(t, log, "in", 0, key(0), []byte("x"), 7000)
		produce(t, log, "in", 0, key(0), []byte("x"), 5000)
		produce(t, log, "in", 1, key(0), []byte("x"), 6000)
		timed := &clocked{}
		for range 2 {
			opts := options(timed.topology(), process(log), openState(t, state.NewMemFS()))
			opts.ExactlyOnce = exactly
			run(t, opts)
		}
		for partition, want := range map[int32]int64{0: 7000, 1: 6000, 2: math.MinInt64} {
			if got := timed.starts(partition); !slices.Equal(got, []int64{math.MinInt64, want}) {
				t.Errorf("exactly once %v: task %d started at %v, want never and %d", exactly, partition, got, want)
			}
		}
	}
}

// A bounded run moves stream time with records only.
func TestBoundedRunDoesNotFollowTheClock(t *testing.T) {
	log := memlog.New(memlog.Config{Clock: engine.SystemClock{}})
	create(t, log, "in", 1)
	create(t, log, "out", 1)
	produce(t, log, "in", 0, key(0), []byte("x"), 7000)
	timed := &clocked{every: time.Hour}
	opts := options(timed.topology(), process(log), openState(t, state.NewMemFS()))
	opts.IdleTimeout = time.Nanosecond
	run(t, opts)
	got := committedPerKey(t, log, "out")["k"]
	// The timer of the wall clock is called once more at the end, due or not.
	if !slices.Equal(got, []string{"stream 7000", "wall"}) {
		t.Errorf("a bounded run gave %v", got)
	}
}

func TestIdleTaskFollowsTheClock(t *testing.T) {
	for _, exactly := range []bool{true, false} {
		log, clock := clockLog(t)
		timed := &clocked{}
		opts := options(timed.topology(), process(log), openState(t, state.NewMemFS()))
		opts.ExactlyOnce, opts.IdleTimeout = exactly, 30*time.Second
		produce(t, log, "in", 0, key(0), []byte("x"), 500_000)
		r := runOn(t, log, clock, opts)
		r.until("the record", time.Second, func() bool { return len(r.committed("out", 0)) == 1 })
		r.until("the clock", time.Second, func() bool { return len(r.committed("out", 0)) > 1 })
		out := r.committed("out", 0)
		var to int64
		if _, err := fmt.Sscanf(out[1], "stream %d", &to); err != nil {
			t.Fatal(err)
		}
		if latest := clock.Now().Add(-opts.IdleTimeout).UnixMilli(); out[0] != "stream 500000" || to < 1_000_000 || to > latest {
			t.Errorf("stream time went to %v, with the clock at %d", out, latest+30_000)
		}
		r.end()
		if len(r.committed("out", 1)) > 0 {
			t.Errorf("a task that has never seen a record was moved: %v", r.committed("out", 1))
		}

		// The next one who runs the task, without its state, begins there.
		var last int64
		out = r.committed("out", 0)
		if _, err := fmt.Sscanf(out[len(out)-1], "stream %d", &last); err != nil {
			t.Fatal(err)
		}
		opts.State, opts.Transport = openState(t, state.NewMemFS()), process(log)
		r = runOn(t, log, clock, opts)
		r.until("the start", time.Second, func() bool { return len(timed.starts(0)) == 2 })
		if at := timed.starts(0)[1]; at != last {
			t.Errorf("exactly once %v: the next run started at %d, want %d", exactly, at, last)
		}
		r.end()
	}
}

// While a transaction is open in an input, something may be left to read.
func TestIdleTaskWaitsForWhatIsLeft(t *testing.T) {
	log, clock := clockLog(t)
	create(t, log, "p.between", 2)
	timed := &clocked{}
	top := timed.topology()
	top.Subs = []*operators.SubTopology{
		{
			Name: "first", Inputs: []operators.InputSpec{{Topic: "in"}}, Outputs: []operators.OutputSpec{{Topic: "p.between"}},
			Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
				return []operators.Input{&rekey{tc: tc}}, nil
			},
		},
		timed.sub("timed", "p.between", "out"),
	}
	top.Internal = []operators.InternalTopic{{Name: "p.between", PartitionsLike: []string{"in"}}}
	opts := options(top, process(log), openState(t, state.NewMemFS()))
	opts.IdleTimeout = 5 * time.Second
	produce(t, log, "in", 0, key(0), []byte("x"), 500_000)
	open := log.Begin()
	open.Produce("in", 1, key(1), []byte("late"), 600_000)
	r := runOn(t, log, clock, opts)
	r.until("the record", time.Second, func() bool { return len(r.committed("out", 0)) == 1 })
	until := clock.Now().Add(2 * time.Minute)
	r.until("two minutes", time.Second, func() bool { return clock.Now().After(until) })
	if out := r.committed("out", 0); len(out) > 1 {
		t.Fatalf("stream time moved while a step before had something to read: %v", out)
	}
	open.Commit()
	r.until("the clock", time.Second, func() bool { return len(r.committed("out", 0)) > 1 })
	r.end()
}

func TestWallTimer(t *testing.T) {
	log, clock := clockLog(t)
	timed := &clocked{every: 10 * time.Second}
	opts := options(timed.topology(), process(log), openState(t, state.NewMemFS()))
	opts.IdleTimeout = -1
	r := runOn(t, log, clock, opts)
	r.until("three calls", time.Second, func() bool { return len(r.committed("out", 1)) >= 3 })
	r.end()
	recs := log.ReadCommitted("out")[1]
	for i, rec := range recs {
		if string(rec.Value) != "wall" || i > 0 && rec.Time-recs[i-1].Time < 10_000 || rec.Time < 1_010_000 {
			t.Errorf("call %d: %s at %d", i, rec.Value, rec.Time)
		}
	}
	if len(log.Committed("p")) == 0 {
		t.Error("what timers did was committed without offsets: nobody was asked whose the task is")
	}
}
