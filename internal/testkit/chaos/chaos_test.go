package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/testkit/faultproxy"
)

// Everything that can happen happens, one thing after the other and sometimes
// two at once, as the seed says.
func TestChaos(t *testing.T) {
	f := newFleet(t, fleetOptions{SoakShare: 0.5})
	f.chaos(slices.Concat(processFaults, brokerFaults, networkFaults), 5)
}

// The same without broker and network, on the embedded broker.
func TestChaosEmbedded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{Embedded: true})
	// It forgets members that wait in a rebalance for longer than a session, and
	// never answers them: nobody may be missing for so long.
	f.chaos(slices.DeleteFunc(slices.Clone(processFaults), func(x trouble) bool {
		return strings.Contains(x.name, "others") || strings.Contains(x.name, "kill two")
	}), 5)
}

// trouble is something to do to a fleet of which all members run. It returns the
// fault after which output is awaited; mend makes everything whole again.
type trouble struct {
	name string
	do   func(*fleet) (x *fault, mend func())
}

func (f *fleet) chaos(troubles []trouble, rounds int) {
	f.t.Helper()
	f.startAll()
	f.feed()
	f.awaitCalm()
	order := f.rand.Perm(len(troubles)) // each at least once before any comes again
	f.rounds(rounds, func(round int) {
		if round%len(order) == 0 {
			order = f.rand.Perm(len(troubles))
		}
		one := troubles[order[round%len(order)]]
		f.t.Logf("%8.3f s: %s", time.Since(f.begun).Seconds(), one.name)
		x, mend := one.do(f)
		f.awaitServing(x, brokerServed+2*f.session)
		mend()
		f.awaitReady()
		f.pass(time.Duration(f.rand.IntN(1000)) * time.Millisecond)
	})
	f.finish()
}

func nothing() {}

var processFaults = []trouble{
	{"kill one, and start it again at once", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		x := f.kill(i)
		f.start(i)
		return x, nothing
	}},
	{"kill one, and leave its tasks to the others", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		return f.kill(i), func() { f.start(i) }
	}},
	{"kill two, one with the loss of its state", func(f *fleet) (*fault, func()) {
		order := f.rand.Perm(len(f.members))
		x := f.kill(order[:2]...)
		f.loseState(order[0])
		return x, func() { f.start(order[:2]...) }
	}},
	{"kill all", func(f *fleet) (*fault, func()) {
		x := f.kill(0, 1, 2)
		f.start()
		return x, nothing
	}},
	{"stop a process for a moment", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		x := f.pause(i)
		f.pass(f.session / 3)
		f.resume(i)
		return x, nothing
	}},
	{"stop a process until others have its tasks", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		x := f.pause(i)
		f.pass(2 * f.session)
		return x, func() { f.resume(i) }
	}},
	{"planned restart", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		x := f.stop(i)
		f.start(i)
		return x, nothing
	}},
	{"scale from three to one and back", func(f *fleet) (*fault, func()) {
		order := f.rand.Perm(len(f.members))
		x := f.stop(order[0])
		f.stop(order[1])
		return x, func() { f.start(order[:2]...) }
	}},
	{"crash at a step of a commit", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		f.kill(i)
		points := slices.DeleteFunc(slices.Clone(engine.CrashPoints), func(p string) bool {
			return p == engine.CrashAfterRestore // comes only where nobody has kept a copy warm
		})
		x := f.crashAt(i, points[f.rand.IntN(len(points))], 1+f.rand.IntN(20))
		if f.kafka == nil { // nobody may be missing there: see TestChaosEmbedded
			f.start(i)
			return x, nothing
		}
		return x, func() { f.start(i) }
	}},
}

var brokerFaults = []trouble{
	{"kill a broker", func(f *fleet) (*fault, func()) {
		_, x := f.killNode(roles[f.rand.IntN(len(roles))])
		return x, f.reviveNodes
	}},
	{"restart a broker", func(f *fleet) (*fault, func()) {
		return f.rollNode(1 + f.rand.IntN(3)), f.reviveNodes
	}},
	{"kill a process and a broker at once", func(f *fleet) (*fault, func()) {
		i := f.rand.IntN(len(f.members))
		_, x := f.killNode(roles[f.rand.IntN(len(roles))])
		f.kill(i)
		return x, func() { f.reviveNodes(); f.start(i) }
	}},
	{"stop a broker for a moment", func(f *fleet) (*fault, func()) {
		x := f.fault("SIGSTOP of a broker")
		node := f.kafka.Node(1 + f.rand.IntN(3))
		if err := node.Pause(); err != nil {
			f.t.Fatal(err)
		}
		f.pass(time.Duration(f.rand.IntN(4000)) * time.Millisecond)
		if err := node.Resume(); err != nil {
			f.t.Fatal(err)
		}
		return x, f.reviveNodes
	}},
}

var networkFaults = []trouble{
	{"cut all connections", func(f *fleet) (*fault, func()) {
		x := f.fault("connections cut")
		for _, p := range all.proxies {
			p.Cut()
		}
		return x, nothing
	}},
	{"a broker cannot be reached by clients", func(f *fleet) (*fault, func()) {
		x := f.fault("network partition")
		p := all.proxies[1+f.rand.IntN(3)]
		p.Partition()
		f.pass(time.Duration(f.rand.IntN(4000)) * time.Millisecond)
		p.Heal()
		return x, nothing
	}},
	{"requests and replies are lost and late", func(f *fleet) (*fault, func()) {
		x := f.fault("lossy network")
		all.plan.Chaos(f.rand.Uint64(), faultproxy.Rates{DropRequest: 0.01, DropReply: 0.01, DelayRequest: 0.05, DelayReply: 0.05})
		f.pass(4 * time.Second)
		all.plan.Chaos(0, faultproxy.Rates{})
		return x, nothing
	}},
}
