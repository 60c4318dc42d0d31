package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// Monitor shows a run, with all its lives, to other goroutines while it goes
// on. The zero value is ready; Options.Monitor gives it to one run.
type Monitor struct {
	mu      sync.Mutex
	engine  *Engine     // of the present life, nil between two
	opts    Options     // of the last life; its Clock is nil before the first
	past    WorkerStats // of the lives that have ended
	why     string      // why nothing runs between two lives
	stopped bool
}

// Phase is where a run is in its life.
type Phase uint8

const (
	PhaseStarting  Phase = iota // before the first life
	PhaseRunning                // a life; whether its tasks run is another question
	PhaseSuspended              // between two lives: the local state, or the topics, are not what they must be
	PhaseStopped
)

func (p Phase) String() string {
	return [...]string{"starting", "running", "suspended", "stopped"}[p]
}

// Snapshot is a run at one moment. Its maps and slices are not to be changed.
type Snapshot struct {
	At    time.Time // by the run's clock; zero before the first life
	Phase Phase
	Stats Stats // of all lives
	// Joined says that the process is a member of the group, of Generation, and
	// was given Owned tasks.
	Joined     bool
	Owned      int
	Generation int32
	Workers    []WorkerView
	// StateErr is why the local state has failed, nil = it has not.
	StateErr error
	// StateBytes is what it takes on disk; CacheBytes of CacheLimit are rows in memory.
	StateBytes, CacheBytes, CacheLimit int64
}

// WorkerView is one worker of the present life.
type WorkerView struct {
	Index int
	// Turned is when its loop last began a turn. Due is when it has to begin the
	// next one at the latest: later than that, it is stuck.
	Turned, Due time.Time
	Alive       bool // it has begun and not ended
	Started     time.Time
	Published   time.Time // when Stats were taken
	Stats       WorkerStats
}

// Stuck says for how long the worker has been overdue, 0 = it is not.
func (v WorkerView) Stuck(now time.Time) time.Duration {
	if !v.Alive {
		return 0
	}
	return max(now.Sub(v.Due), 0)
}

// Snapshot takes the run down as it is. Callable from any goroutine.
func (m *Monitor) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	var snap Snapshot
	snap.Stats.add(m.past)
	if m.opts.Clock == nil {
		return snap
	}
	snap.At = m.opts.Clock.Now()
	switch e := m.engine; {
	case e != nil:
		snap.Phase = PhaseRunning
		e.show(&snap)
	case m.stopped:
		snap.Phase = PhaseStopped
		snap.Stats.Incidents = incidentsOf(m.opts)
	default:
		snap.Phase = PhaseSuspended
		snap.Stats.Suspended = m.why
		snap.Stats.Incidents = incidentsOf(m.opts)
	}
	return snap
}

// begin is the start of a life.
func (m *Monitor) begin(e *Engine) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.engine, m.opts, m.why, m.stopped = e, e.opts, "", false
}

// end is the end of a life, with what it did. It is the run's end unless
// suspend follows.
func (m *Monitor) end(stats WorkerStats) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past.add(stats)
	m.engine, m.stopped = nil, true
}

// suspend says why nothing runs until the next life begins.
func (m *Monitor) suspend(opts Options, why string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opts, m.why, m.stopped = opts, why, false
}

// membership is what the group has given this process.
type membership struct {
	joined     bool
	owned      int
	generation int32
}

// noteMembership makes it visible to others.
func (e *Engine) noteMembership(event GroupEvent) {
	now := membership{joined: !event.Lost, owned: len(event.Tasks), generation: event.Meta.Generation}
	if event.Lost {
		now.owned = 0
	}
	e.statsLock.Lock()
	e.member = now
	e.statsLock.Unlock()
}

// show fills snap with the present life.
func (e *Engine) show(snap *Snapshot) {
	now := e.Stats()
	snap.Stats.add(now.WorkerStats)
	snap.Stats.Tasks, snap.Stats.Running, snap.Stats.Standbys = now.Tasks, now.Running, now.Standbys
	snap.Stats.Incidents = now.Incidents
	e.statsLock.Lock()
	defer e.statsLock.Unlock()
	snap.Joined, snap.Owned, snap.Generation = e.member.joined, e.member.owned, e.member.generation
	for index := range e.pulses {
		v := WorkerView{Index: index, Stats: e.stats[index], Started: e.began}
		v.Turned, v.Due, v.Alive = e.pulses[index].read()
		v.Published = v.Stats.published
		snap.Workers = append(snap.Workers, v)
	}
	if db := e.opts.State; db != nil {
		snap.StateErr = db.Err()
		snap.StateBytes = db.DiskBytes()
		cache := db.CacheStats()
		snap.CacheBytes, snap.CacheLimit = cache.Used, cache.Limit
	}
}

const (
	// turnLimit is how long a turn of a worker's loop may take, the wait for
	// something to do included, before the worker counts as stuck.
	turnLimit = time.Minute
	// longTurnLimit is the same for a turn that puts a restored table on disk,
	// which takes as long as the table is large.
	longTurnLimit = 30 * time.Minute
)

// pulse says when a worker last turned and when it has to turn again. The
// worker writes it once per turn of its loop.
type pulse struct{ turned, due atomic.Int64 } // unix ns

func (p *pulse) beat(now time.Time, limit time.Duration) {
	p.turned.Store(now.UnixNano())
	p.due.Store(now.Add(limit).UnixNano())
}

// extend gives the present turn more time.
func (p *pulse) extend(now time.Time, limit time.Duration) {
	p.due.Store(now.Add(limit).UnixNano())
}

// stop ends the expectation of further turns.
func (p *pulse) stop() { p.due.Store(0) }

// read gives the times; ok is false for a worker that has not begun, or has ended.
func (p *pulse) read() (turned, due time.Time, ok bool) {
	until := p.due.Load()
	return time.Unix(0, p.turned.Load()), time.Unix(0, until), until != 0
}

// turnLimit is the limit for an ordinary turn: one that waits for the time of
// the next commit is as long as the interval.
func (e *Engine) turnLimit() time.Duration { return turnLimit + e.opts.CommitInterval }
