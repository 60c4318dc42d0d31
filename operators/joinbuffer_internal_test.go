package operators

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"streamctl/state"
)

// bufferRig is the buffer of a join over a state in memory.
type bufferRig struct {
	t     *testing.T
	db    *state.DB
	task  *state.Task
	meta  joinMeta
	reach int64
	joinBuffer
}

func newBufferRig(t *testing.T, reach int64) *bufferRig {
	t.Helper()
	// A cache that holds next to nothing: pages come from the store.
	db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS(), CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &bufferRig{t: t, db: db, reach: reach}
	if err := r.open(1); err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens the buffer anew, at a wall clock.
func (r *bufferRig) open(now int64) error {
	r.t.Helper()
	if r.task != nil {
		r.task.Abandon()
	}
	var err error
	if r.task, err = r.db.OpenTask("sub", 0, []state.TableSpec{{Name: "join", Changelog: "log"}}); err != nil {
		r.t.Fatal(err)
	}
	r.meta = joinMeta{}
	r.joinBuffer = newJoinBuffer(r.task.Table("join"), &r.meta, r.reach)
	row, err := r.table.Get(metaKey())
	if err == nil && row != nil {
		err = r.meta.decode(row.Value)
	}
	if err == nil {
		err = r.find()
	}
	r.meta.begin(now)
	return err
}

func (r *bufferRig) commit() {
	r.t.Helper()
	_, err := r.table.PutDecoded(metaKey(), &r.meta)
	if err != nil {
		r.t.Fatal(err)
	}
	sealed, err := r.task.Seal(func(*state.Table, []byte, []byte) {})
	if err == nil {
		err = r.task.Apply(sealed)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *bufferRig) keep(key string, time int64, blob string) {
	r.t.Helper()
	if _, _, err := r.put(&joinEntry{time: time, key: []byte(key), blob: []byte(blob)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *bufferRig) meet(key string, from, to int64) (blobs []string, found []partner) {
	r.t.Helper()
	found, err := r.partners(nil, []byte(key), leftSide, from, to, noTime)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range found {
		blobs = append(blobs, string(p.blob))
	}
	return blobs, found
}

func (r *bufferRig) rows() (n int) {
	r.t.Helper()
	if err := r.table.Scan(nil, nil, func([]byte, *state.Row) (bool, error) { n++; return true, nil }); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestJoinBuffer puts random records in and looks for them, over commits, restarts
// and the deleting of old buckets, with bounds up to such as are more milliseconds than a slot counts.
func TestJoinBuffer(t *testing.T) {
	for _, reach := range []int64{10, 100_000, 1 << 36} {
		random := rand.New(rand.NewPCG(7, uint64(reach)))
		r := newBufferRig(t, reach)
		type kept struct {
			key, blob string
			time      int64
			matched   bool
		}
		var all []*kept
		now, before := reach, int64(0)
		for i := range 3000 {
			now += random.Int64N(max(2, reach/100))
			k := &kept{key: fmt.Sprint("key-", random.IntN(20)), time: now - random.Int64N(reach/2), blob: fmt.Sprintf("%d-%0*d", i, random.IntN(200), 0)}
			all = append(all, k)
			r.keep(k.key, k.time, k.blob)
			if random.IntN(50) == 0 {
				r.commit()
				if random.IntN(3) == 0 {
					if err := r.open(int64(i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			from := now - reach
			to := from + random.Int64N(reach)
			key := fmt.Sprint("key-", random.IntN(20))
			got, found := r.meet(key, from, to)
			var want []*kept
			for _, k := range all {
				if k.key == key && k.time >= from && k.time <= to {
					want = append(want, k)
				}
			}
			slices.SortStableFunc(want, func(a, b *kept) int { return int(a.time - b.time) })
			if len(got) != len(want) {
				t.Fatalf("reach %d, record %d: found %d, want %d", reach, i, len(got), len(want))
			}
			for n, k := range want {
				if matched := found[n].in.slots[found[n].slot].flags&entryMatched != 0; got[n] != k.blob || matched != k.matched {
					t.Fatalf("reach %d, record %d: found %q, matched %v, want %q, %v", reach, i, got[n], matched, k.blob, k.matched)
				}
			}
			if len(want) > 0 {
				n := random.IntN(len(want))
				want[n].matched = true
				if err := r.match(&found[n]); err != nil {
					t.Fatal(err)
				}
			}
			before = from
			if err := r.sweep(before, func([]joinSlot) {}); err != nil {
				t.Fatal(err)
			}
		}
		if r.meta.seq < 3000 {
			t.Errorf("reach %d: only %d numbers were given", reach, r.meta.seq)
		}
		// A record takes out pages of buckets that are over, until none is left.
		for range 3000 {
			if err := r.sweep(now+2*reach+2*minBucket, func([]joinSlot) {}); err != nil {
				t.Fatal(err)
			}
		}
		r.commit()
		if n := r.rows(); n != 1 || len(r.live) != 0 {
			t.Errorf("reach %d: %d rows are left and %d buckets", reach, n, len(r.live))
		}
	}
}

// TestJoinBufferCountsWhatIsGone: each record is told of once when it is deleted.
func TestJoinBufferCountsWhatIsGone(t *testing.T) {
	r := newBufferRig(t, 4000)
	for i := range 500 {
		r.keep(fmt.Sprint(i), int64(i)*10, "some bytes that fill the page, so that there are several of them in a bucket")
	}
	r.commit()
	if err := r.open(2); err != nil {
		t.Fatal(err)
	}
	gone, before := 0, int64(3000)
	for range 100 {
		if err := r.sweep(before, func(slots []joinSlot) { gone += len(slots) }); err != nil {
			t.Fatal(err)
		}
	}
	if width := r.width; gone != int(before/width*width/10)+1 {
		t.Errorf("%d records are gone, of buckets of %d ms", gone, width)
	}
}

// TestJoinBufferForgetsWhatWasNotCommitted: a changelog can hold pages of a life that ended
// between them and the commit of their offsets. They come back with a restore, when others
// hold the same records.
func TestJoinBufferForgetsWhatWasNotCommitted(t *testing.T) {
	r := newBufferRig(t, 1000)
	r.keep("a", 100, "first")
	r.commit()
	lost := map[string][]byte{}
	r.keep("a", 200, "second")
	if _, err := r.task.Seal(func(_ *state.Table, key, row []byte) { lost[string(key)] = row }); err != nil {
		t.Fatal(err)
	}
	if len(lost) != 1 {
		t.Fatalf("%d rows", len(lost))
	}
	// The life after it reads the record again.
	if err := r.open(1); err != nil {
		t.Fatal(err)
	}
	r.keep("a", 200, "second")
	r.keep("a", 300, "third")
	r.commit()
	for key, stored := range lost {
		row, err := state.DecodeChangelog(stored)
		if err == nil {
			_, err = r.table.Put([]byte(key), row)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.commit()
	for now := range int64(3) {
		if err := r.open(now); err != nil {
			t.Fatal(err)
		}
		if got, _ := r.meet("a", 0, 1000); !slices.Equal(got, []string{"first", "second", "third"}) {
			t.Errorf("found %q", got)
		}
		r.commit()
		if n := r.rows(); n != 3 {
			t.Errorf("%d rows, want those of two pages, and the meta row", n)
		}
	}
	if n := len(r.meta.lives); n != 3 {
		t.Errorf("%d lives, want two with pages, and the one that is lived", n)
	}
}

// TestJoinBufferOfAnEarlierVersion: rows per key are not taken for pages, nor for nothing.
func TestJoinBufferOfAnEarlierVersion(t *testing.T) {
	r := newBufferRig(t, 1000)
	if _, err := r.table.Put(metaKey(), []byte{7, 0}); err != nil {
		t.Fatal(err)
	}
	sealed, err := r.task.Seal(func(*state.Table, []byte, []byte) {})
	if err == nil {
		err = r.task.Apply(sealed)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.open(1); !errors.Is(err, errJoinLayout) {
		t.Errorf("got %v", err)
	}
}
