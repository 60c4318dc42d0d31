package state

import (
	"fmt"
	"testing"
)

// A load into an empty table leaves its rows in the cache, as many as there is
// room for, and what it knows to be absent is absent.
func TestLoadFillsTheCache(t *testing.T) {
	for _, cache := range []int64{1 << 20, 16 << 10} {
		db, err := Open(Options{Dir: "state", FS: NewMemFS(), CacheBytes: cache})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		task, err := db.OpenTask("sub", 0, []TableSpec{{Name: "rows"}})
		if err != nil {
			t.Fatal(err)
		}
		table := task.Table("rows")
		loader := table.Loader()
		const rows = 1000
		for i := range rows {
			if err := loader.Add(fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := loader.Add([]byte("k7"), nil); err != nil {
			t.Fatal(err)
		}
		if err := loader.Finish(nil); err != nil {
			t.Fatal(err)
		}
		stats := db.CacheStats()
		if stats.Used == 0 || stats.Used > cache {
			t.Errorf("cache of %d bytes holds %d after a load", cache, stats.Used)
		}
		if n, exact := table.Len(); cache == 1<<20 && (n != rows-1 || !exact) {
			t.Errorf("cached %d rows, exact %v; want all %d", n, exact, rows-1)
		}
		for i := range rows {
			row, err := table.Get(fmt.Appendf(nil, "k%d", i))
			if err != nil {
				t.Fatal(err)
			}
			if i == 7 && row != nil || i != 7 && (row == nil || string(row.Value) != fmt.Sprintf("v%d", i)) {
				t.Fatalf("row %d: %v", i, row)
			}
		}
	}
}
