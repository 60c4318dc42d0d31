package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// producer implements engine.Producer. Three kinds of goroutines meet under
// mu, which is never held during a request:
//
//   - its owner calls Send, Commit, Discard;
//   - one sendLoop per leading broker sends batches and takes acknowledgements;
//   - control (txn.go) initialises the producer, adds partitions to the
//     transaction, and completes commits.
//
// What is sent belongs to a unit of work. Batches of the unit `sending` may
// leave; while it is being committed, new records gather in the unit `current`.
//
//	Send ─> current ──Commit──> sending ──all acknowledged, offsets, end──> done
//	          ▲                    │
//	          └── Discard ◄── broken (fenced, aborted, outcome unknown)
//
// Of each partition at most one batch is on its way: order needs no other care,
// and a retry sends the same batch with the same sequence.
type producer struct {
	c       *cluster
	id      string // transactional id
	exactly bool
	latest  func(engine.GroupMeta) (meta engine.GroupMeta, settled bool)
	links   *links          // to coordinators
	ctx     context.Context //nolint:containedctx // the life of the goroutines
	stop    context.CancelFunc
	running sync.WaitGroup
	ctl     chan struct{} // control listens
	where   coordinators  // owned by control

	resolver *resolver
	buffered atomic.Int64
	sizer    sizer

	mu      sync.Mutex
	parts   map[record.TopicPartition]*outPart
	last    *outPart // of the last Send: the next is often for the same
	opened  []*outPart
	loops   map[string]*sendLoop
	life    *identity // nil until initialised
	current *unit
	sending *unit
	commit  *commitRun // on its way
	wanted  []want     // to be added to a transaction
	renew   renewal    // what control has to do first
	broken  error      // why everything sent is lost, until Discard
	// leftOpen is when the transaction that was given up last had begun.
	leftOpen time.Time
	fatal    error
	closed   bool
	free     []*batch

	// What this producer committed last, and as whom: the same again is no work.
	committed   map[record.TopicPartition]position
	committedAs engine.GroupMeta
}

// identity is a producer id and its epoch. A new one, compared by address,
// makes everything of an older one void.
type identity struct {
	producer int64
	epoch    int16
}

// unit is what one Commit makes visible.
type unit struct {
	batches int  // neither acknowledged nor dropped
	used    bool // something was sent
	next    map[record.TopicPartition]int64
	begun   time.Time // when the broker was first told of the transaction
}

// outPart is one partition that is produced to.
type outPart struct {
	tp     record.TopicPartition
	loop   *sendLoop // nil while the leader is not known
	open   *batch    // being filled
	queue  []*batch  // sealed; the first may be on its way
	flying bool

	life     *identity // whose sequence it is
	sequence int32
	limit    int   // of a batch
	usual    int   // size of the last batch: a new one takes as much at once
	added    *unit // in whose transaction the partition is
	wants    *unit // into whose transaction it wants, the youngest one

	retryAt time.Time
	wait    backoff
	failing time.Time // since when nothing gets through
	met     trouble
}

// want is a partition's wish to be in the transaction of a unit. It may have
// two: one for the unit that is being committed, one for the next.
type want struct {
	part *outPart
	unit *unit
}

// maxFree bounds the batches that are kept for their memory, up to BatchBytes each.
const maxFree = 8

func newProducer(c *cluster, id string, exactly bool, latest func(engine.GroupMeta) (engine.GroupMeta, bool)) *producer {
	u := &unit{}
	p := &producer{
		c: c, id: id, exactly: exactly, latest: latest, links: newLinks(c.dialer, 0), ctl: make(chan struct{}, 1),
		parts: make(map[record.TopicPartition]*outPart), loops: make(map[string]*sendLoop),
		current: u, sending: u, committed: make(map[record.TopicPartition]position),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.resolver = newResolver(c, p.assign, p.unassignable)
	return p
}

// start runs the goroutines; the producer has been initialised.
func (p *producer) start() {
	p.running.Go(func() { p.resolver.run(p.ctx) })
	p.running.Go(p.control)
}

// Send implements engine.Producer.
func (p *producer) Send(tp record.TopicPartition, rec record.Record) {
	size := wireSize(&rec)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil || p.fatal != nil || p.closed {
		return
	}
	part := p.last
	if part == nil || part.tp != tp {
		part = p.partition(tp)
		p.last = part
	}
	b := part.open
	if b != nil && b.bytes+size > part.limit {
		p.seal(part)
		b = nil
	}
	if b == nil {
		b = p.begin(part)
	}
	b.add(&rec, size)
	p.buffered.Add(int64(size))
}

// partition finds or makes the place of tp. mu is held.
func (p *producer) partition(tp record.TopicPartition) *outPart {
	part := p.parts[tp]
	if part == nil {
		part = &outPart{tp: tp, limit: p.c.set.BatchBytes}
		p.parts[tp] = part
		if l, ok := p.c.cached(tp); ok {
			p.attach(part, l)
		} else {
			p.resolver.need(tp, 0, false)
		}
	}
	return part
}

// begin opens a batch. mu is held.
func (p *producer) begin(part *outPart) *batch {
	var b *batch
	if n := len(p.free); n > 0 {
		b = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		b = &batch{data: make([]byte, 0, part.usual)}
	}
	b.part, b.unit, b.bytes, b.born = part, p.current, batchOverhead, time.Now()
	part.open = b
	p.opened = append(p.opened, part)
	p.current.batches++
	p.current.used = true
	if p.exactly && part.wants != p.current {
		part.wants = p.current
		p.wanted = append(p.wanted, want{part, p.current})
		poke(p.ctl)
	}
	if part.loop != nil {
		poke(part.loop.wake)
	}
	return b
}

// seal moves the open batch to the queue. mu is held.
func (p *producer) seal(part *outPart) {
	part.usual = len(part.open.data)
	part.queue = append(part.queue, part.open)
	part.open = nil
	for i, o := range p.opened {
		if o == part {
			p.opened[i] = p.opened[len(p.opened)-1]
			p.opened = p.opened[:len(p.opened)-1]
			break
		}
	}
	if part.loop != nil {
		poke(part.loop.wake)
	}
}

// Buffered implements engine.Producer.
func (p *producer) Buffered() int { return int(p.buffered.Load()) }

// Commit implements engine.Producer.
func (p *producer) Commit(c engine.Commit, done func(engine.CommitResult)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go done(engine.CommitResult{Err: fmt.Errorf("commit: producer is closed: %w", engine.ErrAborted)})
		return
	}
	for len(p.opened) > 0 {
		p.seal(p.opened[len(p.opened)-1])
	}
	p.commit = &commitRun{asked: c, done: done}
	p.current = &unit{}
	poke(p.ctl)
}

// Discard implements engine.Producer.
func (p *producer) Discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	clear(p.committed) // whoever goes on may start elsewhere
	if p.commit != nil {
		p.dropCurrent() // the unit on its way is not ours to stop
		return
	}
	switch {
	case p.broken != nil:
		if p.life == nil && p.renew == renewNot {
			p.renew = renewFresh // fenced: take the id back
		}
		p.broken = nil
	case p.exactly && !p.sending.begun.IsZero(), !p.exactly && p.sending.used:
		p.renew = renewSame // ends the open transaction, voids what is on its way
		p.leftOpen = p.sending.begun
	}
	p.dropAll()
	poke(p.ctl)
}

// dropCurrent forgets what was sent since Commit. mu is held.
func (p *producer) dropCurrent() {
	dropped := p.current
	p.wanted = slices.DeleteFunc(p.wanted, func(w want) bool { return w.unit == dropped })
	for _, part := range p.parts {
		if part.wants == dropped {
			part.wants = nil
		}
		if part.open != nil && part.open.unit == dropped {
			p.buffered.Add(-int64(part.open.bytes - batchOverhead))
			part.open = nil
		}
		left := part.queue[:0]
		for _, b := range part.queue {
			if b.unit == dropped {
				p.buffered.Add(-int64(b.bytes - batchOverhead))
				continue
			}
			left = append(left, b)
		}
		part.queue = left
	}
	p.opened = p.opened[:0]
	p.current = &unit{}
}

// dropAll forgets everything that is not acknowledged; answers that are still
// to come find that their batch is nobody's. mu is held.
func (p *producer) dropAll() {
	for _, part := range p.parts {
		part.open, part.queue, part.flying = nil, nil, false
		part.added, part.wants = nil, nil
		part.retryAt = time.Time{}
	}
	p.opened, p.wanted = p.opened[:0], p.wanted[:0]
	p.buffered.Store(0)
	p.current = &unit{}
	p.sending = p.current
}

// Err implements engine.Producer.
func (p *producer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fatal
}

// lose gives up everything sent since the last commit, because of cause, which
// wraps ErrFenced or ErrAborted. A producer whose id was taken away does
// nothing until Discard; any other is initialised anew, which ends what it
// left open. mu is held.
func (p *producer) lose(cause error, idTaken bool) {
	if p.broken != nil || p.fatal != nil {
		return
	}
	p.c.log.Warn("unit of work is lost", "producer", p.id, "cause", cause)
	p.broken, p.leftOpen = cause, p.sending.begun
	if idTaken {
		p.life = nil
	} else {
		p.renew = renewSame
	}
	p.dropAll()
	poke(p.ctl)
}

// die records a failure that nothing mends. mu is held.
func (p *producer) die(err error) {
	if retriable(err) {
		err = fmt.Errorf("%w: tried for kafka.retry_timeout (%s): %w", err, p.c.set.RetryTimeout, engine.ErrUnavailable)
	}
	if p.fatal == nil {
		p.fatal = err
	}
	poke(p.ctl)
}

// assign gives a partition to the loop of its leader; the resolver calls it.
func (p *producer) assign(tp record.TopicPartition, l leader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if part := p.parts[tp]; part != nil && part.loop == nil {
		p.attach(part, l)
	}
}

// unassignable is told by the resolver that a leader cannot be had.
func (p *producer) unassignable(tp record.TopicPartition, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.die(fmt.Errorf("send to %s/%d: %w", tp.Topic, tp.Partition, err))
}

// attach puts a partition into the loop of its leader. mu is held.
func (p *producer) attach(part *outPart, l leader) {
	if p.closed {
		return
	}
	loop := p.loops[l.addr]
	if loop == nil {
		loop = newSendLoop(p, l.addr)
		p.loops[l.addr] = loop
		p.running.Go(loop.run)
	}
	part.loop = loop
	loop.parts = append(loop.parts, part)
	poke(loop.wake)
}

// detach takes a partition from its loop, to look for its leader. mu is held.
func (p *producer) detach(part *outPart) {
	if part.loop == nil {
		return
	}
	for i, o := range part.loop.parts {
		if o == part {
			part.loop.parts = append(part.loop.parts[:i], part.loop.parts[i+1:]...)
			break
		}
	}
	part.loop = nil
	p.resolver.need(part.tp, part.wait.next(), true)
}

// wakeLoops lets all loops look at what they may send. mu is held.
func (p *producer) wakeLoops() {
	for _, l := range p.loops {
		poke(l.wake)
	}
}

// Close implements engine.Producer: it aborts what is open, as far as ctx
// allows, and returns when all goroutines have ended.
func (p *producer) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	life, open := p.life, p.exactly && !p.sending.begun.IsZero()
	run := p.commit
	p.commit = nil
	p.dropAll()
	p.mu.Unlock()
	p.stop()
	p.running.Wait()
	if run != nil {
		run.done(engine.CommitResult{Err: fmt.Errorf("commit: producer was closed: %w", engine.ErrAborted)})
	}
	var err error
	if open && life != nil {
		if err = p.abort(ctx, life); isFenced(err) {
			err = nil // somebody else has ended it
		}
	}
	p.links.close()
	return err
}

// errOutcomeUnknown says that a request of the transaction protocol may or may
// not have been executed.
var errOutcomeUnknown = errors.New("outcome unknown")
