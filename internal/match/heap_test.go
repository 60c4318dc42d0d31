package match

import "runtime"

// heapOf measures what an index holds, in bytes: the heap with it less the heap without.
func heapOf(x *Index) uint64 {
	measure := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	with := measure()
	*x = *NewIndex()
	return with - measure()
}
