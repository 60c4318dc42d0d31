package chaos

import (
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/testkit/faultproxy"
)

// concurrentTransactions is the code by which a coordinator says that it has not
// finished the transaction before: CONCURRENT_TRANSACTIONS.
const concurrentTransactions = 51

// The coordinator says twenty times in a row that it still ends the transaction
// before, at the start of the producer and at the first partition: the pipeline
// starts, and goes on.
func TestR10ConcurrentTxn(t *testing.T) {
	t.Parallel()
	const times = 20
	o := fleetOptions{Members: 1, Jobs: []kind{running}}
	client := withClient(t, &o)
	f := newFleet(t, o)
	_, inits := f.strike(client, "CONCURRENT_TRANSACTIONS at InitProducerID", faultproxy.Rule{
		Kind: faultproxy.Refuse, APIs: []faultproxy.API{faultproxy.InitProducerID}, Code: concurrentTransactions, Times: times,
	})
	x, adds := f.strike(client, "CONCURRENT_TRANSACTIONS at AddPartitionsToTxn", faultproxy.Rule{
		Kind: faultproxy.Refuse, APIs: []faultproxy.API{faultproxy.AddPartitionsToTxn}, Code: concurrentTransactions, Times: times,
	})
	f.launch(0, nil, "--workers", "1") // one producer: all refusals are in a row
	f.awaitReady()
	f.feed()
	f.awaitStruck(inits, times)
	f.awaitStruck(adds, times)
	f.awaitServing(x, patience)
	if n := f.incidents(engine.IncidentConcurrentTransaction); n < 2 {
		t.Errorf("counted %d times", n)
	}
	f.finish()
}
