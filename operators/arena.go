package operators

// arenaChunk is the memory that the outputs of one record are written to; more
// is taken for a record that needs it.
const arenaChunk = 64 << 10

// arena gives out byte slices that hold until the next record: what a task
// emits is copied by the producer. Outputs that are computed once and used in
// several places (a column of a derived stream) live here as well.
type arena struct {
	chunk []byte
}

// reset begins a new record: everything given out before is written over.
func (a *arena) reset() { a.chunk = a.chunk[:0] }

// begin returns an empty slice to append to. At least reserve bytes fit
// without a copy. end must be called before the next begin.
func (a *arena) begin(reserve int) []byte {
	if cap(a.chunk)-len(a.chunk) < reserve {
		a.chunk = make([]byte, 0, max(arenaChunk, reserve)) // the old one is its users'
	}
	return a.chunk[len(a.chunk):]
}

// end takes b, grown from what begin gave, and returns it clipped: an append
// by a later owner copies.
func (a *arena) end(b []byte) []byte {
	if free := cap(a.chunk) - len(a.chunk); cap(b) == free {
		a.chunk = a.chunk[:len(a.chunk)+len(b)]
	} // otherwise b outgrew the chunk and has memory of its own
	return b[:len(b):len(b)]
}
