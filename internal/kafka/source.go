package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// source implements engine.Source. Its owner talks to it through the methods;
// one loop per leading broker and isolation fetches ahead, within the bounds
// on what is held, and a resolver finds leaders. They meet under mu, which is
// never held during a request.
type source struct {
	c        *cluster
	resolver *resolver
	ctx      context.Context //nolint:containedctx // the life of the goroutines
	stop     context.CancelFunc
	running  sync.WaitGroup
	wake     chan struct{} // Poll listens
	timer    *time.Timer   // of Poll
	pool     memoryPool    // of answers

	mu     sync.Mutex
	parts  map[record.TopicPartition]*fetchPart
	loops  map[loopKey]*fetchLoop
	ready  []*engine.Fetched
	lent   map[*engine.Fetched]*fetchPart // not released
	held   int                            // bytes not released
	closed bool
}

// loopKey: the isolation is a property of a whole fetch request.
type loopKey struct {
	addr string
	iso  engine.Isolation
	lane int8 // see catchup.go
}

// fetchPart is one partition that is fetched.
type fetchPart struct {
	tp     record.TopicPartition
	iso    engine.Isolation
	next   int64
	leader leader
	loop   *fetchLoop // nil while the leader is not known

	held     int       // bytes not released
	ask      int       // bytes to ask for
	rush     bool      // its owner takes all of it as fast as it comes
	answered time.Time // when that was done last
	eager    int       // bytes to ask for instead, as its owner waits for them; 0 = he does not
	end      int64     // as last told; -1 = never
	stopped  bool      // by its owner, or by an error
	retryAt  time.Time
	wait     backoff
	met      trouble
	bad      int // how often the batch at next could not be read
}

// newSource starts the resolver; the loops start with the partitions.
func newSource(c *cluster) *source {
	s := &source{
		c: c, wake: make(chan struct{}, 1),
		parts: make(map[record.TopicPartition]*fetchPart), loops: make(map[loopKey]*fetchLoop),
		lent: make(map[*engine.Fetched]*fetchPart), timer: time.NewTimer(time.Hour),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.resolver = newResolver(c, s.assign, s.fail)
	s.running.Go(func() { s.resolver.run(s.ctx) })
	return s
}

// Start implements engine.Source.
func (s *source) Start(tp record.TopicPartition, offset int64, iso engine.Isolation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.parts[tp]; old != nil {
		s.remove(old)
	}
	p := &fetchPart{tp: tp, iso: iso, next: offset, end: -1, ask: s.c.set.FetchPartitionBytes}
	s.parts[tp] = p
	if l, ok := s.c.cached(tp); ok {
		s.attach(p, l)
		return
	}
	s.resolver.need(tp, 0, false)
}

// Rush implements engine.Source.
func (s *source) Rush(tp record.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[tp]; p != nil {
		p.rush = true
	}
}

// Stop implements engine.Source.
func (s *source) Stop(tp record.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[tp]; p != nil {
		s.remove(p)
	}
}

// remove forgets p and all that it fetched: what has been polled is nobody's any more, or
// would count as held for ever. mu is held.
func (s *source) remove(p *fetchPart) {
	p.stopped = true
	delete(s.parts, p.tp)
	s.resolver.drop(p.tp)
	if p.loop != nil {
		delete(p.loop.parts, p)
	}
	s.ready = slices.DeleteFunc(s.ready, func(f *engine.Fetched) bool { return s.lent[f] == p })
	before := s.held
	for f, owner := range s.lent {
		if owner == p {
			s.held -= f.Bytes
			delete(s.lent, f)
		}
	}
	s.resume(before)
}

// resume wakes the loops that the bound on all that is held kept waiting. mu is held.
func (s *source) resume(before int) {
	if most := s.c.set.BufferBytes; before >= most && s.held < most {
		for _, loop := range s.loops {
			poke(loop.wake)
		}
	}
}

// assign gives a partition to the loop of its leader; the resolver calls it.
func (s *source) assign(tp record.TopicPartition, l leader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[tp]; p != nil && p.loop == nil && !p.stopped {
		s.attach(p, l)
	}
}

// attach puts p into the loop of l, starting that where there is none. mu is held.
func (s *source) attach(p *fetchPart, l leader) {
	p.leader = l
	s.enter(p, loopKey{addr: l.addr, iso: p.iso})
}

// enter makes p part of a loop. mu is held.
func (s *source) enter(p *fetchPart, key loopKey) {
	p.loop = nil
	if s.closed {
		return
	}
	loop := s.loops[key]
	if loop == nil {
		loop = newFetchLoop(s, key)
		s.loops[key] = loop
		s.running.Go(loop.run)
	}
	p.loop = loop
	loop.parts[p] = struct{}{}
	poke(loop.wake)
}

// detach takes p away from its loop, to look for its leader. mu is held.
func (s *source) detach(p *fetchPart) {
	if p.loop != nil {
		delete(p.loop.parts, p)
		p.loop = nil
	}
	if !p.stopped {
		s.resolver.need(p.tp, p.wait.next(), true)
	}
}

// fail ends a partition with an error that no retry mends.
func (s *source) fail(tp record.TopicPartition, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[tp]; p != nil {
		s.deliver(p, &engine.Fetched{TP: tp, Next: p.next, End: p.end, LogStart: -1, Err: err})
	}
}

// deliver hands f to Poll. mu is held.
func (s *source) deliver(p *fetchPart, f *engine.Fetched) {
	if p.stopped || s.closed {
		return
	}
	if f.Err != nil {
		p.stopped = true
		if p.loop != nil {
			delete(p.loop.parts, p)
		}
	}
	s.lent[f] = p
	p.held += f.Bytes
	s.held += f.Bytes
	s.ready = append(s.ready, f)
	poke(s.wake)
}

// Poll implements engine.Source.
func (s *source) Poll(wait time.Duration) []*engine.Fetched {
	if out := s.take(); len(out) > 0 || wait <= 0 {
		if len(out) == 0 { // a wake that came before must not cut the next wait short
			select {
			case <-s.wake:
			default:
			}
		}
		return out
	}
	s.timer.Reset(wait)
	select {
	case <-s.wake:
		s.timer.Stop()
	case <-s.timer.C:
	}
	return s.take()
}

func (s *source) take() []*engine.Fetched {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.ready
	s.ready = nil
	return out
}

// Wake implements engine.Source.
func (s *source) Wake() { poke(s.wake) }

// Release implements engine.Source.
func (s *source) Release(f *engine.Fetched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.lent[f]
	if p == nil {
		return
	}
	delete(s.lent, f)
	before := s.held
	p.held -= f.Bytes
	s.held -= f.Bytes
	if p.loop != nil {
		poke(p.loop.wake)
	}
	s.resume(before)
}

// Close implements engine.Source. It returns when all goroutines have ended.
func (s *source) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
}
