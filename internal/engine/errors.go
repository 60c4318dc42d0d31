package engine

import "errors"

// Outcomes that the engine branches on.
var (
	ErrFenced           = errors.New("fenced by a newer producer or generation")
	ErrAborted          = errors.New("transaction not committed")
	ErrOffsetOutOfRange = errors.New("offset out of range")
)
