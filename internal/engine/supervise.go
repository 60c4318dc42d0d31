package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"streamctl/state"
)

// A process outlives its local state. Supervise runs the engine life by life:
//
//	            +------> open the state -----> Run -----> done, or a failure of another kind
//	            |              |                |
//	            |              +--- a fault of the state, or topics that have changed
//	            |                               |
//	            +-- damaged: put aside, at once |
//	            +-- disk full: wait for space --+
//	            +-- cannot be read or written: wait a little
//	            +-- topics have changed: soon
//
// Between two lives the process is not a member of the group: its tasks are
// others', if there are any. What was committed in Kafka before the fault stays;
// nothing is committed after it, since a task that cannot keep its state must not
// go on. Kafka has everything that the state held, so the next life begins where
// Kafka says and reads what the state misses.

// Store is where a process keeps its local state. state.Directory is one.
type Store interface {
	// Open opens the state. The errors that count here are state.ErrCorrupt and
	// state.ErrDiskFull.
	Open() (*state.DB, error)
	// Quarantine puts a damaged state aside and says where it is now, and which
	// ones put aside earlier were deleted for it.
	Quarantine() (kept string, deleted []string, err error)
	// Probe says whether there is space: state.ErrDiskFull when there is none.
	Probe() error
}

const (
	// firstRest and longestRest bound the wait before the next life: it doubles
	// from one to the next.
	firstRest   = time.Second
	longestRest = 30 * time.Second
	// calmAfter is how long a life has to be for the one after to wait like the first.
	calmAfter = time.Minute
	// faultLimit and faultWindow: a state that is damaged, or fails to be read or
	// written, more often than this lies on a disk that cannot be trusted.
	faultLimit  = 5
	faultWindow = time.Hour
)

// errTopicsChanged ends a life whose topics are no more what they were at its
// start; the next one takes them as they are, or refuses them.
var errTopicsChanged = errors.New("topics have changed")

// Supervise is Run through faults of the local state: it opens the state in
// store, runs, and when the state fails or is damaged begins anew. It returns
// what Run returns for everything else. Stats are those of all lives.
func Supervise(ctx context.Context, store Store, opts Options) (Stats, error) {
	s := &supervisor{store: store, opts: opts.withDefaults(), rest: firstRest}
	s.opts.incidents = &IncidentCounts{}
	s.log = s.opts.Logger
	for {
		began := s.opts.Clock.Now()
		err := s.live(ctx)
		if err == nil || ctx.Err() != nil {
			return s.stats(""), err
		}
		if s.opts.Clock.Now().Sub(began) >= calmAfter {
			s.rest = firstRest
		}
		if err := s.recover(ctx, err); err != nil {
			return s.stats(""), err
		}
		if ctx.Err() != nil {
			return s.stats(""), nil // told to stop between two lives
		}
	}
}

// supervisor is what lasts over the lives.
type supervisor struct {
	store Store
	opts  Options
	log   *slog.Logger
	past  WorkerStats // of the lives that have ended
	// fault is why the state of the last life failed, nil = something else failed.
	fault  error
	rest   time.Duration
	faults []time.Time
}

// live is one life: from the opening of the state to its close.
func (s *supervisor) live(ctx context.Context) error {
	s.fault = nil
	db, err := s.store.Open()
	if err != nil {
		if errors.Is(err, state.ErrCorrupt) || errors.Is(err, state.ErrDiskFull) {
			s.fault = err
		}
		return fmt.Errorf("open state: %w", err)
	}
	opts := s.opts
	opts.State = db
	if s.opts.Progress != nil {
		opts.Progress = func(now Stats) { s.opts.Progress(s.sum(now)) }
	}
	stats, err := Run(ctx, opts)
	s.past.add(stats.WorkerStats)
	if err != nil {
		s.fault = db.Err()
	}
	return errors.Join(err, db.Close())
}

// recover does what has to be done before the next life. It returns the error
// when there shall be none.
func (s *supervisor) recover(ctx context.Context, err error) error {
	switch {
	case errors.Is(s.fault, state.ErrDiskFull):
		s.opts.incidents.Add(IncidentStateFull)
		return s.awaitSpace(ctx)
	case errors.Is(s.fault, state.ErrCorrupt):
		s.opts.incidents.Add(IncidentStateCorrupt)
		if tooOften := s.countFault(); tooOften {
			return fmt.Errorf("local state was damaged %d times within %s; the disk cannot be trusted: %w", len(s.faults), faultWindow, err)
		}
		kept, deleted, asideErr := s.store.Quarantine()
		if asideErr != nil {
			return errors.Join(err, asideErr)
		}
		s.log.Warn("local state is damaged and will be rebuilt", "error", s.fault, "kept_in", kept, "deleted", deleted)
		s.report(s.fault)
		return nil
	case s.fault != nil:
		if tooOften := s.countFault(); tooOften {
			return fmt.Errorf("local state failed %d times within %s; the disk cannot be trusted: %w", len(s.faults), faultWindow, err)
		}
		s.log.Error("local state cannot be read or written: the tasks are given up and tried again", "cause", s.fault, "in", s.rest)
		s.report(s.fault)
		s.wait(ctx)
		return nil
	case errors.Is(err, errTopicsChanged):
		s.log.Warn("topics have changed: starting again with what they are now", "cause", err)
		s.report(err)
		s.wait(ctx)
		return nil
	}
	return err
}

// countFault says whether the state has failed too often.
func (s *supervisor) countFault() bool {
	now := s.opts.Clock.Now()
	s.faults = slices.DeleteFunc(s.faults, func(at time.Time) bool { return now.Sub(at) > faultWindow })
	s.faults = append(s.faults, now)
	return len(s.faults) > faultLimit
}

// awaitSpace returns when the disk takes writes again, or when ctx ends.
func (s *supervisor) awaitSpace(ctx context.Context) error {
	s.log.Error("the disk of the local state is full: the tasks are given up until there is space", "cause", s.fault)
	for ctx.Err() == nil {
		s.report(s.fault)
		s.wait(ctx)
		err := s.store.Probe()
		if err == nil {
			s.log.Info("there is space for the local state again")
			return nil
		}
		s.log.Warn("the disk of the local state is still full", "cause", err, "next_try_in", s.rest)
	}
	return nil
}

// wait lets the rest pass, or ctx end, and makes the next one longer.
func (s *supervisor) wait(ctx context.Context) {
	over := make(chan struct{})
	stop := s.opts.Clock.AfterFunc(s.rest, func() { close(over) })
	select {
	case <-over:
	case <-ctx.Done():
		stop()
	}
	s.rest = min(2*s.rest, longestRest)
}

// report tells that nothing runs, and why.
func (s *supervisor) report(cause error) {
	s.opts.Monitor.suspend(s.opts, cause.Error())
	if s.opts.Progress != nil {
		s.opts.Progress(s.stats(cause.Error()))
	}
}

// sum adds what the lives before have done to what the present one has.
func (s *supervisor) sum(now Stats) Stats {
	now.add(s.past)
	return now
}

// stats is the state of affairs between two lives.
func (s *supervisor) stats(suspended string) Stats {
	return s.sum(Stats{Incidents: incidentsOf(s.opts), Suspended: suspended})
}

// incidentsOf merges the counts of the ports and of the engine.
func incidentsOf(o Options) map[string]int64 {
	sum := make(map[string]int64)
	maps.Copy(sum, o.Transport.Incidents())
	for name, n := range o.incidents.All() {
		sum[name] += n
	}
	return sum
}
