package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// Options is everything a run needs. Zero values mean the defaults named.
type Options struct {
	Topology    *operators.Topology
	Transport   Transport
	State       *state.DB
	Clock       Clock        // default: the system's
	Logger      *slog.Logger // default: discard
	Workers     int          // goroutines that own tasks; default: one per core
	ExactlyOnce bool
	// CommitInterval is the time between commits; default 100 ms exactly once, 1 s at least once.
	CommitInterval time.Duration
	// UntilEnd processes what the topics held at the start, commits, and returns.
	UntilEnd bool
	// Instance names this process among those of the pipeline, the same after a
	// restart: transactional ids derive from it.
	Instance string
	// KeepPlace leaves the process's tasks its own until its session ends, so that
	// a restart within it moves nothing. Otherwise the end of the run hands them over at once.
	KeepPlace bool
	// MaxBuffered is how many bytes a worker may have sent and not yet acknowledged; default 8 MiB.
	MaxBuffered int
	// Crash is called at the named steps of a commit; nil outside tests.
	Crash func(step string)
	// Ready is called once, when the group is joined and all tasks run.
	Ready func()
	// Progress is called from time to time with where the run is; may be nil.
	Progress func(Stats)

	incidents *incidentCounts // over the lives of a supervised run
}

// fencedLimit and fencedWindow: a process that is fenced more often than this
// shares its instance name with another one that runs.
const (
	fencedLimit  = 3
	fencedWindow = time.Minute
)

// withDefaults fills what was left out.
func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.CommitInterval == 0 {
		o.CommitInterval = time.Second
		if o.ExactlyOnce {
			o.CommitInterval = 100 * time.Millisecond
		}
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = 8 << 20
	}
	if o.incidents == nil {
		o.incidents = &incidentCounts{}
	}
	return o
}

// Validate lists every fault of the options at once.
func (o Options) Validate() error {
	var faults []error
	if o.Topology == nil {
		faults = append(faults, errors.New("engine options: no topology"))
	}
	if o.Transport == nil {
		faults = append(faults, errors.New("engine options: no transport"))
	}
	if o.State == nil {
		faults = append(faults, errors.New("engine options: no state"))
	}
	if o.Instance == "" {
		faults = append(faults, errors.New("engine options: no instance name"))
	}
	if o.CommitInterval < 0 || o.Workers < 0 || o.MaxBuffered < 0 {
		faults = append(faults, errors.New("engine options: negative number"))
	}
	return errors.Join(faults...)
}

// Engine is one process's share of a running pipeline.
type Engine struct {
	opts   Options
	log    *slog.Logger
	subs   map[string]*operators.SubTopology
	counts map[string]int32 // partitions of every topic of the topology
	// tombstones is how long a topic keeps deletions, ms, where it says so.
	tombstones map[string]int64
	tasks      []TaskInfo
	workers    []*worker
	bounds     *bounds
	purge      *purger
	events     chan any
	failure    chan error

	owner     map[TaskID]*worker // where each owned task runs
	meta      GroupMeta
	readied   bool
	fenced    []time.Time
	statsLock sync.Mutex
	stats     map[int]WorkerStats
}

// committedEvent says that a worker has committed, statusEvent that its tasks
// have come to run or to their end, reassignEvent that it lost its tasks to a
// failed commit.
type committedEvent struct{}

type statusEvent struct{}

type reassignEvent struct {
	worker *worker
	ids    []TaskID
	fenced bool
}

// Run runs the topology until ctx ends (graceful: what was done is committed),
// until everything is processed (UntilEnd), or until a failure.
func Run(ctx context.Context, opts Options) (Stats, error) {
	if err := opts.Validate(); err != nil {
		return Stats{}, err
	}
	e := &Engine{
		opts: opts.withDefaults(), subs: make(map[string]*operators.SubTopology),
		events: make(chan any, 1024), failure: make(chan error, 1), owner: make(map[TaskID]*worker), stats: make(map[int]WorkerStats),
	}
	e.log = e.opts.Logger
	for _, sub := range opts.Topology.Subs {
		e.subs[sub.Name] = sub
	}
	if err := e.prepareTopics(ctx); err != nil {
		return Stats{}, err
	}
	err := e.run(ctx)
	return e.Stats(), err
}

// run starts the parts, serves events, and stops the parts.
func (e *Engine) run(ctx context.Context) (err error) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	e.bounds = newBounds(e)
	if err := e.bounds.takeOuterEnds(ctx); err != nil {
		return err
	}
	var running sync.WaitGroup
	if err := e.startWorkers(ctx, &running); err != nil {
		return errors.Join(err, e.closeWorkers())
	}
	e.purge = newPurger(e)
	var background sync.WaitGroup
	background.Go(func() { e.bounds.follow(inner) })
	background.Go(func() { e.purge.run(inner) })
	group, err := e.opts.Transport.Join(ctx, Membership{Tasks: e.tasks, Workers: e.opts.Workers})
	if err == nil {
		err = e.serve(ctx, inner, group)
		graceful := err == nil
		err = errors.Join(err, e.stopWorkers(graceful, &running))
		leave, done := context.WithTimeout(inner, 5*time.Second)
		// Who has no state cannot keep a place: others take over at once.
		err = errors.Join(err, group.Leave(leave, e.opts.KeepPlace && e.opts.State.Err() == nil))
		done()
	} else {
		err = errors.Join(err, e.stopWorkers(false, &running))
	}
	cancel()
	background.Wait()
	if err == nil {
		e.purge.flush(context.WithoutCancel(ctx))
	}
	return errors.Join(err, e.closeWorkers())
}

// startWorkers opens the ports of every worker, in parallel, and starts them.
func (e *Engine) startWorkers(ctx context.Context, running *sync.WaitGroup) error {
	e.workers = make([]*worker, e.opts.Workers)
	failed := make([]error, e.opts.Workers)
	var opening sync.WaitGroup
	for i := range e.workers {
		opening.Go(func() { e.workers[i], failed[i] = e.openWorker(ctx, i) })
	}
	opening.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, w := range e.workers {
		running.Go(func() {
			if err := w.run(); err != nil {
				w.publish()
				select {
				case e.failure <- err:
				default: // another worker's failure came first
				}
			}
		})
	}
	return nil
}

// openWorker makes worker i with its source and producer.
func (e *Engine) openWorker(ctx context.Context, i int) (*worker, error) {
	source, err := e.opts.Transport.NewSource()
	if err != nil {
		return nil, fmt.Errorf("open source of worker %d: %w", i, err)
	}
	producer, err := e.openProducer(ctx, i)
	if err != nil {
		source.Close()
		return nil, err
	}
	w := &worker{
		engine: e, index: i, log: e.log.With("worker", i), source: source, producer: producer,
		tasks: make(map[TaskID]*task), routes: make(map[record.TopicPartition]*task),
	}
	w.mailbox.wake = source.Wake
	return w, nil
}

// openProducer opens the producer of worker i, which ends what an earlier one
// of the same name has left open.
func (e *Engine) openProducer(ctx context.Context, i int) (Producer, error) {
	id := fmt.Sprintf("%s-%s-%d", e.opts.Topology.Pipeline, e.opts.Instance, i)
	producer, err := e.opts.Transport.NewProducer(ctx, id, e.opts.ExactlyOnce)
	if err != nil {
		return nil, fmt.Errorf("open producer of worker %d: %w", i, err)
	}
	return producer, nil
}

// serve handles group and worker events until the run ends.
func (e *Engine) serve(ctx, inner context.Context, group Coordinator) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-e.failure:
			return err
		case <-e.opts.State.Failed(): // in the background: no worker may have met it yet
			return e.opts.State.Err()
		case event, ok := <-group.Events():
			if !ok {
				return errors.New("follow group: membership ended")
			}
			if err := e.assigned(inner, event); err != nil {
				return err
			}
		case event := <-e.events:
			done, err := e.handle(inner, event)
			if err != nil || done {
				return err
			}
		}
	}
}

// handle serves one event of a worker.
func (e *Engine) handle(ctx context.Context, event any) (done bool, err error) {
	switch ev := event.(type) {
	case reassignEvent:
		var producer Producer
		if ev.fenced {
			now := e.opts.Clock.Now()
			e.fenced = slices.DeleteFunc(e.fenced, func(at time.Time) bool { return now.Sub(at) > fencedWindow })
			if e.fenced = append(e.fenced, now); len(e.fenced) > fencedLimit {
				return false, fmt.Errorf("fenced %d times within %s: another process runs as instance %q of this pipeline; stop it, or give each its own data directory",
					len(e.fenced), fencedWindow, e.opts.Instance)
			}
			if producer, err = e.openProducer(ctx, ev.worker.index); err != nil {
				return false, err
			}
		}
		return false, e.start(ctx, ev.worker, ev.ids, producer)
	case committedEvent:
		e.bounds.poke()
	}
	if e.opts.Progress != nil {
		e.opts.Progress(e.Stats())
	}
	if !e.readied && e.allRunning() {
		e.readied = true
		e.log.Info("ready", "tasks", len(e.owner))
		if e.opts.Ready != nil {
			e.opts.Ready()
		}
	}
	return e.opts.UntilEnd && e.allDrained(), nil
}

// assigned makes the process's tasks those of the event: first the ones taken
// away are committed and closed, then the group is told, then new ones start.
func (e *Engine) assigned(ctx context.Context, event GroupEvent) error {
	if event.Err != nil {
		return fmt.Errorf("follow group: %w", event.Err)
	}
	e.meta = event.Meta
	gone := make(map[*worker][]TaskID)
	for id, w := range e.owner {
		if event.Lost || !slices.Contains(event.Tasks, id) {
			gone[w] = append(gone[w], id)
			delete(e.owner, id)
		}
	}
	if err := e.closeTasks(gone, !event.Lost); err != nil {
		return err
	}
	if event.Ack != nil {
		event.Ack()
	}
	for _, w := range e.workers {
		w.mailbox.put(&metaRequest{e.meta})
	}
	fresh := make(map[*worker][]TaskID)
	for _, id := range event.Tasks {
		if e.owner[id] == nil {
			w := e.leastLoaded(id)
			e.owner[id] = w
			fresh[w] = append(fresh[w], id)
		}
	}
	for _, w := range e.workers {
		if len(fresh[w]) == 0 {
			continue
		}
		if err := e.start(ctx, w, fresh[w], nil); err != nil {
			return err
		}
	}
	return nil
}

// leastLoaded picks the worker for a task: the one with the fewest tasks of
// its sub-topology, then the fewest at all, then the first.
func (e *Engine) leastLoaded(id TaskID) *worker {
	type load struct{ same, all int }
	loads := make(map[*worker]load)
	for other, w := range e.owner {
		l := loads[w]
		l.all++
		if other.Sub == id.Sub {
			l.same++
		}
		loads[w] = l
	}
	return slices.MinFunc(e.workers, func(a, b *worker) int {
		la, lb := loads[a], loads[b]
		if la.same != lb.same {
			return la.same - lb.same
		}
		return la.all - lb.all
	})
}

// start finds out where the tasks begin and hands them to their worker, with a
// new producer if its own was fenced.
func (e *Engine) start(ctx context.Context, w *worker, ids []TaskID, producer Producer) error {
	infos, err := e.startInfos(ctx, ids)
	if err != nil {
		return err
	}
	w.mailbox.put(&startRequest{meta: e.meta, infos: infos, producer: producer})
	return nil
}

// startInfos asks the broker, once for all tasks, for committed offsets, first
// offsets and the ends of changelogs.
func (e *Engine) startInfos(ctx context.Context, ids []TaskID) ([]*startInfo, error) {
	var inputs, changelogs []record.TopicPartition
	for _, id := range ids {
		sub := e.subs[id.Sub]
		for _, in := range sub.Inputs {
			inputs = append(inputs, record.TopicPartition{Topic: in.Topic, Partition: id.Partition})
		}
		for _, t := range sub.Tables {
			if t.Changelog != "" {
				changelogs = append(changelogs, record.TopicPartition{Topic: t.Changelog, Partition: id.Partition})
			}
		}
	}
	admin := e.opts.Transport.Admin()
	committed, err := admin.Committed(ctx, inputs)
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	starts, err := admin.Starts(ctx, append(slices.Clone(inputs), changelogs...))
	if err != nil {
		return nil, fmt.Errorf("read first offsets: %w", err)
	}
	ends := map[record.TopicPartition]int64{}
	if len(changelogs) > 0 {
		// The high watermark, not the last stable offset: a transaction that is still
		// open there ends first, and what it committed belongs to the table.
		if ends, err = admin.Ends(ctx, changelogs, ReadUncommitted); err != nil {
			return nil, fmt.Errorf("read ends of changelogs: %w", err)
		}
	}
	infos := make([]*startInfo, len(ids))
	for i, id := range ids {
		infos[i] = &startInfo{id: id, committed: committed, starts: starts, ends: ends}
	}
	return infos, nil
}

// closeTasks closes tasks on their workers and waits for it.
func (e *Engine) closeTasks(gone map[*worker][]TaskID, commit bool) error {
	closed := make(chan error, len(gone))
	for w, ids := range gone {
		w.mailbox.put(&closeRequest{ids: ids, commit: commit, done: func(err error) { closed <- err }})
	}
	var errs []error
	for range gone {
		select {
		case err := <-closed:
			errs = append(errs, err)
		case err := <-e.failure:
			return err
		}
	}
	return errors.Join(errs...)
}

// stopWorkers ends all workers; when graceful, what they did is committed.
func (e *Engine) stopWorkers(graceful bool, running *sync.WaitGroup) error {
	errs := make(chan error, len(e.workers))
	for _, w := range e.workers {
		w.mailbox.put(&closeRequest{commit: graceful, quit: true, done: func(err error) { errs <- err }})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	<-ended
	var all []error
	for len(errs) > 0 {
		all = append(all, <-errs)
	}
	select {
	case err := <-e.failure:
		all = append(all, err)
	default:
	}
	for _, w := range e.workers {
		w.publish()
	}
	return errors.Join(all...)
}

// closeWorkers closes the ports of those workers that were opened.
func (e *Engine) closeWorkers() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, w := range e.workers {
		if w != nil {
			errs = append(errs, w.close(ctx))
		}
	}
	return errors.Join(errs...)
}

// sub finds a sub-topology by name.
func (e *Engine) sub(name string) *operators.SubTopology { return e.subs[name] }

// partitionsOf gives the partition count of a topic of the topology.
func (e *Engine) partitionsOf(topic string) int32 { return e.counts[topic] }

// crash lets a test end the process at a named step.
func (e *Engine) crash(step string) {
	if e.opts.Crash != nil {
		e.opts.Crash(step)
	}
}

// committed is told by a worker after each commit.
func (e *Engine) committed(w *worker) {
	w.publish()
	e.notify(committedEvent{})
}

// reassign is told by a worker that had to give up its tasks.
func (e *Engine) reassign(w *worker, ids []TaskID, fenced bool) {
	e.notify(reassignEvent{worker: w, ids: ids, fenced: fenced})
}

// notify passes an event on. Commits may be left out when the engine is busy:
// the next one says the same.
func (e *Engine) notify(event any) {
	if _, ok := event.(committedEvent); !ok {
		e.events <- event
		return
	}
	select {
	case e.events <- event:
	default:
	}
}
