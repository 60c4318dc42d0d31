package kafka

import (
	"errors"
	"fmt"
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

	link  *link
	timer *time.Timer
	asked []*fetchPart // of the request under way
}

func newFetchLoop(s *source, key loopKey) *fetchLoop {
	return &fetchLoop{s: s, key: key, wake: make(chan struct{}, 1), parts: make(map[*fetchPart]struct{}), timer: time.NewTimer(time.Hour)}
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
	l.asked = l.asked[:0]
	next, wait, full := time.Hour, set.FetchWait, set.FetchRequestBytes
	var alone *fetchPart
	for p := range l.parts {
		if d := p.retryAt.Sub(now); d > 0 {
			next = min(next, d)
			continue
		}
		if !l.s.room(p) {
			wait = min(wait, catchUpWait)
			continue
		}
		if p.end < 0 {
			wait = 0 // its owner waits to hear where the end is
		}
		if p.search != searchNot {
			alone = p
		}
		full = max(full, p.ask)
		l.asked = append(l.asked, p)
	}
	if len(l.asked) == 0 {
		return nil, next
	}
	if alone != nil {
		l.asked = append(l.asked[:0], alone)
		wait = 0
	}
	wait = min(wait, next)
	req := &sarama.FetchRequest{
		Version: 12, MinBytes: 1, MaxBytes: int32(min(full, set.MaxResponseBytes)),
		MaxWaitTime: int32(wait / time.Millisecond), SessionEpoch: -1,
	}
	if l.key.iso == engine.ReadCommitted {
		req.Isolation = sarama.ReadCommitted
	}
	most := l.s.most()
	for _, p := range l.asked {
		ask := max(p.ask, p.eager)
		if p.ahead(most) {
			ask = p.ask / 8
		}
		if p.search == searchBatch && p.ask == set.FetchPartitionBytes {
			ask = 1 // a broker gives the first batch whole, whatever its size
		}
		req.AddBlock(p.tp.Topic, p.tp.Partition, p.next, int32(ask), p.leader.epoch)
	}
	return req, 0
}

func (l *fetchLoop) fetch(req *sarama.FetchRequest) (*sarama.FetchResponse, error) {
	if l.link == nil || l.link.broken() {
		l.hangUp()
		link, err := l.s.c.dialer.open(l.s.ctx, l.key.addr, 0)
		if err != nil {
			return nil, err
		}
		l.link = link
	}
	return call(l.s.ctx, l.link, (*sarama.Broker).Fetch, req)
}

// failed deals with a request that brought no answer. When the connection
// broke, leaders may have moved. When the answer could not be decoded, one
// batch of one partition is bad: each is asked for by itself until it is found.
func (l *fetchLoop) failed(err error) {
	if l.s.ctx.Err() != nil {
		return
	}
	l.hangUp()
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	var broken *linkError
	undecodable := !errors.As(err, &broken)
	for _, p := range l.asked {
		if p.stopped {
			continue
		}
		switch {
		case denied(err) || errors.Is(err, sarama.ErrUnsupportedVersion),
			undecodable && p.search == searchBatch:
			l.s.deliver(p, &engine.Fetched{TP: p.tp, Next: p.next, End: p.end, LogStart: -1,
				Err: fmt.Errorf("fetch %s/%d: batch at offset %d: %w", p.tp.Topic, p.tp.Partition, p.next, err)})
		case undecodable:
			p.search++
			p.eager = 0
			p.found = 0
		default:
			if p.wait.attempt == 5 {
				l.s.c.log.Warn("fetch fails", "broker", l.key.addr, "topic", p.tp.Topic, "partition", p.tp.Partition, "cause", err)
			}
			l.s.detach(p)
		}
	}
}

// answered takes an answer apart, decoding outside of the lock.
func (l *fetchLoop) answered(resp *sarama.FetchResponse) {
	if resp.ErrorCode != 0 {
		l.failed(&linkError{l.key.addr, sarama.KError(resp.ErrorCode)})
		return
	}
	l.s.c.incidents.throttled(resp.ThrottleTime)
	for _, p := range l.asked {
		block := resp.GetBlock(p.tp.Topic, p.tp.Partition)
		if block == nil {
			continue
		}
		var got covered
		var err error
		switch block.Err {
		case sarama.ErrNoError:
			got, err = convert(block, p.next, p.iso == engine.ReadCommitted)
		case sarama.ErrOffsetOutOfRange:
			l.askBounds(p.tp, block)
		}
		l.s.mu.Lock()
		if !p.stopped {
			l.take(p, block, got, err)
			l.spread(p)
		}
		l.s.mu.Unlock()
	}
}

// askBounds completes the answer to an offset that is out of range, which does
// not say what the range is.
func (l *fetchLoop) askBounds(tp record.TopicPartition, block *sarama.FetchResponseBlock) {
	block.LogStartOffset = -1
	admin := &Admin{c: l.s.c}
	if starts, err := admin.Starts(l.s.ctx, []record.TopicPartition{tp}); err == nil {
		block.LogStartOffset = starts[tp]
	}
}

// take brings one partition forward. mu is held.
func (l *fetchLoop) take(p *fetchPart, block *sarama.FetchResponseBlock, got covered, err error) {
	if err == nil && block.Err != sarama.ErrNoError {
		err = block.Err
	}
	p.met.meet(&l.s.c.incidents, err)
	switch {
	case err == nil:
	case retriable(err):
		l.s.detach(p)
		return
	case errors.Is(err, sarama.ErrInvalidMessage) && p.wait.attempt < 5:
		// A checksum that failed at the broker may be a passing fault of its disk or memory.
		p.retryAt = time.Now().Add(p.wait.next())
		return
	default:
		l.s.deliver(p, &engine.Fetched{TP: p.tp, Next: p.next, End: p.end, LogStart: block.LogStartOffset, Err: fetchError(p.tp, p.next, err)})
		return
	}
	p.wait.reset()
	p.met.over()
	end := block.HighWaterMarkOffset
	if p.iso == engine.ReadCommitted {
		end = block.LastStableOffset
	}
	if got.cut {
		p.ask = min(p.ask*2, l.s.c.set.MaxResponseBytes/2)
	} else {
		p.ask = l.s.c.set.FetchPartitionBytes
	}
	p.found += got.bytes
	if p.search == searchAlone || p.found > 2*l.s.c.set.FetchPartitionBytes {
		p.search = searchNot // the bad batch is another partition's, or has healed
	}
	if len(got.records) == 0 && got.next == p.next && end == p.end {
		return
	}
	p.next, p.end = got.next, end
	p.judge(maxEager * l.s.c.set.BufferPartitionBytes)
	l.s.deliver(p, &engine.Fetched{TP: p.tp, Records: got.records, Next: got.next, End: end, LogStart: block.LogStartOffset, Bytes: got.bytes})
}
