package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/state"
)

// more adds records of six keys to the log of countLog.
func more(t *testing.T, log *memlog.Log, each int) {
	t.Helper()
	for n := range each {
		for k := range 6 {
			produce(t, log, "in", int32(k%3), key(k), []byte("x"), int64(2000+n))
		}
	}
}

// Whoever is told that the group has taken the process in can still stop it:
// nothing has been done then.
func TestJoinedComesBeforeTheFirstTask(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 10)
	refused := errors.New("not with this plan")
	opts := options(countTopology(), process(log), openState(t, state.NewMemFS()))
	calls := 0
	opts.Joined = func(context.Context) error { calls++; return refused }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := engine.Run(ctx, opts); !errors.Is(err, refused) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if len(committedPerKey(t, log, "out")) > 0 || len(log.Committed("p")) > 0 {
		t.Error("something was done")
	}
	opts.Joined = func(context.Context) error { calls++; return nil }
	opts.State = openState(t, state.NewMemFS())
	run(t, opts)
	wantCounts(t, committedPerKey(t, log, "out"), 6, 10)
	if calls != 2 {
		t.Errorf("told %d times", calls)
	}
}

func TestRowsOfAnotherFormAreDropped(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 10)
	db := openState(t, state.NewMemFS())
	opts := options(countTopology(), process(log), db)
	again := func(rows string) engine.Stats {
		t.Helper()
		opts.Transport, opts.Rows = process(log), map[string]string{"counts": rows}
		return run(t, opts)
	}
	again("1")
	more(t, log, 2)
	if stats := again("1"); stats.Restored != 0 {
		t.Errorf("the same rows: %d records read back", stats.Restored)
	}
	wantCounts(t, committedPerKey(t, log, "out"), 6, 12)
	// Other rows: those here are dropped, and the changelog says what there is.
	if stats := again("2"); stats.FullRestores != 3 || stats.Incidents[engine.IncidentStateStale] != 3 {
		t.Errorf("other rows: %d tables restored in full, incidents %v", stats.FullRestores, stats.Incidents)
	}
	more(t, log, 1)
	again("2")
	wantCounts(t, committedPerKey(t, log, "out"), 6, 13)
	// With the changelog gone too, the table begins anew.
	if err := log.DeleteTopic("p.counts.changelog"); err != nil {
		t.Fatal(err)
	}
	more(t, log, 1)
	again("3")
	for key, values := range committedPerKey(t, log, "out") {
		if last := values[len(values)-1]; len(values) != 14 || last != "1" {
			t.Errorf("key %s: %v", key, values)
		}
	}
}

func TestStateFollowsARenamedSubTopology(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 10)
	db := openState(t, state.NewMemFS())
	run(t, options(countTopology(), process(log), db))
	more(t, log, 2)
	renamed := countTopology()
	renamed.Subs[0].Name = "another"
	stats := run(t, options(renamed, process(log), db))
	wantCounts(t, committedPerKey(t, log, "out"), 6, 12)
	if stats.Restored != 0 {
		t.Errorf("%d records read back", stats.Restored)
	}
}

// A changelog in which a later version has written is not read as something else.
func TestAChangelogOfALaterVersionIsRefused(t *testing.T) {
	log := countLog(t, memlog.Config{}, 6, 10)
	run(t, options(countTopology(), process(log), openState(t, state.NewMemFS())))
	produce(t, log, "p.counts.changelog", 0, key(0), []byte("\x02something new"), 3000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := engine.Run(ctx, options(countTopology(), process(log), openState(t, state.NewMemFS())))
	if !errors.Is(err, state.ErrVersion) || errors.Is(err, state.ErrCorrupt) {
		t.Errorf("run: %v", err)
	}
}
