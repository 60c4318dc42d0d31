package reliability

import "testing"

// TestR15StateLost: a state that was deleted while nothing ran is restored in
// full from Kafka, and is then what it was.
func TestR15StateLost(t *testing.T) {
	worlds := map[string]func(*testing.T, uint64) *world{"aggregates": running, "join": joining}
	for name, world := range worlds {
		t.Run(name, func(t *testing.T) {
			seeds(t, 20, func(t *testing.T, seed uint64) {
				w := world(t, seed)
				w.views(100 + w.rand.IntN(400))
				kept := w.directory()
				w.mustLive(kept)
				before := w.dump(kept)
				lost := w.directory() // the old one is gone
				stats := w.mustLive(lost)
				if stats.FullRestores == 0 || stats.Processed != 0 {
					t.Errorf("%d full restores, %d records processed again", stats.FullRestores, stats.Processed)
				}
				same(t, "after the restore", before, w.dump(lost))
				w.views(100 + w.rand.IntN(400))
				w.mustLive(lost)
				if name == "join" {
					w.check(w.joinModel())
				} else {
					w.check(newRunning())
				}
				w.checkState(lost)
			})
		})
	}
}
