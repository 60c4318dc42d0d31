package reliability

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"streamctl/internal/testkit"
)

const copyingPipeline = `pipeline: p
commit_interval: 20ms
sources:
  views: {topic: p-views, fields: {viewerId: int}}
sinks:
  out: {from: views, topic: p-out}
`

// mustSay ends the process by what it has noticed, and holds its message to parts.
func (w *world) mustSay(p *process, parts ...string) {
	w.t.Helper()
	_, err := w.outcome(p)
	if err == nil {
		w.t.Fatalf("it did not stop; it said:\n%s", w.said.tail())
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			w.t.Errorf("%q does not say %q", err, part)
		}
	}
}

// later runs change when the process has processed all that was there.
func (w *world) later(change func()) func() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := w.clock.Now()
		w.await("it has processed all", func() bool { return w.said.count("msg=ready") > 0 && w.lag("p-views") == 0 })
		w.await("it has seen its topics", func() bool { return w.clock.Now().Sub(began) > time.Second })
		change()
	}()
	return func() { <-done }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// TestR21RepartitionCount: topics that have, or get, another number of partitions
// than what reads them together can do with.
func TestR21RepartitionCount(t *testing.T) {
	t.Run("mismatched at the start", func(t *testing.T) {
		w := newWorld(t, 1, twoTablesPipeline, map[string]int32{"p-views": 3, "p-first-names": 4, "p-second-names": 3, "p-out": 3})
		w.mustSay(w.process(w.directory()), "test.yaml:", "p-first-names has 4 partitions and p-views has 3", "same number of partitions")
	})
	t.Run("join", func(t *testing.T) { seeds(t, 20, growJoin) })
	t.Run("aggregate", func(t *testing.T) {
		w := running(t, 1)
		w.views(100)
		done := w.later(func() { must(t, w.log.GrowTopic("p-views", 5)) })
		w.mustSay(w.process(w.directory()), "p-views has 5 partitions now, it had 3", "p.activity.changelog", "reset-offsets --to earliest")
		done()
		w.check(newRunning())
	})
	t.Run("nothing depends on it", func(t *testing.T) { seeds(t, 20, growFreely) })
	t.Run("sink", growSink)
	t.Run("while stopped", growWhileStopped)
}

// growJoin: from the moment on that the stream has more partitions than the table,
// producers put views elsewhere, among the old partitions too. What comes
// out is right, and the pipeline stops and says why.
func growJoin(t *testing.T, seed uint64) {
	w := joining(t, seed)
	w.views(200)
	p := w.process(w.directory())
	done := w.later(func() {
		must(t, w.log.GrowTopic("p-views", partitions+1+int32(w.rand.IntN(3))))
		w.views(200)
	})
	_, err := w.outcome(p)
	done()
	// A misplaced view that is met first stops it too.
	if err == nil || !strings.Contains(err.Error(), "p-views") || !strings.Contains(err.Error(), "partition") {
		t.Fatalf("it ended with %v; it said:\n%s", err, w.said.tail())
	}
	m := w.joinModel()
	views := make(map[string]int)
	for _, records := range w.log.ReadCommitted("p-views") {
		for _, r := range records {
			o, err := m(testkit.Message{Key: r.Key, Value: r.Value})
			if err != nil {
				t.Fatal(err)
			}
			views[o.Value]++
		}
	}
	n := 0
	for _, records := range w.log.ReadCommitted("p-out") {
		for _, r := range records {
			n++
			if views[string(r.Value)]--; views[string(r.Value)] < 0 {
				t.Errorf("wrong, or there twice: %s", r.Value)
			}
		}
	}
	if n < 200 {
		t.Errorf("%d outputs of the 200 views before", n)
	}
}

// growFreely: partitions that nothing depends on are read as soon as they are noticed.
func growFreely(t *testing.T, seed uint64) {
	w := newWorld(t, seed, copyingPipeline, map[string]int32{"p-views": 2, "p-out": 3})
	w.views(100)
	end := w.begin(w.process(w.directory()))
	w.await("it has processed all", func() bool { return w.lag("p-views") == 0 })
	must(t, w.log.GrowTopic("p-views", 5))
	w.views(200)
	w.await("it has processed all", func() bool { return w.lag("p-views") == 0 })
	if _, err := end(); err != nil {
		t.Fatal(err)
	}
	want, got := make(map[string]int), make(map[string]int)
	for _, records := range w.log.ReadCommitted("p-views") {
		for _, r := range records {
			want[string(r.Value)]++
		}
	}
	for _, records := range w.log.ReadCommitted("p-out") {
		for _, r := range records {
			got[string(r.Value)]++
		}
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("out holds %d different views, want %d", len(got), len(want))
	}
}

// growSink: the new partitions of a topic that is written are used.
func growSink(t *testing.T) {
	w := newWorld(t, 1, copyingPipeline, map[string]int32{"p-views": 2, "p-out": 3})
	w.views(100)
	end := w.begin(w.process(w.directory()))
	w.await("it has processed all", func() bool { return w.lag("p-views") == 0 })
	must(t, w.log.GrowTopic("p-out", 8))
	w.await("it has begun anew", func() bool { return w.said.count("msg=ready") == 2 })
	w.views(200)
	w.await("it has processed all", func() bool { return w.lag("p-views") == 0 })
	if _, err := end(); err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, records := range w.log.ReadCommitted("p-out") {
		if len(records) > 0 {
			used++
		}
	}
	if used < 6 {
		t.Errorf("%d of 8 partitions are used", used)
	}
}

// growWhileStopped: both sides of a join get more partitions, the same number. Keys lie
// in other partitions than the rows that are kept for them.
func growWhileStopped(t *testing.T) {
	w := newNamed(t, 1)
	for _, topic := range nameTopics {
		w.change(topic, 100)
	}
	store := w.directory()
	w.mustAnswer(store)
	for _, topic := range append([]string{"p-views"}, nameTopics...) {
		must(t, w.log.GrowTopic(topic, 5))
	}
	w.mustSay(w.process(store), "has 5 partitions now, but had 3", "reset-offsets --to earliest")
}

// TestTopicsDeletedWhileRunning: what a pipeline says of a topic that is gone.
func TestTopicsDeletedWhileRunning(t *testing.T) {
	anew := func(w *world, topic string) {
		must(w.t, w.log.DeleteTopic(topic))
		must(w.t, w.log.CreateTopic(topic, partitions, map[string]string{"cleanup.policy": "compact"}))
	}
	gone := func(w *world, topic string) { must(w.t, w.log.DeleteTopic(topic)) }
	for _, c := range []struct {
		name, topic string
		change      func(*world, string)
		says        []string
	}{
		{"source", "p-views", gone, []string{"p-views", "unknown topic"}},
		{"source anew", "p-views", anew, []string{"p-views", "created anew"}},
		{"sink", "p-out", gone, []string{"p-out, which the pipeline writes, was deleted", "start the pipeline again"}},
		{"sink anew", "p-out", anew, []string{"p-out, which the pipeline writes, was deleted and created anew"}},
		{"changelog", "p.activity.changelog", gone, []string{"p.activity.changelog, which is the pipeline's own, was deleted", "reset-offsets --to earliest"}},
		{"changelog anew", "p.activity.changelog", anew, []string{"p.activity.changelog, which is the pipeline's own, was deleted and created anew"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := running(t, 1)
			w.views(100)
			done := w.later(func() { c.change(w, c.topic) })
			w.mustSay(w.process(w.directory()), c.says...)
			done()
		})
	}
	// The next start finds the changelog shorter than what the state has read of it.
	t.Run("changelog anew while stopped", func(t *testing.T) {
		w := running(t, 1)
		w.views(100)
		store := w.directory()
		w.mustLive(store)
		anew(w, "p.activity.changelog")
		_, err := w.live(w.process(store))
		if err == nil || !strings.Contains(err.Error(), "p.activity.changelog") || !strings.Contains(err.Error(), "created anew") {
			t.Errorf("it ended with %v", err)
		}
	})
}
