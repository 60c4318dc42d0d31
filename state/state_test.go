package state

import "testing"

func TestRowsAndPositionsSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		db, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		task, err := db.OpenTask("join", 1, []TableSpec{{Name: "profiles", Changelog: "p.profiles.changelog"}})
		if err != nil {
			t.Fatal(err)
		}
		table := task.Table("profiles")
		r, err := table.Get([]byte("k"))
		if err != nil || (r != nil) != (i > 0) || i > 0 && string(r.Value) != string(rune('0'+i-1)) {
			t.Fatalf("round %d: row %v, %v", i, r, err)
		}
		if _, err := table.Put([]byte("k"), []byte{byte('0' + i)}); err != nil {
			t.Fatal(err)
		}
		var visited int
		s, err := task.Seal(func(_ *Table, key, row []byte) { visited++ })
		if err != nil || visited != 1 {
			t.Fatal(err, visited)
		}
		if err := task.Apply(s); err != nil {
			t.Fatal(err)
		}
		if err := task.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
