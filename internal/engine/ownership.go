package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"streamctl/internal/record"
)

// What this process runs and what it keeps copies of is decided by the group.
// The engine's goroutine alone changes it, event by event:
//
//	taken away   committed and closed on their workers, then the group is told
//	given        the broker is asked where they begin, beside; then they start
//	             on a worker, or their standby is promoted where it is
//	standbys     likewise, without inputs (standby.go)
//
// Tasks that stay notice nothing. The answer of the broker may come when the
// task has gone already: every start has a ticket, and an answer whose ticket
// is not the task's any more is nobody's.

// ownership is what this process has of the pipeline. The engine's goroutine owns it.
type ownership struct {
	follower map[TaskID]*worker // where each standby is kept
	starting map[TaskID]int     // tickets of starts that wait for the broker's answer
	ticket   int
	// idle tasks are this process's, but their worker was expelled by the group: they
	// start again when the group says what is whose.
	idle    map[TaskID]bool
	joined  bool // the group has given something, be it nothing
	members []Member
	// lost are members that have gone since tasks were given last.
	lost   []Member
	fenced map[*worker][]time.Time
}

func newOwnership() ownership {
	return ownership{follower: make(map[TaskID]*worker), starting: make(map[TaskID]int), idle: make(map[TaskID]bool), fenced: make(map[*worker][]time.Time)}
}

// startedEvent brings what the broker has said of tasks that are to start.
type startedEvent struct {
	ticket   int
	standbys bool
	infos    []*startInfo
	worker   *worker  // whose producer was fenced, nil = nobody's
	producer Producer // in its place
	err      error
}

// standbyLostEvent says that a standby was given up because its state is of no
// use any more; it begins anew.
type standbyLostEvent struct{ id TaskID }

// assigned makes the process's tasks those of the event: first the ones taken
// away are committed and closed, then the group is told, then new ones start.
func (e *Engine) assigned(ctx context.Context, event GroupEvent) error {
	if event.Err != nil {
		return fmt.Errorf("follow group: %w", event.Err)
	}
	e.meta = event.Meta
	e.noteMembership(event)
	if err := e.takeAway(event); err != nil {
		return err
	}
	if event.Ack != nil {
		event.Ack()
	}
	e.shared.Store(len(event.Tasks) < len(e.tasks))
	if event.Lost {
		clear(e.fenced) // who is not a member is fenced by those who are
		return nil      // nothing is given; copies are kept up to date until the group says otherwise
	}
	for _, w := range e.workers {
		w.mailbox.put(&metaRequest{e.meta})
	}
	if err := e.planJoined(ctx); err != nil {
		return err
	}
	e.joined = true
	e.lost = vanished(append(e.lost, e.members...), event.Members)
	e.members = event.Members
	var fresh, standbys []TaskID
	for _, id := range event.Tasks {
		if e.owner[id] != nil && !e.idle[id] {
			continue
		}
		fresh = append(fresh, id)
		if e.owner[id] == nil {
			if e.owner[id] = e.follower[id]; e.owner[id] == nil {
				e.owner[id] = e.leastLoaded(id, false)
			}
			delete(e.follower, id)
		}
	}
	for _, id := range event.Standbys {
		if e.follower[id] == nil && e.owner[id] == nil {
			e.follower[id] = e.leastLoaded(id, true)
			standbys = append(standbys, id)
		}
	}
	e.keeper.assign(slices.Collect(maps.Keys(e.owner)), slices.Collect(maps.Keys(e.follower)))
	if len(fresh)+len(standbys) > 0 {
		e.log.Info("tasks assigned", "generation", e.meta.Generation, "tasks", len(e.owner), "new", len(fresh), "standbys", len(e.follower))
	}
	if len(fresh) > 0 {
		e.start(ctx, fresh, e.lost)
		e.lost = nil
	}
	e.startStandbys(ctx, standbys)
	return nil
}

// takeAway closes what the event does not leave to this process.
func (e *Engine) takeAway(event GroupEvent) error {
	gone, copies := make(map[*worker][]TaskID), make(map[*worker][]TaskID)
	for _, id := range sortedIDs(e.owner) {
		if !event.Lost && slices.Contains(event.Tasks, id) {
			continue
		}
		w := e.owner[id]
		gone[w] = append(gone[w], id)
		delete(e.owner, id)
		delete(e.starting, id)
		delete(e.idle, id)
	}
	for _, id := range sortedIDs(e.follower) {
		if event.Lost || slices.Contains(event.Standbys, id) || slices.Contains(event.Tasks, id) {
			continue
		}
		w := e.follower[id]
		copies[w] = append(copies[w], id)
		delete(e.follower, id)
		delete(e.starting, id)
	}
	var requests []*closeRequest
	var of []*worker
	for _, w := range e.workers {
		if len(gone[w]) > 0 {
			requests, of = append(requests, &closeRequest{ids: gone[w], commit: !event.Lost}), append(of, w)
		}
		if len(copies[w]) > 0 {
			requests, of = append(requests, &closeRequest{ids: copies[w], standbys: true}), append(of, w)
		}
	}
	return e.closeTasks(of, requests)
}

// closeTasks hands requests to workers and waits until all are done.
func (e *Engine) closeTasks(of []*worker, requests []*closeRequest) error {
	if len(requests) == 0 {
		return nil
	}
	closed := make(chan error, len(requests))
	for i, r := range requests {
		r.done = func(err error) { closed <- err }
		of[i].mailbox.put(r)
	}
	told := e.told
	for left := len(requests); left > 0; {
		select {
		case err := <-closed:
			left--
			if err != nil {
				return err
			}
		case err := <-e.failure:
			return err
		case <-told: // to stop: what they wait for may not come
			told = nil
			e.yield("engine")
			defer e.limit()()
		}
	}
	e.yield("engine")
	return nil
}

// leastLoaded picks the worker for a task: the one with the fewest tasks of
// its sub-topology, then the fewest at all, then the first. For a standby, the
// standbys count too, so that they are spread when they are promoted.
func (e *Engine) leastLoaded(id TaskID, standby bool) *worker {
	type load struct{ same, all int }
	loads := make(map[*worker]load)
	count := func(tasks map[TaskID]*worker) {
		for other, w := range tasks {
			l := loads[w]
			l.all++
			if other.Sub == id.Sub {
				l.same++
			}
			loads[w] = l
		}
	}
	count(e.owner)
	if standby {
		count(e.follower)
	}
	return slices.MinFunc(e.workers, func(a, b *worker) int {
		la, lb := loads[a], loads[b]
		return cmp.Or(la.same-lb.same, la.all-lb.all)
	})
}

// start asks beside where the tasks begin, having seen to it that nobody who
// was lost from the group holds them up. lost are the members that have gone.
func (e *Engine) start(ctx context.Context, ids []TaskID, lost []Member) {
	if len(ids) == 0 {
		return
	}
	ticket, members := e.issue(ids), e.members
	e.beside(ctx, "start", func() any {
		e.fenceLost(ctx, ids, members, lost)
		infos, err := e.startInfos(ctx, ids)
		return startedEvent{ticket: ticket, infos: infos, err: err}
	})
}

// restart is start for tasks whose worker's producer was fenced.
func (e *Engine) restart(ctx context.Context, w *worker, ids []TaskID) {
	ticket := e.issue(ids)
	e.beside(ctx, "restart", func() any {
		producer, err := e.openProducer(ctx, w.index)
		if err != nil {
			return startedEvent{err: err}
		}
		infos, err := e.startInfos(ctx, ids)
		return startedEvent{ticket: ticket, infos: infos, worker: w, producer: producer, err: err}
	})
}

// startStandbys asks beside from where the copies can be read.
func (e *Engine) startStandbys(ctx context.Context, ids []TaskID) {
	if len(ids) == 0 {
		return
	}
	ticket := e.issue(ids)
	e.beside(ctx, "start standbys", func() any {
		var tps []record.TopicPartition
		for _, id := range ids {
			tables, changelogs := e.tablesOf(id)
			tps = append(append(tps, tables...), changelogs...)
		}
		starts, err := e.opts.Transport.Admin().Starts(ctx, tps)
		if err != nil {
			return startedEvent{err: fmt.Errorf("read first offsets: %w", err)}
		}
		infos := make([]*startInfo, len(ids))
		for i, id := range ids {
			infos[i] = &startInfo{id: id, starts: starts}
		}
		return startedEvent{ticket: ticket, standbys: true, infos: infos}
	})
}

// issue gives the tasks a ticket; whatever was asked for them before is void.
func (e *Engine) issue(ids []TaskID) int {
	e.ticket++
	for _, id := range ids {
		e.starting[id] = e.ticket
		delete(e.idle, id)
	}
	return e.ticket
}

// beside does something in a goroutine of its own and serves what it returns
// as an event.
func (e *Engine) beside(ctx context.Context, name string, do func() any) {
	e.background.Go(func() {
		e.yield(name)
		event := do()
		if ctx.Err() == nil {
			select {
			case e.events <- event:
				return
			case <-ctx.Done():
			}
		}
		if started, ok := event.(startedEvent); ok && started.producer != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = started.producer.Close(closing) // nobody takes it any more
		}
	})
}

// started hands tasks that are still this process's to their workers.
func (e *Engine) started(ev startedEvent) error {
	if ev.err != nil {
		return ev.err
	}
	if ev.producer != nil {
		ev.worker.mailbox.put(&startRequest{meta: e.meta, producer: ev.producer})
	}
	of := make(map[*worker][]*startInfo)
	for _, info := range ev.infos {
		if e.starting[info.id] != ev.ticket {
			continue
		}
		delete(e.starting, info.id)
		w := e.owner[info.id]
		if ev.standbys {
			w = e.follower[info.id]
		}
		of[w] = append(of[w], info)
	}
	for _, w := range e.workers {
		if len(of[w]) > 0 {
			w.mailbox.put(&startRequest{meta: e.meta, infos: of[w], standbys: ev.standbys})
		}
	}
	return nil
}

// tablesOf lists what a task's state is made from: the partitions of its
// topic-fed tables, and those of its changelogs.
func (e *Engine) tablesOf(id TaskID) (tables, changelogs []record.TopicPartition) {
	sub := e.subs[id.Sub]
	for _, in := range sub.Inputs {
		if in.Table != "" {
			tables = append(tables, record.TopicPartition{Topic: in.Topic, Partition: id.Partition})
		}
	}
	for _, t := range sub.Tables {
		if t.Changelog != "" {
			changelogs = append(changelogs, record.TopicPartition{Topic: t.Changelog, Partition: id.Partition})
		}
	}
	return tables, changelogs
}

// inputsOf lists the partitions that a task reads.
func (e *Engine) inputsOf(id TaskID) []record.TopicPartition {
	var tps []record.TopicPartition
	for _, in := range e.subs[id.Sub].Inputs {
		tps = append(tps, record.TopicPartition{Topic: in.Topic, Partition: id.Partition})
	}
	return tps
}

// startInfos asks the broker, once for all tasks, for committed offsets, first
// offsets and the ends of changelogs.
func (e *Engine) startInfos(ctx context.Context, ids []TaskID) ([]*startInfo, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var inputs, changelogs []record.TopicPartition
	for _, id := range ids {
		_, own := e.tablesOf(id)
		inputs, changelogs = append(inputs, e.inputsOf(id)...), append(changelogs, own...)
	}
	admin := e.opts.Transport.Admin()
	// First offsets before committed ones: of the pipeline's own topics only what is
	// committed is deleted, so that way round none is behind its topic.
	starts, err := admin.Starts(ctx, append(slices.Clone(inputs), changelogs...))
	if err != nil {
		return nil, fmt.Errorf("read first offsets: %w", err)
	}
	with, err := admin.CommittedWith(ctx, inputs)
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	empty, err := e.confirmEmpty(ctx, with)
	if err != nil {
		return nil, err
	}
	committed, times, promises := make(map[record.TopicPartition]int64, len(with)), make(map[record.TopicPartition]int64), make(map[record.TopicPartition]string)
	for tp, c := range with {
		committed[tp], times[tp], promises[tp] = c.Offset, c.StreamTime, c.Promises
	}
	ends := map[record.TopicPartition]int64{}
	if !e.opts.ExactlyOnce {
		changelogs = append(changelogs, inputs...) // see task.repeats
	}
	if len(changelogs) > 0 {
		// The high watermark, not the last stable offset: a transaction that is still
		// open there ends first, and what it committed belongs to the table.
		if ends, err = admin.Ends(ctx, changelogs, ReadUncommitted); err != nil {
			return nil, fmt.Errorf("read ends of changelogs: %w", err)
		}
	}
	infos := make([]*startInfo, len(ids))
	for i, id := range ids {
		infos[i] = &startInfo{id: id, committed: committed, times: times, promises: promises, empty: empty, starts: starts, ends: ends}
	}
	return infos, nil
}

// givenUp serves a worker that had to give up tasks: those that are still this
// process's start again, from what Kafka has.
func (e *Engine) givenUp(ctx context.Context, ev reassignEvent) error {
	var ids []TaskID
	for _, id := range ev.ids {
		if e.owner[id] == ev.worker && e.starting[id] == 0 {
			ids = append(ids, id)
		}
	}
	switch {
	case ev.cause == causeExpelled && ev.group == e.meta:
		// What is whose is not known: to go on would only fail again.
		for _, id := range ids {
			e.idle[id] = true
		}
	case ev.cause == causeFenced:
		now := e.opts.Clock.Now()
		times := slices.DeleteFunc(e.fenced[ev.worker], func(at time.Time) bool { return now.Sub(at) > fencedWindow })
		if e.fenced[ev.worker] = append(times, now); len(times) >= fencedLimit {
			return fmt.Errorf("fenced %d times within %s: another process runs as instance %q of this pipeline; stop it, or give each its own data directory",
				len(times)+1, fencedWindow, e.opts.Instance)
		}
		e.restart(ctx, ev.worker, ids)
	default:
		e.start(ctx, ids, nil)
	}
	return nil
}

// sortedIDs gives the keys in the order of tasks, so that chance has no part in
// what is done first.
func sortedIDs[V any](m map[TaskID]V) []TaskID {
	return slices.SortedFunc(maps.Keys(m), compareIDs)
}

func compareIDs(a, b TaskID) int {
	return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
}
