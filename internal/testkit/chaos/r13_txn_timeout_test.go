package chaos

import (
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/testkit/faultproxy"
)

// A commit is held up for longer than a transaction may be open: the broker
// aborts it. The process goes back, does it again, and says which settings
// decide; however often it happens, it does not take itself for two.
func TestR13TxnTimeout(t *testing.T) {
	t.Parallel()
	const held = 2500 * time.Millisecond
	o := fleetOptions{Members: 1, Kafka: "transaction_timeout: 1s\n"}
	client := withClient(t, &o)
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	apis := []faultproxy.API{faultproxy.EndTxn, faultproxy.TxnOffsetCommit, faultproxy.Produce, faultproxy.AddOffsetsToTxn}
	f.rounds(5, func(round int) {
		x, added := f.strike(client, "commit held up", faultproxy.Rule{
			Kind: faultproxy.DelayRequest, APIs: apis[round%len(apis) : round%len(apis)+1], Skip: f.rand.IntN(4), Times: 1, Delay: held,
		})
		f.awaitStruck(added, 1)
		f.awaitServing(x, held+requestServed)
		added.Remove()
	})
	if n := f.incidents(engine.IncidentTransactionTimeout); n == 0 {
		t.Error("no transaction was counted as timed out")
	}
	if f.toldBy("kafka.transaction_timeout (1s)", "commit_interval") == 0 {
		t.Error("no message names the settings")
	}
	f.finish()
}
