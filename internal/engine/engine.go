package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
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
	// IdleTimeout is how long nothing must come, with everything read, before a task's
	// stream time follows the wall clock; default 30 s, negative = never. A bounded
	// run never does.
	IdleTimeout time.Duration
	// UntilEnd processes what the topics held at the start, commits, and returns.
	UntilEnd bool
	// Instance names this process among those of the pipeline, the same after a
	// restart: transactional ids derive from it.
	Instance string
	// KeepPlace leaves the process's tasks its own until its session ends, so that
	// a restart within it moves nothing. Otherwise the end of the run hands them over at once.
	KeepPlace bool
	// Standbys is how many copies of the state of every task the group keeps beside
	// the one that runs; all processes of a pipeline should say the same.
	Standbys int
	// AcceptableLag: a process whose copy lags no more records takes a task over
	// without a warm-up; default 10,000.
	AcceptableLag int64
	// Rack names the failure domain: copies go to other racks than the task; "" = not known.
	Rack string
	// StateCleanup is how long the state of a task that is at home elsewhere is kept
	// for the case that it comes back; default 10 minutes.
	StateCleanup time.Duration
	// Plan names what the pipeline means: the group takes in only processes that
	// name the same. "" = whoever runs the same tasks.
	Plan string
	// Rows names, for each table, the rows that belong to it; those of another name
	// are dropped wherever they lie. A table that is not in it takes what there is.
	Rows map[string]string
	// Joined is called when the group has taken the process in, before its first
	// task starts; an error ends the run. It may be nil.
	Joined func(context.Context) error
	// MaxBuffered is how many bytes a worker may have sent and not yet acknowledged; default 8 MiB.
	MaxBuffered int
	// Crash is called at the named steps of a commit; nil outside tests.
	Crash func(step string)
	// Yield is called where a goroutine begins or has been woken by another one of
	// the engine, with its name; nil outside simulations.
	Yield func(goroutine string)
	// Asked is told when a worker has asked the engine for something that it goes on
	// without, and is woken for (1), and when it has the answer (-1); nil outside tests.
	Asked func(int)
	// Ready is called once, when the group is joined and all tasks run, be there none.
	Ready func()
	// Progress is called from time to time with where the run is; may be nil.
	Progress func(Stats)
	// Monitor shows the run to others while it goes on; may be nil.
	Monitor *Monitor

	incidents *IncidentCounts // over the lives of a supervised run
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
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.AcceptableLag == 0 {
		o.AcceptableLag = 10_000
	}
	if o.StateCleanup == 0 {
		o.StateCleanup = 10 * time.Minute
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = 8 << 20
	}
	if o.incidents == nil {
		o.incidents = &IncidentCounts{}
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
	if o.CommitInterval < 0 || o.Workers < 0 || o.MaxBuffered < 0 || o.Standbys < 0 || o.AcceptableLag < 0 || o.StateCleanup < 0 {
		faults = append(faults, errors.New("engine options: negative number"))
	}
	return errors.Join(faults...)
}

// Engine is one process's share of a running pipeline.
type Engine struct {
	opts   Options
	log    *slog.Logger
	subs   map[string]*operators.SubTopology
	counts map[string]int32     // partitions of every topic of the topology
	found  map[string]TopicInfo // the topics that existed at the start
	timed  map[string]bool      // the topics in which tasks tell their time
	// tombstones is how long a topic keeps deletions, ms, where it says so.
	tombstones map[string]int64
	limits     map[string]*atomic.Int64 // how large records may be, by topic
	tasks      []TaskInfo
	workers    []*worker
	bounds     *bounds
	purge      *purger
	events     chan any
	failure    chan error

	owner map[TaskID]*worker // where each owned task runs
	ownership
	keeper     *keeper
	background sync.WaitGroup // everything that runs beside workers and engine

	told      <-chan struct{} // closed when the run is to stop
	meta      GroupMeta
	readied   bool
	shared    atomic.Bool // others have tasks, or are about to
	statsLock sync.Mutex
	stats     map[int]WorkerStats
	member    membership // as the group said last
	began     time.Time
	pulses    []pulse // of the workers
	teller    teller  // of how far restores are
}

// committedEvent says that a worker has committed, statusEvent that its tasks
// have come to run or to their end, reassignEvent that it lost its tasks to a
// failed commit.
type committedEvent struct{}

type statusEvent struct{}

type reassignEvent struct {
	worker *worker
	ids    []TaskID
	cause  cause
	group  GroupMeta // as whose the commit was begun
}

// Run runs the topology until ctx ends (graceful: what was done is committed),
// until everything is processed (UntilEnd), or until a failure.
func Run(ctx context.Context, opts Options) (Stats, error) {
	if err := opts.Validate(); err != nil {
		return Stats{}, err
	}
	e := &Engine{
		opts: opts.withDefaults(), subs: make(map[string]*operators.SubTopology),
		events: make(chan any, 1024), failure: make(chan error, 1), owner: make(map[TaskID]*worker), ownership: newOwnership(), stats: make(map[int]WorkerStats),
	}
	e.log = e.opts.Logger
	for _, sub := range opts.Topology.Subs {
		e.subs[sub.Name] = sub
	}
	e.began, e.pulses = e.opts.Clock.Now(), make([]pulse, e.opts.Workers)
	e.opts.Monitor.begin(e)
	defer func() { e.opts.Monitor.end(e.Stats().WorkerStats) }()
	if err := e.prepareTopics(ctx); err != nil {
		return Stats{}, err
	}
	e.findTimed()
	if err := e.arrangeState(); err != nil {
		return Stats{}, err
	}
	err := e.run(ctx)
	return e.Stats(), err
}

// run starts the parts, serves events, and stops the parts.
func (e *Engine) run(ctx context.Context) (err error) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	e.told = ctx.Done()
	e.bounds = newBounds(e)
	if err := e.bounds.takeOuterEnds(ctx); err != nil {
		return err
	}
	var running sync.WaitGroup
	if err := e.startWorkers(ctx, &running); err != nil {
		e.closeWorkers()
		return err
	}
	e.yield("engine")
	e.purge = newPurger(e)
	e.keeper = newKeeper(e)
	e.background.Go(func() { e.bounds.follow(inner) })
	e.background.Go(func() { e.purge.run(inner) })
	e.background.Go(func() { e.watchTopics(inner) })
	group, err := e.opts.Transport.Join(ctx, Membership{
		Instance: e.opts.Instance, Plan: e.opts.Plan, Tasks: e.tasks, Held: e.heldAtStart(ctx), Workers: e.opts.Workers,
		Rack: e.opts.Rack, Standbys: e.opts.Standbys, AcceptableLag: e.opts.AcceptableLag,
	})
	if err == nil {
		e.keeper.group = group
		e.background.Go(func() { e.keeper.run(inner) })
		err = e.serve(ctx, inner, group)
		graceful := err == nil
		limited := e.limitStop(ctx)
		err = errors.Join(err, e.stopWorkers(ctx, graceful, &running))
		limited()
		leave, done := context.WithTimeout(inner, 5*time.Second)
		// Who has no state cannot keep a place: others take over at once.
		e.part("the group was not left: it will notice when the session is over", group.Leave(leave, e.opts.KeepPlace && e.opts.State.Err() == nil))
		done()
	} else {
		err = errors.Join(err, e.stopWorkers(ctx, false, &running))
	}
	cancel()
	e.background.Wait()
	if err == nil {
		e.purge.flush(context.WithoutCancel(ctx))
	}
	e.closeWorkers()
	return err
}

// startWorkers opens the ports of every worker, in parallel, and starts them.
func (e *Engine) startWorkers(ctx context.Context, running *sync.WaitGroup) error {
	e.workers = make([]*worker, e.opts.Workers)
	failed := make([]error, e.opts.Workers)
	var opening sync.WaitGroup
	for i := range e.workers {
		opening.Go(func() {
			e.yield(fmt.Sprint("open worker ", i))
			e.workers[i], failed[i] = e.openWorker(ctx, i)
		})
	}
	opening.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, w := range e.workers {
		running.Go(func() {
			e.yield(fmt.Sprint("worker ", w.index))
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
		follows: make(map[record.TopicPartition]*follower),
		topics:  make(map[string]*TopicStats), pulse: &e.pulses[i],
	}
	w.mailbox.wake = source.Wake
	return w, nil
}

// openProducer opens the producer of worker i, which ends what an earlier one
// of the same name has left open.
func (e *Engine) openProducer(ctx context.Context, i int) (Producer, error) {
	id := transactionalID(e.opts.Topology.Pipeline, e.opts.Instance, i)
	producer, err := e.opts.Transport.NewProducer(ctx, id, e.opts.ExactlyOnce)
	if err != nil {
		return nil, fmt.Errorf("open producer of worker %d: %w", i, err)
	}
	return producer, nil
}

// serve handles group and worker events until the run ends.
func (e *Engine) serve(ctx, inner context.Context, group Coordinator) error {
	for {
		event, err := e.await(ctx, group)
		if event == nil || err != nil {
			return err
		}
		e.yield("engine")
		if ev, ok := event.(GroupEvent); ok {
			if err := e.assigned(inner, ev); err != nil {
				return err
			}
			if len(e.owner) == 0 && !ev.Lost { // no worker has anything to tell
				e.tellReady(e.Stats())
			}
			if e.opts.UntilEnd && e.ended(e.Stats()) { // likewise: nobody else would look
				return nil
			}
			continue
		}
		done, err := e.handle(inner, event)
		if err != nil || done {
			return err
		}
	}
}

// handle serves one event of a worker.
func (e *Engine) handle(ctx context.Context, event any) (done bool, err error) {
	switch ev := event.(type) {
	case reassignEvent:
		return false, e.givenUp(ctx, ev)
	case startedEvent:
		return false, e.started(ev)
	case standbyLostEvent:
		if e.follower[ev.id] != nil {
			e.startStandbys(ctx, []TaskID{ev.id})
		}
	case committedEvent:
		e.bounds.poke()
	case idleQuestion:
		e.beside(ctx, "idle "+ev.task.id.String(), func() any { return e.answerIdle(ctx, ev) })
		return false, nil
	case idleAnswer:
		ev.worker.mailbox.put(&ev)
		return false, nil
	}
	now := e.Stats()
	e.teller.tell(e, now)
	if e.opts.Progress != nil {
		e.opts.Progress(now)
	}
	e.tellReady(now)
	return e.opts.UntilEnd && e.ended(now), nil
}

// tellReady calls Options.Ready the first time that all tasks run.
func (e *Engine) tellReady(now Stats) {
	if e.readied || !e.allRunning(now) {
		return
	}
	e.readied = true
	e.log.Info("ready", "tasks", len(e.owner))
	if e.opts.Ready != nil {
		e.opts.Ready()
	}
}

// ended says that a bounded run has come to its end: nothing is left of what is
// this process's own, nor of what others have. A process that keeps its place in
// the group while it is gone has tasks, too: they are waited for, and taken over
// when its session ends.
func (e *Engine) ended(now Stats) bool {
	switch {
	case e.bounds.reached.Load():
		return true
	case !e.allDrained(now):
		return false
	case len(e.owner) == len(e.tasks):
		return true
	}
	if !e.bounds.wanted.Swap(true) {
		e.bounds.poke()
	}
	return false
}

// stopWorkers ends all workers; when graceful, what they did is committed.
func (e *Engine) stopWorkers(ctx context.Context, graceful bool, running *sync.WaitGroup) error {
	errs := make(chan error, len(e.workers))
	for _, w := range e.workers {
		w.mailbox.put(&closeRequest{commit: graceful, quit: true, done: func(err error) { errs <- err }})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	<-ended
	e.yield("engine")
	var all []error
	for len(errs) > 0 {
		all = append(all, e.excuse(ctx, <-errs))
	}
	select {
	case err := <-e.failure:
		all = append(all, e.excuse(ctx, err))
	default:
	}
	for _, w := range e.workers {
		w.publish()
	}
	return errors.Join(all...)
}

// closeWorkers closes the ports of those workers that were opened.
func (e *Engine) closeWorkers() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, w := range e.workers {
		if w != nil {
			e.part("a producer was not closed: the broker will abort what it left open", w.close(ctx))
		}
	}
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
