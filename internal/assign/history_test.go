package assign

import (
	"os"
	"strconv"
	"testing"
)

// seeds gives the seeds of a test: STREAMCTL_SEED alone where it is set, else
// as many as STREAMCTL_SEEDS says, else n.
func seeds(t *testing.T, n int) []uint64 {
	t.Helper()
	if s := os.Getenv("STREAMCTL_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("read STREAMCTL_SEED: %v", err)
		}
		return []uint64{seed}
	}
	if s := os.Getenv("STREAMCTL_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("read STREAMCTL_SEEDS: %v", err)
		}
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i + 1)
	}
	return out
}

// TestHistories lives through random histories: joins, leaves, crashes, restarts
// and sizes that change, in the middle of warm-ups and hand-overs. What must hold
// holds in every round, and every history settles.
func TestHistories(t *testing.T) {
	rounds, most := 0, 0
	for _, seed := range seeds(t, 1500) {
		w := newWorld(t, seed)
		for range 1 + w.rnd.IntN(4) {
			w.join()
		}
		for range 5 + w.rnd.IntN(20) {
			switch w.rnd.IntN(12) {
			case 0, 1:
				if len(w.peers) < 9 {
					w.join()
				}
			case 2:
				w.leave()
			case 3:
				w.bounce()
			case 4:
				w.resize()
			case 5:
				n := w.settle()
				rounds += n
				most = max(most, n)
			default:
				w.pass()
			}
			w.rebalance(0.025)
			rounds++
		}
		n := w.settle()
		rounds += n
		most = max(most, n)
	}
	t.Logf("%d rounds, at most %d to settle", rounds, most)
}
