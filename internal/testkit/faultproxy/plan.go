package faultproxy

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Rule is a fault that strikes requests.
type Rule struct {
	Kind   Kind
	APIs   []API    // empty = all
	Naming []string // one of these texts must be in the request, a transactional id for example; empty = any
	Client string   // client id; "" = any
	Skip   int      // this many that fit pass first
	Times  int      // then it strikes so often; 0 = without end
	Share  float64  // of those that fit, by chance; 0 = all
	Silent bool     // of the drops: the connection goes silent instead of being closed
	Delay  time.Duration
	Code   int16 // of Refuse
}

// Rates are chances per request, from 0 to 1.
type Rates struct {
	APIs                                             []API // empty = all
	DropRequest, DropReply, DelayRequest, DelayReply float64
	// Silent is the part of the drops after which the connection goes silent.
	Silent float64
	// Delay is the longest; each is drawn from 0 to it. Default 100 ms.
	Delay time.Duration
}

// Plan decides about every request of the proxies that share it, and counts. Its
// methods may be called at any time from any goroutine.
type Plan struct {
	mu      sync.Mutex
	rules   []*liveRule
	rates   Rates
	rand    *rand.Rand
	counts  Counts
	changed chan struct{} // closed and made anew at each count
}

// liveRule is a rule and how often it has fitted.
type liveRule struct {
	Rule
	fitted int
	struck int
}

// verdict is what becomes of one request.
type verdict struct {
	kind   Kind
	silent bool
	delay  time.Duration
	code   int16
}

// NewPlan makes a plan without faults. The seed is that of the chances; which
// request draws which number depends on the order in which they come.
func NewPlan(seed uint64) *Plan {
	return &Plan{rand: rand.New(rand.NewPCG(seed, 0)), counts: make(Counts), changed: make(chan struct{})}
}

// SetRules replaces the rules. The first that fits a request, and is neither
// skipping nor used up, decides about it. Without any, all requests pass, as far
// as Chaos lets them.
func (p *Plan) SetRules(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
	for _, r := range rules {
		p.rules = append(p.rules, &liveRule{Rule: r})
	}
}

// Added are rules that one of several users of a plan has added.
type Added struct {
	plan  *Plan
	rules []*liveRule
}

// Add puts rules before those that are there; the others stay.
func (p *Plan) Add(rules ...Rule) *Added {
	a := &Added{plan: p}
	for _, r := range rules {
		a.rules = append(a.rules, &liveRule{Rule: r})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(slices.Clone(a.rules), p.rules...)
	return a
}

// Remove takes the rules out again.
func (a *Added) Remove() {
	a.plan.mu.Lock()
	defer a.plan.mu.Unlock()
	a.plan.rules = slices.DeleteFunc(a.plan.rules, func(r *liveRule) bool { return slices.Contains(a.rules, r) })
}

// Struck is how many requests these rules have decided about.
func (a *Added) Struck() int {
	a.plan.mu.Lock()
	defer a.plan.mu.Unlock()
	n := 0
	for _, r := range a.rules {
		n += r.struck
	}
	return n
}

// Chaos lets chance strike the requests about which no rule decides, from now
// on; the zero Rates end it.
func (p *Plan) Chaos(seed uint64, rates Rates) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rates.Delay == 0 {
		rates.Delay = 100 * time.Millisecond
	}
	p.rates = rates
	p.rand = rand.New(rand.NewPCG(seed, 1))
}

// Counts is what was done up to now.
func (p *Plan) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// Await returns when the counts are as done says.
func (p *Plan) Await(ctx context.Context, done func(Counts) bool) error {
	for {
		p.mu.Lock()
		counts, changed := maps.Clone(p.counts), p.changed
		p.mu.Unlock()
		if done(counts) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await faults: %w (so far: %s)", ctx.Err(), counts)
		}
	}
}

// decide says what becomes of a request, and counts it.
func (p *Plan) decide(h header, frame []byte) verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ruled := p.byRule(h, frame)
	if !ruled {
		v = p.byChance(h)
	}
	p.counts[Count{v.kind, h.api}]++
	close(p.changed)
	p.changed = make(chan struct{})
	return v
}

func (p *Plan) byRule(h header, frame []byte) (verdict, bool) {
	names := func(text string) bool { return bytes.Contains(frame, []byte(text)) }
	for _, r := range p.rules {
		if len(r.APIs) > 0 && !slices.Contains(r.APIs, h.api) || r.Client != "" && r.Client != h.client {
			continue
		}
		if len(r.Naming) > 0 && !slices.ContainsFunc(r.Naming, names) {
			continue
		}
		if r.Share > 0 && p.rand.Float64() >= r.Share {
			continue
		}
		r.fitted++
		if r.fitted > r.Skip && (r.Times == 0 || r.fitted <= r.Skip+r.Times) {
			r.struck++
			return verdict{kind: r.Kind, silent: r.Silent, delay: r.Delay, code: r.Code}, true
		}
	}
	return verdict{}, false
}

func (p *Plan) byChance(h header) verdict {
	r := &p.rates
	if len(r.APIs) > 0 && !slices.Contains(r.APIs, h.api) {
		return verdict{}
	}
	at := p.rand.Float64()
	for _, c := range []struct {
		kind Kind
		rate float64
	}{{DropRequest, r.DropRequest}, {DropReply, r.DropReply}, {DelayRequest, r.DelayRequest}, {DelayReply, r.DelayReply}} {
		if at < c.rate {
			v := verdict{kind: c.kind, silent: p.rand.Float64() < r.Silent}
			if c.kind == DelayRequest || c.kind == DelayReply {
				v.delay = time.Duration(p.rand.Float64() * float64(r.Delay))
			}
			return v
		}
		at -= c.rate
	}
	return verdict{}
}
