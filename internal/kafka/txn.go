package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// renewal is an initialisation that control has to do.
type renewal uint8

const (
	renewNot   renewal = iota
	renewSame          // as who we are: a newer one with our id must stay the winner
	renewFresh         // take the id, whoever has it
)

// concurrentWait is the first wait when the broker still completes the last
// transaction: it takes it a few milliseconds.
const concurrentWait = 2 * time.Millisecond

// coordinators remembers where the coordinators are.
type coordinators struct{ txn, group string }

// control does what must be done in order: initialise, add partitions, commit.
func (p *producer) control() {
	for p.ctx.Err() == nil {
		if !p.step() {
			select {
			case <-p.ctx.Done():
			case <-p.ctl:
			}
		}
	}
}

// step does the next thing, if there is one.
func (p *producer) step() bool {
	p.mu.Lock()
	run := p.commit
	renew := p.renew
	lost := p.fatal
	if lost == nil {
		lost = p.broken
	}
	var add []*outPart
	if lost == nil && renew == renewNot {
		add = p.takeWanted()
	}
	flushed := run != nil && p.sending.batches == 0
	p.mu.Unlock()
	switch {
	case renew != renewNot && p.fatalErr() == nil:
		p.initialise(renew)
	case run != nil && lost != nil:
		p.finish(run, engine.CommitResult{Err: lost})
	case lost != nil:
		return false
	case len(add) > 0:
		p.addPartitions(add)
	case run != nil && p.exactly && !run.prepared:
		p.prepareOffsets(run)
	case flushed:
		p.complete(run)
	default:
		return false
	}
	return true
}

func (p *producer) fatalErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fatal
}

// takeWanted lists the partitions that want into the transaction of the unit
// that is being sent; those of the next one wait. mu is held.
func (p *producer) takeWanted() []*outPart {
	var add []*outPart
	left := p.wanted[:0]
	for _, w := range p.wanted {
		if w.unit == p.sending {
			add = append(add, w.part)
		} else {
			left = append(left, w)
		}
	}
	p.wanted = left
	return add
}

// initialise gets a producer id and epoch from the broker, which ends whatever
// an earlier holder of the transactional id has left open.
func (p *producer) initialise(kind renewal) {
	p.mu.Lock()
	before, open := p.life, p.leftOpen
	p.mu.Unlock()
	life, err := p.renewAs(kind, before)
	if isFenced(err) && p.overdue(open) {
		// The broker ended our transaction for its age, and the epoch with it.
		p.c.incidents.Add(engine.IncidentTransactionTimeout)
		life, err = p.renewAs(renewFresh, nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	p.renew = renewNot
	switch {
	case err == nil:
		p.c.incidents.Add(engine.IncidentProducerRenewed)
		p.life, p.leftOpen = life, time.Time{}
		p.wakeLoops()
		poke(p.ctl)
	case isFenced(err):
		p.c.incidents.Add(engine.IncidentFenced)
		p.life = nil
		p.broken = fmt.Errorf("%w: %w", err, engine.ErrFenced)
		p.dropAll()
	default:
		p.die(err)
	}
}

// renewAs initialises the producer as before, or afresh.
func (p *producer) renewAs(kind renewal, before *identity) (*identity, error) {
	if kind == renewSame && p.exactly && before != nil {
		// The open transaction is ended by the one who began it: when the broker
		// ended it itself, it would not know us any more. Fenced here means that
		// somebody newer has the id.
		if err := p.abort(p.ctx, before); err != nil {
			return nil, err
		}
	}
	return p.initProducerID(p.ctx, kind, before)
}

// initProducerID asks until it gets an answer that counts.
func (p *producer) initProducerID(ctx context.Context, kind renewal, before *identity) (*identity, error) {
	req := &sarama.InitProducerIDRequest{Version: 4, ProducerID: -1, ProducerEpoch: -1}
	if p.exactly {
		req.TransactionalID = &p.id
		req.TransactionTimeout = p.c.set.TransactionTimeout
		if kind == renewSame && before != nil {
			req.ProducerID, req.ProducerEpoch = before.producer, before.epoch
		}
	}
	var life *identity
	err := p.c.retry(ctx, "initialise producer "+p.id, func(ctx context.Context) error {
		resp, err := p.askInit(ctx, req)
		if err != nil {
			return err
		}
		switch {
		case resp.Err == sarama.ErrNoError:
			life = &identity{resp.ProducerID, resp.ProducerEpoch}
			return nil
		case lostSequence(resp.Err) && req.ProducerID >= 0:
			// The broker has forgotten who we were: nothing of it can be open.
			req.ProducerID, req.ProducerEpoch = -1, -1
			return errAgain
		case resp.Err == sarama.ErrInvalidTransactionTimeout:
			return fmt.Errorf("%w: kafka.transaction_timeout is %s; the broker allows its transaction.max.timeout.ms at most", resp.Err, p.c.set.TransactionTimeout)
		case moved(resp.Err):
			p.where.txn = ""
		}
		return permission(resp.Err, subject{operation: "IdempotentWrite", id: p.id})
	})
	return life, err
}

func (p *producer) askInit(ctx context.Context, req *sarama.InitProducerIDRequest) (*sarama.InitProducerIDResponse, error) {
	if !p.exactly {
		return anyone(ctx, p.c, (*sarama.Broker).InitProducerID, func() *sarama.InitProducerIDRequest { return req })
	}
	addr, err := p.coordinator(ctx, sarama.CoordinatorTransaction)
	if err != nil {
		return nil, err
	}
	resp, err := callAt(ctx, p.links, addr, (*sarama.Broker).InitProducerID, req)
	if err != nil {
		p.where.txn = ""
	}
	return resp, err
}

// coordinator finds and remembers a coordinator.
func (p *producer) coordinator(ctx context.Context, kind sarama.CoordinatorType) (string, error) {
	at, key := &p.where.txn, p.id
	if kind == sarama.CoordinatorGroup {
		at, key = &p.where.group, p.groupName()
	}
	if *at == "" {
		addr, err := p.c.coordinator(ctx, kind, key)
		if err != nil {
			return "", err
		}
		*at = addr
	}
	return *at, nil
}

func (p *producer) groupName() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.commit == nil {
		return ""
	}
	return p.commit.asked.Group.Group
}

// ask sends a request of the transaction protocol, again while the coordinator
// says that it is not the one or not ready. A connection that breaks after the
// request was written leaves the outcome unknown: then it is not repeated.
func ask[Req, Resp any](ctx context.Context, p *producer, kind sarama.CoordinatorType, do func(*sarama.Broker, Req) (Resp, error), req Req, code func(Resp) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.c.set.RetryTimeout)
	defer cancel()
	wait, quick := backoff{}, concurrentWait
	var met trouble
	for {
		err := askOnce(ctx, p, kind, do, req, code)
		met.meet(&p.c.incidents, err)
		if err == nil || !retriable(err) || errors.Is(err, errOutcomeUnknown) || ctx.Err() != nil {
			return err
		}
		d := wait.after(err)
		if errors.Is(err, sarama.ErrConcurrentTransactions) && quick < backoffFirst {
			d, quick = quick, quick*2
		}
		if pause(ctx, d) != nil {
			return err
		}
	}
}

func askOnce[Req, Resp any](ctx context.Context, p *producer, kind sarama.CoordinatorType, do func(*sarama.Broker, Req) (Resp, error), req Req, code func(Resp) error) error {
	forget := func() {
		p.where = coordinators{}
	}
	addr, err := p.coordinator(ctx, kind)
	if err != nil {
		return err
	}
	l, err := p.links.get(ctx, addr)
	if err != nil {
		forget()
		return err
	}
	resp, err := call(ctx, l, do, req)
	if err != nil {
		forget()
		return fmt.Errorf("%w: %w", errOutcomeUnknown, err)
	}
	err = code(resp)
	if errors.Is(err, sarama.ErrUnknown) {
		// Something broke within the broker, for example because it is ending the
		// transaction for its age just now. How far it came, nobody says.
		err = fmt.Errorf("%w: %w", errOutcomeUnknown, err)
	}
	if moved(err) {
		forget()
	}
	return err
}

// codeError is nil for the code that means no error.
func codeError(code sarama.KError) error {
	if code == sarama.ErrNoError {
		return nil
	}
	return code
}

// partitionErrors joins the errors of an answer by topic: the ones that decide
// first, those that only say "not attempted" last. about names what was asked.
func partitionErrors(topics map[string][]*sarama.PartitionError, about subject) error {
	var first, later error
	for topic, parts := range topics {
		for _, e := range parts {
			if e.Err == sarama.ErrNoError {
				continue
			}
			about.topic = topic
			err := fmt.Errorf("%s/%d: %w", topic, e.Partition, permission(e.Err, about))
			switch {
			case e.Err == sarama.ErrOperationNotAttempted:
			case !retriable(e.Err) && first == nil:
				first = err
			case later == nil:
				later = err
			}
		}
	}
	if first != nil {
		return first
	}
	return later
}

// enter notes that the broker is about to hear of the unit's transaction.
func (p *producer) enter() (*identity, *unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil && p.sending.begun.IsZero() {
		p.sending.begun = time.Now()
	}
	return p.life, p.sending
}

// addPartitions makes partitions part of the open transaction.
func (p *producer) addPartitions(parts []*outPart) {
	life, u := p.enter()
	if life == nil {
		return
	}
	topics := make(map[string][]int32)
	for _, part := range parts {
		topics[part.tp.Topic] = append(topics[part.tp.Topic], part.tp.Partition)
	}
	err := ask(p.ctx, p, sarama.CoordinatorTransaction, (*sarama.Broker).AddPartitionsToTxn,
		&sarama.AddPartitionsToTxnRequest{Version: 3, TransactionalID: p.id, ProducerID: life.producer, ProducerEpoch: life.epoch, TopicPartitions: topics},
		func(r *sarama.AddPartitionsToTxnResponse) error {
			return partitionErrors(r.Errors, subject{operation: "Write", id: p.id})
		})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != life || p.sending != u {
		return // given up meanwhile
	}
	if err != nil {
		p.failed("add partitions to transaction", err)
		return
	}
	for _, part := range parts {
		part.added = u
	}
	p.wakeLoops()
}

// failed turns the failure of a step of the transaction into its meaning. mu is held.
func (p *producer) failed(what string, err error) {
	err = fmt.Errorf("%s of %s: %w", what, p.id, err)
	switch {
	case p.ctx.Err() != nil:
	case isFenced(err):
		p.lose(p.fenced(err), true)
	case isExpelled(err):
		p.c.incidents.Add(engine.IncidentFenced)
		p.lose(p.expelled(err), false)
	case errors.Is(err, errOutcomeUnknown):
		p.c.incidents.Add(engine.IncidentUnknownOutcome)
		p.lose(fmt.Errorf("%w: %w", err, engine.ErrAborted), false)
	case lostSequence(err):
		p.lose(fmt.Errorf("%w: %w", err, engine.ErrAborted), false)
	default:
		p.die(err)
	}
}

// fenced says why the id was taken away: by the broker because the transaction
// took too long, which only costs this unit of work, or by another process. mu is held.
func (p *producer) fenced(err error) error {
	begun := p.sending.begun
	if p.overdue(begun) {
		p.c.incidents.Add(engine.IncidentTransactionTimeout)
		return fmt.Errorf("%w: the transaction was open for %s, and the broker aborts those that are older than kafka.transaction_timeout (%s): raise that, or shorten commit_interval: %w",
			err, time.Since(begun).Round(time.Millisecond), p.c.set.TransactionTimeout, engine.ErrAborted)
	}
	p.c.incidents.Add(engine.IncidentFenced)
	return fmt.Errorf("%w: %w", err, engine.ErrFenced)
}

// overdue says that the broker may have aborted a transaction begun at that time.
// A newer process with our id cannot be told from that; it is shut out then, and
// shuts us out in its turn, within a transaction that is young.
func (p *producer) overdue(begun time.Time) bool {
	return !begun.IsZero() && time.Since(begun) > p.c.set.TransactionTimeout
}

// expelled says why the group refuses a commit.
func (p *producer) expelled(err error) error {
	why := fmt.Sprintf("the group went on without this process: it was silent for longer than kafka.session_timeout (%s), or took longer than kafka.rebalance_timeout (%s) to let go of tasks",
		p.c.set.SessionTimeout, p.c.set.RebalanceTimeout)
	if errors.Is(err, sarama.ErrFencedInstancedId) {
		why = "another process has joined the group under this one's instance name"
	}
	return fmt.Errorf("%w: %s: %w", err, why, engine.ErrExpelled)
}

// isFenced says that somebody newer has our transactional id.
func isFenced(err error) bool {
	return errors.Is(err, sarama.ErrInvalidProducerEpoch) || errors.Is(err, sarama.ErrProducerFenced)
}

// isExpelled says that the group does not know us as we are any more.
func isExpelled(err error) bool {
	return errors.Is(err, sarama.ErrIllegalGeneration) || errors.Is(err, sarama.ErrUnknownMemberId) ||
		errors.Is(err, sarama.ErrFencedInstancedId)
}

// abort ends the open transaction of life, if there is one.
func (p *producer) abort(ctx context.Context, life *identity) error {
	return p.c.retry(ctx, "abort transaction of "+p.id, func(ctx context.Context) error {
		err := ask(ctx, p, sarama.CoordinatorTransaction, (*sarama.Broker).EndTxn,
			&sarama.EndTxnRequest{Version: 3, TransactionalID: p.id, ProducerID: life.producer, ProducerEpoch: life.epoch},
			func(r *sarama.EndTxnResponse) error { return codeError(r.Err) })
		if lostSequence(err) {
			return nil // none is open
		}
		return err // where the outcome is unknown, it is asked for again
	})
}
