package kafka

import (
	"errors"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// catchUpWait is how long a fetch may be held at the broker while another
// partition of the loop waits for room: its turn must come soon.
const catchUpWait = 5 * time.Millisecond

// fetchLoop fetches from one broker on a link of its own, so that a fetch that
// waits for data holds up nobody else.
type fetchLoop struct {
	s     *source
	key   loopKey
	wake  chan struct{}
	parts map[*fetchPart]struct{} // guarded by s.mu

	link   *link
	unpack unpacker
	timer  *time.Timer
	asked  []*fetchPart // of the request under way
	rush   bool         // a restore takes it
}

// badTries is how often a batch that cannot be read is asked for before it is an error: it may be
// whole at the broker.
const badTries = 3

func newFetchLoop(s *source, key loopKey) *fetchLoop {
	return &fetchLoop{s: s, key: key, wake: make(chan struct{}, 1), parts: make(map[*fetchPart]struct{}), timer: time.NewTimer(time.Hour),
		unpack: unpacker{limit: s.c.set.MaxDecompressedBytes}}
}

// run fetches until the source closes.
func (l *fetchLoop) run() {
	defer l.hangUp()
	for l.s.ctx.Err() == nil {
		req, next := l.request(time.Now())
		if req == nil {
			l.timer.Reset(next)
			select {
			case <-l.s.ctx.Done():
			case <-l.wake:
			case <-l.timer.C:
			}
			continue
		}
		resp, err := l.fetch(req)
		if err != nil {
			l.failed(err)
			continue
		}
		l.answered(resp)
	}
}

func (l *fetchLoop) hangUp() {
	if l.link != nil {
		l.link.close()
		l.link = nil
	}
}

// request builds a fetch of the partitions that may hold more, or says how
// long to wait for one.
func (l *fetchLoop) request(now time.Time) (*sarama.FetchRequest, time.Duration) {
	set := &l.s.c.set
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.asked, l.rush = l.asked[:0], false
	next, wait, full := time.Hour, set.FetchWait, set.FetchRequestBytes
	most := l.s.most()
	for p := range l.parts {
		if d := p.retryAt.Sub(now); d > 0 {
			next = min(next, d)
			continue
		}
		if !l.s.room(p) {
			wait = min(wait, catchUpWait)
			continue
		}
		if d := p.ahead(most, now); d > 0 {
			next, wait = min(next, d), min(wait, d)
			continue
		}
		if p.end < 0 {
			wait = 0 // its owner waits to hear where the end is
		}
		full = max(full, p.ask)
		l.rush = l.rush || p.rush
		l.asked = append(l.asked, p)
	}
	if len(l.asked) == 0 {
		return nil, next
	}
	wait = min(wait, next)
	req := &sarama.FetchRequest{
		Version: tappedVersion, MinBytes: 1, MaxBytes: int32(min(full, set.MaxResponseBytes)),
		MaxWaitTime: int32(wait / time.Millisecond), SessionEpoch: -1,
	}
	if l.key.iso == engine.ReadCommitted {
		req.Isolation = sarama.ReadCommitted
	}
	for _, p := range l.asked {
		req.AddBlock(p.tp.Topic, p.tp.Partition, p.next, int32(max(p.ask, p.eager)), p.leader.epoch)
	}
	return req, 0
}

// fetch sends the request. sarama is given an answer without partitions, see fetchTap.
func (l *fetchLoop) fetch(req *sarama.FetchRequest) (*fetchAnswer, error) {
	if l.link == nil || l.link.broken() {
		l.hangUp()
		link, err := l.s.c.dialer.open(l.s.ctx, l.key.addr, 0, &l.s.pool)
		if err != nil {
			return nil, err
		}
		l.link = link
	}
	l.link.tap.expect(l.rush)
	if _, err := call(l.s.ctx, l.link, (*sarama.Broker).Fetch, req); err != nil {
		return nil, err
	}
	kept := l.link.tap.take()
	if kept == nil { // the broker has only older versions
		return nil, l.link.failure(sarama.ErrUnsupportedVersion)
	}
	return parseAnswer(kept)
}

// failed deals with a request that brought no answer. When the connection
// broke, leaders may have moved.
func (l *fetchLoop) failed(err error) {
	if l.s.ctx.Err() != nil {
		return
	}
	l.hangUp()
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	var broken *linkError
	for _, p := range l.asked {
		if p.stopped {
			continue
		}
		if !errors.As(err, &broken) {
			p.bad++ // an answer that makes no sense, or is larger than it may be
		}
		if p.bad >= badTries || denied(err) || errors.Is(err, sarama.ErrUnsupportedVersion) {
			l.s.deliver(p, &engine.Fetched{TP: p.tp, Next: p.next, End: p.end, LogStart: -1, Err: fetchError(p.tp, p.next, err)})
			continue
		}
		if p.wait.attempt == 5 {
			l.s.c.log.Warn("fetch fails", "broker", l.key.addr, "topic", p.tp.Topic, "partition", p.tp.Partition, "cause", err)
		}
		l.s.detach(p)
	}
}

// answered takes an answer apart, decoding outside of the lock.
func (l *fetchLoop) answered(a *fetchAnswer) {
	if a.code != sarama.ErrNoError {
		l.failed(&linkError{l.key.addr, a.code})
		return
	}
	l.s.c.incidents.throttled(a.throttle)
	room := a.room()
	memory := record.NewMemory(1, func() { l.s.pool.put(a.memory) })
	for _, p := range l.asked {
		block := a.of(p.tp)
		if block == nil {
			continue
		}
		var got covered
		var err error
		switch block.code {
		case sarama.ErrNoError:
			got, err = l.unpack.convert(block, p.next, p.iso == engine.ReadCommitted, room)
			room = room[:min(len(room)+len(got.records), cap(room))] // where it did not suffice they are elsewhere
		case sarama.ErrOffsetOutOfRange:
			l.askBounds(p.tp, block)
		}
		l.s.mu.Lock()
		if !p.stopped {
			l.take(p, block, got, memory, err)
			l.spread(p)
		}
		l.s.mu.Unlock()
	}
	memory.LetGo()
}

// askBounds completes the answer to an offset that is out of range, which does
// not say what the range is.
func (l *fetchLoop) askBounds(tp record.TopicPartition, block *fetchBlock) {
	block.logStart = -1
	admin := &Admin{c: l.s.c}
	if starts, err := admin.Starts(l.s.ctx, []record.TopicPartition{tp}); err == nil {
		block.logStart = starts[tp]
	}
}

// take brings one partition forward. mu is held.
func (l *fetchLoop) take(p *fetchPart, block *fetchBlock, got covered, memory *record.Memory, err error) {
	if err == nil && block.code != sarama.ErrNoError {
		err = block.code
	}
	p.met.meet(&l.s.c.incidents, err)
	var bad *batchError
	switch {
	case err == nil:
	case errors.As(err, &bad) && p.bad < badTries-1:
		p.bad++
		p.retryAt = time.Now().Add(backoffFirst << p.bad)
		return
	case retriable(err):
		l.s.detach(p)
		return
	case errors.Is(err, sarama.ErrInvalidMessage) && p.wait.attempt < 5:
		// A checksum that failed at the broker may be a passing fault of its disk or memory.
		p.retryAt = time.Now().Add(p.wait.next())
		return
	default:
		l.s.deliver(p, &engine.Fetched{TP: p.tp, Next: p.next, End: p.end, LogStart: block.logStart, Err: fetchError(p.tp, p.next, err)})
		return
	}
	p.wait.reset()
	p.met.over()
	p.bad = 0
	end := block.highWater
	if p.iso == engine.ReadCommitted {
		end = block.stable
	}
	if got.cut {
		p.ask = min(p.ask*2, l.s.c.set.MaxResponseBytes/2)
	} else {
		p.ask = l.s.c.set.FetchPartitionBytes
	}
	if len(got.records) == 0 && got.next == p.next && end == p.end {
		return
	}
	p.next, p.end = got.next, end
	if p.rush {
		p.answered = time.Now()
	}
	p.judge(maxEager * l.s.c.set.BufferPartitionBytes)
	if p.next >= p.end {
		p.rush = false // whatever comes from now on its owner need not hurry for
	}
	if len(got.records) == 0 {
		memory = nil
	}
	memory.Hold()
	l.s.deliver(p, &engine.Fetched{TP: p.tp, Records: got.records, Next: got.next, End: end, LogStart: block.logStart, Bytes: got.bytes, Memory: memory})
}
