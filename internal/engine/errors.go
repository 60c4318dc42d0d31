package engine

import (
	"errors"
	"fmt"
)

// Outcomes that the engine branches on.
var (
	ErrFenced  = errors.New("fenced by a newer producer or generation")
	ErrAborted = errors.New("transaction not committed")
	// ErrExpelled is the kind of ErrFenced that the group is the cause of: what the
	// process owns is not known before the group's next event.
	ErrExpelled         = fmt.Errorf("%w: no member of the group at its generation", ErrFenced)
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrUnavailable: Kafka did not answer, or put off, for as long as is tried. What
	// was not committed will be done again.
	ErrUnavailable = errors.New("Kafka is not available")
	// ErrTopicExists is the answer to the creation of a topic that is there.
	ErrTopicExists = errors.New("the topic exists already")
)
