package pipetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"streamctl/internal/engine"
)

// gate is where the one worker of a process waits when it has nothing to do. It
// replaces the wait of a fetch: the worker stays at the gate until the engine
// itself wakes it, or the test lets it go on, having sent a record or moved the
// clock. So it is known, without looking at a real clock, that all that could be
// done has been done: the worker is at its gate and no commit is on its way.
type gate struct {
	mu      sync.Mutex
	changed *sync.Cond
	parked  bool
	woken   bool          // it was woken since it waited last
	wait    time.Duration // how long it would wait
	commits int           // on their way
	asked   int           // questions of the worker that have no answer yet
	held    []string      // those of them that are not looked into yet
	ready   bool          // all tasks run
	open    bool          // nobody is to wait any more
	ended   bool          // the process has
	err     error         // why
}

func newGate() *gate {
	g := &gate{}
	g.changed = sync.NewCond(&g.mu)
	return g
}

// pause is the worker's wait.
func (g *gate) pause(wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.woken && !g.open {
		g.parked, g.wait = true, wait
		g.changed.Broadcast()
		for g.parked && !g.open {
			g.changed.Wait()
		}
	}
	g.parked, g.woken = false, false
}

// wake ends the worker's wait, or its next one.
func (g *gate) wake() {
	g.note(func() { g.woken, g.parked = true, false })
}

// hold is where a goroutine waits that looks into a question of the worker.
func (g *gate) hold(name string) {
	if !strings.HasPrefix(name, "idle ") {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = append(g.held, name)
	g.changed.Broadcast()
	for slices.Contains(g.held, name) && !g.open {
		g.changed.Wait()
	}
}

// answer lets the first question that is held be looked into, and says whether there is one.
func (g *gate) answer() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) == 0 {
		return false
	}
	slices.Sort(g.held)
	g.held = g.held[1:]
	g.changed.Broadcast()
	return true
}

// release lets a worker that waits go on.
func (g *gate) release() {
	g.note(func() { g.parked = false })
}

// letGo opens the gate for good.
func (g *gate) letGo() { g.note(func() { g.open = true }) }

// note changes something that others wait for.
func (g *gate) note(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	g.changed.Broadcast()
}

// await waits until the worker has come to rest or the process has ended. wait is
// how long the worker would rest: next to nothing when it only waits for
// the time of its next commit.
func (g *gate) await() (wait time.Duration, ended bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.ended && (!g.parked || g.commits > 0 || g.asked > len(g.held)) {
		g.changed.Wait()
	}
	return g.wait, g.ended
}

// nap waits until something happens at the gate, for a short time only, and says
// whether something did: other goroutines of the engine may be at work on what
// will wake the worker. It is the one place where real time may pass; it does so
// when tasks start, and hardly ever later.
func (g *gate) nap() bool {
	const short = 20 * time.Millisecond
	over := false
	timer := time.AfterFunc(short, func() { g.note(func() { over = true }) })
	defer timer.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	ready := g.ready
	moved := func() bool { return !g.parked || g.ended || g.ready != ready }
	for !over && !moved() {
		g.changed.Wait()
	}
	return moved()
}

// ports is a process's transport with the gate put in.
type ports struct {
	engine.Transport
	gate *gate
}

// NewSource implements engine.Transport.
func (p ports) NewSource() (engine.Source, error) {
	s, err := p.Transport.NewSource()
	if err != nil {
		return nil, err
	}
	return source{s, p.gate}, nil
}

// NewProducer implements engine.Transport.
func (p ports) NewProducer(ctx context.Context, id string, exactlyOnce bool) (engine.Producer, error) {
	inner, err := p.Transport.NewProducer(ctx, id, exactlyOnce)
	if err != nil {
		return nil, err
	}
	return producer{inner, p.gate}, nil
}

// Join implements engine.Transport.
func (p ports) Join(ctx context.Context, m engine.Membership) (engine.Coordinator, error) {
	inner, err := p.Transport.Join(ctx, m)
	if err != nil {
		return nil, err
	}
	return coordinator{inner, p.gate}, nil
}

// coordinator tells when the run ends: nobody waits for answers any more.
type coordinator struct {
	engine.Coordinator
	gate *gate
}

// Leave implements engine.Coordinator.
func (c coordinator) Leave(ctx context.Context, keepPlace bool) error {
	c.gate.letGo()
	return c.Coordinator.Leave(ctx, keepPlace)
}

type source struct {
	engine.Source
	gate *gate
}

// Poll implements engine.Source.
func (s source) Poll(wait time.Duration) []*engine.Fetched {
	if out := s.Source.Poll(0); len(out) > 0 || wait <= 0 {
		return out
	}
	s.gate.pause(wait)
	return s.Source.Poll(0)
}

// Wake implements engine.Source.
func (s source) Wake() { s.gate.wake() }

// producer notes the commits that are on their way.
type producer struct {
	engine.Producer
	gate *gate
}

// Commit implements engine.Producer.
func (p producer) Commit(c engine.Commit, done func(engine.CommitResult)) {
	p.gate.note(func() { p.gate.commits++ })
	p.Producer.Commit(c, func(r engine.CommitResult) {
		done(r) // wakes the worker
		p.gate.note(func() { p.gate.commits-- })
	})
}
