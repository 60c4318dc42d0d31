package engine_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/state"
)

// TestFleetAtRandom lets processes come and go in every way there is, with
// standbys and faults, while records are fed: killed and started again on the
// disk they had or on an empty one, stopped, expelled without knowing it,
// and with commits that fail. Every key must be counted once and in order.
// STREAMCTL_SEEDS=n runs n seeds, STREAMCTL_SEED=n only that one.
func TestFleetAtRandom(t *testing.T) {
	first, seeds := 0, 20
	if testing.Short() {
		seeds = 5
	}
	if n, err := strconv.Atoi(os.Getenv("STREAMCTL_SEEDS")); err == nil {
		seeds = n
	}
	if n, err := strconv.Atoi(os.Getenv("STREAMCTL_SEED")); err == nil {
		first, seeds = n, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			fleetAtRandom(t, uint64(seed), true)
		})
	}
}

// chance is a source of random numbers for several goroutines.
type chance struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (c *chance) of(p float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Float64() < p
}

func (c *chance) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

// TestFleetAtLeastOnce is the same without transactions, where counts may be
// repeated and none may be left out. Whoever is still at work when others have
// its tasks may then spoil what those have counted: nobody is expelled here.
func TestFleetAtLeastOnce(t *testing.T) {
	for seed := range 10 {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			fleetAtRandom(t, uint64(seed), false)
		})
	}
}

func fleetAtRandom(t *testing.T, seed uint64, exactly bool) {
	c := &chance{rng: rand.New(rand.NewPCG(seed, 17))}
	outcomes := []memlog.Outcome{memlog.Aborted, memlog.UnknownCommitted, memlog.UnknownAborted, memlog.CrashBefore, memlog.CrashAfter}
	faults := func(op memlog.Op) memlog.Fault {
		switch {
		case op.Kind == memlog.OpCommit && c.of(0.05):
			return memlog.Fault{Outcome: outcomes[c.below(len(outcomes))]}
		case op.Kind == memlog.OpFetch && c.of(0.1):
			return memlog.Fault{Skip: true}
		}
		return memlog.Fault{}
	}
	const partitions, keys, rounds, each = 5, 15, 30, 4
	cfg := memlog.Config{Faults: faults, FetchRecords: 5, TransactionTimeout: 10 * time.Second}
	f := newFleet(t, countTopology(), cfg, partitions, "in", "out")
	f.options = func(o *engine.Options) {
		o.Standbys, o.Workers, o.CommitInterval, o.ExactlyOnce = int(seed%3), 1+int(seed%2), 50*time.Millisecond, exactly
	}
	names := []string{"a", "b", "c", "d"}
	nodes := make(map[string]*node)
	disks := make(map[string]state.FS)
	ended := func(n *node) bool {
		select {
		case <-n.ended:
			return true
		default:
			return false
		}
	}
	revive := func(least int) {
		for _, name := range names[:least] {
			if n := nodes[name]; n != nil && ended(n) {
				n.crash()
				delete(nodes, name)
			}
			if nodes[name] == nil {
				nodes[name] = f.start(name, disks[name])
				disks[name] = nodes[name].fs
			}
		}
	}
	revive(2)
	for round := range rounds {
		f.feed(keys, each, partitions)
		name := names[c.below(len(names))]
		n := nodes[name]
		switch what := c.below(6); {
		case n == nil:
			revive(c.below(len(names)) + 1)
		case what == 0 && exactly:
			f.log.Kick(n.transport)
		case what == 1:
			n.crash()
			delete(nodes, name)
			disks[name] = state.CrashClone(n.fs, c.below(101), seed)
		case what == 2:
			n.crash()
			delete(nodes, name)
			disks[name] = nil
		case what == 3:
			n.cancel()
			<-n.ended
			n.crash()
			delete(nodes, name)
		}
		// Somebody has to be there for anything to happen; now and then it is waited for.
		if c.of(0.5) {
			f.eventually("some progress", nil, func() bool { revive(1); return f.counted(keys, each*round/2)() })
		}
	}
	// Counted and committed: what is not committed yet may still be counted again.
	f.eventually("all is counted", nil, func() bool { revive(2); return f.finished(keys, each*rounds) && f.committed("in") })
	for _, n := range nodes {
		n.crash()
	}
	if exactly {
		wantCounts(t, committedPerKey(t, f.log, "out"), keys, each*rounds)
	} else {
		wantRepeating(t, committedPerKey(t, f.log, "out"), keys, each*rounds)
	}
}

// committed says whether everything in topic is committed.
func (f *fleet) committed(topic string) bool {
	offsets := f.log.Committed("p")
	ends, _ := f.log.Ends(topic)
	for p, end := range ends {
		if offsets[record.TopicPartition{Topic: topic, Partition: int32(p)}] < end {
			return false
		}
	}
	return true
}

// finished says whether the count of every key has come to each.
func (f *fleet) finished(keys, each int) bool {
	done := 0
	for _, values := range committedPerKey(f.t, f.log, "out") {
		if values[len(values)-1] == strconv.Itoa(each) {
			done++
		}
	}
	return done == keys
}
