package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"streamctl/internal/record"
	"streamctl/operators"
)

// Which topics carry the time of their writers, and what a task tells and hears of it.

// carriesTime says whether the writers of a topic promise their stream time in it: it
// is a topic of streams of the pipeline's own, somebody behind it asks for time,
// and those behind it do not write to those before it, who would wait for each other.
// A topic with rows of a table does not: a table at rest would hold time.
func (e *Engine) carriesTime(topic string) bool { return e.timed[topic] }

// findTimed finds out which topics do.
func (e *Engine) findTimed() {
	e.timed = make(map[string]bool)
	for _, sub := range e.opts.Topology.Subs {
		for _, in := range sub.Inputs {
			e.timed[in.Topic] = e.asksForTime(in.Topic)
		}
	}
}

func (e *Engine) asksForTime(topic string) bool {
	writers := e.writersOf(topic)
	asked := false
	for _, sub := range e.opts.Topology.Subs {
		for _, in := range sub.Inputs {
			if in.Topic != topic {
				continue
			}
			if !in.Internal || !in.Purge || in.Table != "" || in.Awaited {
				return false
			}
			behind := e.behind(sub)
			asked = asked || slices.ContainsFunc(behind, func(s *operators.SubTopology) bool { return s.Timely })
			for _, w := range writers {
				if slices.Contains(behind, w) {
					return false
				}
			}
		}
	}
	return asked && len(writers) > 0
}

// writersOf lists the sub-topologies that write a topic of the pipeline's own.
func (e *Engine) writersOf(topic string) (subs []*operators.SubTopology) {
	if !e.internal(topic) {
		return nil
	}
	for _, sub := range e.opts.Topology.Subs {
		if slices.ContainsFunc(sub.Outputs, func(out operators.OutputSpec) bool { return out.Topic == topic }) {
			subs = append(subs, sub)
		}
	}
	return subs
}

// behind lists a sub-topology and all those to which its records come, by way of others too.
func (e *Engine) behind(sub *operators.SubTopology) (subs []*operators.SubTopology) {
	var visit func(*operators.SubTopology)
	visit = func(s *operators.SubTopology) {
		if slices.Contains(subs, s) {
			return
		}
		subs = append(subs, s)
		for _, out := range s.Outputs {
			for _, reader := range e.opts.Topology.Subs {
				if out.Internal && slices.ContainsFunc(reader.Inputs, func(in operators.InputSpec) bool { return in.Topic == out.Topic }) {
					visit(reader)
				}
			}
		}
	}
	visit(sub)
	return subs
}

// tasksBefore lists the tasks that write a topic in which they promise their time.
func (e *Engine) tasksBefore(topic string) (ids []TaskID) {
	if !e.carriesTime(topic) {
		return nil
	}
	for _, sub := range e.writersOf(topic) {
		for p := range e.partitionsOf(sub.Inputs[0].Topic) {
			ids = append(ids, TaskID{Sub: sub.Name, Partition: p})
		}
	}
	return ids
}

// listen makes a task's inputs hear what the tasks upstream promise, and notes
// where it has to promise something itself.
func (e *Engine) listen(t *task) {
	t.shortName = shortName(t.id.Sub)
	for _, in := range t.inputs {
		if before := e.tasksBefore(in.tp.Topic); len(before) > 0 {
			in.upstream = newUpstream(before)
			t.fed = append(t.fed, in)
		}
	}
	for _, out := range t.sub.Outputs {
		if e.carriesTime(out.Topic) {
			t.tells = append(t.tells, e.bounds.partitions(out.Topic)...)
		}
	}
}

// hear takes the time of the head of in, and gives the stream time that the task
// has then: where it reads what other tasks have sent, the least of their promises;
// else the greatest time of its records.
func (t *task) hear(in *input) int64 {
	if in.upstream == nil {
		if t.gated && in.spec.Awaited {
			return t.streamTime
		}
		if len(t.fed) == 0 {
			return max(t.streamTime, in.headTime)
		}
		t.own = max(t.own, in.headTime)
	} else if in.promised {
		in.upstream.take(in.promise)
	}
	return max(t.streamTime, t.reached())
}

// reached is how far stream time may be at most by what is known. Where no
// upstream task has anything, the other inputs decide.
func (t *task) reached() int64 {
	least := int64(noLimit)
	for _, in := range t.fed {
		least = min(least, in.upstream.least)
	}
	if least == noLimit {
		return t.own
	}
	return least
}

// advance moves stream time. What operators emit because of it still carries the
// promise of before: of several windows that a jump closes, none is ahead of the others.
func (t *task) advance(to int64) error {
	t.streamTime = to
	if err := t.context.Timers.Advance(to); err != nil {
		return err
	}
	t.promise = to
	return nil
}

// timeless says that the task has read everything and found nothing with a time.
func (t *task) timeless() bool {
	if t.state != taskRunning || t.gated || t.promise != noStreamTime {
		return false
	}
	for _, in := range t.inputs {
		if !in.fullyRead() && !in.bounded() {
			return false
		}
	}
	return true
}

// nothingBefore says that those before the task have found nothing either.
func (t *task) nothingBefore() bool {
	for _, in := range t.fed {
		if !in.upstream.allEmpty() {
			return false
		}
	}
	return true
}

// owes says that there is something to tell that the task has not told since it
// started: what was known of it may have been lost meanwhile.
func (t *task) owes() bool {
	switch {
	case len(t.tells) == 0:
		return false
	case t.promise != noStreamTime:
		return t.promise > t.told || !t.announced && t.state == taskRunning
	}
	return t.timeless() && (!t.announced || !t.toldEmpty && t.nothingBefore())
}

// tell sends what the task promises to all partitions behind it, if it has moved. A
// task that has nothing says so with each of its commits, of which there are few: who
// takes over one behind it may have let go of what was known (confirmEmpty).
func (w *worker) tell(t *task) {
	empty := len(t.tells) > 0 && t.timeless() && t.nothingBefore()
	if !empty && !t.owes() {
		return
	}
	if empty || t.promise != noStreamTime {
		at := max(t.promise, 0)
		header := []record.Header{{Key: timeHeader, Value: appendPromise(nil, t.shortName, t.id.Partition, t.promise, at)}}
		for _, tp := range t.tells {
			w.producer.Send(tp, record.Record{Time: at, Offset: -1, Headers: header})
		}
	}
	t.announced, t.told, t.toldEmpty, t.timed = true, t.promise, empty, true
}

// committedTime is the stream time that is kept beside the offsets; 0 = not known yet.
func (t *task) committedTime() int64 {
	switch {
	case t.streamTime != noStreamTime:
		return t.streamTime
	case t.timeless():
		return Timeless
	}
	return 0
}

// confirmEmpty finds out which of the upstream tasks that a task took for empty still
// are: while it did not run, something may have come to them, and those that have had something
// all along are not to run ahead of that.
func (e *Engine) confirmEmpty(ctx context.Context, committed map[record.TopicPartition]LastCommit) (map[TaskID]bool, error) {
	wanted := make(map[TaskID][]record.TopicPartition) // what they come from
	asked := make(map[record.TopicPartition]bool)
	for tp, c := range committed {
		before := e.tasksBefore(tp.Topic)
		if len(before) == 0 || c.Promises == "" {
			continue
		}
		known := newUpstream(before)
		known.decode(c.Promises)
		for _, w := range known.writers {
			if w.empty && wanted[w.task] == nil {
				wanted[w.task] = e.comesFrom(w.task)
				for _, from := range wanted[w.task] {
					asked[from] = true
				}
			}
		}
	}
	empty := make(map[TaskID]bool)
	if len(asked) == 0 {
		return empty, nil
	}
	left, err := e.unread(ctx, slices.Collect(maps.Keys(asked)))
	if err != nil {
		return nil, fmt.Errorf("find out whether anything has come to empty partitions: %w", err)
	}
	for id, tps := range wanted {
		empty[id] = !slices.ContainsFunc(tps, func(tp record.TopicPartition) bool { return left[tp] })
	}
	return empty, nil
}

// comesFrom lists all that records of a task may come from.
func (e *Engine) comesFrom(id TaskID) []record.TopicPartition {
	tps := e.inputsOf(id)
	for _, sub := range e.before(id.Sub) {
		for _, in := range sub.Inputs {
			tps = append(tps, e.bounds.partitions(in.Topic)...)
		}
	}
	return tps
}

// unread says which partitions hold something that the group has not committed.
func (e *Engine) unread(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]bool, error) {
	admin := e.opts.Transport.Admin()
	ends, err := admin.Ends(ctx, tps, ReadUncommitted)
	if err != nil {
		return nil, err
	}
	starts, err := admin.Starts(ctx, tps)
	if err != nil {
		return nil, err
	}
	last, err := admin.LastCommitted(ctx, tps)
	if err != nil {
		return nil, err
	}
	left := make(map[record.TopicPartition]bool)
	for _, tp := range tps {
		at, ok := last[tp]
		left[tp] = ok && at.Offset < ends[tp] || !ok && starts[tp] < ends[tp]
	}
	return left, nil
}
