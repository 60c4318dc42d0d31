package reliability

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/internal/testkit"
	"streamctl/operators"
)

// gapped is the running world under a policy for gaps.
func gapped(t *testing.T, seed uint64, policy string) *world {
	t.Helper()
	text := fmt.Sprintf(testkit.RunningPipeline, "p")
	if policy != "" {
		text += "on_gap: " + policy + "\n"
	}
	return newWorld(t, seed, text, map[string]int32{"p-views": partitions, "p-out": partitions})
}

// truncate deletes, in every partition, up to a random offset behind the
// committed one, and says how many records that nobody had processed.
func (w *world) truncate() (lost int64, below map[record.TopicPartition]int64) {
	w.t.Helper()
	committed := w.log.Committed("p")
	high, _ := w.log.Ends("p-views")
	below = make(map[record.TopicPartition]int64)
	for p, end := range high {
		tp := record.TopicPartition{Topic: "p-views", Partition: int32(p)}
		at := committed[tp]
		if end > at {
			n := 1 + w.rand.Int64N(end-at)
			below[tp] = at + n
			lost += n
		}
	}
	w.purge(below)
	return lost, below
}

var gap = operators.DropKey{Operator: "page_views", Reason: operators.ReasonGap}

// TestR20SourceTruncated: records that are gone before they were processed stop
// the pipeline, or are passed over and counted, as on_gap says; never in silence.
func TestR20SourceTruncated(t *testing.T) {
	t.Run("fail", func(t *testing.T) { seeds(t, 20, gapFails) })
	t.Run("earliest", func(t *testing.T) { seeds(t, 20, gapAtStart("earliest")) })
	t.Run("latest", func(t *testing.T) { seeds(t, 20, gapAtStart("latest")) })
	var lost atomic.Int64
	t.Run("while running", func(t *testing.T) {
		seeds(t, 20, func(t *testing.T, seed uint64) { lost.Add(gapWhileRunning(t, seed)) })
	})
	if lost.Load() == 0 && os.Getenv("STREAMCTL_SEED") == "" {
		t.Error("no run met a gap")
	}
	t.Run("table", func(t *testing.T) { seeds(t, 20, gapInTableWhileRunning) })
}

func gapFails(t *testing.T, seed uint64) {
	policy := "fail"
	if seed%2 == 0 {
		policy = "" // the default
	}
	w := gapped(t, seed, policy)
	w.views(200)
	store := w.directory()
	w.mustLive(store)
	before := w.log.Committed("p")
	w.views(200)
	w.truncate()
	_, err := w.live(w.process(store))
	if err == nil {
		t.Fatal("it did not fail")
	}
	for _, part := range []string{"read p-views/", "deleted before they were processed", "on_gap: earliest", "reset-offsets", "test.yaml:"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	for tp, at := range w.log.Committed("p") {
		start := int64(0)
		if parts := w.log.ReadCommitted(tp.Topic)[tp.Partition]; len(parts) > 0 {
			start = parts[0].Offset
		}
		if at != before[tp] && before[tp] < start {
			t.Errorf("%s/%d was at %d before the gap and is at %d now", tp.Topic, tp.Partition, before[tp], at)
		}
	}
}

func gapAtStart(policy string) func(*testing.T, uint64) {
	return func(t *testing.T, seed uint64) {
		w := gapped(t, seed, policy)
		w.views(200)
		store := w.directory()
		w.mustLive(store)
		views := w.log.ReadCommitted("p-views")
		w.views(200)
		lost, below := w.truncate()
		high, _ := w.log.Ends("p-views")
		if policy == "latest" {
			lost = 0
			for tp := range below {
				lost += high[tp.Partition] - w.log.Committed("p")[tp]
			}
		}
		stats := w.mustLive(store)
		if got := stats.Counters.Drops[gap]; got != lost {
			t.Errorf("%d records counted as lost, want %d", got, lost)
		}
		if got := stats.Incidents[engine.IncidentSourceTruncated]; got != int64(len(below)) {
			t.Errorf("%d incidents, want %d", got, len(below))
		}
		if n := w.said.count("records were deleted before they were processed"); n != len(below) {
			t.Errorf("said %d times, want %d", n, len(below))
		}
		w.views(100)
		w.mustLive(store)
		rest := w.log.ReadCommitted("p-views")
		for p := range views {
			for _, r := range rest[p] {
				tp := record.TopicPartition{Topic: "p-views", Partition: int32(p)}
				_, truncated := below[tp]
				if r.Offset < int64(len(views[p])) || policy == "latest" && truncated && r.Offset < high[p] {
					continue
				}
				views[p] = append(views[p], r)
			}
		}
		w.compare(newRunning(), views, func(memlog.Rec) bool { return false })
		w.checkState(store)
	}
}

// gapWhileRunning: the process falls behind what retention leaves, since its
// fetches bring nothing for a while. It says how many records were lost.
func gapWhileRunning(t *testing.T, seed uint64) int64 {
	w := gapped(t, seed, "earliest")
	store := w.directory()
	w.views(100)
	w.mustLive(store)
	p := w.process(store)
	end := w.begin(p)
	kept := w.log.ReadCommitted("p-views")
	for range 3 {
		w.await("it has processed all", func() bool { return w.lag("p-views") == 0 })
		w.views(200)
		// Whatever of this has been processed by now stays processed.
		high, _ := w.log.Ends("p-views")
		all := w.log.ReadCommitted("p-views")
		below := make(map[record.TopicPartition]int64)
		for p, end := range high {
			below[record.TopicPartition{Topic: "p-views", Partition: int32(p)}] = end - w.rand.Int64N(10)
		}
		w.purge(below)
		for p := range all {
			for _, r := range all[p] {
				if n := len(kept[p]); n == 0 || r.Offset > kept[p][n-1].Offset {
					kept[p] = append(kept[p], r)
				}
			}
		}
	}
	w.await("it has processed all", func() bool { return w.lag("p-views") == 0 })
	stats, err := end()
	if err != nil {
		t.Fatal(err)
	}
	produced := 0
	for p := range kept {
		produced += len(kept[p])
	}
	written := 0
	for _, records := range w.log.ReadCommitted("p-out") {
		written += len(records)
	}
	lost := stats.Counters.Drops[gap]
	if written+int(lost) != produced {
		t.Errorf("%d of %d records processed, %d counted as lost; they said:\n%s", written, produced, lost, w.said.tail())
	}
	w.checkState(store)
	return lost
}

// gapInTableWhileRunning: a table that has not been read for so long that its topic has lost
// records is built anew from what the topic holds.
func gapInTableWhileRunning(t *testing.T, seed uint64) {
	w := newNamed(t, seed)
	for _, topic := range nameTopics {
		w.change(topic, 100)
	}
	store := w.directory()
	w.mustAnswer(store)
	p := w.process(store)
	end := w.begin(p)
	w.await("it is there", func() bool { return w.said.count("msg=ready") >= 2 })
	for range 5 {
		topic := nameTopics[w.rand.IntN(2)]
		w.change(topic, 30)
		high, _ := w.log.Ends(topic)
		below := make(map[record.TopicPartition]int64)
		for p, end := range high {
			below[record.TopicPartition{Topic: topic, Partition: int32(p)}] = end
		}
		w.purge(below)
		for _, key := range keysOf(w.tables[topic]) {
			w.name(topic, key, w.tables[topic][key]) // the owner writes them all again
		}
	}
	w.await("it has processed all", func() bool { return w.lag(nameTopics[0])+w.lag(nameTopics[1]) == 0 })
	if _, err := end(); err != nil {
		t.Fatal(err)
	}
	w.mustAnswer(store)
}
