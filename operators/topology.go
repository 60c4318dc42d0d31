// Package operators holds what a running pipeline is made of: the operators,
// and the Topology that the compiler binds them into. It knows records, rows,
// expressions and state; it knows nothing of Kafka clients, goroutines or the
// order in which records are chosen: that is the engine's.
package operators

import (
	"sync/atomic"

	"streamctl/internal/diag"
	"streamctl/internal/record"
	"streamctl/state"
)

// Topology is a bound pipeline: sub-topologies that exchange records only
// through topics. It is immutable; every task builds its own operators from it.
type Topology struct {
	Pipeline string
	Subs     []*SubTopology
	Internal []InternalTopic // created and checked before the first task starts
}

// SubTopology is a part of the graph that one task runs without leaving the
// process. Its tasks are its partitions: input partition p of every input
// belongs to task p.
type SubTopology struct {
	Name    string // stable: derived from the names the user wrote, never from positions
	Inputs  []InputSpec
	Outputs []OutputSpec
	Tables  []state.TableSpec
	// Waits says that operators hold things back until stream time has moved: windows
	// until they close, joins what has no partner yet.
	Waits bool
	// Timely says that what operators give out depends on stream time.
	Timely bool
	// Build makes the operators of one task and returns one Input per InputSpec.
	Build func(tc *TaskContext) ([]Input, error)
}

// InputSpec is one topic a sub-topology reads.
type InputSpec struct {
	Topic string
	// Table names the state table that this topic fills, "" for a stream. The
	// topic is then the table's changelog: it is read from the table's own
	// position, and to its end before any stream of the task at first start.
	Table string
	// Feeds is true when updates of the table also go on to other operators
	// (a sink of the table, an aggregate over it): at first start its records
	// then go through Process like any other. False: they may be bulk-loaded.
	Feeds bool
	// Internal is true for repartition topics and internal changelogs.
	Internal bool
	// Awaited, of an internal topic that is no table's changelog but holds rows of
	// one: when the task first starts, it is read to its end before any stream, and
	// does not move stream time meanwhile. From then on event time decides.
	Awaited bool
	// Purge is true for repartition topics: records below the committed offset are deleted.
	Purge bool
	// Name is what the user called what reads the topic.
	Name string
	// OnGap is what happens when records are gone before they were processed.
	OnGap GapPolicy
	Span  diag.Span // where the user wrote it
}

// OutputSpec is one topic a sub-topology writes.
type OutputSpec struct {
	Topic    string
	Internal bool
	// Unfed are inputs of the sub-topology that never lead to a record of this topic:
	// without them, the topics of a sub-topology that talks with another in both
	// directions would feed each other in a circle.
	Unfed []string
	// Partitions is how many partitions the user wants if the topic does not
	// exist yet, 0 = not said.
	Partitions int32
	Span       diag.Span
}

// InternalTopic is a topic of the pipeline's own.
type InternalTopic struct {
	Name string
	// PartitionsLike names topics (outer or internal); the partition count is
	// the greatest of theirs. For a co-partitioned topic it is the partner's.
	PartitionsLike []string
	Configs        map[string]string // e.g. cleanup.policy: compact
}

// TaskContext is what one task lends to its operators. All of it belongs to
// the goroutine that owns the task.
type TaskContext struct {
	Partition  int32
	Tables     map[string]*state.Table
	Emitter    Emitter
	Counters   *Counters
	StreamTime func() int64 // ms; math.MinInt64 before the first record
	Now        func() int64 // wall clock, ms
	// Partitions gives the partition count of any topic the sub-topology reads or writes.
	Partitions func(topic string) int32
	// Timers takes what the operators want to be told of time while they are built.
	Timers *Timers
	// Limit gives the size in bytes above which a topic that the sub-topology writes
	// takes no record; it may change, and 0 is not known. Size is what a record takes
	// towards it, sent alone. A nil Limit: nothing is known of any.
	Limit func(topic string) *atomic.Int64
	Size  func(rec *record.Record) int
	// Again says that what is processed may have been before, by somebody whose results
	// were sent and whose state is lost: at least once, after a crash. See Event.Again.
	// nil = never.
	Again func() bool
}

// Emitter takes what a task sends.
type Emitter interface {
	// Emit sends rec to partition of output out (index in SubTopology.Outputs).
	// rec is copied before it returns.
	Emit(out int, partition int32, rec record.Record)
}

// Input is the head of one input of one task.
type Input interface {
	// Decode reads from rec what the operators need, remembers it as the head of
	// this input, and returns its event time in milliseconds. An error is a
	// *RecordError when the policy is to fail. skip = true: the record has been
	// dropped and counted (or sent to the dead letters); do not call Process.
	Decode(rec *record.Record, tp record.TopicPartition) (time int64, skip bool, err error)
	// Process pushes the head through the operators.
	Process() error
}

// Loader is an Input with Table set: it turns records into rows without any
// operator seeing them, for bootstrap and restore.
type Loader interface {
	// Load gives the state key and row of rec; a nil row deletes. skip as in Decode.
	// again says that rec has been processed before: what was wrong with it has been told.
	Load(rec *record.Record, tp record.TopicPartition, again bool) (key, row []byte, skip bool, err error)
}

// RecordError is the failure of one record under on_error: fail.
type RecordError struct {
	Position record.Position
	Operator string    // name in the pipeline
	Span     diag.Span // where in the pipeline file
	Input    []byte    // the record's value, possibly shortened
	Err      error
}

// Counters counts what a task did, by name and reason. Owned by the task's
// worker; the engine reads it only there.
type Counters struct {
	Drops map[DropKey]int64
}

// DropKey says which operator dropped a record and why.
type DropKey struct {
	Operator string
	Reason   string // e.g. "null-key", "null-value", "late", "invalid-json"
}

// Drop counts one dropped record.
func (c *Counters) Drop(operator, reason string) {
	if c.Drops == nil {
		c.Drops = make(map[DropKey]int64)
	}
	c.Drops[DropKey{operator, reason}]++
}
