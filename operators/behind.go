package operators

import (
	"math"
	"slices"
)

// noTime is stream time before the first record.
const noTime = math.MinInt64

// timeline is the stream time of what lies behind an operator that holds records back.
//
// A row of an outer join leaves long after its time has passed. For what stands behind, its
// record is not late: it could not come sooner. So time behind the operator runs
// as much later as the operator holds records back at most, and when stream time
// jumps, it moves there step by step, from row to row: a jump gives what many small
// steps would have given.
type timeline struct {
	task *Task // what the operators behind get
	now  int64
	lag  int64 // ms
}

// newTimeline makes the time behind an operator of t that holds records back
// by lag ms at most. Operators behind are made with its task.
func newTimeline(t *Task, lag int64) *timeline {
	l := &timeline{now: noTime, lag: lag}
	context := *t.TaskContext
	context.StreamTime = func() int64 { return l.now }
	context.Timers = &Timers{}
	task := *t
	task.TaskContext, task.arena, task.headers = &context, arena{}, nil
	l.task = &task
	return l
}

// laterTime is the task that operators behind a repartition topic get, whose records
// have been held back by lag ms at most. opened is to be called when they have been made.
func laterTime(t *Task, lag int64) (behind *Task, opened func()) {
	if lag == 0 {
		return t, func() {}
	}
	l := newTimeline(t, lag)
	t.Timers.OnStart(l.start)
	t.Timers.OnStreamTime(l.moveTo)
	return l.task, func() { l.passWallTimers(t) }
}

// passWallTimers asks t for the wall clock on behalf of those behind, when
// they have been made.
func (l *timeline) passWallTimers(t *Task) {
	for _, w := range l.task.Timers.Wall() {
		t.Timers.OnWallClock(w)
	}
}

// start tells those behind that the task begins to run when the operator's time is now.
func (l *timeline) start(now int64) error {
	l.now = earlier(now, l.lag)
	return l.task.Timers.Start(l.now)
}

// moveTo tells those behind that the operator's time is now; time never goes back.
func (l *timeline) moveTo(now int64) error {
	behind := earlier(now, l.lag)
	if behind <= l.now {
		return nil
	}
	l.now = behind
	return l.task.Timers.Advance(behind)
}

// earlier is t less d ms, where t may be no time at all.
func earlier(t, d int64) int64 {
	if t < math.MinInt64+d {
		return math.MinInt64
	}
	return t - d
}

// meet is the time of an operator that records come to from several sides:
// that of the side that is least far.
type meet struct {
	sides   []int64
	started int
}

// side makes one more side and gives its number.
func (m *meet) side() int {
	m.sides = append(m.sides, noTime)
	return len(m.sides) - 1
}

// start notes the time at which a side begins to run; all says that it was the last one.
func (m *meet) start(side int, now int64) (all bool) {
	m.sides[side] = now
	m.started++
	return m.started == len(m.sides)
}

func (m *meet) now() int64 { return slices.Min(m.sides) }
