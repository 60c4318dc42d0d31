package chaos

import (
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/testkit/faultproxy"
)

// transactionalIDDenied is TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
const transactionalIDDenied = 53

// A process dies while its transaction, with offsets in it, is open. Who takes
// its tasks over may not use its transactional ids, so it cannot end the transaction,
// and waits: until the request to commit it arrives after all, or until the broker
// aborts it for its age. Either way it starts where that leaves the offsets.
func TestR11UnstableOffsets(t *testing.T) {
	t.Parallel()
	o := fleetOptions{Members: 2, Jobs: []kind{running}, Kafka: "transaction_timeout: 6s\n"}
	client := withClient(t, &o)
	f := newFleet(t, o)
	f.start(0)
	f.awaitReady()
	ids := [][]string{f.ids(), nil}
	f.start(1)
	f.awaitReady()
	ids[1] = f.ids(ids[0]...)
	f.feed()
	f.awaitCalm()
	waited := 0
	f.rounds(4, func(round int) {
		f.await("both to have tasks", patience, func() bool {
			return f.metrics(0)["streamctl_tasks_assigned"] == partitions/2 && f.metrics(1)["streamctl_tasks_assigned"] == partitions/2
		})
		i := f.rand.IntN(len(f.members))
		// Either the request comes when the session is over, or never.
		end := faultproxy.Rule{Kind: faultproxy.DelayRequest, APIs: []faultproxy.API{faultproxy.EndTxn}, Naming: ids[i], Times: 1, Skip: f.rand.IntN(6),
			Delay: f.session + time.Duration(f.rand.IntN(2500))*time.Millisecond}
		if round%2 == 1 {
			end = faultproxy.Rule{Kind: faultproxy.DropRequest, Silent: true, APIs: end.APIs, Naming: ids[i], Times: 1, Skip: end.Skip}
		}
		_, ends := f.strike(client, "commit under way at a kill", end)
		f.awaitStruck(ends, 1)
		_, refused := f.strike(client, "no permission to fence", faultproxy.Rule{
			Kind: faultproxy.Refuse, APIs: []faultproxy.API{faultproxy.InitProducerID}, Naming: ids[i], Code: transactionalIDDenied,
		})
		x := f.kill(i)
		before := f.incidents(engine.IncidentUnstableOffsets)
		ends.Remove()
		f.awaitServing(x, f.session+2*6*time.Second+served)
		waited += f.incidents(engine.IncidentUnstableOffsets) - before
		refused.Remove()
		f.start(i)
		f.awaitReady()
	})
	t.Logf("committed offsets were waited for %d times", waited)
	if waited == 0 {
		t.Error("nobody had to wait for an open transaction: this shows too little")
	}
	f.finish()
}
