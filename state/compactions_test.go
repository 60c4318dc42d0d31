package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// An opening begins no compaction, however much has piled up; what has been waiting
// runs afterwards, without anybody writing.
func TestOpeningBeginsNoCompaction(t *testing.T) {
	db := &DB{opts: Options{Dir: "state"}.withDefaults(), failed: make(chan struct{})}
	db.fs = &fuseFS{FS: NewMemFS(), failed: db.fail}
	db.storeOpts = db.storeOptions()
	db.storeOpts.DisableAutomaticCompactions = true
	store, err := db.openFiles()
	if err != nil {
		t.Fatal(err)
	}
	const deep = 25 // two more compactions than usual are right from 10 files on each
	for i := range deep {
		for _, key := range []string{"a", "z"} {
			if err := store.Set([]byte(key), fmt.Append(nil, i), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	// What is in the log is flushed by the next opening: that is when compactions begin.
	if err := store.Set([]byte("k"), nil, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	db.storeOpts = db.storeOptions()
	if store, err = db.openFiles(); err != nil {
		t.Fatal(err)
	}
	if m := store.Metrics(); m.Levels[0].Sublevels < deep || m.Compact.NumInProgress+m.Compact.Count > 0 {
		t.Errorf("after the opening: %d sublevels, %d compactions run, %d have run; want %d and none",
			m.Levels[0].Sublevels, m.Compact.NumInProgress, m.Compact.Count, deep)
	}
	db.scheduler.begin()
	for end := time.Now().Add(30 * time.Second); store.Metrics().Levels[0].Sublevels >= 4; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sublevels are left: nothing is compacted", store.Metrics().Levels[0].Sublevels)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if db.scheduler.running != 0 {
		t.Errorf("%d compactions run behind a closed store", db.scheduler.running)
	}
}

// compactable is a store that has some compactions to run.
type compactable struct {
	c       *compactions
	allowed int
	waiting int
	most    int
	over    chan struct{} // a compaction was begun
}

func (s *compactable) GetAllowedWithoutPermission() int { return s.allowed }

func (s *compactable) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return s.waiting > 0, pebble.WaitingCompaction{}
}

func (s *compactable) Schedule(h pebble.CompactionGrantHandle) bool {
	s.waiting--
	s.c.mu.Lock()
	s.most = max(s.most, s.c.running)
	s.c.mu.Unlock()
	s.over <- struct{}{}
	go h.Done()
	return true
}

// Never do more compactions run than are right, and all of them run some time.
func TestCompactionsAreCounted(t *testing.T) {
	s := &compactable{c: newCompactions(), allowed: 2, waiting: 20, over: make(chan struct{})}
	s.c.Register(1, s)
	if ok, _ := s.c.TrySchedule(); ok {
		t.Error("a compaction may run before begin")
	}
	s.c.begin()
	ok, mine := s.c.TrySchedule()
	if !ok {
		t.Fatal("no compaction may run after begin")
	}
	for range 20 {
		<-s.over
	}
	mine.Done()
	s.c.Unregister()
	if s.most > 2 || s.waiting != 0 {
		t.Errorf("%d compactions ran at a time, %d are left; want at most 2, and none", s.most, s.waiting)
	}
	if ok, _ := s.c.TrySchedule(); ok {
		t.Error("a compaction may run behind a closed store")
	}
}
