package kafka

import (
	"math/rand/v2"
	"slices"
	"time"

	"streamctl/internal/engine"
)

// A member asks for a rebalance by itself, by joining anew, when
//
//   - a copy here that the leader waits for has caught up;
//   - the leader took it for somebody else: a static member that came back with
//     other settings got the assignment of its former life;
//   - it has to let go of tasks that it does not have: its former self was told
//     so, and ended before it did;
//   - something has been on its way for long, as a net under all of these.
//
// It does not ask twice within a short time.

// probing says how often a member may and must ask.
type probing struct {
	least time.Duration // between a join and the next one it asks for
	most  time.Duration // after which it asks while the assignment is not settled
}

// defaultProbing suits a group of some dozens: a rebalance costs it no more than the requests.
func defaultProbing() probing { return probing{least: time.Second, most: 10 * time.Minute} }

// probe is what a member knows of its reasons to ask.
type probe struct {
	count  uint64 // how often it has asked
	at     time.Time
	jitter float64 // so that not all ask at once
	wrong  bool    // the assignment was made for somebody else
	wanted bool    // another one follows
}

// joined takes note of an assignment.
func (p *probe) joined(now time.Time, self memberData, data assignmentData, removed bool) {
	p.at, p.jitter = now, rand.Float64()/4
	p.wrong = data.Facts != self.facts() || data.Rejoin && !removed
	p.wanted = !data.Settled
}

// Report implements engine.Coordinator.
func (g *group) Report(held []engine.Held) {
	g.mu.Lock()
	g.held = slices.Clone(held)
	g.mu.Unlock()
	select {
	case g.poked <- struct{}{}:
	default: // one look is due already
	}
}

// wantsRebalance says whether there is a reason to ask, and time for it.
func (g *group) wantsRebalance() bool {
	since := time.Since(g.asked.at)
	// What is being handed over ends with a join anyway.
	if g.await != 0 || since < g.c.probing.least {
		return false
	}
	overdue := g.asked.wanted && since > time.Duration(float64(g.c.probing.most)*(1+g.asked.jitter))
	return g.asked.wrong || overdue || g.caughtUp()
}

// caughtUp says whether a copy that is waited for has caught up.
func (g *group) caughtUp() bool {
	if len(g.given.Awaited) == 0 {
		return false
	}
	g.mu.Lock()
	held := g.held
	g.mu.Unlock()
	return slices.ContainsFunc(held, func(h engine.Held) bool {
		return h.Lag >= 0 && h.Lag <= g.given.Acceptable && slices.Contains(g.given.Awaited, h.Task)
	})
}
