package simulate

import (
	"bytes"
	"hash"
	"log/slog"
	"strings"
	"sync"
)

// trace is what happened, one line per event. Two runs of a seed have the same
// one; verbose adds what the engine logs, which does not count for that.
type trace struct {
	verbose bool
	mu      sync.Mutex
	lines   []string
	hash    hash.Hash64
}

// add takes an event.
func (t *trace) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	_, _ = t.hash.Write([]byte(line))
}

// aside takes a line that is only there to be read.
func (t *trace) aside(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

// tail is the end of it.
func (t *trace) tail(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-n):], "\n")
}

// logger is a process's log, into the trace.
func (s *simulation) logger(p *process) *slog.Logger {
	if !s.trace.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(&tracer{s, p}, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// tracer is the writer behind it.
type tracer struct {
	s *simulation
	p *process
}

// Write implements io.Writer.
func (t *tracer) Write(b []byte) (int, error) {
	t.s.trace.aside("                 | " + t.p.id + " " + string(bytes.TrimSpace(b)))
	return len(b), nil
}
