package engine

import (
	"fmt"
	"time"
)

// tellInterval is how often a restore says how far it is.
const tellInterval = 5 * time.Second

// RestoreProgress is how far the tables of the process are restored, in offsets
// of the topics that they come from.
type RestoreProgress struct {
	Done, Total int64
	Tables      int // not restored yet
}

// Active says whether anything is being restored.
func (p RestoreProgress) Active() bool { return p.Tables > 0 }

// Percent is how much of it is done, 0 to 100.
func (p RestoreProgress) Percent() int {
	if p.Total == 0 {
		return 100
	}
	return int(100 * min(p.Done, p.Total) / p.Total)
}

// restoreProgress looks at the worker's tasks. A table whose end is not known
// yet counts with what has been read of it.
func (w *worker) restoreProgress() (sum RestoreProgress) {
	for _, t := range w.order {
		sum.Tables += len(t.restore)
		sum.Done += t.restored
		sum.Total += t.restored
		for _, r := range t.restore {
			sum.Done += r.pos - r.from
			sum.Total += max(r.target, r.pos) - r.from
		}
	}
	return sum
}

// teller says from time to time how far a restore is and when it will be done.
type teller struct {
	since, last time.Time
	done, rows  int64 // at since
}

// tell logs the progress in s, at most once per interval.
func (t *teller) tell(e *Engine, s Stats) {
	now := e.opts.Clock.Now()
	if !s.Restore.Active() {
		t.since = time.Time{}
		return
	}
	if t.since.IsZero() || s.Restore.Done < t.done {
		*t = teller{since: now, last: now, done: s.Restore.Done, rows: s.Restored}
		return
	}
	if now.Sub(t.last) < tellInterval {
		return
	}
	t.last = now
	seconds := now.Sub(t.since).Seconds()
	left := "unknown"
	if eta, ok := t.left(s.Restore, seconds); ok {
		left = eta.String()
	}
	e.log.Info("restoring tables", "done", fmt.Sprintf("%d%%", s.Restore.Percent()), "left", left,
		"records", s.Restored-t.rows, "records_per_s", int64(float64(s.Restored-t.rows)/seconds))
}

// left is how long it will take at the rate so far.
func (t *teller) left(p RestoreProgress, seconds float64) (time.Duration, bool) {
	rate := float64(p.Done-t.done) / seconds
	if rate <= 0 {
		return 0, false
	}
	return time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second)).Round(time.Second), true
}
