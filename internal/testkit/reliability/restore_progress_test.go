package reliability

import (
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
)

// TestRestoreTellsHowFarItIs: percent, time left and rate, every few seconds; they rise.
func TestRestoreTellsHowFarItIs(t *testing.T) {
	w := running(t, 1)
	w.views(3000)
	w.mustLive(w.directory())
	var fetches atomic.Int64
	slow := memlog.Faults(func(op memlog.Op) memlog.Fault {
		return memlog.Fault{Skip: op.Kind == memlog.OpFetch && fetches.Add(1)%150 > 0}
	})
	w.faults.Store(&slow)
	p := w.process(w.directory(), func(o *engine.Options) { o.Workers = 1 })
	stats, err := w.live(p)
	if err != nil || stats.Restore.Active() || stats.Restore.Percent() != 100 {
		t.Fatalf("it ended at %+v: %v", stats.Restore, err)
	}
	said := regexp.MustCompile(`msg="restoring tables" done=(\d+)% left=(\S+) records=\d+ records_per_s=\d+`).FindAllStringSubmatch(w.said.text(), -1)
	if len(said) < 2 {
		t.Fatalf("said %d times; it said:\n%s", len(said), w.said.tail())
	}
	last := -1
	for _, m := range said {
		percent, _ := strconv.Atoi(m[1])
		if _, err := time.ParseDuration(m[2]); err != nil && m[2] != "unknown" || percent < last || percent > 100 {
			t.Errorf("said %q after %d%%", m[0], last)
		}
		last = percent
	}
}
