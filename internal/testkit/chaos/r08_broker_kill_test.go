package chaos

import "testing"

// The broker that leads an output, coordinates the transactions or the group, or
// leads the controllers is killed in the middle of commits, and comes back.
func TestR08BrokerKill(t *testing.T) {
	f := newFleet(t, fleetOptions{})
	f.startAll()
	f.feed()
	f.awaitServing(f.mark("begin"), patience)
	f.rounds(len(roles), func(round int) {
		_, x := f.killNode(roles[round%len(roles)])
		f.awaitServing(x, brokerServed)
		f.reviveNodes()
	})
	f.finish()
}
