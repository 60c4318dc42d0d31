package state

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"streamctl/internal/record"
)

// reopened closes db and opens what is on its file system.
func reopened(t *testing.T, db *DB) *DB {
	t.Helper()
	o := db.opts
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{Dir: o.Dir, FS: o.FS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
	return again
}

func memDB(t *testing.T) *DB {
	t.Helper()
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// keep stores one row per table in a task, with a position, a mark and times.
func keep(t *testing.T, db *DB, sub string, partition int32, position, time int64, tables ...string) {
	t.Helper()
	var specs []TableSpec
	for _, name := range tables {
		specs = append(specs, TableSpec{Name: name, Changelog: name + ".changelog"})
	}
	task, err := db.OpenTask(sub, partition, specs)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		if _, err := task.Table(name).Put([]byte("key"), []byte(name)); err != nil {
			t.Fatal(err)
		}
		task.SetPosition(record.TopicPartition{Topic: name + ".changelog", Partition: partition}, position)
		task.Mark("loaded:" + name)
	}
	task.SetStreamTime(time)
	task.SetSavedAt(time)
	commit(t, task)
	if err := task.Close(); err != nil {
		t.Fatal(err)
	}
}

// holds checks one table of a task as keep has left it.
func holds(t *testing.T, task *Task, name string, partition int32, position int64) {
	t.Helper()
	row, err := task.Table(name).Get([]byte("key"))
	if err != nil || row == nil || string(row.Value) != name {
		t.Errorf("row of %s: %v, %v", name, row, err)
	}
	tp := record.TopicPartition{Topic: name + ".changelog", Partition: partition}
	if at, ok := task.Position(tp); !ok || at != position {
		t.Errorf("position of %s: %d, %v; want %d", name, at, ok, position)
	}
	if !task.Marked("loaded:" + name) {
		t.Errorf("mark of %s is gone", name)
	}
}

// A table follows its sub-topology's name: renamed, united with another, split off.
func TestArrangeMovesTablesWithTheirPositions(t *testing.T) {
	db := memDB(t)
	for p := range int32(2) {
		keep(t, db, "b", p, 100, 1000, "b", "c")
		keep(t, db, "d", p, 50, 2000, "d")
	}
	// b and d are one now, called a; c stands alone.
	moved, err := db.Arrange(map[string][]string{"a": {"a", "b", "d"}, "c": {"c"}})
	if err != nil || !slices.Equal(moved, []string{"b", "c", "d"}) {
		t.Fatal(moved, err)
	}
	db = reopened(t, db)
	for p := range int32(2) {
		a, err := db.OpenTask("a", p, []TableSpec{{Name: "a"}, {Name: "b"}, {Name: "d"}})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, a, "b", p, 100)
		holds(t, a, "d", p, 50)
		if a.StreamTime() != 2000 || a.SavedAt() != 1000 {
			t.Errorf("stream time %d, saved at %d; want the later and the earlier", a.StreamTime(), a.SavedAt())
		}
		c, err := db.OpenTask("c", p, []TableSpec{{Name: "c"}})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, c, "c", p, 100)
	}
	if _, err := db.Arrange(map[string][]string{"x": {"b"}}); !errors.Is(err, ErrOpen) {
		t.Errorf("with open tasks: %v", err)
	}
}

func TestArrangeLeavesWhatIsInPlace(t *testing.T) {
	db := memDB(t)
	keep(t, db, "b", 0, 7, 1, "b", "gone")
	for range 2 {
		if moved, err := db.Arrange(map[string][]string{"b": {"b"}}); err != nil || moved != nil {
			t.Fatal(moved, err)
		}
	}
	task, err := db.OpenTask("b", 0, []TableSpec{{Name: "b"}, {Name: "gone"}})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, task, "b", 0, 7)
	holds(t, task, "gone", 0, 7)
}

// There and back: the younger rows win, the lower position counts.
func TestArrangeThereAndBack(t *testing.T) {
	db := memDB(t)
	keep(t, db, "b", 0, 10, 1, "b")
	for _, sub := range []string{"a", "b", "a"} {
		if _, err := db.Arrange(map[string][]string{sub: {"b"}}); err != nil {
			t.Fatal(err)
		}
	}
	task, err := db.OpenTask("a", 0, []TableSpec{{Name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, task, "b", 0, 10)
}

func TestDropTableLeavesTheOthers(t *testing.T) {
	db := memDB(t)
	keep(t, db, "s", 0, 10, 1, "x", "y")
	specs := []TableSpec{{Name: "x", Changelog: "x.changelog"}, {Name: "y", Changelog: "y.changelog"}}
	task, err := db.OpenTask("s", 0, specs)
	if err != nil {
		t.Fatal(err)
	}
	tp := record.TopicPartition{Topic: "x.changelog"}
	if err := task.DropTable("x", []record.TopicPartition{tp}, []string{"loaded:x"}); err != nil {
		t.Fatal(err)
	}
	check := func(task *Task) {
		t.Helper()
		holds(t, task, "y", 0, 10)
		if row, err := task.Table("x").Get([]byte("key")); row != nil || err != nil {
			t.Error(row, err)
		}
		if _, ok := task.Position(tp); ok || task.Marked("loaded:x") {
			t.Error("position or mark is still there")
		}
	}
	check(task)
	if _, err := task.Table("y").Put([]byte("more"), nil); err != nil {
		t.Fatal(err)
	}
	if err := task.DropTable("y", nil, nil); !errors.Is(err, ErrUncommitted) {
		t.Errorf("with changes: %v", err)
	}
	task.Abandon()
	db = reopened(t, db)
	if task, err = db.OpenTask("s", 0, specs); err != nil {
		t.Fatal(err)
	}
	check(task)
}

func TestALaterFormatIsRefusedAndNotTakenForDamage(t *testing.T) {
	db := memDB(t)
	if err := db.store.Set(metaKey(metaVersion, ""), []byte{storeVersion + 1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	o := db.opts
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: o.Dir, FS: o.FS}); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("store: %v", err)
	}
	if _, err := DecodeChangelog([]byte{rowVersion + 1, 'x'}); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("row: %v", err)
	}
	if _, err := DecodeChangelog([]byte{0, 'x'}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged row: %v", err)
	}
}
