package reliability

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"streamctl/internal/engine"
	"streamctl/state"
)

// broken is a store that cannot be opened, for always the same reason.
type broken struct {
	err    error
	opened int
	aside  int
}

func (b *broken) Open() (*state.DB, error) {
	b.opened++
	return nil, fmt.Errorf("open: %w", b.err)
}

func (b *broken) Quarantine() (string, []string, error) {
	b.aside++
	return fmt.Sprint("aside-", b.aside), nil, nil
}

func (b *broken) Probe() error { return nil }

// TestSuperviseGivesUp: a state that is damaged again and again lies on a disk that
// nobody should trust; one that is in use is nothing to wait for.
func TestSuperviseGivesUp(t *testing.T) {
	w := running(t, 1)
	corrupt := &broken{err: state.ErrCorrupt}
	stats, err := w.live(w.process(corrupt))
	if !errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), "damaged 6 times within 1h0m0s") {
		t.Errorf("it ended with %v", err)
	}
	if corrupt.opened != 6 || corrupt.aside != 5 || stats.Incidents[engine.IncidentStateCorrupt] != 6 {
		t.Errorf("opened %d times, put aside %d times, %v", corrupt.opened, corrupt.aside, stats.Incidents)
	}
	locked := &broken{err: state.ErrLocked}
	if _, err := w.live(w.process(locked)); !errors.Is(err, state.ErrLocked) || locked.opened != 1 {
		t.Errorf("opened %d times: %v", locked.opened, err)
	}
}
