package simulate

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
)

// shortSeeds is how many seeds of each workload a plain run of the tests does.
const shortSeeds = 150

// shownEvents is how much of its trace a failing seed shows.
const shownEvents = 150

// outcome is what a run of a seed has come to.
type outcome struct {
	err   error
	hash  uint64
	steps int
	tail  string
	sim   *simulation
}

// runSeed runs one seed in a bubble of its own.
func runSeed(t *testing.T, w *workload, seed uint64, verbose bool) (out outcome) {
	synctest.Test(t, func(*testing.T) {
		s := newSimulation(w, seed, verbose)
		out.err = s.run()
		if out.err == nil {
			out.err = s.failure
		}
		shown := shownEvents
		if verbose {
			shown = 1 << 30
		}
		out.hash, out.steps, out.tail, out.sim = s.trace.hash.Sum64(), s.steps, s.trace.tail(shown), s
	})
	return out
}

// number reads an environment variable.
func number(t *testing.T, name string, otherwise uint64) (n uint64, set bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// TestSimulation runs seeds of every workload. STREAMCTL_SEEDS=n runs n seeds of
// each, STREAMCTL_SEED=n only that one, with all that happens.
func TestSimulation(t *testing.T) {
	seeds, _ := number(t, "STREAMCTL_SEEDS", shortSeeds)
	first, _ := number(t, "STREAMCTL_FIRST_SEED", 0)
	only, one := number(t, "STREAMCTL_SEED", 0)
	for _, w := range workloads(t) {
		t.Run(w.name, func(t *testing.T) {
			if one {
				runOne(t, w, only)
				return
			}
			for seed := first; seed < first+seeds; seed++ {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					t.Parallel()
					check(t, w, seed, seed%10 == 0)
				})
			}
		})
	}
}

// check runs a seed, and twice if it is to be shown that it is one run only.
func check(t *testing.T, w *workload, seed uint64, twice bool) {
	out := runSeed(t, w, seed, false)
	if out.err != nil {
		t.Errorf("%v\nthe last events:\n%s\nto see all: STREAMCTL_SEED=%d go test ./internal/testkit/simulate -run 'TestSimulation/%s$'",
			out.err, out.tail, seed, w.name)
		return
	}
	if !twice {
		return
	}
	if again := runSeed(t, w, seed, false); again.hash != out.hash {
		t.Errorf("seed %d is not one run: %d steps once, %d steps another time\n%s", seed, out.steps, again.steps, firstDifference(out.sim.trace.lines, again.sim.trace.lines))
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			text := ""
			for _, line := range a[max(0, i-15):i] {
				text += line + "\n"
			}
			return text + "once:         " + a[i] + "\nanother time: " + b[i]
		}
	}
	return "one is the beginning of the other"
}

// runOne shows everything of one seed.
func runOne(t *testing.T, w *workload, seed uint64) {
	out := runSeed(t, w, seed, true)
	t.Logf("seed %d:\n%s", seed, out.tail)
	if out.err != nil {
		t.Errorf("seed %d: %v", seed, out.err)
	}
}
