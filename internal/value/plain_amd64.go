package value

// skipPlain returns the offset of the first byte of doc from j on that is not
// plain, len(doc) where all are. j is at most len(doc). It takes 32 bytes at a time in
// vectors of SSE2, which every processor of this kind has, and leaves what is
// shorter than that to skipWords.
//
//go:noescape
func skipPlain(doc []byte, j int) int
