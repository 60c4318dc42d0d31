package usecases

import (
	"testing"

	"streamctl/internal/engine"
)

// The process is killed and its disk is gone, again and again, while views
// come: the outputs are those of a run without that; nothing lost, nothing twice.
func TestUC8_Tb(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(500)
		for life := range 4 {
			c := p.start()
			for range 5 {
				p.look(100)
			}
			// Somewhere in the middle of it: a different share of the output each time.
			p.awaitOutputs("out", p.out.Len()-500+life*150)
			c.kill()
			p.loseState()
		}
		_, s := p.untilEnd()
		p.check("after four lost disks")
		if s.Restored == 0 {
			t.Error("the last run restored nothing: no disk was lost")
		}
	})
}

// The process dies between the changelog's write and the commit, and at the
// other steps of it: every count is right.
func TestUC8_Tc(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(500)
		p.untilEnd()
		for _, point := range []string{
			engine.CrashAfterSeal, "before-offsets", "after-offsets", "before-end-txn", "after-end-txn",
			engine.CrashAfterCommit, engine.CrashBeforeApply, engine.CrashAfterApply,
		} {
			p.look(100)
			c := p.launch(point, "run", p.file)
			if c.await(); !c.killed() {
				t.Fatalf("it did not die at %s; it said:\n%s", point, c.said())
			}
		}
		p.look(100)
		p.untilEnd()
		p.check("after a death at every step of a commit")
	})
}

// A restart on the same disk replays only the tail, be it after an orderly end,
// or after a death between Kafka's commit and the store's.
func TestUC8_Td(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		p := newPast(r)
		p.look(2000)
		first, _ := p.untilEnd()
		if n := replayed(t, first, "full"); n < 100 {
			t.Errorf("the first run read %d rows of tables, want at least the 100 profiles", n)
		}
		again, _ := p.untilEnd()
		if n := replayed(t, again, "tail"); n != 0 {
			t.Errorf("after an orderly end %d records were replayed:\n%s", n, again.said())
		}
		p.look(100)
		c := p.launch(engine.CrashBeforeApply, "run", p.file)
		if c.await(); !c.killed() {
			t.Fatalf("it did not die; it said:\n%s", c.said())
		}
		after, _ := p.untilEnd()
		if n := replayed(t, after, "tail"); n > 100 {
			t.Errorf("after a death with at most 100 views uncommitted %d records were replayed:\n%s", n, after.said())
		}
		c = p.start()
		p.look(300)
		p.awaitOutputs("out", p.out.Len()-200)
		c.kill()
		after, _ = p.untilEnd()
		if n := replayed(t, after, "tail"); n > 300 {
			t.Errorf("after a kill with 300 views under way %d records were replayed:\n%s", n, after.said())
		}
		p.check("at the end")
	})
}

// replayed adds up the records that tables were restored from, all in that mode.
func replayed(t *testing.T, c *child, mode string) (n int64) {
	t.Helper()
	lines := c.restores()
	if mode == "full" && len(lines) == 0 {
		t.Errorf("no table was restored; it said:\n%s", c.said())
	}
	for _, l := range lines {
		if l.Mode != mode {
			t.Errorf("the table of %s was restored in mode %s, want %s", l.Topic, l.Mode, mode)
		}
		n += l.Records
	}
	return n
}
