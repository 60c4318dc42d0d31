package state

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// compactions gives Pebble leave to compact: to as many compactions at a time as it thinks
// right, as its own scheduler does, but none before begin. An opening that fails does
// not wait for compactions that it has begun, which then crash the process; one that
// succeeds takes longer beside them.
type compactions struct {
	mu      sync.Mutex // after Pebble's own
	db      pebble.DBForCompaction
	running int
	begun   bool // by begin, and not ended

	look  chan struct{} // something has changed
	stop  chan struct{}
	ended sync.WaitGroup
}

// compactionsLook is how often it is asked whether more are right than before:
// Pebble does not tell all that changes it.
const compactionsLook = 100 * time.Millisecond

func newCompactions() *compactions {
	return &compactions{look: make(chan struct{}, 1), stop: make(chan struct{})}
}

// Register implements pebble.CompactionScheduler.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
}

// begin lets compactions run. The first ones that have been waiting do so a moment later:
// those who opened the store have something to do first.
func (c *compactions) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = true
	c.ended.Go(c.grant)
}

// Unregister implements pebble.CompactionScheduler.
func (c *compactions) Unregister() {
	c.mu.Lock()
	begun := c.begun
	c.begun = false
	c.mu.Unlock()
	if begun {
		close(c.stop)
	}
	c.ended.Wait()
}

// take counts one more compaction, if there may be one.
func (c *compactions) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.begun || c.running >= c.db.GetAllowedWithoutPermission() {
		return false
	}
	c.running++
	return true
}

// give takes one back.
func (c *compactions) give() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
}

// TrySchedule implements pebble.CompactionScheduler.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !c.take() {
		return false, nil
	}
	return true, c
}

// grant starts compactions that were refused before, when they may run.
func (c *compactions) grant() {
	tick := time.NewTicker(compactionsLook)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		case <-c.look:
		}
		for c.take() {
			if waiting, _ := c.db.GetWaitingCompaction(); !waiting || !c.db.Schedule(c) {
				c.give()
				break
			}
		}
	}
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler.
func (c *compactions) UpdateGetAllowedWithoutPermission() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// Done implements pebble.CompactionGrantHandle.
func (c *compactions) Done() {
	c.give()
	c.UpdateGetAllowedWithoutPermission()
}

// Started implements pebble.CompactionGrantHandle.
func (c *compactions) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}
