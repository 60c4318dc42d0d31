package memlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// producer sends for one worker. Records reach the log as soon as they are
// sent, except while a commit is in flight or a fault holds them back.
// It is guarded by log.mu.
type producer struct {
	t        *Transport
	id       string
	identity *identity // nil = at least once
	epoch    int32

	err        error
	committing bool
	held       []sent                          // not in the log yet
	sealed     []sent                          // likewise, of the unit that is being committed
	next       map[record.TopicPartition]int64 // CommitResult.Next of the current unit
	abandoned  bool
	failed     bool // a commit has failed and Discard has not been called
	used       bool // something was sent since the last commit
}

// sent is a record on its way.
type sent struct {
	tp  record.TopicPartition
	rec record.Record
}

func (p *producer) Send(tp record.TopicPartition, rec record.Record) {
	f := p.t.log.fault(p.t, Op{Kind: OpSend, ID: p.id, TP: tp, Record: &rec})
	p.t.log.mu.Lock()
	defer p.t.log.mu.Unlock()
	if p.err == nil {
		p.err = f.Err
	}
	if p.err == nil {
		p.err = p.check(tp, &rec)
	}
	if p.err != nil || p.failed || p.abandoned {
		return
	}
	if p.committing || f.Hold || len(p.held) > 0 || p.mustWait() {
		p.held = append(p.held, sent{tp, copyRecord(rec)})
		return
	}
	p.place(tp, rec)
	p.t.log.broadcast()
}

// check refuses what a broker would refuse for ever.
func (p *producer) check(tp record.TopicPartition, rec *record.Record) error {
	if p.t.log.lookup(tp) == nil {
		return fmt.Errorf("send to %s/%d: %w", tp.Topic, tp.Partition, ErrUnknownTopic)
	}
	if s := p.t.log.topics[tp.Topic].configs["max.message.bytes"]; s != "" {
		limit, err := strconv.Atoi(s)
		if err == nil && size(rec) > limit {
			return fmt.Errorf("send %d bytes to %s/%d (max.message.bytes %d): %w", size(rec), tp.Topic, tp.Partition, limit, ErrTooLarge)
		}
	}
	return nil
}

// place appends to the log, within the open transaction under exactly-once. A
// producer that was fenced or whose transaction timed out appends nothing, as
// the broker refuses its epoch; Commit will report it.
func (p *producer) place(tp record.TopicPartition, rec record.Record) {
	p.used = true
	var tx *txn
	if p.identity != nil {
		if p.epoch != p.identity.epoch || p.mustWait() { // the latter only when it was closed, or its process crashed
			return
		}
		if tx = p.identity.open; tx == nil {
			tx = p.t.log.begin(p.identity)
		}
	}
	c := copyRecord(rec)
	off := p.t.log.append(tp, tx, c)
	if p.next == nil {
		p.next = make(map[record.TopicPartition]int64)
	}
	p.next[tp] = off + 1
}

// mustWait says that the markers of the last transaction are not written yet: no
// new one can begin.
func (p *producer) mustWait() bool { return p.identity != nil && p.identity.ending }

// flush puts what is held into the log, if it can.
func (p *producer) flush() {
	if p.mustWait() || p.failed || p.abandoned || p.t.gone() != nil {
		return
	}
	held := p.held
	p.held = nil
	for _, s := range held {
		p.place(s.tp, s.rec)
	}
	if len(held) > 0 {
		p.t.log.broadcast()
	}
}

func (p *producer) Buffered() int {
	p.t.log.mu.Lock()
	defer p.t.log.mu.Unlock()
	n := 0
	for i := range p.held {
		n += size(&p.held[i].rec)
	}
	return n
}

func (p *producer) Err() error {
	p.t.log.mu.Lock()
	defer p.t.log.mu.Unlock()
	return p.err
}

// Size implements engine.Producer.
func (p *producer) Size(rec *record.Record) int { return size(rec) }

// Discard aborts what is open of the current unit and drops what is held; a
// producer that was fenced takes its id back. Records that are in the log
// already stay there under at-least-once.
func (p *producer) Discard() {
	p.t.log.mu.Lock()
	defer p.t.log.mu.Unlock()
	p.held, p.failed = nil, false
	if p.committing { // the unit in flight is its own; only what came after it goes
		return
	}
	p.next, p.used = nil, false
	switch id := p.identity; {
	case id == nil || p.err != nil || p.t.gone() != nil:
	case p.epoch != id.epoch:
		p.renew()
	case id.open != nil:
		tx := id.open
		id.open = nil
		tx.end(txnAborted, id)
	}
}

// Commit panics when another one is in flight: the engine must not do that.
func (p *producer) Commit(c engine.Commit, done func(engine.CommitResult)) {
	p.t.log.mu.Lock()
	if p.committing {
		p.t.log.mu.Unlock()
		panic("memlog: Commit of producer " + p.id + " while another is in flight")
	}
	p.flush()
	p.sealed, p.held = p.held, nil // what could not be flushed belongs to this unit
	p.used = p.used || len(p.sealed) > 0
	p.committing = true
	p.t.log.mu.Unlock()
	go func() { done(p.commit(c)) }()
}

func (p *producer) commit(c engine.Commit) engine.CommitResult {
	l := p.t.log
	if l.cfg.Gated {
		l.fault(p.t, Op{Kind: OpOffsets, ID: p.id, Offsets: c.Offsets, Ready: p.mayBegin})
	}
	l.mu.Lock()
	for _, s := range p.sealed {
		p.place(s.tp, s.rec)
	}
	p.sealed = nil
	tx, err := p.stage(c)
	l.mu.Unlock()
	var f Fault
	if err == nil && !p.empty(c) {
		f = l.fault(p.t, Op{Kind: OpCommit, ID: p.id, Offsets: c.Offsets})
		l.hold(f, p.t.dead)
		err = f.Err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && !p.empty(c) {
		err = p.finish(c, tx, f.Outcome)
	}
	res := engine.CommitResult{Next: p.next, Err: err}
	p.next, p.committing, p.used = nil, false, false
	if err != nil {
		p.fail(err)
		return res
	}
	p.flush()
	return res
}

// mayBegin says that nothing keeps the producer from a new transaction.
func (p *producer) mayBegin() bool {
	p.t.log.mu.Lock()
	defer p.t.log.mu.Unlock()
	return !p.mustWait() || p.t.gone() != nil || p.abandoned
}

// stage checks that the unit of work may be committed and, under
// exactly-once, makes the offsets part of the transaction. It returns the
// transaction to end, nil when there is none.
func (p *producer) stage(c engine.Commit) (*txn, error) {
	if p.failed && p.err == nil {
		return nil, fmt.Errorf("commit %s: the last one failed and was not discarded: %w", p.id, engine.ErrAborted)
	}
	if p.empty(c) && p.err == nil {
		return nil, p.t.gone()
	}
	if err := p.standing(); err != nil {
		return nil, err
	}
	g := p.t.log.group(c.Group.Group)
	if len(c.Offsets) > 0 {
		if err := g.admits(c.Group); err != nil {
			return nil, err
		}
	}
	if p.identity == nil {
		return nil, nil
	}
	if p.identity.open == nil && len(c.Offsets) > 0 {
		p.t.log.begin(p.identity)
	}
	for tp, off := range c.Offsets {
		p.identity.open.stage(g, tp, off)
		p.identity.open.by, p.identity.open.times, p.identity.open.promises = p.id, c.StreamTimes, c.Promises
	}
	return p.identity.open, nil
}

// empty says that a unit of work has nothing in it: nobody is asked then, so
// a producer that was fenced does not learn it.
func (p *producer) empty(c engine.Commit) bool { return !p.used && len(c.Offsets) == 0 }

// standing says whether the broker would still listen to this producer.
func (p *producer) standing() error {
	switch {
	case p.err != nil:
		return p.err
	case p.t.gone() != nil:
		return p.t.gone()
	case p.abandoned:
		return fmt.Errorf("commit %s: the producer was closed: %w", p.id, engine.ErrAborted)
	case p.identity == nil || p.epoch == p.identity.epoch:
		return nil
	case p.identity.owner == p:
		return fmt.Errorf("commit %s: transaction timed out: %w", p.id, engine.ErrFenced)
	default:
		return fmt.Errorf("commit %s: %w", p.id, engine.ErrFenced)
	}
}

// finish ends the unit of work as outcome says.
func (p *producer) finish(c engine.Commit, tx *txn, outcome Outcome) error {
	if outcome == CrashBefore {
		p.t.crash()
	}
	if outcome == Fenced && p.identity != nil {
		p.identity.owner = nil
		p.t.log.bump(p.identity)
	}
	if err := p.standing(); err != nil {
		return err
	}
	if p.identity == nil && len(c.Offsets) > 0 { // the group may have moved on since they were looked at
		if err := p.t.log.group(c.Group.Group).admits(c.Group); err != nil {
			return err
		}
	}
	switch outcome {
	case Fenced: // at least once: the group says so
		return fmt.Errorf("commit %s: %w", p.id, engine.ErrFenced)
	case Aborted, UnknownAborted:
		return fmt.Errorf("commit %s: %w", p.id, engine.ErrAborted)
	}
	if tx != nil {
		p.identity.open = nil
		tx.end(txnCommitted, p.identity)
		p.audit(c)
	}
	if p.identity == nil {
		g := p.t.log.group(c.Group.Group)
		for tp, off := range c.Offsets {
			g.offsets[tp], g.times[tp], g.promises[tp] = off, c.StreamTimes[tp], c.Promises[tp]
		}
		p.audit(c)
		p.t.log.broadcast()
	}
	switch outcome {
	case UnknownCommitted:
		return fmt.Errorf("commit %s: outcome unknown: %w", p.id, engine.ErrAborted)
	case CrashAfter:
		p.t.crash()
		return ErrCrashed
	}
	return nil
}

// audit tells of a commit that has taken effect.
func (p *producer) audit(c engine.Commit) {
	if audit := p.t.log.cfg.Audit; audit != nil {
		audit(Committing{Producer: p.id, Group: c.Group, Offsets: c.Offsets})
	}
}

// fail puts the producer where a failed commit leaves it: what was buffered
// for the next unit is gone with this one. Unless the id was taken away, it
// goes on with a new epoch, and what was open is aborted.
func (p *producer) fail(err error) {
	p.held, p.failed = nil, true
	if p.identity == nil || p.t.crashed || p.abandoned || errors.Is(err, engine.ErrFenced) {
		return
	}
	p.renew()
}

// renew initialises the id for this producer, whoever has it.
func (p *producer) renew() {
	p.t.log.bump(p.identity)
	p.identity.owner, p.epoch = p, p.identity.epoch
}

func (p *producer) Close(context.Context) error {
	p.t.log.mu.Lock()
	defer p.t.log.mu.Unlock()
	p.abandon()
	return nil
}

// abandon aborts what is open and refuses what comes after.
func (p *producer) abandon() {
	if p.abandoned || p.t.crashed {
		return
	}
	p.abandoned = true
	p.held = nil
	if p.identity != nil && p.identity.owner == p && p.epoch == p.identity.epoch {
		p.t.log.bump(p.identity)
	}
}
