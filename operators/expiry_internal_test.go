package operators

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"streamctl/state"
)

// TestAgendaAgainstAModel lets an expiry with room for few rows delete those of a
// table, and compares what goes, in which order, with a plain map.
func TestAgendaAgainstAModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS()})
		if err != nil {
			t.Fatal(err)
		}
		store, err := db.OpenTask("s", 0, []state.TableSpec{{Name: "t"}})
		if err != nil {
			t.Fatal(err)
		}
		const ttl = 50
		table := store.Table("t")
		task := &Task{TaskContext: &TaskContext{Timers: &Timers{}, Counters: &Counters{}}}
		x := newExpiry(task, table, ttl)
		x.max = 1 + rnd.IntN(4)
		x.timeOf = func(row *state.Row) (int64, error) {
			_, t, _ := splitTimed(row.Value)
			return t, nil
		}
		var got, want []string
		x.expire = func(key []byte) error {
			got = append(got, string(key))
			return table.Delete(key)
		}
		rows, now := map[string]int64{}, int64(0)
		for range 400 {
			key := string(rune('a' + rnd.IntN(12)))
			at := now + rnd.Int64N(30) - 20
			if rnd.IntN(30) == 0 {
				at += 3 * ttl
			}
			if at > now {
				now = at
				var over []due
				for k, t := range rows {
					if t+ttl <= now {
						over = append(over, due{t, k})
						delete(rows, k)
					}
				}
				slices.SortFunc(over, due.compare)
				for _, d := range over {
					want = append(want, d.key)
				}
				if err := task.Timers.Advance(now); err != nil {
					t.Fatal(err)
				}
			}
			switch {
			case rnd.IntN(8) == 0:
				delete(rows, key)
				if err := table.Delete([]byte(key)); err != nil {
					t.Fatal(err)
				}
			case !x.past(at):
				rows[key] = at
				if _, err := table.Put([]byte(key), appendTimed(nil, at, []byte("{}"))); err != nil {
					t.Fatal(err)
				}
				x.touch([]byte(key), at)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, time %d: gone\n     %v\nwant %v", seed, now, got, want)
			}
			if len(x.agenda) > 2*x.max+1 {
				t.Fatalf("seed %d: %d rows in an agenda for %d", seed, len(x.agenda), x.max)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A table that had no ttl before gives its rows the time at which they are seen first.
func TestRowsWithoutTimeBeginTheirs(t *testing.T) {
	db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := db.OpenTask("s", 0, []state.TableSpec{{Name: "t", Changelog: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	table := store.Table("t")
	task := &Task{Pipeline: "p", TaskContext: &TaskContext{Tables: map[string]*state.Table{"t": table}, Timers: &Timers{}, Counters: &Counters{}, Now: func() int64 { return 0 }}}
	if _, err := table.Put([]byte("a"), []byte(`{"x":1}`)); err != nil {
		t.Fatal(err)
	}
	w, err := writerTo(task, &Policy{}, "t", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.expires(50, false)
	for _, x := range []struct {
		now   int64
		there bool
	}{{1000, true}, {1049, true}, {1050, false}} {
		if err := task.Timers.Advance(x.now); err != nil {
			t.Fatal(err)
		}
		row, err := table.Get([]byte("a"))
		if err != nil || (row != nil) != x.there {
			t.Fatalf("at %d: %v, %v", x.now, row, err)
		}
		if row != nil {
			doc, at, _ := splitTimed(row.Value)
			if got := fmt.Sprintf("%s @%d", doc, at); got != `{"x":1} @1000` {
				t.Errorf("at %d: %s", x.now, got)
			}
		}
	}
}
