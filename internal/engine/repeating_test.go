package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/state"
)

// TestAtLeastOnceTwoCrashes cuts the power at two of the commits without
// transactions, once after the offsets were committed and before the state
// was, once with the changelog written and the offsets not. What the changelog
// then holds beyond the offsets must not be taken for state: the records that
// made it are read again, and would count twice.
func TestAtLeastOnceTwoCrashes(t *testing.T) {
	for first := 1; first <= 4; first++ {
		for second := first + 1; second <= first+4; second++ {
			for _, outcomes := range [][2]memlog.Outcome{
				{memlog.CrashAfter, memlog.CrashBefore}, {memlog.CrashBefore, memlog.CrashAfter},
				{memlog.CrashAfter, memlog.CrashAfter}, {memlog.CrashBefore, memlog.CrashBefore},
			} {
				t.Run(fmt.Sprint(first, second, outcomes), func(t *testing.T) { crashTwice(t, first, second, outcomes) })
			}
		}
	}
}

func crashTwice(t *testing.T, first, second int, outcomes [2]memlog.Outcome) {
	script := memlog.Script{
		{Kind: memlog.OpCommit, N: first}:  {Outcome: outcomes[0]},
		{Kind: memlog.OpCommit, N: second}: {Outcome: outcomes[1]},
	}
	const keys, each = 6, 40
	log := countLog(t, memlog.Config{FetchRecords: 7, Faults: script.Faults}, keys, each)
	fs := state.NewCrashFS()
	for life := range 4 {
		opts := options(countTopology(), process(log), openState(t, fs))
		opts.ExactlyOnce, opts.CommitInterval, opts.Workers = false, time.Microsecond, 1
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err := engine.Run(ctx, opts)
		cancel()
		if err == nil {
			wantRepeating(t, committedPerKey(t, log, "out"), keys, each)
			return
		}
		fs = state.CrashClone(fs, 0, uint64(life)) // the machine loses its power
	}
	t.Fatal("it crashes without end")
}

// wantRepeating checks that every key's values go up by one, or back, and end with each.
func wantRepeating(t *testing.T, got map[string][]string, keys, each int) {
	t.Helper()
	if len(got) != keys {
		t.Fatalf("%d keys, want %d", len(got), keys)
	}
	for key, values := range got {
		last := 0
		for i, v := range values {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > last+1 {
				t.Fatalf("key %s: value %d is %s after %d: %v", key, i, v, last, values)
			}
			last = n
		}
		if last != each {
			t.Fatalf("key %s ends with %d, want %d: %v", key, last, each, values)
		}
	}
}
