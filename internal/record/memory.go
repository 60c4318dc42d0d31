package record

import "sync/atomic"

// Memory is what several records point into, where it can be used again: once the last
// one who holds it has let go, it is. Whoever does not let go leaves it to the garbage
// collector, which is always safe. A nil Memory is memory that is never used again.
type Memory struct {
	holds atomic.Int32
	free  func()
}

// NewMemory is memory that so many hold; free is called when none of them does any more,
// on whatever goroutine the last one lets go.
func NewMemory(holds int, free func()) *Memory {
	m := &Memory{free: free}
	m.holds.Store(int32(holds))
	return m
}

// Hold adds one who holds m, whoever else lets go meanwhile. The caller must
// know somebody who holds it.
func (m *Memory) Hold() {
	if m != nil {
		m.holds.Add(1)
	}
}

// LetGo says that one of those who hold m needs it no more.
func (m *Memory) LetGo() {
	if m == nil {
		return
	}
	switch left := m.holds.Add(-1); {
	case left == 0:
		m.free()
	case left < 0:
		panic("record: memory was let go by more than held it")
	}
}
