package chaos

import (
	"testing"

	"streamctl/internal/testkit/faultproxy"
)

// A process dies and leaves a transaction open on its changelogs, in which no
// offsets are yet: its successor, which cannot end it and has no state, starts at once
// and restores behind the open transaction, to the end of the topic. What comes
// out afterwards has the newest values. Then it is lost in its turn, and the next
// one restores over what was aborted.
func TestR14RestoreWithOpenTxn(t *testing.T) {
	t.Parallel()
	o := fleetOptions{Members: 2, Kafka: "transaction_timeout: 3s\n"}
	client := withClient(t, &o)
	f := newFleet(t, o)
	f.start(0)
	f.awaitReady(0)
	ids := f.ids()
	f.feed()
	f.awaitCalm()
	f.rounds(2, func(int) {
		f.kill(0)
		f.crashAt(0, "before-offsets", 1+f.rand.IntN(20))
		_, refused := f.strike(client, "no permission to fence", faultproxy.Rule{
			Kind: faultproxy.Refuse, APIs: []faultproxy.API{faultproxy.InitProducerID}, Code: transactionalIDDenied, Naming: ids,
		})
		f.loseState(1)
		x := f.fault("start with nothing")
		f.start(1)
		f.awaitServing(x, f.session+3*served)
		refused.Remove()
		f.loseState(0)
		y := f.kill(1)
		f.start(0)
		f.awaitServing(y, f.session+3*served)
	})
	f.finish()
}
