package crash

import (
	"strings"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/testkit"
)

// Kills of the short form, besides one at every named step.
const (
	bootKills   = 3 // while the table is loaded for the first time
	randomKills = 20
	loseStateIn = 4 // the state directory is deleted before one in so many runs
)

// members with a profile; the viewers are more, so that some have none.
const (
	profiles = 3000
	viewers  = 3300
	// edited members get new versions of their profile while the pipeline is killed.
	edited = 50
)

// TestRunningAggregates: every intermediate count, sum, minimum and maximum
// must come out once, in order.
func TestRunningAggregates(t *testing.T) {
	t.Parallel()
	h := newHarness(t, "running", testkit.RunningPipeline)
	data := testkit.NewData(testkit.DataConfig{Seed: h.rand.Uint64(), Profiles: 200})
	h.produce(h.topic("views"), 500, data.View) // something in every partition
	h.settle()
	stop := h.feed(h.topic("views"), 20, data.View)
	h.killEverywhere()
	stop()
	h.finish()
	h.compare(testkit.NewRunningModel().View)
}

// TestJoin: every view must come out once, in order, with the profile it
// had; members that are edited meanwhile may change to a newer version at any
// view, and never back.
func TestJoin(t *testing.T) {
	t.Parallel()
	h := newHarness(t, "join", testkit.JoinPipeline)
	model := testkit.NewLiveJoin(profiles, edited)
	edits, err := model.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cluster.ProduceAll(t.Context(), h.topic("profiles"), edits); err != nil {
		t.Fatal(err)
	}
	data := testkit.NewData(testkit.DataConfig{Seed: h.rand.Uint64(), Profiles: profiles, Viewers: viewers})
	h.produce(h.topic("views"), 500, data.View) // something in every partition
	stopViews := h.feed(h.topic("views"), 20, data.View)
	for range bootKills {
		h.killRandomly()
	}
	h.settle()
	stopEdits := h.feed(h.topic("profiles"), 1, model.Edit)
	h.killEverywhere()
	stopViews()
	stopEdits()
	h.finish()

	// Everything has been processed: views from now on see the last version.
	if err := h.cluster.ProduceAll(t.Context(), h.topic("views"), model.LastViews()); err != nil {
		t.Fatal(err)
	}
	h.finish()
	if err := h.cluster.Read(t.Context(), h.topic("out"), model.Output); err != nil {
		t.Fatal(err)
	}
	for _, fault := range model.Faults() {
		t.Error(fault)
	}
	h.compare(model.View)
}

// TestAtLeastOnce: after a crash outputs may come again, but no view may be
// missing, and none that the store holds may be counted twice: every output is
// the model's, and what follows it is the model's next one, or a repetition.
func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t, "repeating", testkit.RunningPipeline+"guarantee: at_least_once\n")
	data := testkit.NewData(testkit.DataConfig{Seed: h.rand.Uint64(), Profiles: 200})
	h.produce(h.topic("views"), 500, data.View)
	h.settle()
	stop := h.feed(h.topic("views"), 20, data.View)
	for range randomKills / 2 {
		h.maybeLoseState()
		h.killRandomly()
	}
	for _, point := range engine.CrashPoints {
		if !strings.Contains(point, "end-txn") && point != engine.CrashAfterRestore {
			h.killAt(point)
		}
	}
	stop()
	h.finish()
	h.compareRepeating(testkit.NewRunningModel().View)
}

// killEverywhere kills at random moments and at every named step, with the
// state directory deleted before some of the runs.
func (h *harness) killEverywhere() {
	h.t.Helper()
	for range randomKills {
		h.maybeLoseState()
		h.killRandomly()
	}
	for _, point := range engine.CrashPoints {
		if point == engine.CrashAfterRestore {
			h.loseState()
		}
		h.killAt(point)
	}
	for end := time.Now().Add(soak(h.t)); time.Now().Before(end) && !h.t.Failed(); {
		h.maybeLoseState()
		if points := engine.CrashPoints; h.rand.IntN(3) == 0 {
			point := points[h.rand.IntN(len(points))]
			if point == engine.CrashAfterRestore {
				h.loseState()
			}
			h.killAt(point)
			continue
		}
		h.killRandomly()
	}
}

// maybeLoseState deletes the state now and then; else, when it is not known
// to be whole, it lets a run complete it, so that the kills that follow find a
// directory from which nothing needs to be restored in full.
func (h *harness) maybeLoseState() {
	h.t.Helper()
	switch {
	case h.rand.IntN(loseStateIn) == 0:
		h.loseState()
	case !h.settled && h.rand.IntN(2) == 0:
		h.settle()
	}
}
