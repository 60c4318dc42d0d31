package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// Steps of a commit at which a test may end the process.
const (
	crashBeforeOffsets = "before-offsets"
	crashAfterOffsets  = "after-offsets"
	crashBeforeEndTxn  = "before-end-txn"
	crashAfterEndTxn   = "after-end-txn"
)

// commitRun is a commit on its way.
type commitRun struct {
	asked    engine.Commit
	done     func(engine.CommitResult)
	prepared bool                               // the offsets are in the transaction
	changed  map[record.TopicPartition]position // those that are not committed already
}

// position is a committed offset with the stream time that goes with it.
type position struct {
	offset     int64
	streamTime int64 // ms, 0 = none
	promises   string
}

// prepareOffsets makes the offsets part of the transaction, while batches are
// still on their way.
func (p *producer) prepareOffsets(run *commitRun) {
	p.mu.Lock()
	run.changed = p.changedOffsets(run.asked)
	p.mu.Unlock()
	run.prepared = true
	if len(run.changed) == 0 {
		return
	}
	life, u := p.enter()
	if life == nil {
		return // lost meanwhile: the next step says so
	}
	p.c.set.Crash(crashBeforeOffsets)
	err := p.sendTxnOffsets(run, life)
	p.mu.Lock()
	if err != nil && p.life == life && p.sending == u {
		p.failed("add offsets to transaction", err)
	}
	p.mu.Unlock()
	p.c.set.Crash(crashAfterOffsets)
}

// changedOffsets leaves out what this producer committed last itself, as the
// same member: an idle unit is no work. mu is held.
func (p *producer) changedOffsets(c engine.Commit) map[record.TopicPartition]position {
	if p.committedAs != c.Group {
		clear(p.committed)
		p.committedAs = c.Group
	}
	changed := make(map[record.TopicPartition]position)
	for tp, offset := range c.Offsets {
		now := position{offset, c.StreamTimes[tp], c.Promises[tp]}
		if last, ok := p.committed[tp]; !ok || last != now || c.Timed {
			changed[tp] = now
		}
	}
	return changed
}

func (p *producer) sendTxnOffsets(run *commitRun, life *identity) error {
	group := run.asked.Group.Group
	err := ask(p.ctx, p, sarama.CoordinatorTransaction, (*sarama.Broker).AddOffsetsToTxn,
		&sarama.AddOffsetsToTxnRequest{Version: 3, TransactionalID: p.id, ProducerID: life.producer, ProducerEpoch: life.epoch, GroupID: group},
		func(r *sarama.AddOffsetsToTxnResponse) error {
			return permission(codeError(r.Err), subject{group: group, id: p.id})
		})
	if err != nil {
		return err
	}
	topics := make(map[string][]*sarama.PartitionOffsetMetadata)
	for tp, at := range run.changed {
		metadata := appendMetadata(p.id, at)
		topics[tp.Topic] = append(topics[tp.Topic], &sarama.PartitionOffsetMetadata{Partition: tp.Partition, Offset: at.offset, LeaderEpoch: -1, Metadata: &metadata})
	}
	return p.asMember(run.asked.Group, func(meta engine.GroupMeta) error {
		req := &sarama.TxnOffsetCommitRequest{
			Version: 3, TransactionalID: p.id, GroupID: group, ProducerID: life.producer, ProducerEpoch: life.epoch,
			GenerationID: meta.Generation, MemberID: meta.Member, GroupInstanceID: instanceOf(meta), Topics: topics,
		}
		if meta.Member == "" {
			req.GenerationID = -1
		}
		return ask(p.ctx, p, sarama.CoordinatorGroup, (*sarama.Broker).TxnOffsetCommit, req,
			func(r *sarama.TxnOffsetCommitResponse) error {
				return partitionErrors(r.Topics, subject{operation: "Read", group: group, id: p.id})
			})
	})
}

func instanceOf(meta engine.GroupMeta) *string {
	if meta.Instance == "" {
		return nil
	}
	return &meta.Instance
}

// asMember commits offsets under the generation that the membership has now. A
// commit may be overtaken by a rebalance; as long as this process is a member,
// what it still owns is its own until it lets go of it, whatever the number of
// the generation. While the next generation is not known yet, it waits.
func (p *producer) asMember(meta engine.GroupMeta, commit func(engine.GroupMeta) error) error {
	deadline := time.Now().Add(p.c.set.RetryTimeout)
	var wait backoff
	now, _ := p.latest(meta)
	for {
		err := commit(now)
		if !errors.Is(err, sarama.ErrIllegalGeneration) && !errors.Is(err, sarama.ErrRebalanceInProgress) {
			return err
		}
		newer, settled := p.latest(meta)
		if settled && newer == now && !errors.Is(err, sarama.ErrRebalanceInProgress) || time.Now().After(deadline) {
			return err
		}
		now = newer
		if pause(p.ctx, wait.next()) != nil {
			return err
		}
	}
}

// complete ends a commit whose records are all acknowledged and whose offsets,
// under exactly-once, are in the transaction.
func (p *producer) complete(run *commitRun) {
	p.mu.Lock()
	life, u := p.life, p.sending
	if !p.exactly {
		run.changed = p.changedOffsets(run.asked)
	}
	p.mu.Unlock()
	var err error
	switch {
	case !p.exactly:
		if len(run.changed) > 0 {
			p.c.set.Crash(crashBeforeOffsets)
			err = p.commitOffsets(run)
			p.c.set.Crash(crashAfterOffsets)
		}
	case !u.used && len(run.changed) == 0: // nothing happened
	case life == nil:
		return // lost meanwhile: the next step says so
	default:
		p.c.set.Crash(crashBeforeEndTxn)
		err = p.endTxn(life)
		p.c.set.Crash(crashAfterEndTxn)
	}
	if err != nil {
		p.mu.Lock()
		p.failed("commit", err)
		p.mu.Unlock()
		return // the next step reports it
	}
	p.mu.Lock()
	maps.Copy(p.committed, run.changed)
	p.mu.Unlock()
	p.finish(run, engine.CommitResult{Next: u.next})
}

func (p *producer) endTxn(life *identity) error {
	return ask(p.ctx, p, sarama.CoordinatorTransaction, (*sarama.Broker).EndTxn,
		&sarama.EndTxnRequest{Version: 3, TransactionalID: p.id, ProducerID: life.producer, ProducerEpoch: life.epoch, TransactionResult: true},
		func(r *sarama.EndTxnResponse) error { return codeError(r.Err) })
}

// commitOffsets is the at-least-once commit. It changes nothing when it is
// repeated, so a broken connection is a reason to repeat it.
func (p *producer) commitOffsets(run *commitRun) error {
	return p.asMember(run.asked.Group, func(meta engine.GroupMeta) error {
		return p.c.retry(p.ctx, "commit offsets", func(ctx context.Context) error {
			addr, err := p.coordinator(ctx, sarama.CoordinatorGroup)
			if err != nil {
				return err
			}
			resp, err := callAt(ctx, p.links, addr, (*sarama.Broker).CommitOffset, offsetCommit(meta, run.changed))
			if err == nil {
				err = permission(offsetCommitError(resp), subject{operation: "Read", topic: "of every input", group: run.asked.Group.Group})
			}
			var link *linkError
			if moved(err) || errors.As(err, &link) {
				p.where.group = ""
			}
			return err
		})
	})
}

// offsetCommit builds the request; without a member it is an administrator's.
func offsetCommit(meta engine.GroupMeta, offsets map[record.TopicPartition]position) *sarama.OffsetCommitRequest {
	req := &sarama.OffsetCommitRequest{
		Version: 8, ConsumerGroup: meta.Group, ConsumerGroupGeneration: meta.Generation, ConsumerID: meta.Member,
		GroupInstanceId: instanceOf(meta), RetentionTime: -1,
	}
	if meta.Member == "" {
		req.ConsumerGroupGeneration = -1
	}
	for tp, at := range offsets {
		req.AddBlockWithLeaderEpoch(tp.Topic, tp.Partition, at.offset, -1, -1, appendMetadata("", at))
	}
	return req
}

// offsetCommitError is the gravest error of an answer.
func offsetCommitError(resp *sarama.OffsetCommitResponse) error {
	var later error
	for topic, parts := range resp.Errors {
		for partition, code := range parts {
			if code == sarama.ErrNoError {
				continue
			}
			err := fmt.Errorf("%s/%d: %w", topic, partition, code)
			if !retriable(code) {
				return err
			}
			later = err
		}
	}
	return later
}

// finish reports a commit and lets the next unit leave.
func (p *producer) finish(run *commitRun, result engine.CommitResult) {
	p.mu.Lock()
	if p.commit != run {
		p.mu.Unlock()
		return // Close has reported it
	}
	p.commit = nil
	p.sending = p.current
	p.wakeLoops()
	poke(p.ctl)
	p.mu.Unlock()
	run.done(result)
}
