package chaos

import (
	"testing"
	"time"

	"streamctl/internal/testkit/faultproxy"
)

// A process that is told to stop while no broker answers ends in time and with
// code 0: nothing is lost, and the next one does again what was not committed.
func TestStopWithoutBrokers(t *testing.T) {
	t.Parallel()
	o := fleetOptions{Members: 1, Jobs: []kind{running}}
	client := withClient(t, &o)
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	for _, silent := range []bool{true, false} {
		_, away := f.strike(client, "no broker answers", faultproxy.Rule{Kind: faultproxy.DropRequest, Silent: silent})
		f.awaitStruck(away, 20)
		x := f.stop(0) // fails the story where the code is not 0
		if took := time.Since(x.at); took > 30*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		// Told to stop before it has found a broker.
		before := away.Struck()
		f.start(0)
		// A request of the former process may still strike: before it hears signals, TERM kills.
		f.await("the process to begin", patience, func() bool { return f.toldBy("probes and metrics") == 1 })
		f.awaitStruck(away, before+1)
		f.stop(0)
		away.Remove()
		x = f.fault("brokers answer again")
		f.start(0)
		f.awaitServing(x, requestServed+f.session)
	}
	f.finish()
}
