package memlog

import (
	"errors"
	"fmt"
	"time"

	"streamctl/internal/record"
)

// Errors of the log itself.
var (
	// ErrUnknownTopic: no such topic or partition.
	ErrUnknownTopic = errors.New("unknown topic or partition")
	// ErrCrashed: this transport's process has been crashed by the test.
	ErrCrashed = errors.New("process crashed")
	// ErrUnstable: an offset is part of an open transaction (Config.Immediate only).
	ErrUnstable = errors.New("offset commit pending in an open transaction")
	// ErrTooLarge: a record above the topic's max.message.bytes.
	ErrTooLarge = errors.New("record too large")
)

// OpKind names an operation that can fail.
type OpKind uint8

const (
	OpFetch        OpKind = iota + 1 // one partition in a Poll
	OpSend                           // Producer.Send
	OpCommit                         // Producer.Commit, after the offsets are staged, before the end of the transaction
	OpInitProducer                   // Transport.NewProducer
	OpTopics
	OpCreateTopic
	OpEnds
	OpStarts
	OpCommitted
	OpPurge
	OpJoin
	OpLeave
	OpPoll    // a Poll as a whole (Config.Gated only)
	OpOffsets // Producer.Commit, before the offsets are staged (Config.Gated only)
)

func (k OpKind) String() string {
	names := [...]string{OpFetch: "fetch", OpSend: "send", OpCommit: "end-txn", OpInitProducer: "init-producer", OpTopics: "topics",
		OpCreateTopic: "create-topic", OpEnds: "ends", OpStarts: "starts", OpCommitted: "committed", OpPurge: "purge", OpJoin: "join",
		OpLeave: "leave", OpPoll: "poll", OpOffsets: "offsets"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("operation %d", k)
}

// Op is an operation about to happen.
type Op struct {
	Kind      OpKind
	N         int    // the how manieth of this kind on this log, from 1; retries count
	Transport string // which process
	ID        string // OpCommit, OpInitProducer, OpSend: the producer's id
	TP        record.TopicPartition
	Record    *record.Record                  // OpSend
	Offsets   map[record.TopicPartition]int64 // OpCommit
	// Ready says whether the operation would bring anything now; nil = always
	// (OpPoll and OpCommitted under Config.Gated only). It may be called from any goroutine.
	Ready func() bool
	Wait  time.Duration // OpPoll: how long it may wait at most
}

// Outcome of a commit.
type Outcome uint8

const (
	// Committed: all is well.
	Committed Outcome = iota
	// Aborted: the broker aborted, and the client knows.
	Aborted
	// UnknownCommitted: the transaction took effect but its answer was lost. The
	// client reports ErrAborted, having initialised anew.
	UnknownCommitted
	// UnknownAborted: the request was lost, and initialising anew aborted the transaction.
	UnknownAborted
	// Fenced: another producer has taken over the transactional id.
	Fenced
	// CrashBefore: the process dies with the transaction left open, its offsets staged.
	CrashBefore
	// CrashAfter: the process dies when the transaction has taken effect, before it hears of it.
	CrashAfter
)

// Fault is what goes wrong with one operation; the zero Fault is nothing.
type Fault struct {
	// Err fails the operation. A fetch's partition is stopped by it; a send's
	// becomes the producer's Err.
	Err error
	// Outcome of OpCommit.
	Outcome Outcome
	// Skip makes OpFetch bring nothing for this partition this time.
	Skip bool
	// Hold keeps OpSend's record in the producer until Commit, as a slow network would.
	Hold bool
	// Delay holds the operation back by the log's clock (OpCommit, OpInitProducer, admin).
	Delay time.Duration
	// Wait holds it back until the channel is closed.
	Wait <-chan struct{}
	// Crash kills the process before the operation takes effect.
	Crash bool
}

// Faults decides about every operation. It is called without any lock held and
// may use the Log; it must be fit for several goroutines. It may wait: the
// operation takes effect when it returns, so that a simulation can say which of
// several goes first.
type Faults func(Op) Fault

// At is a key of a Script: the n-th operation of a kind, counted from 1.
type At struct {
	Kind OpKind
	N    int
}

// Script is a set of faults by number, for tests that need no more than that.
type Script map[At]Fault

// Faults makes the script a Faults function. The script must not change after.
func (s Script) Faults(op Op) Fault { return s[At{op.Kind, op.N}] }

// opCount counts operations of a kind.
type opCount struct{ kind OpKind }

// fault numbers op and asks what shall happen. l.mu must not be held.
func (l *Log) fault(t *Transport, op Op) Fault {
	l.mu.Lock()
	l.counts[opCount{op.Kind}]++
	op.N = l.counts[opCount{op.Kind}]
	l.mu.Unlock()
	op.Transport = t.cfg.Name
	var f Fault
	if l.cfg.Faults != nil {
		f = l.cfg.Faults(op)
	}
	if f.Crash {
		t.Crash()
	}
	return f
}

// hold waits as the fault says: until done is closed at the latest.
func (l *Log) hold(f Fault, done <-chan struct{}) {
	if f.Delay > 0 {
		fired := make(chan struct{})
		stop := l.clock.AfterFunc(f.Delay, func() { close(fired) })
		select {
		case <-fired:
		case <-done:
			stop()
		}
	}
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-done:
		}
	}
}
