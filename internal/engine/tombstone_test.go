package engine

import (
	"testing"

	"streamctl/internal/record"
	"streamctl/state"
)

// Without transactions a changelog may hold the deletion of a row whose record
// is read again: had the restore done it, nobody behind would hear of the deletion.
func TestTombstonesThatAreAheadAreNotRestored(t *testing.T) {
	db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, c := range []struct {
		name    string
		headers []record.Header
		gone    bool
	}{
		{"committed", []record.Header{{Key: stampHeader, Value: stamps{1: 10}.encode(1)}}, true},
		{"ahead", []record.Header{{Key: "other"}, {Key: stampHeader, Value: stamps{1: 11}.encode(1)}}, false},
		{"without a stamp", nil, true},
	} {
		task, err := db.OpenTask("sub-"+c.name[:4], 0, []state.TableSpec{{Name: "t", Changelog: "c"}})
		if err != nil {
			t.Fatal(err)
		}
		w, r := &worker{}, &restoring{table: task.Table("t"), loader: task.Table("t").Loader(), seen: stamps{1: 10}}
		for _, rec := range []record.Record{{Key: []byte("k"), Value: []byte("\x01row")}, {Key: []byte("k"), Headers: c.headers}} {
			if _, err := w.loadRecord(r, &rec, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.loader.Finish(map[record.TopicPartition]int64{}); err != nil {
			t.Fatal(err)
		}
		row, err := task.Table("t").Get([]byte("k"))
		if err != nil || (row == nil) != c.gone {
			t.Errorf("%s: row %v, %v, want it gone: %v", c.name, row, err, c.gone)
		}
		if err := task.Close(); err != nil {
			t.Error(err)
		}
	}
}
