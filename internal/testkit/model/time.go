package model

import (
	"math"
	"slices"
)

// A task that reads what other tasks have sent goes by what those promise: each its
// own stream time, with every record, and when a record has been processed to its end
// to all tasks behind it. The least of them is the task's. Those that have
// never had a time promise nothing, and are not waited for.

// noTime is stream time before the first record.
const noTime = math.MinInt64

// task is what the tasks have of their own.
type task struct {
	streamTime int64
	own        int64 // the greatest time of what comes from topics of the user's
	// promise is what those behind hear: while time moves, what it was before.
	promise int64
	heard   map[place]int64 // promises of the tasks before
}

func (m *Model) task(at place) *task {
	t := m.tasks[at]
	if t == nil {
		t = &task{streamTime: noTime, own: noTime, promise: noTime, heard: map[place]int64{}}
		m.tasks[at] = t
	}
	return t
}

// hears says that a task goes by what those of a sub-topology promise.
func (m *Model) hears(at place, sub string) bool {
	return slices.Contains(m.layout.Writers[at.sub], sub)
}

// hear notes a promise.
func (t *task) hear(from place, promise int64) {
	if promise == noTime {
		return
	}
	if known, ok := t.heard[from]; ok {
		promise = max(promise, known)
	}
	t.heard[from] = promise
}

// reached is how far a task's time is by what it has heard.
func (t *task) reached() int64 {
	least, any := int64(math.MaxInt64), false
	for _, promise := range t.heard {
		least, any = min(least, promise), true
	}
	if !any {
		least = t.own
	}
	return max(t.streamTime, least)
}

// advance moves a task's time. What is due meanwhile happens in the order of time,
// as if time had come in small steps.
func (m *Model) advance(at place, to int64) {
	t := m.task(at)
	for m.err == nil {
		next := m.firstDue(at)
		if next == nil || next.at > to {
			break
		}
		t.streamTime = max(t.streamTime, next.at)
		next.do()
		m.finish()
	}
	t.streamTime = max(t.streamTime, to)
	t.promise = t.streamTime
}

// Idle has all tasks take it that time goes on without records, to now in ms: each when
// those before it have done so.
func (m *Model) Idle(now int64) error {
	for _, sub := range m.layout.Flow {
		for p := range max(m.layout.Partitions, 1) {
			if at := (place{sub, p}); m.task(at).streamTime != noTime {
				m.advance(at, now)
			}
		}
		m.serve()
		m.announce()
	}
	return m.err
}

// announce tells the tasks behind what those before promise, until nothing moves any more.
func (m *Model) announce() {
	for m.announceOnce() && m.err == nil {
		m.serve()
	}
}

func (m *Model) announceOnce() bool {
	var subs []string
	for sub := range m.layout.Writers {
		subs = append(subs, sub)
	}
	slices.Sort(subs)
	for _, sub := range subs {
		for p := range max(m.layout.Partitions, 1) {
			at := place{sub, p}
			t := m.task(at)
			for _, writer := range m.layout.Writers[sub] {
				for q := range max(m.layout.Partitions, 1) {
					from := place{writer, q}
					t.hear(from, m.task(from).promise)
				}
			}
			if to := t.reached(); to > t.streamTime {
				m.advance(at, to) // what it sends comes before what it promises then
				return true
			}
		}
	}
	return false
}
