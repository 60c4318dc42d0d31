package chaos

import (
	"testing"
	"time"
)

// All processes are killed at once and started again. Their state survives:
// nothing may be restored in full.
func TestR02KillAll(t *testing.T) {
	t.Parallel()
	killAll(t, fleetOptions{}, 3)
}

func TestR02KillAllEmbedded(t *testing.T) {
	t.Parallel()
	killAll(t, fleetOptions{Embedded: true}, 2)
}

func killAll(t *testing.T, o fleetOptions, times int) {
	t.Helper()
	o.Session = 30 * time.Second // or it ends on a busy machine before they are back
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	// A clean end makes all state durable: of what is younger, a kill may take the
	// last writes along, and of a young state that is all.
	f.stop(0, 1, 2)
	f.startAll()
	f.rounds(times, func(int) {
		f.pass(time.Duration(f.rand.IntN(1500)) * time.Millisecond)
		x := f.kill(0, 1, 2)
		f.start()
		f.awaitServing(x, f.session+served)
		f.awaitReady()
		for _, m := range f.members {
			for _, l := range m.now.FullRestores() {
				t.Errorf("the state of all members had survived, but member %d: %s", m.index, l.Text)
			}
		}
	})
	f.finish()
}
