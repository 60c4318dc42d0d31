package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/state"
)

// slot is a machine: a name, and what its disk holds.
type slot struct {
	name    string
	process *process // that runs there, nil = none
	lives   int
	disk    *disk   // as the last process left it
	old     []*disk // copies from earlier
}

// process is one life of the program.
type process struct {
	id        string
	slot      *slot
	transport *memlog.Transport
	disk      *disk
	stop      context.CancelFunc
	workers   int
	untilEnd  bool
	whole     bool // of a bounded run: it was calm when it began, so all there is is its to process
	// supervised: it outlives faults of its disk.
	supervised bool

	speed       int
	pausedUntil int // step
	kicked      bool
	full        bool // its disk was full at some time
	fenced      int  // commits that were refused by chance
	replaced    bool // another one runs in its place
	stopped     bool
	rival       bool // there is, or was, another process of the same name beside it

	// Guarded by the simulation's mu.
	dead  bool // killed: its gates are open, nobody looks at what it does
	ended bool
	err   error
}

// startProcess begins a life in a slot.
func (s *simulation) startProcess(sl *slot) {
	sl.lives++
	p := &process{id: fmt.Sprintf("%s.%d", sl.name, sl.lives), slot: sl, speed: 1 + s.rand.IntN(20), workers: 1 + s.rand.IntN(s.plan.workers)}
	p.disk = s.diskFor(sl)
	p.supervised = s.rand.IntN(2) == 0
	instance := ""
	if s.plan.static {
		instance = sl.name
	}
	p.transport = s.log.Transport(memlog.TransportConfig{Name: p.id, Group: "p", Instance: instance})
	p.untilEnd = !s.calm && s.rand.IntN(8) == 0 || s.work.bounded
	keepPlace := s.rand.IntN(2) == 0
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = func() { p.stopped = true; cancel() }
	opts := engine.Options{
		Topology: s.work.topology, Transport: p.transport, Clock: s.clock, Logger: s.logger(p), Workers: p.workers,
		ExactlyOnce: s.work.exactly, IdleTimeout: s.work.idle, CommitInterval: s.plan.commitInterval, UntilEnd: p.untilEnd, Instance: sl.name, KeepPlace: keepPlace,
		Standbys: s.plan.standbys, AcceptableLag: s.plan.acceptableLag, StateCleanup: s.plan.cleanup,
		MaxBuffered: 200 + s.rand.IntN(1<<16),
		Crash:       func(step string) { s.wait(p, step, nil) },
		Yield:       func(goroutine string) { s.wait(p, "goroutine "+goroutine, nil) },
	}
	if s.plan.racks {
		opts.Rack = sl.name
	}
	p.whole = p.untilEnd && s.calm && s.stable()
	s.mu.Lock()
	s.byID[p.id] = p
	s.mu.Unlock()
	sl.process = p
	for _, other := range s.processes {
		if other.slot == sl {
			p.rival, other.rival = true, true
		}
	}
	s.processes = append(s.processes, p)
	s.note("%s starts, %d workers, until end: %v, keeps its place: %v, supervised: %v", p.id, p.workers, p.untilEnd, keepPlace, p.supervised)
	go s.live(ctx, p, opts)
	synctest.Wait() // it comes to its first gate in this step, alone
}

// live is the life of a process.
func (s *simulation) live(ctx context.Context, p *process, opts engine.Options) {
	var err error
	store := &store{s, p, opts.Logger}
	if p.supervised {
		_, err = engine.Supervise(ctx, store, opts)
	} else if opts.State, err = store.Open(); err == nil {
		_, err = engine.Run(ctx, opts)
		err = errors.Join(err, opts.State.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.err, p.ended = err, true
}

// store is where a process keeps its state.
type store struct {
	s   *simulation
	p   *process
	log *slog.Logger
}

// Open implements engine.Store.
func (st *store) Open() (*state.DB, error) {
	db, err := state.Open(state.Options{Dir: "state", FS: st.p.disk, CacheBytes: 16 << 10, BlockCacheBytes: 64 << 10, MemTableBytes: 64 << 10,
		LoadBytes: 8 << 10, Logger: st.log})
	if err != nil {
		return nil, err
	}
	if err := st.s.checkBehind(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Quarantine implements engine.Store. Nothing here damages a state.
func (st *store) Quarantine() (string, []string, error) {
	return "", nil, errors.New("the state is taken for damaged")
}

// Probe implements engine.Store.
func (st *store) Probe() error {
	if st.p.disk.full.Load() {
		return state.ErrDiskFull
	}
	return nil
}

// checkBehind says whether the store is ahead of what the group has committed.
func (s *simulation) checkBehind(db *state.DB) error {
	if !s.work.exactly {
		return nil
	}
	committed := s.audit.decided()
	for _, sub := range s.work.topology.Subs {
		for part := range s.plan.partitions {
			task, err := db.OpenTask(sub.Name, part, sub.Tables)
			if err != nil {
				return err
			}
			for _, in := range sub.Inputs {
				tp := record.TopicPartition{Topic: in.Topic, Partition: part}
				stored, _ := task.Position(tp)
				if in.Table == "" && stored > committed[tp] {
					task.Abandon()
					return fmt.Errorf("store has %s/%d up to %d, the group has committed %d only", tp.Topic, tp.Partition, stored, committed[tp])
				}
			}
			task.Abandon()
		}
	}
	return nil
}

// diskFor is what a new process finds on its machine: mostly what the last one
// left; sometimes what a power cut left of it, nothing, or an old copy.
func (s *simulation) diskFor(sl *slot) *disk {
	if sl.disk == nil {
		return newDisk()
	}
	percent, found := 100, sl.disk
	if !s.calm && s.plan.weights[actKill] > 0 {
		switch s.rand.IntN(12) {
		case 0, 1, 2:
			percent = s.rand.IntN(101)
		case 3:
			s.note("%s has a new disk", sl.name)
			return newDisk()
		case 4:
			if len(sl.old) > 0 {
				found = sl.old[s.rand.IntN(len(sl.old))]
				s.note("%s has an old copy of its disk", sl.name)
			}
		}
	}
	d, err := found.cut(percent, s.rand)
	if err != nil {
		s.fail("cut power: %v", err)
		return newDisk()
	}
	if percent < 100 {
		s.note("%s has had a power cut, %d %% of what was not synced is there", sl.name, percent)
	}
	return d
}

// keep remembers a process's disk as it lies there now.
func (s *simulation) keep(p *process) {
	if p.replaced {
		return
	}
	sl := p.slot
	if sl.disk != nil && s.rand.IntN(2) == 0 {
		sl.old = append(sl.old, sl.disk)
		if len(sl.old) > 3 {
			sl.old = slices.Delete(sl.old, 0, 1)
		}
	}
	sl.disk = p.disk
	sl.disk.full.Store(false)
	sl.process = nil
}

// kill ends a process without a goodbye.
func (s *simulation) kill(p *process) {
	s.note("%s is killed", p.id)
	s.kills++
	d := &disk{FS: s.freeze(p)}
	s.bury(p)
	p.disk = d
	s.keep(p)
}

// freeze copies the disk with what is synced and what is not, so that a later
// power cut can still choose.
func (s *simulation) freeze(p *process) state.FS {
	percent := 100
	if s.rand.IntN(2) == 0 {
		percent = s.rand.IntN(101)
		s.note("%s: power cut, %d %% of what was not synced stays", p.id, percent)
	}
	d, err := p.disk.cut(percent, s.rand)
	if err != nil {
		s.fail("cut power: %v", err)
		return state.NewCrashFS()
	}
	return d.FS
}

// replace starts another process in the place of one that goes on running: its
// machine is taken for dead.
func (s *simulation) replace(p *process) {
	if p.replaced || p.untilEnd {
		return
	}
	s.note("%s is taken for dead and replaced", p.id)
	s.keep(p)
	p.replaced = true
	p.slot.disk = nil
	if len(p.slot.old) > 0 {
		p.slot.disk = p.slot.old[s.rand.IntN(len(p.slot.old))]
	}
	s.startProcess(p.slot)
}

// bury kills a process and waits until its goroutines have gone.
func (s *simulation) bury(p *process) {
	p.transport.Crash()
	p.stop() // for those who wait for something else than a port
	s.openAll(p)
	for range 100 {
		synctest.Wait()
		if p.over() {
			break
		}
		time.Sleep(time.Second)
	}
	if !p.over() {
		s.fail("%s does not end although it has crashed", p.id)
	}
	s.processes = slices.DeleteFunc(s.processes, func(o *process) bool { return o == p })
	p.stop()
}

// openAll lets the goroutines of a process that is dead run out.
func (s *simulation) openAll(p *process) {
	s.mu.Lock()
	p.dead = true
	mine := slices.Clone(s.gates)
	s.gates = slices.DeleteFunc(s.gates, func(g *gate) bool { return g.process == p })
	s.mu.Unlock()
	for _, g := range mine {
		if g.process == p {
			g.open <- memlog.Fault{}
		}
	}
}

func (p *process) over() bool { return p.ended }

// reap takes note of the processes that have ended by themselves.
func (s *simulation) reap() error {
	for _, p := range slices.Clone(s.processes) {
		if !p.ended {
			continue
		}
		s.note("%s ends: %v", p.id, p.err)
		s.processes = slices.DeleteFunc(s.processes, func(o *process) bool { return o == p })
		if err := s.judge(p); err != nil {
			return err
		}
		s.awaited.whole = s.awaited.whole || p.whole && p.err == nil && !p.stopped
		p.stop()
		p.transport.Crash() // it is a process that has exited
		s.openAll(p)        // a commit that was given up may still wait for its turn
		s.keep(p)
	}
	return nil
}

// judge says whether a process may have ended as it did.
func (s *simulation) judge(p *process) error {
	text := fmt.Sprint(p.err)
	switch {
	case p.err == nil && (p.stopped || p.untilEnd):
	case p.stopped && errors.Is(p.err, context.Canceled): // while it was starting
	case p.stopped && errors.Is(p.err, context.DeadlineExceeded): // it could not leave the group in time
	case errors.Is(p.err, errInjected):
	case p.full && (errors.Is(p.err, state.ErrDiskFull) || errors.Is(p.err, state.ErrFailed)):
	case p.kicked && strings.Contains(text, "membership ended"):
	case (p.fenced > 3 || p.rival) && strings.Contains(text, "another process runs as instance"):
	case p.rival && strings.Contains(text, "membership ended"):
	default:
		return fmt.Errorf("process %s has ended by itself: %v", p.id, p.err)
	}
	return nil
}
