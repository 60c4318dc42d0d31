package kafka

import (
	"maps"
	"sync"
)

// incidents counts what was recovered from, by the names of the engine's
// Incident constants. The zero value is ready.
type incidents struct {
	mu     sync.Mutex
	counts map[string]int64
}

// add counts one.
func (i *incidents) add(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.counts == nil {
		i.counts = make(map[string]int64)
	}
	i.counts[name]++
}

// snapshot is a copy of the counts.
func (i *incidents) snapshot() map[string]int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.counts)
}
