package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"streamctl/internal/record"
	"streamctl/state"
)

const (
	// followInterval is how often committed offsets are asked for while there are standbys.
	followInterval = 500 * time.Millisecond
	// reportInterval is how often is reported what lies here when there are none.
	reportInterval = 5 * time.Second
	// reportTimeout bounds the requests behind a report before the group is joined.
	reportTimeout = 5 * time.Second
)

// keeper looks after the state that this process has and does not run: it finds
// out how far standbys may go, reports to the group how far every copy is
// behind, and deletes those that have not been of use for long. One goroutine
// runs it; workers ask it for committed offsets.
type keeper struct {
	engine *Engine
	group  Coordinator
	poked  chan struct{}

	mu       sync.Mutex
	tasks    map[TaskID]bool
	standbys map[TaskID]bool
	offsets  map[record.TopicPartition]int64 // committed, of the standbys' inputs

	// Owned by the goroutine.
	unused map[TaskID]time.Time // since when state lies here for nobody
	told   []Held
}

func newKeeper(e *Engine) *keeper {
	return &keeper{engine: e, poked: make(chan struct{}, 1), offsets: make(map[record.TopicPartition]int64), unused: make(map[TaskID]time.Time)}
}

// assign tells what this process runs and what it keeps copies of.
func (k *keeper) assign(tasks, standbys []TaskID) {
	set := func(ids []TaskID) map[TaskID]bool {
		m := make(map[TaskID]bool, len(ids))
		for _, id := range ids {
			m[id] = true
		}
		return m
	}
	k.mu.Lock()
	k.tasks, k.standbys = set(tasks), set(standbys)
	k.mu.Unlock()
	k.poke()
}

// poke asks for a round soon.
func (k *keeper) poke() {
	select {
	case k.poked <- struct{}{}:
	default:
	}
}

// committed is the group's committed offset of an input of a standby, as far as
// it is known: it may be older than the truth, never newer.
func (k *keeper) committed(tp record.TopicPartition) (int64, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	offset, ok := k.offsets[tp]
	return offset, ok
}

// run does a round at every interval, or when it is poked, until ctx ends.
func (k *keeper) run(ctx context.Context) {
	for {
		k.engine.yield("keeper")
		if ctx.Err() != nil {
			return
		}
		interval, err := k.round(ctx)
		if err != nil && ctx.Err() == nil {
			k.engine.log.Warn("copies of state are not looked after now", "cause", err)
		}
		tick := make(chan struct{})
		stop := k.engine.opts.Clock.AfterFunc(interval, func() { close(tick) })
		select {
		case <-ctx.Done(): // and out, above
			stop()
		case <-k.poked:
			stop()
		case <-tick:
		}
	}
}

// round does everything once and says when to do so again.
func (k *keeper) round(ctx context.Context) (time.Duration, error) {
	interval := reportInterval
	k.mu.Lock()
	tasks, standbys := k.tasks, k.standbys
	k.mu.Unlock()
	if tasks == nil {
		return interval, nil // nothing is said by the group yet
	}
	if len(standbys) > 0 {
		interval = followInterval
		if err := k.followCommitted(ctx, standbys); err != nil {
			return interval, err
		}
	}
	stored, err := k.engine.opts.State.Stored()
	if err != nil {
		return interval, err
	}
	held, err := k.engine.held(ctx, stored, tasks)
	if err != nil {
		return interval, err
	}
	if !slices.Equal(held, k.told) {
		k.told = held
		k.group.Report(held)
	}
	return interval, k.clean(stored, tasks, standbys)
}

// followCommitted asks how far standbys may go and wakes those who keep them.
func (k *keeper) followCommitted(ctx context.Context, standbys map[TaskID]bool) error {
	var inputs []record.TopicPartition
	for _, id := range sortedIDs(standbys) {
		inputs = append(inputs, k.engine.inputsOf(id)...)
	}
	last, err := k.engine.opts.Transport.Admin().LastCommitted(ctx, inputs)
	if err != nil {
		return err
	}
	changed := false
	k.mu.Lock()
	for tp, commit := range last {
		changed = changed || k.offsets[tp] != commit.Offset
		k.offsets[tp] = commit.Offset
	}
	k.mu.Unlock()
	if changed {
		for _, w := range k.engine.workers {
			w.source.Wake()
		}
	}
	return nil
}

// clean deletes the state of tasks that have been neither run nor kept here for
// long: somebody else has them, or the group would have given them to this process.
func (k *keeper) clean(stored []state.StoredTask, tasks, standbys map[TaskID]bool) error {
	now := k.engine.opts.Clock.Now()
	lying := make(map[TaskID]bool)
	for _, s := range stored {
		id := TaskID{Sub: s.Sub, Partition: s.Partition}
		if k.engine.knows(id) && !tasks[id] && !standbys[id] && len(s.Positions) > 0 {
			lying[id] = true
		}
	}
	maps.DeleteFunc(k.unused, func(id TaskID, _ time.Time) bool { return !lying[id] })
	for _, id := range sortedIDs(lying) {
		since, noted := k.unused[id]
		if !noted {
			k.unused[id] = now
		} else if now.Sub(since) >= k.engine.opts.StateCleanup {
			// A task that has just come back is open, or restores itself.
			if err := k.engine.opts.State.DropTask(id.Sub, id.Partition); errors.Is(err, state.ErrOpen) {
				continue
			} else if err != nil {
				return err
			}
			delete(k.unused, id)
			k.engine.log.Info("state of a task that is at home elsewhere deleted", "task", id.String(), "unused", now.Sub(since))
		}
	}
	return nil
}

// knows says whether the pipeline has the task.
func (e *Engine) knows(id TaskID) bool {
	sub := e.subs[id.Sub]
	return sub != nil && id.Partition < e.counts[sub.Inputs[0].Topic]
}

// held says what lies here of which task's state: running tasks lag nothing,
// copies by the records that they would have to read.
func (e *Engine) held(ctx context.Context, stored []state.StoredTask, running map[TaskID]bool) ([]Held, error) {
	var out []Held
	var copies []state.StoredTask
	for _, s := range stored {
		id := TaskID{Sub: s.Sub, Partition: s.Partition}
		switch {
		case !e.knows(id):
		case running[id]:
			out = append(out, Held{Task: id, Bytes: s.Bytes})
		case len(s.Positions) > 0:
			copies = append(copies, s)
		}
	}
	lags, err := e.lags(ctx, copies)
	if err != nil {
		return nil, err
	}
	for i, s := range copies {
		out = append(out, Held{Task: TaskID{Sub: s.Sub, Partition: s.Partition}, Lag: lags[i], Bytes: s.Bytes})
	}
	slices.SortFunc(out, func(a, b Held) int { return compareIDs(a.Task, b.Task) })
	return out, nil
}

// lags sums, for each stored task, what its tables would have to read: to the end
// of a changelog, to the committed offset of a topic.
func (e *Engine) lags(ctx context.Context, stored []state.StoredTask) ([]int64, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	var fed, own []record.TopicPartition
	for _, s := range stored {
		tables, changelogs := e.tablesOf(TaskID{Sub: s.Sub, Partition: s.Partition})
		fed, own = append(fed, tables...), append(own, changelogs...)
	}
	admin := e.opts.Transport.Admin()
	targets, err := admin.Ends(ctx, own, ReadCommitted)
	if err != nil {
		return nil, err
	}
	committed, err := admin.LastCommitted(ctx, fed)
	if err != nil {
		return nil, err
	}
	starts, err := admin.Starts(ctx, append(slices.Clone(own), fed...))
	if err != nil {
		return nil, err
	}
	for tp, commit := range committed {
		targets[tp] = commit.Offset
	}
	out := make([]int64, len(stored))
	for i, s := range stored {
		tables, changelogs := e.tablesOf(TaskID{Sub: s.Sub, Partition: s.Partition})
		for _, tp := range append(tables, changelogs...) {
			from, ok := s.Positions[tp]
			if !ok || from < starts[tp] {
				from = starts[tp] // it begins anew
			}
			out[i] += max(targets[tp]-from, 0)
		}
	}
	return out, nil
}

// heldAtStart is held before the group is joined. What cannot be found out is
// said not to be known: the group then goes by what else it knows.
func (e *Engine) heldAtStart(ctx context.Context) []Held {
	stored, err := e.opts.State.Stored()
	if err != nil {
		e.log.Warn("what lies in the local state is not known", "cause", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	held, err := e.held(ctx, stored, nil)
	if err == nil {
		return held
	}
	e.log.Warn("how far the local state is behind is not known", "cause", err)
	for _, s := range stored {
		if id := (TaskID{Sub: s.Sub, Partition: s.Partition}); e.knows(id) {
			held = append(held, Held{Task: id, Lag: -1, Bytes: s.Bytes})
		}
	}
	slices.SortFunc(held, func(a, b Held) int { return compareIDs(a.Task, b.Task) })
	return held
}
