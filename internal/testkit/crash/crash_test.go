package crash

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
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
	model := newLiveJoin(t)
	model.prepare(h)
	data := testkit.NewData(testkit.DataConfig{Seed: h.rand.Uint64(), Profiles: profiles, Viewers: viewers})
	h.produce(h.topic("views"), 500, data.View) // something in every partition
	stopViews := h.feed(h.topic("views"), 20, data.View)
	for range bootKills {
		h.killRandomly()
	}
	h.settle()
	stopEdits := h.feed(h.topic("profiles"), 1, model.edit)
	h.killEverywhere()
	stopViews()
	stopEdits()
	h.finish()

	// Everything has been processed: views from now on see the last version.
	var last []testkit.Message
	for m := 1; m <= edited; m++ {
		last = append(last, testkit.Message{Key: fmt.Append(nil, m), Value: fmt.Appendf(nil, `{"viewerId":%d,"timestamp":1500000000,"last":true}`, m), Time: 1500000000000})
	}
	if err := h.cluster.ProduceAll(t.Context(), h.topic("views"), last); err != nil {
		t.Fatal(err)
	}
	h.finish()
	model.readVersions(h)
	h.compare(model.view)
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

// liveJoin is the model of a join whose table changes while it is read: what
// version a view meets is not determined, but it must be one, and never an
// older one than the view before it met.
type liveJoin struct {
	t     *testing.T
	model *testkit.JoinModel
	sent  atomic.Int64    // edits made so far
	met   map[int64][]int // member -> version that each of its views met, in order
	at    map[int64]int   // how many of them are used up
	now   map[int64]int   // version that the model holds
}

func newLiveJoin(t *testing.T) *liveJoin {
	return &liveJoin{t: t, model: testkit.NewJoinModel(), met: make(map[int64][]int), at: make(map[int64]int), now: make(map[int64]int)}
}

// prepare produces the profiles there are before the first start: some in an
// old and a new version, some deleted again.
func (l *liveJoin) prepare(h *harness) {
	l.t.Helper()
	var edits []testkit.Message
	for m := 1; m <= profiles; m++ {
		edits = append(edits, testkit.ProfileEdit(m, 0, 1413000000000))
		if m > edited && m%3 == 0 {
			edits = append(edits, testkit.ProfileEdit(m, 1, 1413000001000))
		}
		if m > edited && m%7 == 0 {
			edits = append(edits, testkit.Tombstone(m, 1413000002000))
		}
	}
	for _, e := range edits {
		if err := l.model.Edit(e); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := h.cluster.ProduceAll(l.t.Context(), h.topic("profiles"), edits); err != nil {
		l.t.Fatal(err)
	}
}

// edit makes the next version of the next edited member.
func (l *liveJoin) edit() testkit.Message {
	n := int(l.sent.Add(1)) - 1
	return testkit.ProfileEdit(1+n%edited, 1+n/edited, 1413215519000)
}

var versionIn = regexp.MustCompile(`"jobTitle":"[^"]* v([0-9]+)"`)
var viewerIn = regexp.MustCompile(`"viewerId":([0-9]+)`)

func viewer(value []byte) int64 {
	m := viewerIn.FindSubmatch(value)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n
}

// readVersions takes from the output which version each view of an edited
// member met; everything else about the output is left to the comparison.
func (l *liveJoin) readVersions(h *harness) {
	l.t.Helper()
	err := h.cluster.Read(l.t.Context(), h.topic("out"), func(m testkit.Message) {
		who := viewer(m.Value)
		if v := versionIn.FindSubmatch(m.Value); v != nil && who <= edited {
			n, _ := strconv.Atoi(string(v[1]))
			l.met[who] = append(l.met[who], n)
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	changes := 0
	for who, met := range l.met {
		for i := 1; i < len(met); i++ {
			if met[i] < met[i-1] {
				l.t.Errorf("member %d: view %d met version %d after version %d", who, i, met[i], met[i-1])
			}
			if met[i] != met[i-1] {
				changes++
			}
		}
		if want := l.lastVersion(who); met[len(met)-1] != want {
			l.t.Errorf("member %d: the last view met version %d, not %d", who, met[len(met)-1], want)
		}
	}
	if changes == 0 {
		l.t.Error("no view met an edited profile: this shows too little")
	}
}

// lastVersion is the newest one that was produced for a member.
func (l *liveJoin) lastVersion(member int64) int {
	n := int(l.sent.Load())
	if i := int(member) - 1; n > i {
		return (n-i-1)/edited + 1
	}
	return 0
}

// view brings the model to the version that this view met, and asks it.
func (l *liveJoin) view(m testkit.Message) (testkit.Output, error) {
	who := viewer(m.Value)
	if met, i := l.met[who], l.at[who]; who <= edited && i < len(met) {
		l.at[who]++
		if v := met[i]; v != l.now[who] {
			l.now[who] = v
			if err := l.model.Edit(testkit.ProfileEdit(int(who), v, 0)); err != nil {
				return testkit.Output{}, err
			}
		}
	}
	return l.model.View(m)
}
