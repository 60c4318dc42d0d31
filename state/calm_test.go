package state

import (
	"fmt"
	"testing"

	"streamctl/internal/record"
)

// A load that somebody waits for has the CPU for itself: the store compacts
// again with the last of them, however it ends. One for later holds nothing up.
func TestCompactionsWaitForLoads(t *testing.T) {
	db, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tasks []*Task
	for p := range int32(3) {
		task, err := db.OpenTask("sub", p, modelSpecs())
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	usual := func() int { n, _ := db.compactions(); return n }
	cold := tasks[2].Table("fed").ColdLoader()
	if usual() != 1 {
		t.Fatal("a load for later holds compactions off")
	}
	first, second := tasks[0].Table("fed").Loader(), tasks[1].Table("fed").Loader()
	if usual() != 0 {
		t.Fatal("compactions go on beside a load")
	}
	if err := first.Add([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := first.Finish(map[record.TopicPartition]int64{inputTP: 1}); err != nil {
		t.Fatal(err)
	}
	if usual() != 0 {
		t.Error("compactions go on beside the second load")
	}
	second.Abandon()
	second.Abandon()
	cold.Abandon()
	if usual() != 1 {
		t.Error("compactions do not go on after the loads")
	}
}

// A load that is seen not to fit leaves the cache alone; one that fits fills it.
func TestLargeLoadLeavesTheCache(t *testing.T) {
	for total, want := range map[int64]bool{4000: true, 40_000: false} {
		db, err := Open(Options{Dir: "state", FS: NewMemFS(), CacheBytes: 4 << 20, LoadBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		task, err := db.OpenTask("sub", 0, modelSpecs())
		if err != nil {
			t.Fatal(err)
		}
		loader := task.Table("fed").Loader()
		row := make([]byte, 500)
		for i := range int64(4000) {
			loader.Progress(i, total)
			if err := loader.Add(fmt.Append(nil, i), row); err != nil {
				t.Fatal(err)
			}
		}
		if err := loader.Finish(map[record.TopicPartition]int64{inputTP: 1}); err != nil {
			t.Fatal(err)
		}
		if filled := db.CacheStats().Used > 0; filled != want {
			t.Errorf("4000 rows of %d: cache filled: %v, want %v", total, filled, want)
		}
		for _, i := range []int{0, 1234, 3999} {
			if r, err := task.Table("fed").Get(fmt.Append(nil, i)); err != nil || r == nil || len(r.Value) != len(row) {
				t.Errorf("row %d: %v, %v", i, r, err)
			}
		}
	}
}

// A load that is flushed writes what it holds while its owner does something else: it says
// that it is written once everything is, tells its owner when to ask again, and is
// finished like any other. A small one has nothing to write.
func TestFlushWritesAhead(t *testing.T) {
	for _, rows := range []int{10, 5000} {
		db, err := Open(Options{Dir: "state", FS: NewMemFS(), LoadBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		task, err := db.OpenTask("sub", 0, modelSpecs())
		if err != nil {
			t.Fatal(err)
		}
		loader := task.Table("fed").Loader()
		landed := make(chan struct{}, rows)
		loader.Tell(func() { landed <- struct{}{} })
		for i := range rows {
			if err := loader.Add(fmt.Append(nil, i), make([]byte, 500)); err != nil {
				t.Fatal(err)
			}
		}
		for {
			written, err := loader.Flush()
			if err != nil {
				t.Fatal(err)
			}
			if written {
				break
			}
			<-landed
		}
		// All runs but the last are with the store already.
		if loader.flight != nil || loader.handing != nil || (rows > 1000) != (len(loader.built) == 1 && loader.files > 1 && loader.torn && loader.Bytes() == 0) {
			t.Errorf("%d rows: flushed into %d runs of which %d are left, with %d bytes, in flight: %v", rows, loader.files, len(loader.built), loader.Bytes(), loader.flight != nil)
		}
		if err := loader.Finish(map[record.TopicPartition]int64{inputTP: 7}); err != nil {
			t.Fatal(err)
		}
		if pos, _ := task.Position(inputTP); pos != 7 {
			t.Errorf("position %d after the load, want 7", pos)
		}
		for _, i := range []int{0, rows - 1} {
			if r, err := task.Table("fed").Get(fmt.Append(nil, i)); err != nil || r == nil || len(r.Value) != 500 {
				t.Errorf("row %d: %v, %v", i, r, err)
			}
		}
	}
}
