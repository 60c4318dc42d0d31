package chaos

import (
	"testing"
	"time"
)

// Every few seconds a member joins or leaves. Two that stay must make progress
// all the time, and neither their memory nor their goroutines may grow.
func TestR06RebalanceStorm(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{Members: 3})
	f.start(0, 1)
	f.awaitReady()
	f.feed()
	f.awaitCalm()
	every := max(3*time.Second, 3*f.calmTime) // longer on a machine with other things to do
	calm := f.outputsIn(2 * every)
	before := f.sizes(0, 1)
	changes, least, all := 0, int64(1<<62), int64(0)
	f.rounds(8, func(round int) {
		if round%2 == 0 {
			f.fault("join")
			f.start(2)
		} else {
			f.fault("leave")
			f.terminate([]int{2})
		}
		n := f.outputsIn(every)
		changes++
		all += n
		least = min(least, n)
	})
	if least == 0 {
		t.Error("no output at all in one of the periods")
	}
	perSecond := func(n int64, d time.Duration) float64 { return float64(n) / d.Seconds() }
	calmRate, stormRate := perSecond(calm, 2*every), perSecond(all, time.Duration(changes)*every)
	t.Logf("calm %.0f outputs/s, storm %.0f (%.0f %%), at least %d in %s", calmRate, stormRate, 100*stormRate/calmRate, least, every)
	if stormRate < calmRate/2 {
		t.Errorf("throughput in the storm is %.0f outputs/s, less than half of %.0f in calm", stormRate, calmRate)
	}
	f.checkFlat(before, f.sizes(0, 1))
	f.finish()
}

// outputsIn counts what comes out of all jobs in a time.
func (f *fleet) outputsIn(d time.Duration) int64 {
	f.t.Helper()
	count := func() (sum int64) {
		for _, j := range f.jobs {
			for _, n := range j.watch.Counts() {
				sum += n
			}
		}
		return sum
	}
	before := count()
	f.pass(d)
	return count() - before
}
