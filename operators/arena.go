package operators

// arenaChunk is the size of the pieces that output bytes are cut from. Large
// enough that a chunk serves some hundred records, small enough that one
// record waiting for its acknowledgement does not keep much alive.
const arenaChunk = 64 << 10

// arena gives out byte slices that are never written again: what a task emits
// is kept by the producer until it is acknowledged. Chunks that nobody refers
// to any more are the garbage collector's.
type arena struct {
	chunk []byte
}

// begin returns an empty slice to append to. At least reserve bytes fit
// without a copy. end must be called before the next begin.
func (a *arena) begin(reserve int) []byte {
	if a.chunk == nil || cap(a.chunk)-len(a.chunk) < reserve {
		a.chunk = make([]byte, 0, max(arenaChunk, reserve))
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

// copy stores b.
func (a *arena) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	return a.end(append(a.begin(len(b)), b...))
}
