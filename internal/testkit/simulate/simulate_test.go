package simulate

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"streamctl/operators"
	"streamctl/state"
)

// shortSeeds is how many seeds of each workload a plain run of the tests does.
const shortSeeds = 150

// shownEvents is how much of its trace a failing seed shows.
const shownEvents = 150

// shortSeeds is how many seeds of the workload a plain run of the tests does.
func (w *workload) shortSeeds() uint64 {
	if w.seeds > 0 {
		return w.seeds
	}
	return shortSeeds
}

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
	first, _ := number(t, "STREAMCTL_FIRST_SEED", 0)
	only, one := number(t, "STREAMCTL_SEED", 0)
	for _, w := range workloads(t) {
		t.Run(w.name, func(t *testing.T) {
			if one {
				runOne(t, w, only)
				return
			}
			seeds, _ := number(t, "STREAMCTL_SEEDS", w.shortSeeds())
			sum := &tally{began: time.Now()}
			t.Cleanup(func() { sum.report(t, w) })
			for seed := first; seed < first+seeds; seed++ {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					t.Parallel()
					check(t, w, seed, seed%10 == 0, sum)
				})
			}
		})
	}
}

// check runs a seed, and twice if it is to be shown that it is one run only.
func check(t *testing.T, w *workload, seed uint64, twice bool, sum *tally) {
	out := runSeed(t, w, seed, false)
	sum.add(out.sim)
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

// tally is what the seeds of a workload have tried.
type tally struct {
	began time.Time
	mu    sync.Mutex

	seeds, steps, lives, kills, commits, outputs, compared int
}

func (c *tally) add(s *simulation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seeds++
	c.steps += s.steps
	c.kills += s.kills
	c.commits += s.audit.commits
	c.compared += s.compared
	for _, sl := range s.slots {
		c.lives += sl.lives
	}
	for _, records := range s.log.ReadCommitted("p-out") {
		c.outputs += len(records)
	}
}

// report tells it, and fails when the seeds have tried nothing of what they are for.
func (c *tally) report(t *testing.T, w *workload) {
	t.Logf("%d seeds in %v: %d steps, %d lives of processes, %d of them killed, %d commits, %d outputs checked, %d tables compared with their changelogs",
		c.seeds, time.Since(c.began).Round(time.Millisecond), c.steps, c.lives, c.kills, c.commits, c.outputs, c.compared)
	tables := w.exactly && slices.ContainsFunc(w.topology.Subs, func(s *operators.SubTopology) bool {
		return slices.ContainsFunc(s.Tables, func(spec state.TableSpec) bool { return spec.Changelog != "" })
	})
	if uint64(c.seeds) >= w.shortSeeds() && (c.kills == 0 || c.commits == 0 || c.outputs == 0 || tables && c.compared == 0) {
		t.Error("the seeds have tried too little")
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
