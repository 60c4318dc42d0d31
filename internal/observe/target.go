package observe

import (
	"context"
	"sync"
	"time"

	"streamctl/internal/engine"
)

const (
	// pingTimeout bounds the question whether the broker answers now.
	pingTimeout = 2 * time.Second
	// pingLife is how long an answer counts as now.
	pingLife = time.Second
)

// Target is one pipeline that is observed. Its methods may be called from any goroutine.
type Target struct {
	name    string
	monitor engine.Monitor
	now     func() time.Time

	mu       sync.Mutex
	ping     func(context.Context) error // nil: not connected
	stopping bool

	pinging sync.Mutex // one question at a time
	asked   time.Time
	answer  error
}

// NewTarget makes the target of a pipeline; now is the clock by which answers grow old.
func NewTarget(pipeline string, now func() time.Time) *Target {
	return &Target{name: pipeline, now: now}
}

// Monitor is what the pipeline's run has to be given.
func (t *Target) Monitor() *engine.Monitor { return &t.monitor }

// Connect tells how to ask the pipeline's broker whether it answers; nil when
// the connection is closed.
func (t *Target) Connect(ping func(context.Context) error) {
	t.mu.Lock()
	t.ping = ping
	t.mu.Unlock()
}

// Stop says that the process has been told to end: it is not ready from now on.
func (t *Target) Stop() {
	t.mu.Lock()
	t.stopping = true
	t.mu.Unlock()
}

// state is what the target was told.
func (t *Target) state() (ping func(context.Context) error, stopping bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ping, t.stopping
}

// answers asks the broker, or gives its answer of a moment ago.
func (t *Target) answers(ctx context.Context, ping func(context.Context) error) error {
	t.pinging.Lock()
	defer t.pinging.Unlock()
	if t.asked.IsZero() || t.now().Sub(t.asked) >= pingLife {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
		defer cancel()
		t.answer = ping(ctx)
		t.asked = t.now()
	}
	return t.answer
}
