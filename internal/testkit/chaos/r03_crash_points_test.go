package chaos

import (
	"testing"

	"streamctl/internal/engine"
)

// A process of a group ends at every named step of a commit.
func TestR03CrashPoints(t *testing.T) {
	t.Parallel()
	crashPoints(t, fleetOptions{})
}

func TestR03CrashPointsEmbedded(t *testing.T) {
	t.Parallel()
	crashPoints(t, fleetOptions{Embedded: true})
}

func crashPoints(t *testing.T, o fleetOptions) {
	t.Helper()
	o.Members = 2
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	points := engine.CrashPoints
	f.rounds(len(points), func(round int) {
		point := points[round%len(points)]
		i := round % len(f.members)
		count := 1 + f.rand.IntN(5)
		f.kill(i)
		if point == engine.CrashAfterRestore {
			f.kill(1 - i) // or a warm-up loads the state while the task runs there
			f.loseState(i)
			count = 1 // it comes once in the life of a task
		}
		x := f.crashAt(i, point, count)
		if f.members[1-i].now == nil {
			f.start(1 - i)
		}
		// The other one takes over. The embedded broker forgets members that wait in a
		// rebalance for longer than a session: there, nobody is waited for.
		if !o.Embedded && f.rand.IntN(3) == 0 {
			f.awaitServing(x, f.session+served)
		}
		f.start(i)
		f.awaitServing(x, 2*f.session+served)
	})
	f.finish()
}
