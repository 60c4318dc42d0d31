package engine

import (
	"bytes"
	"log/slog"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// choosy is a table's head that refuses a record of which the value is "bad".
type choosy struct{ operators.Loader }

func (choosy) Load(rec *record.Record, _ record.TopicPartition, _ bool) (key, row []byte, skip bool, err error) {
	return rec.Key, rec.Value, string(rec.Value) == "bad", nil
}

// deaf is a source that is told that fetches are released.
type deaf struct{ Source }

func (deaf) Release(*Fetched) {}

// TestRestoreLetsGo: memory of a fetch is used again once all its rows are written, but not where
// somebody beside the loader has part of it: a dead letter, or what is processed after the load.
func TestRestoreLetsGo(t *testing.T) {
	db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	task, err := db.OpenTask("sub", 0, []state.TableSpec{{Name: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("row"), 1000)
	for _, c := range []struct {
		name   string
		values [][]byte
		target int64
		beyond int
		freed  bool
	}{
		{"rows", [][]byte{large, []byte("small"), nil, large}, 4, 0, true},
		{"a dead letter", [][]byte{large, []byte("bad"), large}, 3, 0, false},
		{"what lies beyond", [][]byte{large, large, large}, 2, 1, false},
	} {
		w := &worker{source: deaf{}, log: slog.New(slog.DiscardHandler)}
		r := &restoring{in: &input{loader: choosy{}}, table: task.Table("t"), loader: task.Table("t").Loader(), target: c.target}
		freed := false
		f := &Fetched{Next: int64(len(c.values)), End: int64(len(c.values)), Memory: record.NewMemory(1, func() { freed = true })}
		for i, v := range c.values {
			f.Records = append(f.Records, record.Record{Key: []byte{byte(i)}, Value: v, Offset: int64(i)})
		}
		if err := w.load(nil, r, f); err != nil {
			t.Fatal(err)
		}
		if freed {
			t.Errorf("%s: let go before anything is written", c.name)
		}
		if err := r.loader.Finish(map[record.TopicPartition]int64{}); err != nil {
			t.Fatal(err)
		}
		if freed != c.freed || len(r.beyond) != c.beyond {
			t.Errorf("%s: let go: %v, want %v; %d fetches for later", c.name, freed, c.freed, len(r.beyond))
		}
	}
}
