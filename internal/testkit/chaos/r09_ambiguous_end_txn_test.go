package chaos

import (
	"fmt"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/testkit/faultproxy"
)

// moments are how often the end of a transaction is struck in the short form.
const moments = 20

// The reply to EndTxn is lost, or the request comes late: while the producer is
// being renewed, after that, or never while its sender waits. Nobody knows then
// whether the transaction was committed; the producer takes a new epoch, so that a
// late request is refused, and everything goes on from the committed offsets.
func TestR09AmbiguousEndTxn(t *testing.T) {
	t.Parallel()
	const requestTimeout = time.Second
	o := fleetOptions{Members: 1, Kafka: fmt.Sprintf("request_timeout: %s\n", requestTimeout)}
	client := withClient(t, &o)
	f := newFleet(t, o)
	f.startAll()
	f.feed()
	f.awaitCalm()
	ends := []faultproxy.API{faultproxy.EndTxn}
	f.rounds(moments, func(round int) {
		rule := faultproxy.Rule{Kind: faultproxy.DropReply, APIs: ends, Times: 1, Skip: f.rand.IntN(6)}
		what := "EndTxn without reply"
		switch round % 4 {
		case 1:
			// Around the time-out, so that it meets every step of the renewal.
			rule.Kind, what = faultproxy.DelayRequest, "late EndTxn"
			rule.Delay = requestTimeout + time.Duration(f.rand.IntN(300)-50)*time.Millisecond
		case 3:
			rule.Kind, what = faultproxy.DropRequest, "lost EndTxn"
		}
		if round == 5 {
			rule.Delay = 20 * requestTimeout // arrives long after, but within the story
		}
		x, added := f.strike(client, what, rule)
		f.awaitStruck(added, 1)
		f.awaitServing(x, requestTimeout+requestServed)
		added.Remove()
	})
	unknown, renewed := f.incidents(engine.IncidentUnknownOutcome), f.incidents(engine.IncidentProducerRenewed)
	t.Logf("%d outcomes were unknown, producers were renewed %d times", unknown, renewed)
	if unknown == 0 || renewed < unknown {
		t.Error("every unknown outcome must be counted and bring a new epoch")
	}
	f.finish()
}
