package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"streamctl/internal/engine"
)

// progressEvery is how often a bounded run tells where it is when no terminal
// can show it continuously.
const progressEvery = 10 * time.Second

// progress shows where runs are: on a terminal a line per pipeline that is
// drawn anew, elsewhere a log line from time to time.
type progress struct {
	app     *app
	bars    *mpb.Progress // nil: no terminal
	bounded bool

	mu     sync.Mutex
	latest map[string]engine.Stats
	lines  map[string]*mpb.Bar
	told   map[string]time.Time
	began  time.Time
	done   bool
}

func (a *app) newProgress(bounded bool) *progress {
	p := &progress{
		app: a, bounded: bounded, began: a.now(), latest: make(map[string]engine.Stats),
		lines: make(map[string]*mpb.Bar), told: make(map[string]time.Time),
	}
	if bounded && isTerminal(a.stderr) {
		p.bars = mpb.New(mpb.WithOutput(a.stderr), mpb.WithRefreshRate(200*time.Millisecond))
		a.logTo(p.bars) // above the lines that are drawn anew
	}
	return p
}

// update is called by a run's engine from time to time, from any goroutine.
func (p *progress) update(name string, st engine.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	p.latest[name] = st
	if p.bars != nil {
		if p.lines[name] == nil {
			p.lines[name] = p.line(name)
		}
		return
	}
	now := p.app.now()
	if !p.bounded {
		return
	}
	if last, ok := p.told[name]; !ok {
		p.told[name] = now
	} else if now.Sub(last) >= progressEvery {
		p.told[name] = now
		p.app.log.Info("progress", "pipeline", name, "processed", st.Processed, "emitted", st.Emitted, "restored", st.Restored)
	}
}

// line adds a pipeline's line to the terminal.
func (p *progress) line(name string) *mpb.Bar {
	text := func(decor.Statistics) string {
		p.mu.Lock()
		defer p.mu.Unlock()
		st := p.latest[name]
		switch {
		case st.Suspended != "":
			return fmt.Sprintf(" %s: stands still: %s", name, st.Suspended)
		case st.Restore.Active():
			return fmt.Sprintf(" %s: restoring tables, %d%% done, %d records", name, st.Restore.Percent(), st.Restored)
		}
		rate := float64(st.Processed) / max(p.app.now().Sub(p.began).Seconds(), 0.001)
		return fmt.Sprintf(" %s: %d records in, %d out, %d restored, %.0f/s", name, st.Processed, st.Emitted, st.Restored, rate)
	}
	return p.bars.New(0, mpb.SpinnerStyle(), mpb.BarWidth(1), mpb.AppendDecorators(decor.Any(text)))
}

// stop ends the display; it may be called more than once.
func (p *progress) stop() {
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		return
	}
	p.done = true
	lines := p.lines
	p.mu.Unlock()
	if p.bars == nil {
		return
	}
	for _, line := range lines {
		line.SetTotal(-1, true)
	}
	p.bars.Wait()
	p.app.logTo(p.app.stderr)
}
