package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// scatter sends every record on under its key, to the partition that the key names.
type scatter struct {
	tc   *operators.TaskContext
	next string
	rec  record.Record
}

func (s *scatter) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	s.rec = *rec
	return rec.Time, false, nil
}

func (s *scatter) Process() error {
	n, err := strconv.Atoi(string(s.rec.Key))
	if err != nil {
		return err
	}
	s.tc.Emitter.Emit(0, int32(n)%s.tc.Partitions(s.next), s.rec)
	return nil
}

// windowSize is that of the windows of hourly, ms.
const windowSize = 10

// hourly counts records per key and window, and emits a window when it closes.
type hourly struct {
	tc   *operators.TaskContext
	rec  record.Record
	now  int64
	late *atomic.Int64
}

func (h *hourly) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	h.rec = *rec
	return rec.Time, false, nil
}

func (h *hourly) Process() error {
	end := h.rec.Time - h.rec.Time%windowSize + windowSize
	if end <= h.now {
		h.late.Add(1)
		return nil
	}
	key := fmt.Appendf(nil, "%08d %s", end, h.rec.Key)
	n := 0
	row, err := h.tc.Tables["windows"].Get(key)
	if err != nil {
		return err
	}
	if row != nil {
		n, _ = strconv.Atoi(string(row.Value))
	}
	_, err = h.tc.Tables["windows"].Put(key, []byte(strconv.Itoa(n+1)))
	return err
}

func (h *hourly) advance(now int64) error {
	h.now = now
	type window struct{ key, count []byte }
	var closed []window
	err := h.tc.Tables["windows"].Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		if end, _ := strconv.Atoi(string(key[:8])); int64(end) > now {
			return false, nil
		}
		closed = append(closed, window{slices.Clone(key), slices.Clone(row.Value)})
		return true, nil
	})
	for _, w := range closed {
		h.tc.Emitter.Emit(0, h.tc.Partition, record.Record{Key: w.key, Value: w.count, Time: now})
		if err == nil {
			err = h.tc.Tables["windows"].Delete(w.key)
		}
	}
	return err
}

// hourlyTopology counts the records of topic "in" by hour behind as many repartitions as are said.
func hourlyTopology(repartitions int, late *atomic.Int64) *operators.Topology {
	t := &operators.Topology{Pipeline: "p"}
	from := operators.InputSpec{Topic: "in"}
	for i := range repartitions {
		next := fmt.Sprintf("p.r%d", i)
		t.Internal = append(t.Internal, operators.InternalTopic{Name: next, PartitionsLike: []string{"out"}})
		t.Subs = append(t.Subs, &operators.SubTopology{
			Name: fmt.Sprint("scatter", i), Inputs: []operators.InputSpec{from}, Outputs: []operators.OutputSpec{{Topic: next, Internal: true}},
			Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
				return []operators.Input{&scatter{tc: tc, next: next}}, nil
			},
		})
		from = operators.InputSpec{Topic: next, Internal: true, Purge: true}
	}
	t.Internal = append(t.Internal, operators.InternalTopic{Name: "p.windows.changelog", PartitionsLike: []string{"out"}, Configs: map[string]string{"cleanup.policy": "compact"}})
	t.Subs = append(t.Subs, &operators.SubTopology{
		Name: "hourly", Inputs: []operators.InputSpec{from}, Outputs: []operators.OutputSpec{{Topic: "out"}}, Waits: true, Timely: true,
		Tables: []state.TableSpec{{Name: "windows", Changelog: "p.windows.changelog"}},
		Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
			h := &hourly{tc: tc, late: late}
			tc.Timers.OnStart(func(now int64) error { h.now = now; return nil })
			tc.Timers.OnStreamTime(h.advance)
			return []operators.Input{h}, nil
		},
	})
	return t
}

// hourlyInput has records of all keys in each partition but the last one, in order
// of time, and an end that closes all windows.
func hourlyInput(partitions int32) [][]record.Record {
	in := make([][]record.Record, partitions)
	for p := range partitions - 1 {
		for at := int64(1); at < 100; at += 1 + int64(p) {
			in[p] = append(in[p], record.Record{Key: []byte(strconv.Itoa(int(at+int64(p)) % 5)), Value: []byte("v"), Time: at})
		}
		in[p] = append(in[p], record.Record{Key: []byte("0"), Value: []byte("v"), Time: 100_000})
	}
	return in
}

// hours gives the windows that came out, each once.
func hours(t *testing.T, log *memlog.Log) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, part := range log.ReadCommitted("out") {
		for _, rec := range part {
			if _, twice := got[string(rec.Key)]; twice {
				t.Errorf("window %q comes twice", rec.Key)
			}
			got[string(rec.Key)] = string(rec.Value)
		}
	}
	return got
}

// wantHours counts by hand.
func wantHours(in [][]record.Record) map[string]string {
	counts := map[string]int{}
	for _, part := range in {
		for _, rec := range part {
			if rec.Time < 1000 {
				counts[fmt.Sprintf("%08d %s", rec.Time-rec.Time%windowSize+windowSize, rec.Key)]++
			}
		}
	}
	want := map[string]string{}
	for k, n := range counts {
		want[k] = strconv.Itoa(n)
	}
	return want
}

// TestTimeBehindRepartitions: however the upstream tasks get on, the windows are the same:
// all in one run, one after the other, or in pieces of any size with
// restarts between, with and without the state.
func TestTimeBehindRepartitions(t *testing.T) {
	const partitions = 4 // of which the last one stays empty
	in := hourlyInput(partitions)
	want := wantHours(in)
	for seed := range uint64(12) {
		for _, repartitions := range []int{1, 2} {
			t.Run(fmt.Sprintf("seed %d, %d repartitions", seed, repartitions), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 0))
				log := memlog.New(memlog.Config{FetchRecords: 1 + r.IntN(20)})
				create(t, log, "in", partitions)
				create(t, log, "out", 3)
				var late atomic.Int64
				topology := hourlyTopology(repartitions, &late)
				fs := state.NewCrashFS()
				round := func() {
					db := openState(t, fs)
					opts := options(topology, log.Transport(memlog.TransportConfig{Group: "p"}), db)
					opts.Workers = 1 + r.IntN(2)
					run(t, opts)
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
					if r.IntN(4) == 0 {
						fs = state.NewCrashFS()
					}
				}
				left := slices.Clone(in)
				for p := range left { // of a partition that has never had anything nobody knows that it is slow
					if len(left[p]) > 0 {
						produce(t, log, "in", int32(p), left[p][0].Key, left[p][0].Value, left[p][0].Time)
						left[p] = left[p][1:]
					}
				}
				for {
					var some []int
					for p := range left {
						if len(left[p]) > 0 {
							some = append(some, p)
						}
					}
					if len(some) == 0 {
						break
					}
					p := some[r.IntN(len(some))]
					n := len(left[p])
					if seed >= 4 { // before: whole partitions
						n = 1 + r.IntN(n)
					}
					for _, rec := range left[p][:n] {
						produce(t, log, "in", int32(p), rec.Key, rec.Value, rec.Time)
					}
					left[p] = left[p][n:]
					if seed > 0 { // all in one round
						round()
					}
				}
				round()
				if late.Load() > 0 {
					t.Errorf("%d records were late that were in order in their partition", late.Load())
				}
				if got := hours(t, log); !maps.Equal(got, want) {
					t.Errorf("%d windows, want %d:\n%v\n%v", len(got), len(want), got, want)
				}
			})
		}
	}
}

// TestQuietPartitionHoldsTime: a partition that has had records is waited for until it is
// idle; then it does not hold back the others any more. One that has never had any is
// not waited for at all, but from its first record on.
func TestQuietPartitionHoldsTime(t *testing.T) {
	clock := memlog.NewClock(time.UnixMilli(1_000_000))
	log := memlog.New(memlog.Config{Clock: clock})
	create(t, log, "in", 3)
	create(t, log, "out", 1)
	send := func(partition int32, at int64) {
		produce(t, log, "in", partition, []byte("0"), []byte("v"), at)
	}
	var late atomic.Int64
	topology := hourlyTopology(1, &late)
	fs := state.NewCrashFS()
	opts := func() engine.Options {
		o := options(topology, log.Transport(memlog.TransportConfig{Group: "p"}), openState(t, fs))
		o.IdleTimeout = time.Hour // of a clock that does not wait until something has been read
		return o
	}
	// All is there before the first start: who has had nothing would not be waited for.
	send(0, 900_015)
	send(1, 900_003)
	read := func(n int64) func() bool {
		return func() bool { return log.Committed("p")[record.TopicPartition{Topic: "in", Partition: 0}] >= n }
	}
	send(0, 900_050)
	first := runOn(t, log, clock, opts())
	first.until("partition 0 is read", time.Millisecond, read(2))
	first.end()
	if got := hours(t, log); len(got) > 0 {
		t.Fatalf("a window was closed before the slower partition had come so far: %v", got)
	}
	send(1, 900_025) // in order in its partition
	second := runOn(t, log, clock, opts())
	second.until("two windows are closed", time.Millisecond, func() bool { return len(hours(t, log)) == 2 })
	second.until("the quiet partitions are idle", time.Second, func() bool { return len(hours(t, log)) == 4 })
	if idle := second.clock.Now().Sub(second.start); idle < time.Hour {
		t.Errorf("partition 1 was given up after %v", idle)
	}
	second.end()
	if late.Load() > 0 {
		t.Errorf("%d records were late", late.Load())
	}
}

// TestTopicGrows: a new partition upstream is waited for from its first record on.
func TestTopicGrows(t *testing.T) {
	log := memlog.New(memlog.Config{})
	create(t, log, "in", 1)
	create(t, log, "out", 1)
	var late atomic.Int64
	topology := hourlyTopology(1, &late)
	fs := state.NewCrashFS()
	round := func() { run(t, options(topology, log.Transport(memlog.TransportConfig{Group: "p"}), openState(t, fs))) }
	produce(t, log, "in", 0, []byte("0"), []byte("v"), 5)
	round()
	if err := log.GrowTopic("in", 2); err != nil {
		t.Fatal(err)
	}
	produce(t, log, "in", 1, []byte("0"), []byte("v"), 7)
	produce(t, log, "in", 0, []byte("0"), []byte("v"), 100)
	round()
	if got := hours(t, log); len(got) > 0 {
		t.Fatalf("closed too early: %v", got)
	}
	produce(t, log, "in", 1, []byte("0"), []byte("v"), 100)
	round()
	if got := hours(t, log); got["00000010 0"] != "2" || late.Load() > 0 {
		t.Errorf("got %v, %d late", got, late.Load())
	}
}

// TestAnnouncementsAreFew: when nothing moves, nothing is announced, and what is
// announced is never counted as data.
func TestAnnouncementsAreFew(t *testing.T) {
	clock := memlog.NewClock(time.UnixMilli(1_000_000))
	log := memlog.New(memlog.Config{Clock: clock})
	create(t, log, "in", 2)
	create(t, log, "out", 2)
	var late atomic.Int64
	opts := options(hourlyTopology(1, &late), log.Transport(memlog.TransportConfig{Group: "p"}), openState(t, state.NewCrashFS()))
	opts.IdleTimeout = -1
	opts.Monitor = &engine.Monitor{}
	r := runOn(t, log, clock, opts)
	for p := range int32(2) {
		produce(t, log, "in", p, []byte("0"), []byte("v"), 12)
		produce(t, log, "in", p, []byte("1"), []byte("v"), 25)
	}
	r.until("a window is closed", 10*time.Millisecond, func() bool { return len(hours(t, log)) == 1 })
	written := func() (n int) {
		high, _ := log.Ends("p.r0")
		for _, end := range high {
			n += int(end)
		}
		return n
	}
	before := written()
	for range 200 {
		r.clock.AwaitTimers(1)
		r.clock.Advance(50 * time.Millisecond)
	}
	if now := written(); now != before {
		t.Errorf("%d records were written while nothing happened", now-before)
	}
	for _, part := range log.ReadCommitted("out") {
		for _, rec := range part {
			if strings.TrimSpace(string(rec.Value)) == "" || len(rec.Headers) > 0 {
				t.Errorf("an announcement came out: %+v", rec)
			}
		}
	}
	r.end()
}
