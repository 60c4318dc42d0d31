package simulate

import (
	"fmt"
	"slices"
)

// awaited is what a calm waits for of bounded runs: that they come to their ends, and
// that one has done so that had everything within its bounds.
type awaited struct {
	runs  []*process // that were there when the calm began
	whole bool       // one that has begun since then has ended
}

// settle lets nothing go wrong until all that was produced is processed.
func (s *simulation) settle() error {
	s.beginWait()
	s.heal()
	defer func() { s.calm = false }()
	began := s.clock.Now()
	// Idle processes make steps, too: who waits for a session to end needs the time.
	for n := 0; n < calmSteps || s.clock.Now().Sub(began) < calmTime; n++ {
		if s.settled() {
			s.input.settled()
			return nil
		}
		if err := s.step(); err != nil {
			return err
		}
		s.steps++
	}
	return fmt.Errorf("%w: %s; bounded runs that go on: %d", errNoEnd, s.lagging(), s.goingOn())
}

// beginWait notes the bounded runs that there are.
func (s *simulation) beginWait() {
	s.awaited = awaited{}
	for _, p := range s.processes {
		p.whole = false
		if p.untilEnd {
			s.awaited.runs = append(s.awaited.runs, p)
		}
	}
}

// settled says that all there was is processed, and that the bounded runs have
// ended. Where there are no others, they may leave something behind their bounds: what
// they have told each other of time.
func (s *simulation) settled() bool {
	return s.goingOn() == 0 && (s.work.bounded && s.awaited.whole || s.drained())
}

// goingOn counts the bounded runs that a calm still waits for.
func (s *simulation) goingOn() (n int) {
	for _, p := range s.awaited.runs {
		if slices.Contains(s.processes, p) {
			n++
		}
	}
	return n
}
