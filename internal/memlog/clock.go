package memlog

import (
	"sort"
	"sync"
	"time"
)

// Clock is a clock that stands still until Advance moves it.
type Clock struct {
	mu      sync.Mutex
	now     time.Time
	timers  []*timer // not fired, not stopped
	seq     int
	changed chan struct{}
}

type timer struct {
	due time.Time
	seq int // orders timers that are due together by their making
	f   func()
}

// NewClock makes a clock that shows start.
func NewClock(start time.Time) *Clock {
	return &Clock{now: start, changed: make(chan struct{})}
}

// Now is the time that the last Advance left.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc calls f once in its own goroutine when the clock has moved by d;
// at once when d is not positive.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d <= 0 {
		go f()
		return func() {}
	}
	t := &timer{due: c.now.Add(d), seq: c.seq, f: f}
	c.seq++
	c.timers = append(c.timers, t)
	close(c.changed)
	c.changed = make(chan struct{})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range c.timers {
			if c.timers[i] == t {
				c.timers = append(c.timers[:i], c.timers[i+1:]...)
				return
			}
		}
	}
}

// Advance moves the clock by d and fires what falls due, in order of time. Each
// timer's function has returned before the next one starts, and timers that
// it sets within d fire too; so it must not wait for the caller of Advance.
// Of two at the same time neither takes the clock back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	until := c.now.Add(d)
	for {
		t := c.next(until)
		if t == nil {
			break
		}
		c.set(t.due)
		c.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			t.f()
		}()
		<-done
		c.mu.Lock()
	}
	c.set(until)
	c.mu.Unlock()
}

// set moves the clock on to t, if it is not there yet.
func (c *Clock) set(t time.Time) {
	if t.After(c.now) {
		c.now = t
	}
}

// next takes out the timer that is due first, nil when none is due by until.
func (c *Clock) next(until time.Time) *timer {
	sort.Slice(c.timers, func(i, j int) bool {
		a, b := c.timers[i], c.timers[j]
		if a.due.Equal(b.due) {
			return a.seq < b.seq
		}
		return a.due.Before(b.due)
	})
	if len(c.timers) == 0 || c.timers[0].due.After(until) {
		return nil
	}
	t := c.timers[0]
	c.timers = c.timers[1:]
	return t
}

// Next is when the first timer falls due; ok is false when none is set.
func (c *Clock) Next() (due time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.timers {
		if !ok || t.due.Before(due) {
			due, ok = t.due, true
		}
	}
	return due, ok
}

// AwaitTimers returns when at least n timers are set, so that a test knows
// that another goroutine has come to its wait before it advances.
func (c *Clock) AwaitTimers(n int) {
	for {
		c.mu.Lock()
		have, changed := len(c.timers), c.changed
		c.mu.Unlock()
		if have >= n {
			return
		}
		<-changed
	}
}
