package record

import (
	"sync"
	"testing"
)

// TestMemoryIsFreedOnce lets many go at once: the last one frees, and nobody before.
func TestMemoryIsFreedOnce(t *testing.T) {
	const holders = 50
	freed := 0
	m := NewMemory(1, func() { freed++ })
	var all sync.WaitGroup
	for range holders {
		m.Hold()
	}
	for range holders {
		all.Go(m.LetGo)
	}
	all.Wait()
	if freed != 0 {
		t.Fatal("freed while somebody holds it")
	}
	m.LetGo()
	if freed != 1 {
		t.Fatalf("freed %d times", freed)
	}
	defer func() {
		if recover() == nil {
			t.Error("one let go more than held it, and nobody noticed")
		}
	}()
	m.LetGo()
}

// TestNoMemory: nothing happens to memory that is not used again.
func TestNoMemory(t *testing.T) {
	var m *Memory
	m.Hold()
	m.LetGo()
}
