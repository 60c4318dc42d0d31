//go:build !amd64

package value

// skipPlain returns the offset of the first byte of doc from j on that is not
// plain, len(doc) where all are. j is at most len(doc).
func skipPlain(doc []byte, j int) int { return skipWords(doc, j) }
