package chaos

import (
	"regexp"
	"testing"

	"streamctl/internal/testkit"
)

// A process is stopped in the middle for two session timeouts, so that others
// have its tasks when it goes on. What it had under way must not become visible,
// and it must go on as a member. Not on the embedded broker, which waits for a member
// that falls silent in the middle of a rebalance until the rebalance timeout.
func TestR04ZombiePause(t *testing.T) {
	t.Parallel()
	zombiePause(t, fleetOptions{}, 3)
}

// refused are what a process says whose commit or membership is refused.
var refused = regexp.MustCompile(`(?i)membership lost|fenced|illegal generation|not known`)

func zombiePause(t *testing.T, o fleetOptions, times int) {
	t.Helper()
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	f.rounds(times, func(int) {
		i := f.rand.IntN(len(f.members))
		p := f.members[i].now
		said := len(refusals(p))
		x := f.pause(i)
		f.pass(2 * f.session)
		f.awaitServing(x, 2*f.session+served) // by the others
		x = f.fault("SIGCONT of a zombie")
		f.resume(i)
		f.awaitServing(x, f.session+served)
		f.await("the zombie to notice", patience, func() bool { return len(refusals(p)) > said })
		f.await("the zombie to be a member again", patience, func() bool { return f.isMember(i) })
	})
	f.finish()
}

func refusals(p *testkit.Process) []testkit.LogLine {
	return p.Lines(func(text string) bool { return refused.MatchString(text) })
}
