package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"streamctl/internal/record"
)

// A process that dies leaves its transactions open. They hold back everybody
// who reads what it wrote, its successor first of all, until the broker's
// transaction timeout. Who takes its tasks over therefore ends them by
// initialising the transactional ids anew (ADR 0010):
//
//   - those that committed the tasks' offsets last, where they are nobody's
//     who is in the group now;
//   - where a task's last committer is alive or unknown, all of the members that
//     have vanished: one of them may have been given the task and have died before
//     its first commit.
//
// A mistake costs time and nothing else: who is fenced although it lives finds
// its commit refused, and starts again from what is committed.

// fenceTimeout bounds the fencing; whatever is open then is waited for.
const fenceTimeout = 10 * time.Second

// fenceParallel is how many ids are fenced at once.
const fenceParallel = 8

// transactionalID names the producer of a worker.
func transactionalID(pipeline, instance string, worker int) string {
	return fmt.Sprintf("%s-%s-%d", pipeline, instance, worker)
}

// vanished lists, once, those members before that are not among now. Nothing is
// known where now is not.
func vanished(before, now []Member) []Member {
	if now == nil {
		return nil
	}
	var out []Member
	for _, m := range before {
		same := func(o Member) bool { return o.Instance == m.Instance }
		if !slices.ContainsFunc(now, same) && !slices.ContainsFunc(out, same) {
			out = append(out, m)
		}
	}
	return out
}

// fenceLost shuts out the producers that may have left something open of the
// tasks and are nobody's any more.
func (e *Engine) fenceLost(ctx context.Context, ids []TaskID, members, lost []Member) {
	if !e.opts.ExactlyOnce || members == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	var inputs []record.TopicPartition
	for _, id := range ids {
		inputs = append(inputs, e.inputsOf(id)...)
	}
	last, err := e.opts.Transport.Admin().LastCommitted(ctx, inputs)
	if err != nil {
		e.log.Warn("last committers of new tasks are not known: what they left open is waited for", "cause", err)
		return
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, fenceParallel)
	for _, id := range e.orphans(inputs, last, members, lost) {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			e.yield("fence " + id)
			e.fence(ctx, id)
		})
	}
	wait.Wait()
	e.yield("fenced")
}

// orphans lists the transactional ids that may hold back the partitions and
// belong to no member.
func (e *Engine) orphans(inputs []record.TopicPartition, last map[record.TopicPartition]LastCommit, members, lost []Member) []string {
	pipeline := e.opts.Topology.Pipeline
	alive := make(map[string]bool)
	for _, m := range members {
		for i := range m.Workers {
			alive[transactionalID(pipeline, m.Instance, i)] = true
		}
	}
	var out []string
	clear := true // every partition's last committer is gone itself
	for _, tp := range inputs {
		by := last[tp].By
		if by == "" || alive[by] || !strings.HasPrefix(by, pipeline+"-") {
			clear = false
			continue
		}
		out = append(out, by)
	}
	if !clear {
		for _, m := range lost {
			for i := range m.Workers {
				if id := transactionalID(pipeline, m.Instance, i); !alive[id] {
					out = append(out, id)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fence takes a transactional id and lets go of it again: whoever had it is
// shut out, and what that left open is aborted.
func (e *Engine) fence(ctx context.Context, id string) {
	producer, err := e.opts.Transport.NewProducer(ctx, id, true)
	if err == nil {
		err = producer.Close(ctx)
	}
	if err != nil {
		e.log.Warn("producer of a lost member could not be fenced: what it left open is waited for", "producer", id, "cause", err)
		return
	}
	e.opts.incidents.Add(IncidentLostMemberFenced)
	e.log.Info("producer of a lost member fenced", "producer", id)
}
