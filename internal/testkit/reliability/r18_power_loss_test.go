package reliability

import (
	"errors"
	"testing"

	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/state"
)

// TestR18PowerLoss: a machine that loses its power comes back with all that was
// synced and some of the rest. What it finds is never ahead of Kafka, and what it
// goes on to write is what must be.
func TestR18PowerLoss(t *testing.T) {
	worlds := map[string]func(*testing.T, uint64) *world{"aggregates": running, "join": joining}
	for name, world := range worlds {
		t.Run(name, func(t *testing.T) {
			seeds(t, 25, func(t *testing.T, seed uint64) {
				w := world(t, seed)
				w.losePower()
				if name == "join" {
					w.check(w.joinModel())
				} else {
					w.check(newRunning())
				}
			})
		})
	}
}

// losePower runs until all is done, with a power loss at random moments.
func (w *world) losePower() {
	w.t.Helper()
	disk := state.NewCrashFS()
	for range 6 {
		w.views(30 + w.rand.IntN(100))
		p := w.process(memory{smallState("state", disk)})
		commits, steps := 0, 1+w.rand.IntN(12)
		p.opts.Crash = func(string) { // called by several goroutines
			w.said.mu.Lock()
			defer w.said.mu.Unlock()
			if commits++; commits == steps {
				go p.transport.Crash()
			}
		}
		if _, err := w.live(p); err != nil && !errors.Is(err, memlog.ErrCrashed) && !p.transport.Crashed() {
			w.t.Fatal(err)
		}
		disk = state.CrashClone(disk, w.rand.IntN(101), w.rand.Uint64())
		w.notAhead(disk)
	}
	store := memory{smallState("state", disk)}
	w.mustLive(store)
	w.checkState(store)
}

// notAhead holds the positions in a state to those that Kafka has.
func (w *world) notAhead(disk state.FS) {
	w.t.Helper()
	db, err := state.Open(smallState("state", disk))
	if err != nil {
		w.t.Fatalf("open after the power loss: %v", err)
	}
	defer func() { _ = db.Close() }()
	tasks, err := db.Stored()
	if err != nil {
		w.t.Fatal(err)
	}
	committed := w.log.Committed("p")
	for _, task := range tasks {
		for tp, at := range task.Positions {
			if _, input := committed[tp]; !input {
				committed[tp] = w.end(tp)
			}
			if at > committed[tp] {
				w.t.Errorf("state of %s/%d is at %d of %s/%d, Kafka at %d", task.Sub, task.Partition, at, tp.Topic, tp.Partition, committed[tp])
			}
		}
	}
}

// end is the end of a partition for those who read what is committed.
func (w *world) end(tp record.TopicPartition) int64 {
	high, _ := w.log.Ends(tp.Topic)
	return high[tp.Partition]
}
