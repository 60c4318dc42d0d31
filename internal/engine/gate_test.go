package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/state"
)

// TestGateInterrupted: a table whose changes go on to others is read record by
// record while the streams of its task wait. A commit during that must not say of
// the streams that they were read: whoever goes on after a crash, with or without
// the disk, would let them run before their table is there.
func TestGateInterrupted(t *testing.T) {
	for _, keep := range []bool{true, false} {
		for n := 1; n <= 8; n++ {
			script := memlog.Script{{Kind: memlog.OpCommit, N: n}: {Outcome: memlog.CrashAfter}}
			log := joinLog(t, memlog.Config{FetchRecords: 3, Faults: script.Faults}, 30, 3)
			topology := joinTopology()
			topology.Subs[1].Inputs[1].Feeds = true
			fs := state.NewCrashFS()
			opts := options(topology, process(log), openState(t, fs))
			opts.CommitInterval = time.Microsecond
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			stats, err := engine.Run(ctx, opts)
			cancel()
			if err == nil && int(stats.Commits) >= n {
				t.Fatalf("commit %d: the process survived its crash", n)
			}
			after := state.CrashClone(fs, 0, 1)
			if !keep {
				after = state.NewMemFS()
			}
			run(t, options(topology, process(log), openState(t, after)))
			for k, values := range committedPerKey(t, log, "out") {
				if strings.Join(values, " ") != "v/name v/name v/name" {
					t.Errorf("keep=%v, crash at commit %d: key %s: %v", keep, n, k, values)
				}
			}
		}
	}
}
