package observe

import (
	"context"
	"log/slog"
	"time"

	"streamctl/internal/engine"
)

const (
	// watchInterval is how often is looked whether readiness has changed.
	watchInterval = time.Second
	// tellEvery is after how many looks a line of figures goes to the debug log.
	tellEvery = 30
)

// Watch logs every change of the target's readiness after it was ready first,
// until ctx ends or the run stops.
func Watch(ctx context.Context, t *Target, clock engine.Clock, log *slog.Logger) {
	w := watcher{target: t, log: log}
	for n := 1; ; n++ {
		tick := make(chan struct{})
		stop := clock.AfterFunc(watchInterval, func() { close(tick) })
		select {
		case <-ctx.Done():
			stop()
			return
		case <-tick:
		}
		w.look(ctx, clock.Now())
		if n%tellEvery == 0 {
			w.tell()
		}
	}
}

// watcher remembers what was logged last.
type watcher struct {
	target *Target
	log    *slog.Logger
	was    bool // ready at the last look
	once   bool // ready at some time
	since  time.Time
}

// look compares the readiness with the one before.
func (w *watcher) look(ctx context.Context, now time.Time) {
	if _, stopping := w.target.state(); stopping {
		return // said elsewhere
	}
	checks := w.target.Ready(ctx)
	ready := allOK(checks)
	if ctx.Err() != nil || ready == w.was {
		return
	}
	switch {
	case !ready:
		w.since = now
		w.log.Warn("not ready", "reasons", reasons(checks))
	case w.once:
		w.log.Info("ready again", "after", now.Sub(w.since).Round(time.Millisecond).String())
	}
	w.was, w.once = ready, w.once || ready
}

// reasons are the checks that fail.
func reasons(checks []Check) []string {
	var out []string
	for _, c := range checks {
		if !c.OK {
			out = append(out, c.Name+": "+c.Detail)
		}
	}
	return out
}

// tell writes a line of figures.
func (w *watcher) tell() {
	s := w.target.monitor.Snapshot()
	w.log.Debug("figures", "processed", s.Stats.Processed, "emitted", s.Stats.Emitted, "commits", s.Stats.Commits,
		"aborts", s.Stats.Aborts, "tasks", s.Stats.Tasks, "running", s.Stats.Running, "restored", s.Stats.Restored)
}
