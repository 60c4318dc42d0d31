package usecases

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/testkit"
)

// history has all that a rewind must empty: a table that is keyed anew, a
// repartition, and a table that remembers.
const history = `pipeline: '{p}history'
commit_interval: 20ms
sources:
  page_views:
    topic: '{p}views'
    timestamp: seconds(timestamp)
    fields: {viewerId: int, viewedProfileId: int, timestamp: int}
tables:
  profiles: {topic: '{p}profiles', key: 'int(split(key, ":")[3])', value: value.profile}
  activity:
    from: page_views v
    group_by: v.viewerId
    select:
      - viewerId: v.viewerId
      - views: count()
      - total: sum(v.viewedProfileId)
      - lowest: min(v.viewedProfileId)
      - highest: max(v.viewedProfileId)
streams:
  enriched:
    from: page_views v
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - jobTitle: p.positions[0].job_title
      - company: p.positions[0].company
sinks:
  out: {from: enriched, topic: '{p}out', key: viewerId}
  totals: {from: activity, topic: '{p}totals', key: viewerId}
`

// past is that pipeline with its data, and the models that say what must come out.
type past struct {
	*rig
	data    *testkit.Data
	join    *testkit.JoinModel
	running *testkit.RunningModel
	views   []testkit.Message
	// What both topics must hold.
	out, totals testkit.Sequences
}

func newPast(r *rig) *past {
	p := &past{rig: r, data: testkit.NewData(testkit.DataConfig{Seed: 6, Profiles: 100, Viewers: 120, PerSec: 10}),
		join: testkit.NewJoinModel(), running: testkit.NewRunningModel(), out: make(testkit.Sequences), totals: make(testkit.Sequences)}
	r.pipeline(history)
	for _, name := range []string{"views", "out", "totals"} {
		r.topic(name, 4, "delete")
	}
	r.topic("profiles", 4, "compact")
	var edits []testkit.Message
	for version := range 2 {
		for m := 1; m <= 100; m += 1 + version {
			edits = append(edits, testkit.ProfileEdit(m, version, eventTime-60_000+int64(version)))
		}
	}
	for _, e := range edits {
		if err := p.join.Edit(e); err != nil {
			r.t.Fatal(err)
		}
	}
	r.send("profiles", edits...)
	return p
}

// look sends n views, and takes from the models what must come out for them.
func (p *past) look(n int) {
	p.t.Helper()
	var views []testkit.Message
	for range n {
		v := p.data.View()
		v.Key = append([]byte("shard-"), v.Key[len(v.Key)-1:]...) // by the viewer's last digit: not where the join needs it
		views = append(views, v)
	}
	p.send("views", views...)
	p.views = append(p.views, views...)
	p.expect(views)
}

// expect says that these views must come out once more.
func (p *past) expect(views []testkit.Message) {
	p.t.Helper()
	for _, v := range views {
		joined, err := p.join.View(v)
		if err != nil {
			p.t.Fatal(err)
		}
		p.out.Add(joined)
		counted, err := p.running.View(v)
		if err != nil {
			p.t.Fatal(err)
		}
		p.totals.Add(counted)
	}
}

func (p *past) check(when string) {
	p.t.Helper()
	p.t.Log(when)
	p.same("out", p.out)
	p.same("totals", p.totals)
}

// rewind does it, and says that it was done.
func (p *past) rewind(args ...string) {
	p.t.Helper()
	if code, stdout, stderr := p.command("reset-offsets", append(args, "--yes")...); code != 0 {
		p.t.Fatalf("reset-offsets %v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
}

// Stop, reset to the earliest, start again: the outputs of the whole history come
// again as at first, per key and in order, and then life goes on.
func TestUC6a_Earliest(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(3000)
		p.untilEnd()
		p.check("first run")
		p.rewind("--to", "earliest")
		p.running = testkit.NewRunningModel()
		p.expect(p.views)
		c := p.start()
		p.awaitOutputs("totals", p.totals.Len())
		p.awaitOutputs("out", p.out.Len())
		p.check("rerun")
		p.look(200)
		p.awaitOutputs("totals", p.totals.Len())
		p.awaitOutputs("out", p.out.Len())
		c.stop()
		p.check("live")
	})
}

// Reset to a time: what came from then on comes again, counted from nothing; the
// profiles are all there.
func TestUC6a_Timestamp(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(1000)
		p.untilEnd()
		p.check("first run")
		const from = eventTime + 60_000
		p.rewind("--to", "timestamp:2014-10-13T15:52:58Z", "--topic", p.prefix+"views")
		p.running = testkit.NewRunningModel()
		var again []testkit.Message
		for _, v := range p.views {
			if v.Time >= from {
				again = append(again, v)
			}
		}
		if len(again) != 400 { // ten a second
			t.Fatalf("%d views are as late as that, want 400", len(again))
		}
		p.expect(again)
		p.untilEnd()
		p.check("rerun")
	})
}

// While the pipeline runs, or with nobody to say yes, nothing is changed.
func TestUC6a_Refusals(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(300)
		refused := func(code int, says string, args ...string) {
			t.Helper()
			if got, _, stderr := p.command("reset-offsets", args...); got != code || !strings.Contains(stderr, says) {
				t.Errorf("reset-offsets %v: exit code %d, want %d and %q:\n%s", args, got, code, says, stderr)
			}
		}
		c := p.start()
		p.awaitOutputs("totals", p.totals.Len())
		refused(5, "the pipeline is running", "--to", "earliest", "--yes")
		c.stop()
		refused(5, "nobody to confirm", "--to", "earliest")
		refused(1, "nosuch", "--to", "earliest", "--yes", "--keep-state", "nosuch")
		p.look(50)
		p.untilEnd()
		p.check("after refusals")
	})
}

// State is kept by name only: the counts that were named go on from where they were.
func TestUC6a_KeepState(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(300)
		p.untilEnd()
		p.check("first run")
		p.rewind("--to", "earliest", "--keep-state", "activity")
		p.expect(p.views) // the running model is not begun anew
		p.untilEnd()
		p.check(fmt.Sprintf("rerun with the rows of %s kept", "activity"))
	})
}

// A rewind after a death, with records under way between the pipeline's parts:
// what came out before, a beginning of the history, stays; then comes all of it.
func TestUC6a_AfterDeath(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(3000)
		c := p.launch(engine.CrashAfterCommit+":2", "run", p.file)
		if c.await(); !c.killed() {
			t.Fatalf("it did not die; it said:\n%s", c.said())
		}
		group := p.prefix + "history"
		p.await("the group to notice the death", func() bool {
			groups, err := p.admin.DescribeGroups(p.ctx, group)
			return err == nil && len(groups[group].Members) == 0
		})
		p.rewind("--to", "earliest")
		p.untilEnd()
		for topic, want := range map[string]testkit.Sequences{"out": p.out, "totals": p.totals} {
			again := make(testkit.Sequences)
			for key, got := range p.outputs(topic) {
				before := max(0, len(got)-len(want[key]))
				if before > len(want[key]) || !slices.Equal(got[:before], want[key][:before]) {
					t.Errorf("%s, key %s: before the rewind came %v, no beginning of %v", topic, key, got[:before], want[key])
				}
				again[key] = got[before:]
			}
			if diff := testkit.Diff(want, again); diff != "" {
				t.Errorf("%s, rerun: %s", topic, diff)
			}
		}
	})
}
