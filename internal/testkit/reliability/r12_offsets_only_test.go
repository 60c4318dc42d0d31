package reliability

import (
	"fmt"
	"testing"
	"time"

	"streamctl/internal/engine"
)

const droppingPipeline = `pipeline: p
commit_interval: 1s
sources:
  views: {topic: p-views, fields: {viewerId: int}}
streams:
  none: {from: views v, where: v.viewerId < 0}
sinks:
  out: {from: none, topic: p-out}
`

// TestR12OffsetsOnly: a filter that drops everything for an hour. What has been
// read is committed all the same, so a restart reads less than an interval again.
func TestR12OffsetsOnly(t *testing.T) {
	seeds(t, 20, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, droppingPipeline, map[string]int32{"p-views": partitions, "p-out": partitions})
		store := w.directory()
		p := w.process(store, func(o *engine.Options) { o.CommitInterval = time.Second })
		end := w.begin(p)
		began, produced := w.clock.Now(), 0
		for w.clock.Now().Sub(began) < time.Hour {
			w.views(20)
			produced += 20
			w.await("the offsets of what was dropped are committed", func() bool { return w.lag("p-views") == 0 })
			w.clock.Advance(time.Minute)
		}
		w.views(20)
		p.transport.Crash()
		_, _ = end()
		again := w.mustLive(store)
		if again.Processed > 20 {
			t.Errorf("of %d records %d were read again", produced, again.Processed)
		}
		if lag := w.lag("p-views"); lag != 0 {
			t.Errorf("%d records are not committed", lag)
		}
		if out := fmt.Sprint(w.log.ReadCommitted("p-out")); out != fmt.Sprint(make([][]int, partitions)) {
			t.Errorf("out holds %s", out)
		}
	})
}
