package engine

import (
	"maps"
	"time"

	"streamctl/internal/record"
)

// Figures are what a worker counts for those who look on: the metrics of
// `run --http`. The worker's goroutine alone counts, per fetch, per commit or
// per turn of its loop, and publishes copies with its stats.
type Figures struct {
	// Topics counts what went from and to topics.
	Topics map[string]TopicStats
	// CommitTime is how long commits took, from their beginning to the state being
	// applied; aborted ones are not in it.
	CommitTime Histogram
	// Latency is how long records waited, from their timestamp to the commit of what
	// they led to: one sample per input and commit, of the oldest batch in it.
	Latency Histogram
	// Idle is how long the worker had nothing to do.
	Idle time.Duration
	// CacheHits and CacheMisses count lookups of rows in tables that are closed, and
	// as of the last publication in those that are open.
	CacheHits, CacheMisses int64
}

// add takes over what o counted.
func (f *Figures) add(o Figures) {
	if len(o.Topics) > 0 {
		topics := make(map[string]TopicStats, len(f.Topics)+len(o.Topics))
		maps.Copy(topics, f.Topics)
		for name, n := range o.Topics {
			sum := topics[name]
			sum.Read += n.Read
			sum.ReadBytes += n.ReadBytes
			sum.Sent += n.Sent
			sum.SentBytes += n.SentBytes
			topics[name] = sum
		}
		f.Topics = topics
	}
	f.CommitTime.add(o.CommitTime)
	f.Latency.add(o.Latency)
	f.Idle += o.Idle
	f.CacheHits += o.CacheHits
	f.CacheMisses += o.CacheMisses
}

// TopicStats counts records and bytes of one topic.
type TopicStats struct {
	Read      int64 // records fetched, for restores too
	ReadBytes int64 // of them in memory, unpacked
	Sent      int64 // records sent, by operators and to changelogs
	SentBytes int64 // of their keys and values
}

// histogramBounds are the upper bounds of a Histogram's buckets.
var histogramBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

// Histogram counts durations. It belongs to one goroutine and is copied as a value.
type Histogram struct {
	counts [len(histogramBounds) + 1]int64 // per bucket; the last one has no bound
	sum    time.Duration
}

// observe counts one; a negative one, of clocks that differ, as nothing.
func (h *Histogram) observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += d
}

func (h *Histogram) add(o Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.sum += o.sum
}

// Cumulative gives how many were counted, their sum in seconds, and how many
// were at most each bound in seconds.
func (h *Histogram) Cumulative() (count uint64, sum float64, atMost map[float64]uint64) {
	atMost = make(map[float64]uint64, len(histogramBounds))
	for i, n := range h.counts {
		count += uint64(n)
		if i < len(histogramBounds) {
			atMost[histogramBounds[i].Seconds()] = count
		}
	}
	return count, h.sum.Seconds(), atMost
}

// InputStats is where a running task is in one of its inputs.
type InputStats struct {
	Task TaskID
	TP   record.TopicPartition
	// Position is the next offset to process, End the end of the log at the last
	// fetch; EndKnown is false before the first.
	Position, End int64
	EndKnown      bool
	// EventTime is the event time of the record taken last, in ms; Taken is false
	// when there was none yet.
	EventTime int64
	Taken     bool
	// HeldBy is, of an input behind a repartition, the upstream task that stream time
	// waits for, and Held by how many ms another one is ahead of it; -1 = it has
	// promised nothing yet. No task: none has anything.
	HeldBy TaskID
	Held   int64
}

// Lag is how many records are left, about: offsets, which transactions and
// compaction leave holes in.
func (s InputStats) Lag() int64 { return max(s.End-s.Position, 0) }

// RestoreStats is a table that is being rebuilt.
type RestoreStats struct {
	Task TaskID
	TP   record.TopicPartition
	// From, Position and Target are offsets: where it began, is and ends. Target is
	// -1 while it is not known.
	From, Position, Target int64
	Full                   bool // nothing of it was there
}

// Remaining is how many records are left to read, about; false when that is not known.
func (s RestoreStats) Remaining() (int64, bool) {
	return max(s.Target-s.Position, 0), s.Target >= 0
}

// Done is which part has been read, from 0 to 1.
func (s RestoreStats) Done() float64 {
	if s.Target <= s.From {
		return 0
	}
	return min(float64(s.Position-s.From)/float64(s.Target-s.From), 1)
}

// Present is what a worker's tasks are at now: nothing that could be summed
// over time.
type Present struct {
	Inputs    []InputStats
	Restores  []RestoreStats
	Follows   []InputStats // of standbys; they have no event time
	Restoring int          // tasks
	Suspended int          // tasks that wait for their last commit
}

// topic gives the counts of a topic, to be changed by the worker's goroutine only.
func (w *worker) topic(name string) *TopicStats {
	t := w.topics[name]
	if t == nil {
		t = new(TopicStats)
		w.topics[name] = t
	}
	return t
}

// figures copies what was counted.
func (w *worker) figures() Figures {
	f := w.stats.Figures
	f.Topics = make(map[string]TopicStats, len(w.topics))
	for name, t := range w.topics {
		f.Topics[name] = *t
	}
	for _, t := range w.order {
		hits, misses := t.store.Lookups()
		f.CacheHits += hits
		f.CacheMisses += misses
	}
	return f
}

// present takes down where the worker's tasks are.
func (w *worker) present() Present {
	var p Present
	for _, t := range w.order {
		switch t.state {
		case taskRestoring:
			p.Restoring++
		case taskSuspended:
			p.Suspended++
		}
		for _, r := range t.restore {
			p.Restores = append(p.Restores, RestoreStats{Task: t.id, TP: r.tp, From: r.from, Position: r.pos, Target: r.target, Full: r.full})
		}
		if t.state != taskRunning {
			continue
		}
		for _, in := range t.inputs {
			s := InputStats{
				Task: t.id, TP: in.tp, Position: in.pos, End: in.end, EndKnown: in.answered,
				EventTime: in.headTime, Taken: in.headNext > 0,
			}
			if in.upstream != nil {
				s.HeldBy, s.Held = in.upstream.held()
			}
			p.Inputs = append(p.Inputs, s)
		}
	}
	for _, s := range w.standbys {
		for _, f := range s.tables {
			p.Follows = append(p.Follows, InputStats{Task: s.task.id, TP: f.tp, Position: f.pos, End: f.end, EndKnown: f.known})
		}
	}
	return p
}

// sample notes the timestamp of the first record of f that will be processed,
// unless an older one waits for its commit.
func (in *input) sample(f *Fetched) {
	if in.sampled > 0 {
		return
	}
	for i := range f.Records {
		if f.Records[i].Offset >= in.pos && !announces(&f.Records[i]) {
			in.sampled = f.Records[i].Time
			return
		}
	}
}

// count adds a record that is sent.
func (t *TopicStats) count(rec record.Record) {
	t.Sent++
	t.SentBytes += int64(len(rec.Key) + len(rec.Value))
}

// measure counts how long a commit took, and how long its records had waited.
func (w *worker) measure(run *commitRun) {
	now := w.engine.opts.Clock.Now()
	w.stats.CommitTime.observe(now.Sub(run.began))
	for _, s := range run.sealed {
		for _, at := range s.sampled {
			if at > 0 {
				w.stats.Latency.observe(now.Sub(time.UnixMilli(at)))
			}
		}
	}
}

// poll is the source's Poll; a worker that may wait there is idle meanwhile.
func (w *worker) poll(wait time.Duration) []*Fetched {
	if wait <= 0 {
		return w.source.Poll(wait)
	}
	began := w.engine.opts.Clock.Now()
	got := w.source.Poll(wait)
	w.stats.Idle += w.engine.opts.Clock.Now().Sub(began)
	return got
}
