package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"streamctl/internal/record"
	"streamctl/operators"
)

// stepRecords is how many records a task may process before its worker looks
// at its other tasks, its mailbox and the clock.
const stepRecords = 2048

// idleWait is how long a worker waits at a time when nothing happens: everything
// that concerns it wakes it earlier.
const idleWait = 200 * time.Millisecond

// worker is one goroutine that owns its tasks, their state and one producer.
// Others speak to it through its mailbox only.
type worker struct {
	engine   *Engine
	index    int
	log      *slog.Logger
	source   Source
	producer Producer
	mailbox  mailbox

	tasks  map[TaskID]*task
	order  []*task // tasks in the order they came, for fairness
	routes map[record.TopicPartition]*task

	standbys []*standby
	follows  map[record.TopicPartition]*follower // what standbys read

	group      GroupMeta
	now        time.Time
	nowMillis  int64
	lastCommit time.Time
	inflight   *commitRun
	fenced     bool         // the producer has been fenced, a new one is on its way
	waiting    []*startInfo // tasks that start when it has come
	overtaken  bool         // somebody else has gone further: what is not committed is to be given up
	closing    *closeRequest
	stats      WorkerStats
	announced  status
	published  time.Time
	pulse      *pulse
	topics     map[string]*TopicStats // what stats.Topics is made of
}

// mailbox carries messages to a worker; put wakes its Poll.
type mailbox struct {
	mu       sync.Mutex
	messages []any
	wake     func()
}

func (m *mailbox) put(message any) {
	m.mu.Lock()
	m.messages = append(m.messages, message)
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) take() []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.messages
	m.messages = nil
	return out
}

// startRequest hands tasks to the worker.
type startRequest struct {
	meta  GroupMeta
	infos []*startInfo
	// standbys: they are not to run, only their state is kept.
	standbys bool
	// producer, when set, takes the place of the worker's own.
	producer Producer
}

// metaRequest tells the worker its generation.
type metaRequest struct{ meta GroupMeta }

// closeRequest takes tasks away, as standbys too: one that was to be promoted may not have
// been yet. With commit, what they did is committed first; without, it is forgotten. done is
// called when they are closed.
type closeRequest struct {
	ids      []TaskID // nil = all
	commit   bool
	quit     bool // the worker ends
	standbys bool // of ids, only standbys are meant
	done     func(error)
}

// run is the worker's life; it returns when it was told to quit, or with the
// failure that must stop the pipeline.
func (w *worker) run() error {
	defer w.pulse.stop()
	for {
		w.now = w.engine.opts.Clock.Now()
		w.nowMillis = w.now.UnixMilli()
		w.pulse.beat(w.now, w.engine.turnLimit())
		quit, err := w.readMail()
		if err != nil || quit {
			return err
		}
		if err := w.giveUpOvertaken(); err != nil {
			return err
		}
		progressed, err := w.process()
		if err != nil {
			return err
		}
		if err := w.tellTime(); err != nil {
			return err
		}
		if err := w.maybeCommit(progressed); err != nil {
			return err
		}
		if err := w.keepStandbys(); err != nil {
			return err
		}
		w.announce()
		for _, f := range w.poll(w.pollWait(progressed)) {
			if err := w.route(f); err != nil {
				return err
			}
		}
	}
}

// readMail handles what others have sent.
func (w *worker) readMail() (quit bool, err error) {
	for _, message := range w.mailbox.take() {
		switch m := message.(type) {
		case *startRequest:
			if err := w.begin(m); err != nil {
				return false, err
			}
		case *metaRequest:
			w.group = m.meta
		case *giveUpRequest:
			if err := w.giveUpCommit(); err != nil {
				return false, err
			}
		case *closeRequest:
			if m.standbys {
				m.done(w.closeStandbys(m.ids))
				continue
			}
			if m.commit && !m.quit {
				w.engine.crash(CrashBeforeRevoke)
			}
			w.closing = m
			w.suspend(m)
		case *commitRun:
			if err := w.commitDone(m); err != nil {
				return false, err
			}
		case *idleAnswer:
			if err := w.advanceIdle(m); err != nil {
				return false, err
			}
		}
	}
	return w.serveClose()
}

// begin starts the tasks of a request. A worker whose producer has been fenced
// waits for a new one first: what a task would send through the old one
// would be lost with it, and its offsets committed by the new one.
func (w *worker) begin(m *startRequest) error {
	w.group = m.meta
	infos, begin := m.infos, w.startTask
	switch {
	case m.standbys:
		begin = w.startStandby
	case m.producer != nil:
		w.renew(m.producer)
		infos = append(w.waiting, infos...)
		w.fenced, w.waiting = false, nil
	case w.fenced:
		w.waiting = append(w.waiting, infos...)
		return nil
	}
	for _, info := range infos {
		if err := begin(info); err != nil {
			return err
		}
	}
	return nil
}

// renew puts a new producer in the place of a fenced one.
func (w *worker) renew(producer Producer) {
	if producer == nil {
		return
	}
	old := w.producer
	w.producer = producer
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := old.Close(ctx); err != nil {
		w.log.Debug("close of a fenced producer failed", "cause", err)
	}
}

// process lets every task do some work, as long as what was sent is taken.
func (w *worker) process() (bool, error) {
	progressed := false
	for _, t := range w.order {
		if w.producer.Buffered() > w.engine.opts.MaxBuffered {
			return progressed, nil
		}
		if t.state == taskRestoring && len(t.restore) > 0 {
			if err := w.finishRestore(t); err != nil {
				return progressed, err
			}
		}
		if t.gated || w.engine.opts.UntilEnd {
			w.applyBounds(t)
		}
		n, err := t.step(stepRecords, w.source.Release)
		if err != nil {
			return progressed, err
		}
		w.stats.Processed += int64(n) - t.heard
		t.heard = 0
		progressed = progressed || n > 0
	}
	return progressed, nil
}

// pollWait is how long Poll may wait for something to happen.
func (w *worker) pollWait(progressed bool) time.Duration {
	switch {
	case progressed:
		return 0
	case w.producer.Buffered() > w.engine.opts.MaxBuffered:
		return 2 * time.Millisecond // acknowledgements do not wake us
	case w.inflight == nil && w.dirty():
		if left := w.lastCommit.Add(w.engine.opts.CommitInterval).Sub(w.now); left > 0 {
			return w.untilTimer(left)
		}
		return 0
	}
	return w.untilTimer(idleWait)
}

// fetch starts to read tp for t.
func (w *worker) fetch(tp record.TopicPartition, offset int64, t *task) {
	w.routes[tp] = t
	w.source.Start(tp, offset, ReadCommitted)
}

// route gives a fetch to the task that reads its partition.
func (w *worker) route(f *Fetched) error {
	if standby := w.follows[f.TP]; standby != nil {
		return w.follow(standby, f)
	}
	t, ok := w.routes[f.TP]
	if !ok {
		w.source.Release(f)
		return nil
	}
	if f.Err != nil {
		return w.fetchFailed(t, f)
	}
	read := w.topic(f.TP.Topic)
	read.Read += int64(len(f.Records))
	read.ReadBytes += int64(f.Bytes)
	if r := t.restoreOf(f.TP); r != nil {
		return w.load(t, r, f)
	}
	in := t.input(f.TP)
	if in == nil {
		w.source.Release(f)
		return nil
	}
	if in.skipToEnd {
		w.skipToEnd(t, in, f)
		return nil
	}
	in.accept(f)
	return nil
}

// suspend stops the tasks of a close request from processing.
func (w *worker) suspend(m *closeRequest) {
	w.waiting = slices.DeleteFunc(w.waiting, func(info *startInfo) bool { return m.ids == nil || slices.Contains(m.ids, info.id) })
	for _, t := range w.order {
		if m.ids != nil && !slices.Contains(m.ids, t.id) {
			continue
		}
		// A task that still restores has done nothing that needs a commit.
		if t.state == taskRunning || t.state == taskRestoring {
			_ = t.transition(taskSuspended)
		}
		for _, r := range t.restore {
			w.source.Stop(r.tp)
			delete(w.routes, r.tp)
		}
		t.restore = nil
		for _, in := range t.inputs {
			if in.started {
				w.source.Stop(in.tp)
			}
			delete(w.routes, in.tp)
		}
	}
}

// serveClose goes on with a close request: first the commit that is under way,
// then one with what the tasks have done since, then the closing itself.
func (w *worker) serveClose() (quit bool, err error) {
	m := w.closing
	if m == nil {
		return false, nil
	}
	if w.inflight != nil {
		if m.commit || !m.quit {
			// Also where the group has taken the tasks away: the commit is refused then,
			// or it came before. The producer cannot do another one meanwhile.
			return false, nil
		}
		w.inflight.forget = true
	}
	if m.commit && w.leavingDirty() {
		return false, w.beginCommit()
	}
	w.closing = nil
	if !m.commit {
		// What the tasks have sent must not ride along with a later commit.
		w.producer.Discard()
	}
	for _, t := range slices.Clone(w.order) {
		if t.state != taskSuspended {
			continue
		}
		if err := w.closeTask(t, m.commit); err != nil {
			m.done(err)
			return m.quit, err
		}
	}
	if err := w.closeStandbys(m.ids); err != nil {
		m.done(err)
		return m.quit, err
	}
	m.done(nil)
	return m.quit, nil
}

// closeTask lets go of a task. keep = its state is committed and stays as it is.
func (w *worker) closeTask(t *task, keep bool) error {
	hits, misses := t.store.Lookups()
	w.stats.CacheHits += hits
	w.stats.CacheMisses += misses
	delete(w.tasks, t.id)
	w.order = slices.DeleteFunc(w.order, func(o *task) bool { return o == t })
	if err := t.transition(taskClosed); err != nil {
		return err
	}
	if !keep {
		t.store.Abandon()
		return nil
	}
	if err := t.store.Close(); err != nil {
		return fmt.Errorf("close state of task %s: %w", t.id, err)
	}
	return nil
}

// leavingDirty says whether a task that is being closed has something to commit.
// The others may have at any time: under load there is always something.
func (w *worker) leavingDirty() bool {
	for _, t := range w.order {
		if t.state == taskSuspended && t.dirty() {
			return true
		}
	}
	return false
}

// dirty says whether any task has something to commit.
func (w *worker) dirty() bool {
	for _, t := range w.order {
		if t.dirty() {
			return true
		}
	}
	return false
}

// drained says that a bounded run has nothing left to do here.
func (w *worker) drained() bool {
	for _, t := range w.order {
		if !t.drained() {
			return false
		}
	}
	return true
}

// close ends the worker's ports.
func (w *worker) close(ctx context.Context) error {
	for _, t := range w.order {
		t.store.Abandon()
	}
	for _, s := range w.standbys {
		s.task.store.Abandon()
	}
	w.source.Close()
	return w.producer.Close(ctx)
}

// sortTablesFirst orders the inputs of a task; the order of equals is kept.
func sortTablesFirst(inputs []*input) {
	slices.SortStableFunc(inputs, func(a, b *input) int {
		switch {
		case a.isTable() == b.isTable():
			return 0
		case a.isTable():
			return -1
		}
		return 1
	})
}

// emitter sends what one task emits through its worker's producer.
type emitter struct {
	worker  *worker
	task    *task
	outputs []operators.OutputSpec
	sent    []*TopicStats // per output
	timed   []bool        // per output: records carry what the task promises
	headers []record.Header
	value   []byte
}

func newEmitter(w *worker, t *task) *emitter {
	e := &emitter{worker: w, task: t, outputs: t.sub.Outputs}
	for _, out := range t.sub.Outputs {
		e.sent = append(e.sent, w.topic(out.Topic))
		e.timed = append(e.timed, w.engine.carriesTime(out.Topic))
	}
	return e
}

// Emit implements operators.Emitter.
func (e *emitter) Emit(out int, partition int32, rec record.Record) {
	e.worker.stats.Emitted++
	e.sent[out].count(rec)
	if e.timed[out] {
		rec.Headers = e.promise(rec)
	}
	e.worker.producer.Send(record.TopicPartition{Topic: e.outputs[out].Topic, Partition: partition}, rec)
}

// promise gives the headers of a record with what the task promises. They hold until
// the next one.
func (e *emitter) promise(rec record.Record) []record.Header {
	e.value = appendPromise(e.value[:0], e.task.shortName, e.task.id.Partition, e.task.promise, rec.Time)
	e.headers = append(append(e.headers[:0], rec.Headers...), record.Header{Key: timeHeader, Value: e.value})
	return e.headers
}
