package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"streamctl/internal/record"
	"streamctl/state"
)

// A standby is a task that is not run here: only its state is kept up to date,
// so that it can be run here soon. It reads what its tables are made from,
// committed data only, and
//
//   - of a table's changelog everything, as it comes; without transactions, no row
//     that has seen more than the group has committed;
//   - of the topic of a topic-fed table what the group has committed of it, and never
//     more: a task that is run goes on from there (ADR 0001).
//
// Rows are written in small durable batches together with the positions they
// belong to. A promotion therefore finds a state like that of a task that was
// closed here a moment ago, and reads the tail. What has been fetched and may
// not be written yet is dropped and fetched again when it may: held, it would
// take the source's memory from tasks that run.

const (
	// standbyFlush is how long rows of a standby wait for more before they are written.
	standbyFlush = 500 * time.Millisecond
	// standbyBatch is at how many bytes they are written at once.
	standbyBatch = 4 << 20
)

// standby is a task in the state taskStandby. Its worker's goroutine owns it.
type standby struct {
	task    *task
	tables  []*follower
	flushed time.Time
	current bool // it has come up to date once, and the keeper was told
	stopped bool // nothing is read any more
}

// follower is one table of a standby.
type follower struct {
	standby *standby
	tp      record.TopicPartition
	in      *input // nil for a changelog of the table's own
	table   *state.Table
	loader  *state.Loader // of the batch that is being gathered, nil = nothing is
	pos     int64         // next offset to load
	life    int64         // of the rows that were read, see stamp.go
	stored  int64         // position in the store
	fetched int64         // how far the fetches have come
	end     int64         // end of committed data at the last fetch
	known   bool          // a fetch has told the end
	paused  bool          // it is not fetched: what comes next may not be loaded yet
}

// startStandby opens a task as standby and begins to read.
func (w *worker) startStandby(info *startInfo) error {
	if w.tasks[info.id] != nil || w.standbyOf(info.id) != nil {
		return nil // asked twice
	}
	t, err := w.openTask(info.id)
	if err != nil {
		return err
	}
	if err := t.transition(taskStandby); err != nil {
		return err
	}
	s := &standby{task: t, flushed: w.now}
	w.standbys = append(w.standbys, s)
	if err := w.dropOutdated(t, info); err != nil {
		return err
	}
	for _, in := range t.inputs {
		if in.isTable() {
			s.tables = append(s.tables, &follower{standby: s, tp: in.tp, in: in, table: t.store.Table(in.spec.Table)})
		}
	}
	for _, spec := range t.sub.Tables {
		if spec.Changelog != "" {
			tp := record.TopicPartition{Topic: spec.Changelog, Partition: t.id.Partition}
			s.tables = append(s.tables, &follower{standby: s, tp: tp, table: t.store.Table(spec.Name)})
		}
	}
	for _, f := range s.tables {
		if stored, ok := t.store.Position(f.tp); ok {
			f.pos, f.stored = stored, stored
		} else {
			f.pos, f.stored = info.starts[f.tp], -1
		}
		if f.in == nil {
			f.life = t.storedLife(f.tp)
		}
		w.resumeFollowing(f)
	}
	w.log.Info("standby begins", "task", t.id.String())
	return nil
}

// follow takes a fetch for a table of a standby.
func (w *worker) follow(f *follower, fetched *Fetched) error {
	if fetched.Err != nil {
		return w.followFailed(f, fetched)
	}
	f.known, f.end = true, fetched.End
	limit, seen := w.mayLoad(f)
	held, err := w.loadFetched(f, fetched, limit, seen)
	w.source.Release(fetched)
	if err != nil {
		return err
	}
	if held {
		w.pauseFollowing(f)
		return nil
	}
	f.fetched = max(f.fetched, fetched.Next)
	f.pos = max(f.pos, min(f.fetched, limit))
	return nil
}

// pauseFollowing ends the fetches of a table that may not be loaded further now.
func (w *worker) pauseFollowing(f *follower) {
	f.paused = true
	w.source.Stop(f.tp)
	delete(w.follows, f.tp)
}

// resumeFollowing begins to fetch a table from where it was loaded to.
func (w *worker) resumeFollowing(f *follower) {
	f.paused, f.fetched = false, f.pos
	w.follows[f.tp] = f
	w.source.Start(f.tp, f.pos, ReadCommitted)
}

// followFailed gives a standby up whose topic has not what it needs: it begins anew.
func (w *worker) followFailed(f *follower, fetched *Fetched) error {
	if !errors.Is(fetched.Err, ErrOffsetOutOfRange) {
		return fmt.Errorf("read %s/%d for a standby: %w", f.tp.Topic, f.tp.Partition, fetched.Err)
	}
	s := f.standby
	w.log.Warn("what a standby is made from is gone: it begins anew", "task", s.task.id.String(), "topic", f.tp.Topic,
		"position", f.fetched, "first", fetched.LogStart, "end", fetched.End)
	w.stopFollowing(s)
	if err := s.task.store.Drop(); err != nil {
		return fmt.Errorf("drop state of standby %s: %w", s.task.id, err)
	}
	if err := w.closeStandby(s); err != nil {
		return err
	}
	w.engine.notify(standbyLostEvent{id: s.task.id})
	return nil
}

// loadFetched loads the records of a fetch that may be loaded; held says that
// others are left.
func (w *worker) loadFetched(f *follower, fetched *Fetched, limit int64, seen stamps) (held bool, err error) {
	for i := range fetched.Records {
		rec := &fetched.Records[i]
		if rec.Offset < f.pos {
			continue
		}
		if rec.Offset >= limit {
			f.pos = max(f.pos, limit)
			return true, nil
		}
		held, err := w.loadFollowed(f, rec, seen)
		if err != nil {
			return false, fmt.Errorf("load standby table from %s/%d at offset %d: %w", f.tp.Topic, f.tp.Partition, rec.Offset, err)
		}
		if held {
			return true, nil
		}
		f.pos = rec.Offset + 1
	}
	return false, nil
}

// mayLoad says how far the table may be loaded: up to an offset, and without
// transactions up to the first row that has seen more than is committed.
func (w *worker) mayLoad(f *follower) (limit int64, seen stamps) {
	if f.in != nil {
		committed, _ := w.engine.keeper.committed(f.tp)
		return committed, nil
	}
	if w.engine.opts.ExactlyOnce {
		return math.MaxInt64, nil
	}
	t := f.standby.task
	for _, in := range t.inputs {
		in.pos = 0
		if committed, ok := w.engine.keeper.committed(in.tp); ok {
			in.pos = committed
		}
	}
	return math.MaxInt64, t.stamps()
}

// loadFollowed adds one record to the batch; held says that its time has not come.
func (w *worker) loadFollowed(f *follower, rec *record.Record, seen stamps) (held bool, err error) {
	key, row, skip := rec.Key, []byte(nil), false
	life := int64(0)
	switch {
	case f.in != nil:
		key, row, skip, err = f.in.loader.Load(rec, f.tp, true)
	case rec.Value != nil:
		var stamp []byte
		if row, stamp, err = state.DecodeStamped(rec.Value); err == nil {
			held, life, err = seen.passedBy(stamp)
		}
	default:
		held, life, err = seen.passedBy(stampOf(rec))
	}
	if err != nil || held {
		return held, err
	}
	w.stats.Followed++
	if life != 0 && life < f.life {
		return false, nil
	}
	f.life = max(f.life, life)
	if skip {
		return false, nil
	}
	if f.loader == nil {
		f.loader = f.table.ColdLoader()
	}
	if err := addRow(f.loader, key, row, rec, nil); err != nil {
		return false, err
	}
	if f.loader.Bytes() >= standbyBatch {
		f.pos = rec.Offset + 1
		return false, w.writeFollowed(f)
	}
	return false, nil
}

// writeFollowed makes what was gathered durable, with its position.
func (w *worker) writeFollowed(f *follower) error {
	if f.loader == nil {
		f.loader = f.table.ColdLoader()
	}
	positions := map[record.TopicPartition]int64{f.tp: f.pos}
	if f.life != 0 {
		positions[lifeOf(f.tp)] = f.life
	}
	if f.in == nil && w.engine.opts.ExactlyOnce {
		// What the rows have seen at the least: should somebody set the group back,
		// the state is known to be ahead of it.
		for _, in := range f.standby.task.inputs {
			if committed, ok := w.engine.keeper.committed(in.tp); ok && !in.isTable() {
				positions[in.tp] = committed
			}
		}
	}
	err := f.loader.Finish(positions)
	f.loader = nil
	if err != nil {
		return fmt.Errorf("write standby table from %s/%d: %w", f.tp.Topic, f.tp.Partition, err)
	}
	f.stored = f.pos
	return nil
}

// keepStandbys writes what has waited for long enough, and tells the keeper of
// those that have come up to date. An idle standby costs a look.
func (w *worker) keepStandbys() error {
	for _, s := range w.standbys {
		if w.now.Sub(s.flushed) < standbyFlush {
			continue
		}
		if err := w.flushStandby(s); err != nil {
			return err
		}
		if !s.current && w.upToDate(s) {
			s.current = true
			w.engine.keeper.poke()
		}
	}
	return nil
}

// flushStandby writes what was loaded, and goes on with what may be loaded by
// now. A state that has everything is as young as now.
func (w *worker) flushStandby(s *standby) error {
	s.flushed = w.now
	for _, f := range s.tables {
		limit, _ := w.mayLoad(f)
		f.pos = max(f.pos, min(f.fetched, limit))
		if f.paused && f.pos < limit {
			w.resumeFollowing(f)
		}
	}
	fresh := w.upToDate(s)
	aged := fresh && w.nowMillis-s.task.store.SavedAt() >= refreshInterval.Milliseconds()
	if aged {
		s.task.store.SetSavedAt(w.nowMillis)
	}
	for _, f := range s.tables {
		if f.loader != nil || f.pos != f.stored || aged {
			if err := w.writeFollowed(f); err != nil {
				return err
			}
			aged = false // stored with the first
		}
	}
	return nil
}

// upToDate says whether the standby has loaded everything that may be loaded.
func (w *worker) upToDate(s *standby) bool {
	for _, f := range s.tables {
		if limit, _ := w.mayLoad(f); !f.known || f.pos < min(f.end, limit) {
			return false
		}
	}
	return true
}

// stopFollowing ends the fetches of a standby.
func (w *worker) stopFollowing(s *standby) {
	s.stopped = true
	for _, f := range s.tables {
		w.source.Stop(f.tp)
		delete(w.follows, f.tp)
	}
}

// promote ends a standby and returns its task, which has all that was loaded
// and goes on to Restoring for the rest.
func (w *worker) promote(s *standby) (*task, error) {
	if err := w.flushStandby(s); err != nil {
		return nil, err
	}
	w.stopFollowing(s)
	w.forgetStandby(s)
	w.log.Info("standby promoted", "task", s.task.id.String())
	return s.task, nil
}

// closeStandby lets go of a standby; its state stays as it is.
func (w *worker) closeStandby(s *standby) error {
	if !s.stopped {
		if err := w.flushStandby(s); err != nil {
			return err
		}
		w.stopFollowing(s)
	}
	w.forgetStandby(s)
	if err := s.task.transition(taskClosed); err != nil {
		return err
	}
	s.task.store.Abandon() // all that matters is written
	return nil
}

// closeStandbys closes those of ids, nil = all.
func (w *worker) closeStandbys(ids []TaskID) error {
	for _, s := range slices.Clone(w.standbys) {
		if ids != nil && !slices.Contains(ids, s.task.id) {
			continue
		}
		if err := w.closeStandby(s); err != nil {
			return err
		}
	}
	return nil
}

// standbyOf finds the standby of a task, nil = there is none.
func (w *worker) standbyOf(id TaskID) *standby {
	for _, s := range w.standbys {
		if s.task.id == id {
			return s
		}
	}
	return nil
}

func (w *worker) forgetStandby(s *standby) {
	w.standbys = slices.DeleteFunc(w.standbys, func(o *standby) bool { return o == s })
}
