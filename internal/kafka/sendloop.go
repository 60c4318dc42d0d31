package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// maxFlying is how many requests of a loop may wait for their answer.
const maxFlying = 3

// errTransactionAbortable is a code of newer brokers that sarama has no name for.
const errTransactionAbortable = sarama.KError(120)

// sendLoop sends the batches of those partitions that one broker leads, several
// partitions per request.
type sendLoop struct {
	p     *producer
	addr  string
	wake  chan struct{}
	timer *time.Timer
	link  *link

	// Guarded by p.mu:
	parts  []*outPart
	turn   int // who is looked at first
	flying int // requests without an answer
}

func newSendLoop(p *producer, addr string) *sendLoop {
	return &sendLoop{p: p, addr: addr, wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
}

// run sends until the producer closes.
func (l *sendLoop) run() {
	defer l.hangUp()
	for l.p.ctx.Err() == nil {
		work, next := l.collect(time.Now())
		if len(work) == 0 {
			l.timer.Reset(next)
			select {
			case <-l.p.ctx.Done():
			case <-l.wake:
			case <-l.timer.C:
			}
			continue
		}
		if err := l.send(work); err != nil {
			l.done(work, nil, err)
		}
	}
}

func (l *sendLoop) hangUp() {
	if l.link != nil {
		l.link.close()
		l.link = nil
	}
}

// collect takes the batches of a request: one per partition at most. Without
// any it says how long to wait for one.
func (l *sendLoop) collect(now time.Time) ([]*batch, time.Duration) {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	next := time.Hour
	if p.broken != nil || p.fatal != nil || p.life == nil || p.renew != renewNot || l.flying >= maxFlying {
		return nil, next
	}
	var work []*batch
	total := 0
	for i := range l.parts {
		part := l.parts[(l.turn+i)%len(l.parts)]
		if part.flying || p.exactly && part.added != p.sending {
			continue
		}
		if d := part.retryAt.Sub(now); d > 0 {
			next = min(next, d)
			continue
		}
		if len(part.queue) == 0 {
			if part.open == nil || part.open.unit != p.sending {
				continue
			}
			if d := p.c.set.Linger - now.Sub(part.open.born); d > 0 {
				next = min(next, d)
				continue
			}
			p.seal(part)
		}
		b := part.queue[0]
		if b.unit != p.sending {
			continue
		}
		if total += b.bytes; total > p.c.set.RequestBytes && len(work) > 0 {
			break
		}
		l.number(part, b)
		part.flying = true
		work = append(work, b)
	}
	if len(work) > 0 {
		l.turn++
		l.flying++
	}
	return work, next
}

// number gives b its place in the partition's sequence, once. p.mu is held.
func (l *sendLoop) number(part *outPart, b *batch) {
	if b.life == l.p.life {
		return
	}
	if part.life != l.p.life {
		part.life, part.sequence = l.p.life, 0
	}
	b.life, b.sequence = l.p.life, part.sequence
	b.wire.Records = nil // encode anew
	part.sequence = addSequence(part.sequence, b.count)
}

// send encodes and sends one request; the answer comes to done.
func (l *sendLoop) send(work []*batch) error {
	if l.link == nil || l.link.broken() {
		l.hangUp()
		link, err := l.p.c.dialer.open(l.p.ctx, l.addr, 0, nil)
		if err != nil {
			return err
		}
		l.link = link
		context.AfterFunc(l.p.ctx, link.abort) // a write to a broker that hangs must not hold up Close
	}
	set := &l.p.c.set
	req := &sarama.ProduceRequest{RequiredAcks: sarama.WaitForAll, Timeout: int32(set.RequestTimeout / time.Millisecond), Version: 8}
	if l.p.exactly {
		req.TransactionalID = &l.p.id
	}
	for _, b := range work {
		b.encode(set.Compression.codec(), l.p.exactly)
		req.AddBatch(b.part.tp.Topic, b.part.tp.Partition, &b.wire)
	}
	link := l.link
	err := link.broker.AsyncProduce(req, func(resp *sarama.ProduceResponse, err error) {
		if err != nil { // also an answer that cannot be read leaves open what happened
			link.abort()
			err = &linkError{link.addr, err}
		}
		l.done(work, resp, err)
	})
	if err != nil {
		err = link.failure(err)
		link.abort()
	}
	return err
}

// done takes the answer to a request, or the failure to get one.
func (l *sendLoop) done(work []*batch, resp *sarama.ProduceResponse, err error) {
	p := l.p
	now := time.Now()
	if resp != nil {
		p.c.incidents.throttled(resp.ThrottleTime)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.flying--
	for _, b := range work {
		if len(b.part.queue) == 0 || b.part.queue[0] != b {
			continue // dropped meanwhile
		}
		b.part.flying = false
		code := err
		base := int64(-1)
		if resp != nil {
			block := resp.GetBlock(b.part.tp.Topic, b.part.tp.Partition)
			switch {
			case block == nil:
				code = sarama.ErrUnknown
			case block.Err != sarama.ErrNoError:
				code = explain(block)
			default:
				base = block.Offset
			}
		}
		if code == nil {
			l.acknowledged(b, base)
		} else {
			l.refused(b, code, now)
		}
		if p.broken != nil {
			break // everything was dropped
		}
	}
	poke(l.wake)
}

// explain adds to a code what the broker says about it.
func explain(block *sarama.ProduceResponseBlock) error {
	for _, r := range block.RecordErrors {
		if r.BatchIndexErrorMessage != nil {
			return fmt.Errorf("%w (%s)", block.Err, *r.BatchIndexErrorMessage)
		}
	}
	if block.ErrorMessage != nil {
		return fmt.Errorf("%w (%s)", block.Err, *block.ErrorMessage)
	}
	return block.Err
}

// acknowledged ends a batch. p.mu is held.
func (l *sendLoop) acknowledged(b *batch, base int64) {
	p, part := l.p, b.part
	part.queue = slices.Delete(part.queue, 0, 1)
	part.wait.reset()
	part.failing = time.Time{}
	part.met.over()
	if b.unit.next == nil {
		b.unit.next = make(map[record.TopicPartition]int64)
	}
	b.unit.next[part.tp] = base + int64(b.count)
	p.buffered.Add(-int64(b.bytes - batchOverhead))
	b.unit.batches--
	if b.unit.batches == 0 && p.commit != nil {
		poke(p.ctl)
	}
	if len(p.free) < maxFree {
		b.reset()
		p.free = append(p.free, b)
	}
}

// refused decides what becomes of a batch that the broker did not take. p.mu is held.
func (l *sendLoop) refused(b *batch, cause error, now time.Time) {
	p, part := l.p, b.part
	tp := part.tp
	part.met.meet(&p.c.incidents, cause)
	switch {
	case errors.Is(cause, sarama.ErrMessageSizeTooLarge), errors.Is(cause, sarama.ErrMessageSetSizeTooLarge):
		l.tooLarge(b, cause)
	case retriable(cause), errors.Is(cause, sarama.ErrUnknown):
		if part.failing.IsZero() {
			part.failing = now
		}
		if now.Sub(part.failing) > p.c.set.RetryTimeout {
			p.die(fmt.Errorf("send to %s/%d: nothing got through for %s: %w", tp.Topic, tp.Partition, p.c.set.RetryTimeout, cause))
			return
		}
		if part.wait.attempt == 5 {
			p.c.log.Warn("produce fails", "broker", l.addr, "topic", tp.Topic, "partition", tp.Partition, "cause", cause)
		}
		if leaderMoved(cause) {
			p.detach(part)
		} else {
			part.retryAt = now.Add(part.wait.next())
		}
	case lostSequence(cause) && !p.exactly:
		// The broker lost track of us. Without transactions a new identity may send
		// it all again: a repeat is what at-least-once allows. An answer to an older
		// identity only means that the batch goes out again.
		if b.life == p.life {
			p.life, p.renew = nil, renewFresh
			poke(p.ctl)
		}
	case lostSequence(cause):
		p.lose(fmt.Errorf("send to %s/%d: %w: %w", tp.Topic, tp.Partition, cause, engine.ErrAborted), false)
	case errors.Is(cause, sarama.ErrInvalidProducerEpoch), errors.Is(cause, sarama.ErrProducerFenced):
		p.lose(p.fenced(fmt.Errorf("send to %s/%d: %w", tp.Topic, tp.Partition, cause)), true)
	default:
		p.die(fmt.Errorf("send to %s/%d: %w", tp.Topic, tp.Partition, permission(cause, subject{operation: "Write", topic: tp.Topic, id: p.id})))
	}
}

// leaderMoved says that a partition's leader must be looked up again.
func leaderMoved(err error) bool {
	var link *linkError
	if errors.As(err, &link) {
		return true
	}
	for _, code := range []sarama.KError{
		sarama.ErrNotLeaderForPartition, sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable,
		sarama.ErrKafkaStorageError, sarama.ErrFencedLeaderEpoch, sarama.ErrBrokerNotAvailable, sarama.ErrReplicaNotAvailable,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// lostSequence says that the broker's idea of our sequence or transaction is
// another one than ours.
func lostSequence(err error) bool {
	for _, code := range []sarama.KError{
		sarama.ErrOutOfOrderSequenceNumber, sarama.ErrDuplicateSequenceNumber, sarama.ErrUnknownProducerID,
		sarama.ErrInvalidTxnState, sarama.ErrInvalidProducerIDMapping, errTransactionAbortable,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// tooLarge sends a batch in two halves; a single record that is too large is
// the end. p.mu is held.
func (l *sendLoop) tooLarge(b *batch, cause error) {
	p, part := l.p, b.part
	if b.count == 1 {
		size := batchOverhead + len(b.data)
		p.die(fmt.Errorf("send to %s/%d: a record that takes %d bytes (before compression) is larger than the topic takes (its max.message.bytes); "+
			"raise that, and it is sent at the next start: kafka-configs.sh --alter --topic %s --add-config max.message.bytes=%d: %w",
			part.tp.Topic, part.tp.Partition, size, part.tp.Topic, size+size/2, cause))
		return
	}
	first, second := b.split()
	part.limit = max(b.bytes/2, 1024)
	part.queue = slices.Replace(part.queue, 0, 1, first, second)
	b.unit.batches++
}
