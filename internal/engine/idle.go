package engine

import (
	"context"
	"slices"
	"time"

	"streamctl/internal/record"
	"streamctl/operators"
)

// When nothing comes any more, no record closes the last windows. So when all
// inputs of a task are fully read and nothing has come for idle_timeout of wall clock,
// its stream time goes to the wall clock's, less that time (ADR 0021). What a worker
// has fetched does not tell that nothing is left: the broker may not have been
// reachable, and what comes through a topic of the pipeline's own may still lie
// before the step that writes it. So the brokers are asked first, beside the
// worker, and what they say counts only if nothing has come meanwhile:
//
//   - every step before has committed all that its topics held, and what these steps
//     may still hold back for the time (windows) is no older than their own stream time;
//   - the task has read all that its inputs held after that.

// idleAgain bounds how long a task that stays idle waits until it asks again.
const (
	idleAgainLeast = 100 * time.Millisecond
	idleAgainMost  = 10 * time.Second
)

// idleness is what is known of a task to which nothing comes.
type idleness struct {
	since time.Time // zero = something is left to read
	read  int64     // sum of the positions at that time
	asked bool      // the brokers have been asked and have not answered
	next  time.Time // when they may be asked next
}

// idleQuestion asks whether a task is to move its stream time.
type idleQuestion struct {
	worker *worker
	task   *task
	since  time.Time
	asked  time.Time
}

// idleAnswer is the answer.
type idleAnswer struct {
	idleQuestion
	ends  map[record.TopicPartition]int64 // of the task's inputs
	limit int64                           // ms: stream time must not go further
	read  bool                            // the steps before have read everything
}

// watches says whether it matters to a task that nothing comes.
func (w *worker) watches(t *task) bool {
	return w.engine.opts.IdleTimeout >= 0 && !w.engine.opts.UntilEnd && t.streamTime != noStreamTime && (t.context.Timers.Stream() || len(t.tells) > 0)
}

// watchIdle notes since when nothing has come, and asks when that is long enough.
func (w *worker) watchIdle(t *task) {
	if !w.watches(t) {
		return
	}
	read := int64(0)
	for _, in := range t.inputs {
		read += in.pos
		if !in.fullyRead() {
			t.idle.since = time.Time{}
			return
		}
	}
	if t.idle.since.IsZero() || t.idle.read != read {
		t.idle.since, t.idle.read = w.now, read
	}
	due, ok := w.idleDue(t)
	if !ok || w.now.Before(due) {
		return
	}
	t.idle.asked = true
	w.engine.asked(1)
	w.engine.notify(idleQuestion{worker: w, task: t, since: t.idle.since, asked: w.now})
}

// idleDue is when an idle task asks next; false = it does not.
func (w *worker) idleDue(t *task) (time.Time, bool) {
	if t.idle.since.IsZero() || t.idle.asked || !w.watches(t) {
		return time.Time{}, false
	}
	due := t.idle.since.Add(w.engine.opts.IdleTimeout)
	if t.idle.next.After(due) {
		due = t.idle.next
	}
	// A record may have been ahead of the clock.
	if ahead := time.UnixMilli(t.streamTime + 1).Add(w.engine.opts.IdleTimeout); ahead.After(due) {
		due = ahead
	}
	return due, true
}

// advanceIdle moves stream time as the answer allows.
func (w *worker) advanceIdle(a *idleAnswer) error {
	t := a.task
	t.idle.asked = false
	defer w.engine.asked(-1)
	t.idle.next = w.now.Add(min(max(w.engine.opts.IdleTimeout/3, idleAgainLeast), idleAgainMost))
	if w.tasks[t.id] != t || !t.runs() || !a.read || !t.idle.since.Equal(a.since) {
		return nil
	}
	read := int64(0)
	for _, in := range t.inputs {
		if !in.fullyRead() || in.pos < a.ends[in.tp] {
			return nil
		}
		read += in.pos
	}
	to := min(a.asked.Add(-w.engine.opts.IdleTimeout).UnixMilli(), a.limit)
	if read != t.idle.read || to <= t.streamTime {
		return nil
	}
	t.timed = true
	return t.timely(w, func() error { return t.advance(to) })
}

// asked tells a test of questions and answers.
func (e *Engine) asked(n int) {
	if e.opts.Asked != nil {
		e.opts.Asked(n)
	}
}

// answerIdle asks the brokers. It does not answer while they do not.
func (e *Engine) answerIdle(ctx context.Context, q idleQuestion) idleAnswer {
	a := idleAnswer{idleQuestion: q, limit: noLimit}
	var err error
	if a.read, a.limit, err = e.upstream(ctx, q.task.id); err == nil && a.read {
		a.ends, err = e.opts.Transport.Admin().Ends(ctx, e.inputsOf(q.task.id), ReadUncommitted)
	}
	if err != nil {
		a.read = false
		if ctx.Err() == nil {
			e.log.Warn("not known whether an idle task has everything", "task", q.task.id.String(), "cause", err)
		}
	}
	return a
}

// upstream says whether all steps before a task have committed what their topics
// hold, and how far their stream time allows the task's to go.
func (e *Engine) upstream(ctx context.Context, id TaskID) (read bool, limit int64, err error) {
	subs := e.before(id.Sub)
	var inputs []record.TopicPartition
	for _, sub := range subs {
		for _, in := range sub.Inputs {
			inputs = append(inputs, e.bounds.partitions(in.Topic)...)
		}
	}
	limit = noLimit
	if len(inputs) == 0 {
		return true, limit, nil
	}
	admin := e.opts.Transport.Admin()
	ends, err := admin.Ends(ctx, inputs, ReadUncommitted)
	if err != nil {
		return false, limit, err
	}
	starts, err := admin.Starts(ctx, inputs)
	if err != nil {
		return false, limit, err
	}
	last, err := admin.LastCommitted(ctx, inputs)
	if err != nil {
		return false, limit, err
	}
	for _, tp := range inputs {
		at, ok := last[tp]
		if ok && at.Offset < ends[tp] || !ok && starts[tp] < ends[tp] {
			return false, limit, nil
		}
	}
	for _, sub := range subs {
		// Those that talk with each other in both directions, as a foreign-key join
		// does, would wait for each other for ever.
		if sub.Waits && sub.Name != id.Sub && !slices.Contains(e.before(sub.Name), e.subs[id.Sub]) {
			limit = min(limit, e.leastTime(sub, last))
		}
	}
	return true, limit, nil
}

// leastTime is the least stream time of the tasks of a sub-topology that have one.
func (e *Engine) leastTime(sub *operators.SubTopology, last map[record.TopicPartition]LastCommit) int64 {
	least := int64(noLimit)
	for p := range e.partitionsOf(sub.Inputs[0].Topic) {
		now := int64(0)
		for _, in := range sub.Inputs {
			now = max(now, last[record.TopicPartition{Topic: in.Topic, Partition: p}].StreamTime)
		}
		if now > 0 {
			least = min(least, now)
		}
	}
	return least
}

// before lists the sub-topologies whose records come, by way of others too, to those of a name.
func (e *Engine) before(name string) []*operators.SubTopology {
	var out []*operators.SubTopology
	seen := make(map[string]bool)
	var visit func(sub *operators.SubTopology)
	visit = func(sub *operators.SubTopology) {
		for _, in := range sub.Inputs {
			for _, feeder := range e.writersOf(in.Topic) {
				if !seen[feeder.Name] {
					seen[feeder.Name] = true
					out = append(out, feeder)
					visit(feeder)
				}
			}
		}
	}
	visit(e.subs[name])
	return out
}
