package operators

import (
	"errors"
	"fmt"
	"strconv"

	"streamctl/internal/diag"
	"streamctl/internal/record"
)

// GapPolicy is what happens when records of a topic are gone, by retention or
// by hand, before they were processed.
type GapPolicy uint8

// The policies. The zero value stops the pipeline.
const (
	GapFail     GapPolicy = iota // stop, naming what is gone
	GapEarliest                  // go on at the first record there is
	GapLatest                    // go on at the end of the topic
)

// String is the word of the language.
func (p GapPolicy) String() string { return [...]string{"fail", "earliest", "latest"}[p] }

// OnError is what happens with a record that an operator cannot process.
type OnError uint8

const (
	Fail       OnError = iota // stop the pipeline, the record uncommitted
	Skip                      // drop and count
	DeadLetter                // send to the dead letters and count
)

// String is the word of the language.
func (e OnError) String() string {
	return [...]string{"fail", "skip", "dead_letter"}[e]
}

// Policy is whose fault a failing record is and what becomes of it.
type Policy struct {
	Operator string    // name in the pipeline
	Span     diag.Span // where in the pipeline file
	OnError  OnError
}

// Reasons with which records are dropped: the words of counters and dead letters.
const (
	ReasonNullKey        = "null-key"
	ReasonNullValue      = "null-value"
	ReasonNoMatch        = "no-match"
	ReasonInvalidKey     = "invalid-key"
	ReasonInvalidValue   = "invalid-value"
	ReasonWrongType      = "wrong-type"
	ReasonTimestamp      = "invalid-timestamp"
	ReasonAhead          = "too-far-ahead"
	ReasonExpression     = "expression"
	ReasonWrongPartition = "wrong-partition"
	ReasonEncode         = "encode"
	ReasonTooLarge       = "too-large"
	ReasonGap            = "gap"
	ReasonInvalidQuery   = "invalid-query"
	ReasonLate           = "late"
	ReasonExpired        = "expired"
	ReasonDuplicate      = "duplicate"
	ReasonEmptyList      = "empty-list"
)

// Names of the headers that a dead letter carries beside its own.
const (
	HeaderReason    = "streamctl.reason"
	HeaderError     = "streamctl.error"
	HeaderOperator  = "streamctl.operator"
	HeaderTopic     = "streamctl.topic"
	HeaderPartition = "streamctl.partition"
	HeaderOffset    = "streamctl.offset"
	HeaderPipeline  = "streamctl.pipeline"
)

// maxShownInput is how much of a record's value an error carries, in bytes.
const maxShownInput = 1 << 10

// Error says which record, which operator, where in the file and why.
func (e *RecordError) Error() string {
	return fmt.Sprintf("process record %s/%d@%d in %s: %v", e.Position.Topic, e.Position.Partition, e.Position.Offset, e.Operator, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// fault is an error of one record with the reason that counters and dead
// letters carry.
type fault struct {
	reason string
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// stateError is a failure of the store: no policy for records applies.
type stateError struct{ err error }

func (s *stateError) Error() string { return s.err.Error() }
func (s *stateError) Unwrap() error { return s.err }

// faultf makes a fault.
func faultf(reason, format string, args ...any) error {
	return &fault{reason, fmt.Errorf(format, args...)}
}

// ownedError is an error in something that another definition than the one
// being evaluated has written: a column of a stream that is computed where a
// sink writes it. That definition's policy applies.
type ownedError struct {
	owner *Policy
	err   error
}

func (o *ownedError) Error() string { return o.err.Error() }
func (o *ownedError) Unwrap() error { return o.err }

// reasonOf is the reason of err, otherwise when it has none.
func reasonOf(err error, otherwise string) string {
	var f *fault
	if errors.As(err, &f) {
		return f.reason
	}
	return otherwise
}

// refuse deals with a record that p's operator cannot process because of err:
// it returns the error that stops the pipeline, or nil when the record has
// been dropped or sent to the dead letters, and counted. key is the key that
// the record had in the outer topic. reason is that of an err that brings none.
func (t *Task) refuse(p *Policy, in *record.Record, key []byte, origin record.Position, reason string, err error) error {
	reason = reasonOf(err, reason)
	if owned, ok := err.(*ownedError); ok {
		p, err = owned.owner, owned.err
		reason = reasonOf(err, ReasonExpression)
	}
	if storage, ok := err.(*stateError); ok { // not the record's fault
		return fmt.Errorf("process record in %s: %w", p.Operator, storage.err)
	}
	switch p.OnError {
	case Skip:
		t.Counters.Drop(p.Operator, reason)
		return nil
	case DeadLetter:
		t.Counters.Drop(p.Operator, reason)
		t.deadLetter(p, in, key, origin, reason, err)
		return nil
	}
	shown := in.Value
	if len(shown) > maxShownInput {
		shown = shown[:maxShownInput]
	}
	return &RecordError{Position: origin, Operator: p.Operator, Span: p.Span, Input: shown, Err: err}
}

// refuseEvent is refuse for a record on its way.
func (t *Task) refuseEvent(p *Policy, e *Event, reason string, err error) error {
	return t.refuse(p, e.In, e.Key, e.Origin, reason, err)
}

// deadLetter sends the record as it was read, and why it could not be processed.
func (t *Task) deadLetter(p *Policy, in *record.Record, key []byte, origin record.Position, reason string, err error) {
	headers := make([]record.Header, 0, len(in.Headers)+7)
	for _, h := range in.Headers {
		if h.Key != originHeader {
			headers = append(headers, h)
		}
	}
	came := len(headers)
	headers = append(headers,
		record.Header{Key: HeaderReason, Value: []byte(reason)},
		record.Header{Key: HeaderError, Value: []byte(err.Error())},
		record.Header{Key: HeaderOperator, Value: []byte(p.Operator)},
		record.Header{Key: HeaderTopic, Value: []byte(origin.Topic)},
		record.Header{Key: HeaderPartition, Value: strconv.AppendInt(nil, int64(origin.Partition), 10)},
		record.Header{Key: HeaderOffset, Value: strconv.AppendInt(nil, origin.Offset, 10)},
		record.Header{Key: HeaderPipeline, Value: []byte(t.Pipeline)},
	)
	letter := record.Record{Key: key, Value: in.Value, Time: in.Time, Offset: -1, Headers: headers}
	if !t.deadLetterLimit.fit(&letter, headers[came:]) {
		t.Counters.Drop(deadLettersName, ReasonTooLarge)
		return
	}
	count := t.Partitions(t.deadLetterTopic)
	t.Emitter.Emit(t.deadLetters, origin.Partition%max(count, 1), letter)
}

// deadLettersName counts, in the place of an operator, dead letters that cannot be sent.
const deadLettersName = "dead letters"
