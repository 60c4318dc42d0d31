package operators

import (
	"cmp"
	"slices"
	"time"
)

// Timers are what the operators of one task want to be told of time.
//
// What an operator emits when stream time has moved reaches those behind it
// before they are told of the new time: for them it came in time, although it
// is older. So an operator that decides by stream time keeps what it was told
// last (Start, then OnStreamTime) and does not ask TaskContext.StreamTime, which
// is further already.
type Timers struct {
	start  []func(now int64) error
	stream []streamTimer
	wall   []WallTimer
	height int // while operators are made: how many lie behind the one being made
}

// streamTimer is one wish to be told of stream time.
type streamTimer struct {
	height int
	fire   func(now int64) error
	// due says when fire has something to do that others must not see before its
	// time, up to stream time now; nil = nothing is like that.
	due func(now int64) (at int64, any bool, err error)
}

// WallTimer is called about every so often of wall clock, between two records.
type WallTimer struct {
	Every time.Duration
	// Fire does what is due; now is the wall clock, ms. A bounded run calls it
	// once more when everything is read, whatever the time: nothing comes behind.
	Fire func(now int64) error
}

// OnStart has f called once, when the task has its state and before its first
// record: Make runs before the state is restored. now is the stream time that
// the task had when it was last committed, math.MinInt64 if it never had one. f
// emits nothing.
func (t *Timers) OnStart(f func(now int64) error) { t.start = append(t.start, f) }

// OnStreamTime has f called whenever the task's stream time has moved, before
// the record that moved it is processed: what has been closed by that record's
// time is closed for the record too. now is the new stream time, ms; it may have jumped
// over any number of windows. What f emits is part of the same commit as the record.
// Operators are told in the order in which records meet them.
func (t *Timers) OnStreamTime(f func(now int64) error) { t.OnDue(nil, f) }

// OnDue is OnStreamTime for what changes tables because of time: where stream time
// jumps, everybody is told of each moment that due names before f changes
// something then, so that a jump over the ends of rows of several tables gives
// what small steps give. due says when the first such moment up to now is.
func (t *Timers) OnDue(due func(now int64) (at int64, any bool, err error), f func(now int64) error) {
	t.stream = append(t.stream, streamTimer{t.height, f, due})
	slices.SortStableFunc(t.stream, func(a, b streamTimer) int { return cmp.Compare(b.height, a.height) })
}

// OnWallClock has timer called while the task runs, also when no record comes.
func (t *Timers) OnWallClock(timer WallTimer) { t.wall = append(t.wall, timer) }

// Start tells that the task begins to run, at stream time now.
func (t *Timers) Start(now int64) error {
	for _, f := range t.start {
		if err := f(now); err != nil {
			return err
		}
	}
	return nil
}

// Advance tells that stream time has moved to now.
func (t *Timers) Advance(now int64) error {
	for last := int64(noTime); len(t.stream) > 1; {
		step, err := t.nextStep(now)
		if err != nil {
			return err
		}
		if step == now || step <= last {
			break
		}
		last = step
		if err := t.tell(step); err != nil {
			return err
		}
	}
	return t.tell(now)
}

// nextStep is the first moment up to now at which something is due.
func (t *Timers) nextStep(now int64) (int64, error) {
	step := now
	for _, s := range t.stream {
		if s.due == nil {
			continue
		}
		at, any, err := s.due(now)
		if err != nil {
			return 0, err
		}
		if any {
			step = min(step, at)
		}
	}
	return step, nil
}

// tell tells everybody that stream time is now.
func (t *Timers) tell(now int64) error {
	for _, s := range t.stream {
		if err := s.fire(now); err != nil {
			return err
		}
	}
	return nil
}

// Stream says whether anybody wants to be told of stream time.
func (t *Timers) Stream() bool { return len(t.stream) > 0 }

// Wall lists the timers of the wall clock.
func (t *Timers) Wall() []WallTimer { return t.wall }
