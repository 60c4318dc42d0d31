package chaos

import "testing"

// All three brokers are restarted in turn, cleanly, while the pipelines run. No
// process is touched.
func TestR07BrokerRoll(t *testing.T) {
	f := newFleet(t, fleetOptions{})
	f.startAll()
	f.feed()
	f.awaitCalm()
	for node := 1; node <= 3; node++ {
		x := f.rollNode(node)
		f.awaitServing(x, brokerServed)
		f.reviveNodes()
	}
	f.finish()
}
