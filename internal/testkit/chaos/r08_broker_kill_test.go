package chaos

import (
	"testing"

	"streamctl/internal/engine"
)

// The broker that leads an output, coordinates the transactions or the group, or
// leads the controllers is killed in the middle of commits, and comes back.
func TestR08BrokerKill(t *testing.T) {
	f := newFleet(t, fleetOptions{})
	f.startAll()
	f.feed()
	f.awaitCalm()
	f.rounds(len(roles), func(round int) {
		_, x := f.killNode(roles[round%len(roles)])
		f.awaitServing(x, brokerServed)
		f.reviveNodes()
	})
	// What was under way at a broker that died has no known outcome: producers are
	// made anew, and it is counted.
	renewed := f.incidents(engine.IncidentProducerRenewed)
	moved := f.incidents(engine.IncidentLeaderMoved, engine.IncidentCoordinatorMoved, engine.IncidentConnectionLost)
	t.Logf("producers were made anew %d times; leaders and coordinators moved, or connections were lost, %d times", renewed, moved)
	if renewed == 0 || moved == 0 {
		t.Error("the loss of brokers is not counted")
	}
	f.finish()
}
