package chaos

import (
	"testing"
	"time"
)

// served is how long after a session has ended all keys must be served again.
const served = 5 * time.Second

// One of three processes is killed again and again. Mostly it stays away until
// the survivors have taken over, sometimes it comes back at once, sometimes
// without its state.
func TestR01KillWorker(t *testing.T) {
	t.Parallel()
	killWorker(t, fleetOptions{}, 6)
}

func TestR01KillWorkerEmbedded(t *testing.T) {
	t.Parallel()
	killWorker(t, fleetOptions{Embedded: true}, 4)
}

func killWorker(t *testing.T, o fleetOptions, kills int) {
	t.Helper()
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	f.rounds(kills, func(int) {
		f.pass(time.Duration(f.rand.IntN(1000)) * time.Millisecond)
		i := f.rand.IntN(len(f.members))
		x := f.kill(i)
		if f.rand.IntN(3) == 0 {
			f.loseState(i)
		}
		// The embedded broker forgets members that wait in a rebalance for longer than a
		// session, and never answers them: there, nobody is waited for.
		if o.Embedded || f.rand.IntN(3) == 0 {
			f.start(i)
		}
		f.awaitServing(x, f.session+served)
		if f.members[i].now == nil {
			f.start(i)
		}
		f.awaitReady()
	})
	f.finish()
}
