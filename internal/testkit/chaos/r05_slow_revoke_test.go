package chaos

import (
	"fmt"
	"testing"
	"time"

	"streamctl/internal/crashpoint"
	"streamctl/internal/engine"
)

// A process takes longer to give its tasks up than the group waits. The group
// goes on without it; what it commits too late must not become visible.
func TestR05SlowRevoke(t *testing.T) {
	t.Parallel()
	slowRevoke(t, fleetOptions{}, 1)
}

func TestR05SlowRevokeEmbedded(t *testing.T) {
	t.Parallel()
	slowRevoke(t, fleetOptions{Embedded: true}, 1)
}

// rebalanceTimeout is how long the group waits.
const rebalanceTimeout = 3 * time.Second

func slowRevoke(t *testing.T, o fleetOptions, times int) {
	t.Helper()
	o.Kafka += fmt.Sprintf("rebalance_timeout: %s\n", rebalanceTimeout)
	f := newFleet(t, o)
	slow := fmt.Sprintf("%s=%s:%s", crashpoint.SlowEnv, engine.CrashBeforeRevoke, 3*rebalanceTimeout)
	f.rounds(times, func(round int) {
		// The slow one has everything, then two others join one after the other.
		p := f.launch(0, []string{slow})
		f.awaitReady(0)
		if round == 0 {
			f.feed()
		}
		f.awaitCalm()
		said := len(refusals(p))
		x := f.fault("slow revoke")
		f.start(1)
		f.pass(rebalanceTimeout / 2)
		f.start(2)
		f.awaitServing(x, 4*rebalanceTimeout+f.session+served)
		f.await("the slow one to notice", patience, func() bool { return len(refusals(p)) > said })
		f.stop(1, 2, 0)
	})
	f.finish()
}
