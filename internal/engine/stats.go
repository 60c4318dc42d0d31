package engine

import (
	"maps"
	"time"

	"streamctl/operators"
)

// WorkerStats is what one worker has done since it started.
type WorkerStats struct {
	Processed    int64 // records processed
	Emitted      int64 // records sent by operators (changelogs not counted)
	Commits      int64
	Aborts       int64 // commits that failed and were done again
	Restored     int64 // records read to rebuild tables
	FullRestores int64 // tables rebuilt from the beginning
	Followed     int64 // records read to keep standbys up to date
	Tasks        int
	Running      int
	Standbys     int
	Drained      bool // a bounded run has nothing left to do here
	Restore      RestoreProgress
	Counters     operators.Counters
	Figures
	Present
	published time.Time // by the run's clock
}

// Stats is the sum over the workers.
type Stats struct {
	WorkerStats
	// Incidents counts what was recovered from, by the Incident constants.
	Incidents map[string]int64
	// Suspended says why nothing runs at the moment, "" = it does: the local state
	// has failed, and the process has left the group until it is mended.
	Suspended string
}

// publish makes the worker's figures visible to others.
func (w *worker) publish() {
	s := w.stats
	s.Counters.Drops = maps.Clone(w.stats.Counters.Drops)
	s.Tasks, s.Standbys, s.Drained = len(w.order), len(w.standbys), w.drained()
	s.Restore = w.restoreProgress()
	s.Figures, s.Present, s.published = w.figures(), w.present(), w.now
	for _, t := range w.order {
		if t.state == taskRunning {
			s.Running++
		}
	}
	w.engine.statsLock.Lock()
	w.engine.stats[w.index] = s
	w.engine.statsLock.Unlock()
}

// status is what the engine waits for a worker to become.
type status struct {
	tasks, running, standbys int
	drained                  bool
}

// announceInterval is how often a restore tells how far it is.
const announceInterval = 250 * time.Millisecond

// publishInterval is how old the published figures of a worker that neither
// commits nor restores may become.
const publishInterval = time.Second

// announce publishes the worker's figures when its status has changed, and
// from time to time while it restores.
func (w *worker) announce() {
	now := status{tasks: len(w.order), standbys: len(w.standbys)}
	for _, t := range w.order {
		if t.state == taskRunning {
			now.running++
		}
	}
	now.drained = w.engine.opts.UntilEnd && w.drained()
	restoring := now.running < now.tasks && w.now.Sub(w.published) >= announceInterval
	if now != w.announced || restoring {
		w.announced, w.published = now, w.now
		w.publish()
		w.engine.notify(statusEvent{})
	} else if w.now.Sub(w.stats.published) >= publishInterval {
		w.publish()
	}
}

// Stats sums what the workers have published.
func (e *Engine) Stats() Stats {
	e.statsLock.Lock()
	defer e.statsLock.Unlock()
	sum := Stats{Incidents: incidentsOf(e.opts)}
	sum.Drained = true
	for _, s := range e.stats {
		sum.WorkerStats.add(s)
		sum.Restore.Done += s.Restore.Done
		sum.Restore.Total += s.Restore.Total
		sum.Restore.Tables += s.Restore.Tables
		sum.Tasks += s.Tasks
		sum.Standbys += s.Standbys
		sum.Running += s.Running
		sum.Drained = sum.Drained && s.Drained
	}
	return sum
}

// add takes over what another has done: all that is counted, nothing of what is.
// What s counts by name is its own from then on.
func (s *WorkerStats) add(o WorkerStats) {
	s.Processed += o.Processed
	s.Emitted += o.Emitted
	s.Commits += o.Commits
	s.Aborts += o.Aborts
	s.Restored += o.Restored
	s.FullRestores += o.FullRestores
	s.Followed += o.Followed
	s.Figures.add(o.Figures)
	drops := make(map[operators.DropKey]int64, len(s.Counters.Drops)+len(o.Counters.Drops))
	maps.Copy(drops, s.Counters.Drops)
	for key, n := range o.Counters.Drops {
		drops[key] += n
	}
	s.Counters.Drops = drops
}

// allRunning says that every task this process owns runs, by the figures of now.
func (e *Engine) allRunning(s Stats) bool {
	return e.joined && s.Tasks == len(e.owner) && s.Running == s.Tasks
}

// allDrained says that every task this process owns has come to its end.
func (e *Engine) allDrained(s Stats) bool {
	return e.meta.Member != "" && s.Tasks == len(e.owner) && s.Drained
}
