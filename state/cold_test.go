package state

import (
	"fmt"
	"testing"

	"streamctl/internal/record"
)

// A cold load leaves the cache alone and hides nothing of what it brought, also
// from a table that was known to be empty; the time of the state goes with it.
func TestColdLoad(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	task, err := db.OpenTask("sub", 0, []TableSpec{{Name: "rows"}})
	if err != nil {
		t.Fatal(err)
	}
	table := task.Table("rows")
	tp := record.TopicPartition{Topic: "rows"}
	for round := range 2 {
		loader := table.ColdLoader()
		for i := range 100 {
			if err := loader.Add(fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "%d.%d", round, i)); err != nil {
				t.Fatal(err)
			}
		}
		if loader.Bytes() == 0 {
			t.Error("a loader with rows takes no memory")
		}
		task.SetSavedAt(int64(1000 + round))
		task.Mark(fmt.Sprint("round ", round))
		if err := loader.Finish(map[record.TopicPartition]int64{tp: int64(100 * (round + 1))}); err != nil {
			t.Fatal(err)
		}
		if used := db.CacheStats().Used; used != 0 {
			t.Errorf("round %d: the load took %d bytes of the cache", round, used)
		}
		if _, exact := table.Len(); exact {
			t.Errorf("round %d: the table is taken for one that lies in the cache", round)
		}
	}
	row, err := table.Get([]byte("k7"))
	if err != nil || row == nil || string(row.Value) != "1.7" {
		t.Errorf("got %v, %v", row, err)
	}
	if err := task.Close(); err != nil {
		t.Fatal(err)
	}
	if task, err = db.OpenTask("sub", 0, []TableSpec{{Name: "rows"}}); err != nil {
		t.Fatal(err)
	}
	if pos, _ := task.Position(tp); pos != 200 || task.SavedAt() != 1001 {
		t.Errorf("position %d, saved at %d", pos, task.SavedAt())
	}
	if !task.Marked("round 0") || !task.Marked("round 1") {
		t.Error("marks that waited for an epoch were not stored with the load")
	}
}

// What is stored says how large it is once it lies on disk.
func TestStoredBytes(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for partition, rows := range []int{20_000, 2_000} {
		task, err := db.OpenTask("sub", int32(partition), []TableSpec{{Name: "rows"}})
		if err != nil {
			t.Fatal(err)
		}
		loader := task.Table("rows").ColdLoader()
		for i := range rows {
			if err := loader.Add(fmt.Appendf(nil, "k%08d", i), fmt.Appendf(nil, "%x", uint64(i)*0x9e3779b97f4a7c15)); err != nil {
				t.Fatal(err)
			}
		}
		if err := loader.Finish(map[record.TopicPartition]int64{{Topic: "rows"}: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.store.Flush(); err != nil {
		t.Fatal(err)
	}
	stored, err := db.Stored()
	if err != nil || len(stored) != 2 {
		t.Fatalf("%v, %v", stored, err)
	}
	for _, s := range stored {
		least := int64(100_000)
		if s.Partition == 1 {
			least = 10_000
		}
		if s.Bytes < least || s.Bytes > 20*least {
			t.Errorf("task %d has %d bytes, want some %d", s.Partition, s.Bytes, 2*least)
		}
	}
}
