package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"streamctl/internal/record"
	"streamctl/state"
)

// A commit has three phases over all tasks of a worker:
//
//	prepare  positions are taken; the last value of every changed row goes to its
//	         changelog; the state batch is built in memory            (seal)
//	commit   everything sent is acknowledged, then offsets and the end of the
//	         transaction go to Kafka, in the background               (Producer.Commit)
//	post     the state batch, with the positions, is applied at once  (DB.Apply)
//
// Meanwhile the worker goes on reading and computing: what it sends belongs to
// the next transaction. A crash before the end of commit leaves store and Kafka
// where they were; one after it leaves the store one step behind Kafka, and
// the changelog's tail brings it forward. The store is never ahead.

// refreshInterval is how old the time of an idle task's state may become; it is
// short against the day for which Kafka keeps deletions.
const refreshInterval = 10 * time.Minute

// commitRun is one commit on its way.
type commitRun struct {
	sealed []sealedTask
	group  GroupMeta // as whose it was begun
	result CommitResult
	forget bool // the worker ends: do nothing when it does
	began  time.Time
}

// sealedTask is a task's share of a commit.
type sealedTask struct {
	task      *task
	sealed    *state.Sealed
	positions []int64 // per input
	sampled   []int64 // input.sampled, per input
}

// Names of the steps of a commit at which a test may end the process.
const (
	CrashBeforeSeal   = "before-seal"
	CrashAfterSeal    = "after-seal"
	CrashAfterCommit  = "after-commit"
	CrashBeforeApply  = "before-state-apply"
	CrashAfterApply   = "after-state-apply"
	CrashAfterRestore = "after-restore"
)

// CrashPoints lists all of them, with those that the Kafka producer adds.
var CrashPoints = []string{
	CrashBeforeSeal, CrashAfterSeal,
	"before-offsets", "after-offsets", "before-end-txn", "after-end-txn",
	CrashAfterCommit, CrashBeforeApply, CrashAfterApply, CrashAfterRestore,
}

// CrashBeforeRevoke is reached when tasks are taken away from a process that goes on.
const CrashBeforeRevoke = "before-revoke"

// Steps are all named steps: those of every commit, and those that come only
// when the group changes.
func Steps() []string { return append(slices.Clone(CrashPoints), CrashBeforeRevoke) }

// maybeCommit begins a commit when its time has come and none is under way.
// While others wait for what is committed here (a first load, the end of a
// bounded run), an idle worker does not wait for the interval.
func (w *worker) maybeCommit(progressed bool) error {
	w.refresh()
	if w.inflight != nil || !w.dirty() {
		return w.producerFailure()
	}
	due := !w.now.Before(w.lastCommit.Add(w.engine.opts.CommitInterval))
	awaited := !progressed && (w.engine.opts.UntilEnd || w.engine.bounds.pending())
	if !due && !awaited {
		return w.producerFailure()
	}
	return w.beginCommit()
}

// refresh commits tasks with tables now and then although nothing happens, so
// that their state is not taken for one that has missed deletions.
func (w *worker) refresh() {
	if w.now.Sub(w.lastCommit) < refreshInterval {
		return
	}
	for _, t := range w.order {
		if t.state == taskRunning && len(t.sub.Tables) > 0 {
			t.marked = true
		}
	}
}

// producerFailure is the producer's failure, if it is one that must stop the
// pipeline. That it was fenced is the outcome of a commit, and handled there.
func (w *worker) producerFailure() error {
	if err := w.producer.Err(); err != nil && !errors.Is(err, ErrFenced) {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// beginCommit is the first phase; the second runs in the producer.
func (w *worker) beginCommit() error {
	if err := w.producerFailure(); err != nil {
		return err
	}
	if err := w.engine.opts.State.Err(); err != nil {
		return fmt.Errorf("commit: %w", err) // what cannot be kept must not be committed
	}
	w.engine.crash(CrashBeforeSeal)
	run := &commitRun{group: w.group, began: w.engine.opts.Clock.Now()}
	commit := Commit{Offsets: make(map[record.TopicPartition]int64), StreamTimes: make(map[record.TopicPartition]int64), Promises: make(map[record.TopicPartition]string), Group: w.group}
	for _, t := range w.order {
		if !t.dirty() {
			continue
		}
		sealed, err := w.seal(t, &commit)
		if err != nil {
			return err
		}
		run.sealed = append(run.sealed, sealed)
	}
	w.engine.crash(CrashAfterSeal)
	w.inflight = run
	w.lastCommit = w.now
	w.producer.Commit(commit, func(result CommitResult) {
		w.engine.crash(CrashAfterCommit)
		run.result = result
		w.mailbox.put(run)
	})
	return nil
}

// seal takes a task's positions and changed rows.
func (w *worker) seal(t *task, commit *Commit) (sealedTask, error) {
	out := sealedTask{task: t, positions: make([]int64, len(t.inputs)), sampled: make([]int64, len(t.inputs))}
	w.tell(t)
	for i, in := range t.inputs {
		out.positions[i] = in.committed
		out.sampled[i], in.sampled = in.sampled, 0
		if t.commits(in) || t.timed && in.committed >= 0 {
			out.positions[i] = in.pos
			commit.Offsets[in.tp] = in.pos
			if at := t.committedTime(); at != 0 {
				commit.StreamTimes[in.tp] = at
			}
			if in.upstream != nil {
				commit.Promises[in.tp] = in.upstream.encode()
			}
			t.store.SetPosition(in.tp, in.pos)
		}
	}
	commit.Timed = commit.Timed || t.timed
	t.marked, t.timed = false, false
	if t.streamTime != noStreamTime {
		t.store.SetStreamTime(t.streamTime)
	}
	var deleted []record.Header // what a tombstone carries, which has no row for the stamp
	if !w.engine.opts.ExactlyOnce {
		stamp := t.stamps().encode(t.life)
		t.store.SetStamp(stamp)
		deleted = []record.Header{{Key: stampHeader, Value: stamp}}
	}
	t.store.SetSavedAt(w.nowMillis)
	var last *state.Table
	var sent *TopicStats
	sealed, err := t.store.Seal(func(table *state.Table, key, row []byte) {
		if table != last {
			last, sent = table, w.topic(table.Changelog())
		}
		rec := record.Record{Key: key, Value: row, Time: max(t.streamTime, 0)}
		if row == nil {
			rec.Headers = deleted
		}
		sent.count(rec)
		w.producer.Send(record.TopicPartition{Topic: table.Changelog(), Partition: t.id.Partition}, rec)
	})
	if err != nil {
		return out, fmt.Errorf("seal state of task %s: %w", t.id, err)
	}
	out.sealed = sealed
	return out, nil
}

// commitDone is the third phase.
func (w *worker) commitDone(run *commitRun) error {
	if w.inflight == run {
		w.inflight = nil
	}
	if run.forget {
		return nil
	}
	if err := run.result.Err; err != nil {
		return w.commitFailed(run, err)
	}
	w.engine.crash(CrashBeforeApply)
	batch := make([]*state.Sealed, 0, len(run.sealed))
	for _, s := range run.sealed {
		for _, spec := range s.task.sub.Tables {
			tp := record.TopicPartition{Topic: spec.Changelog, Partition: s.task.id.Partition}
			if next, ok := run.result.Next[tp]; ok && spec.Changelog != "" {
				s.sealed.SetPosition(tp, next)
				if !w.engine.opts.ExactlyOnce {
					s.sealed.SetPosition(lifeOf(tp), s.task.life)
				}
			}
		}
		batch = append(batch, s.sealed)
	}
	if err := w.engine.opts.State.Apply(batch...); err != nil {
		return fmt.Errorf("apply committed state: %w", err)
	}
	w.engine.crash(CrashAfterApply)
	for _, s := range run.sealed {
		for i, in := range s.task.inputs {
			in.committed = s.positions[i]
			if in.spec.Purge {
				w.engine.purge.below(in.tp, in.committed)
			}
		}
	}
	w.stats.Commits++
	w.measure(run)
	w.engine.committed(w)
	return nil
}

// cause says why a worker had to give up its tasks.
type cause uint8

const (
	causeAborted  cause = iota // nothing was committed, or nobody knows
	causeFenced                // another producer has taken over
	causeExpelled              // the group does not know this process any more
)

// commitFailed gives up everything since the last commit. When the producer
// has been renewed, the tasks start again from what Kafka has; when another
// process has taken over, they are gone.
func (w *worker) commitFailed(run *commitRun, failure error) error {
	why := causeAborted
	switch {
	case errors.Is(failure, ErrExpelled):
		why = causeExpelled
	case errors.Is(failure, ErrFenced):
		why = causeFenced
	case !errors.Is(failure, ErrAborted):
		return fmt.Errorf("commit: %w", failure)
	}
	w.log.Warn("commit failed: going back to what is committed", "cause", failure)
	w.stats.Aborts++
	return w.giveUp(why, run.group)
}
