package state_test

import (
	"testing"

	"streamctl/internal/record"
	"streamctl/state"
)

// TestSyncLastsThroughPowerLoss: what was applied before Sync is there after a
// power loss that keeps nothing else, and only then.
func TestSyncLastsThroughPowerLoss(t *testing.T) {
	specs := []state.TableSpec{{Name: "t", Changelog: "c"}}
	tp := record.TopicPartition{Topic: "in"}
	for _, sync := range []bool{true, false} {
		fs := state.NewCrashFS()
		db, err := state.Open(state.Options{Dir: "d", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		task, err := db.OpenTask("s", 0, specs)
		if err != nil {
			t.Fatal(err)
		}
		task.SetPosition(tp, 7)
		sealed, err := task.Seal(func(*state.Table, []byte, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Apply(sealed); err != nil {
			t.Fatal(err)
		}
		if sync {
			if err := db.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		after, err := state.Open(state.Options{Dir: "d", FS: state.CrashClone(fs, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		again, err := after.OpenTask("s", 0, specs)
		if err != nil {
			t.Fatal(err)
		}
		if got, found := again.Position(tp); found != sync || sync && got != 7 {
			t.Errorf("sync %v: position %d, %v after the power loss", sync, got, found)
		}
		if err := after.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
