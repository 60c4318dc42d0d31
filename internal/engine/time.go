package engine

import (
	"fmt"
	"math"
	"time"

	"streamctl/operators"
)

// A task's time moves in three ways:
//
//   - stream time with the records, before the one that moves it is processed
//     (task.step);
//   - stream time with the wall clock, when everything is read and nothing has come
//     for a while (idle.go);
//   - the wall clock's own timers, here.
//
// Whatever operators emit then is committed as what they make of records: with the
// offsets of the task, be they the same as before. So the group is asked whether the
// task is still this process's, and stream time, which lies beside the offsets
// (ADR 0020), is never behind what it has brought about.

// wallTimer is a timer of an operator, and when it is called next.
type wallTimer struct {
	operators.WallTimer
	due time.Time
}

// startTimers tells the operators that the task runs.
func (w *worker) startTimers(t *task) error {
	t.wall = nil
	for _, timer := range t.context.Timers.Wall() {
		t.wall = append(t.wall, wallTimer{timer, w.now.Add(timer.Every)})
	}
	if err := t.context.Timers.Start(t.streamTime); err != nil {
		return err
	}
	t.marked = t.marked || t.store.Changed() // rows that had come to their end, say
	return nil
}

// runs says that records of the task are processed, so that its time goes on.
func (t *task) runs() bool { return t.state == taskRunning && !t.gated }

// timely calls operators because of the time; what comes of it is to be committed.
func (t *task) timely(w *worker, call func() error) error {
	emitted := w.stats.Emitted
	if err := call(); err != nil {
		return fmt.Errorf("task %s: %w", t.id, err)
	}
	t.timed = t.timed || w.stats.Emitted != emitted || t.store.Changed()
	return nil
}

// tellTime calls the timers that are due, and looks which tasks are idle.
func (w *worker) tellTime() error {
	if w.producer.Buffered() > w.engine.opts.MaxBuffered {
		return nil
	}
	for _, t := range w.order {
		if !t.runs() {
			t.idle = idleness{}
			continue
		}
		if err := w.fireWall(t); err != nil {
			return err
		}
		w.watchIdle(t)
	}
	return nil
}

// fireWall calls the timers of a task that are due. A bounded run that has come to
// its end calls all of them once more.
func (w *worker) fireWall(t *task) error {
	last := w.engine.opts.UntilEnd && !t.farewell && t.atBounds()
	for i := range t.wall {
		timer := &t.wall[i]
		if w.now.Before(timer.due) && !last {
			continue
		}
		timer.due = w.now.Add(timer.Every)
		if err := t.timely(w, func() error { return timer.Fire(w.nowMillis) }); err != nil {
			return err
		}
	}
	t.farewell = t.farewell || last
	return nil
}

// atBounds says that a bounded run has nothing left that it has to process here.
func (t *task) atBounds() bool {
	for _, in := range t.inputs {
		if !in.reached() {
			return false
		}
	}
	return true
}

// untilTimer shortens a wait so that no timer is called late.
func (w *worker) untilTimer(wait time.Duration) time.Duration {
	for _, t := range w.order {
		if !t.runs() {
			continue
		}
		for i := range t.wall {
			wait = min(wait, t.wall[i].due.Sub(w.now))
		}
		if due, ok := w.idleDue(t); ok {
			wait = min(wait, due.Sub(w.now))
		}
	}
	return max(wait, 0)
}

// noLimit: nothing upstream holds stream time back.
const noLimit = math.MaxInt64
