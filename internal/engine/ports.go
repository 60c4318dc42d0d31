// Package engine runs a bound topology: tasks on workers, records merged by
// event time, state restored before use, and everything a task did committed
// at once. It talks to Kafka, the group and the clock only through the ports
// of this file, so that the same code runs on a real broker, on the embedded
// one, and on the deterministic log of the tests.
package engine

import (
	"context"
	"time"

	"streamctl/internal/record"
)

// Isolation of a read.
type Isolation uint8

const (
	ReadCommitted Isolation = iota
	ReadUncommitted
)

// Fetched is what one fetch brought for one partition. Aborted transactions
// and control records are already taken out; Next says how far the log was
// covered by them.
type Fetched struct {
	TP       record.TopicPartition
	Records  []record.Record
	Next     int64 // the offset to read next: past every record, gap and marker seen
	End      int64 // the end of the log for this isolation (last stable offset or high watermark) when the fetch was answered
	LogStart int64 // first offset still there
	Bytes    int   // what it holds in memory, for backpressure
	// Memory is what Records and all that they point to lie in, where it can be used again:
	// once whoever was given the fetch has let go, and whoever holds it beside. Nobody has to.
	Memory *record.Memory
	Err    error // ErrOffsetOutOfRange or a fatal error of this partition; the partition is then stopped
}

// Source fetches partitions for one worker. Start, Stop, Poll and Release are
// called by that worker's goroutine only.
type Source interface {
	// Start begins to fetch tp from offset.
	Start(tp record.TopicPartition, offset int64, iso Isolation)
	// Rush says, until Stop, that the owner takes all of tp as fast as it comes, and that
	// it is worth memory to have it sooner.
	Rush(tp record.TopicPartition)
	// Stop ends it; nothing fetched for tp before is returned by Poll after.
	Stop(tp record.TopicPartition)
	// Poll returns what has arrived, at once when there is something, else after
	// at most wait, or when Wake is called. The empty fetches matter too: a Fetched without
	// records is sent when the end of a partition has been reached or moved, so that
	// the engine knows that it is fully read.
	Poll(wait time.Duration) []*Fetched
	// Wake makes a running or the next Poll return at once. Callable from any goroutine.
	Wake()
	// Release tells that f's records have been processed: its bytes may be fetched anew.
	// A partition with more than the configured bytes unreleased is not fetched.
	Release(f *Fetched)
	Close()
}

// GroupMeta identifies a member of the group at one generation.
type GroupMeta struct {
	Group      string
	Generation int32
	Member     string
	Instance   string // "" = dynamic member
}

// Commit is one unit of work of a worker.
type Commit struct {
	Offsets map[record.TopicPartition]int64 // input positions: the next offset to read
	Group   GroupMeta
	// StreamTimes are those of the tasks that the partitions belong to, ms: they are
	// kept beside the offsets. Timeless is a time, too.
	StreamTimes map[record.TopicPartition]int64
	// Promises is what the tasks know of the time of those that write the partitions:
	// text of letters, digits, - and _ that is kept beside the offsets.
	Promises map[record.TopicPartition]string
	// Timed says that something was done because time has passed: the offsets are
	// committed although they are the same as before, so that the group is asked
	// whether the tasks are still this process's.
	Timed bool
}

// CommitResult is the outcome of a Commit.
type CommitResult struct {
	// Next gives, per partition sent to since the last commit, the offset after
	// the last record sent (transaction markers not counted).
	Next map[record.TopicPartition]int64
	// Err: nil = committed. ErrFenced = another producer or generation took
	// over: give up the tasks and rejoin. ErrAborted = it is certain that
	// nothing was committed, or it is unknown: the producer has been
	// re-initialised; go back to the committed offsets.
	Err error
}

// Producer sends for one worker. Under exactly-once everything sent between
// two Commits, and the offsets, is one transaction; under at-least-once Commit
// waits for all acknowledgements and then commits the offsets.
type Producer interface {
	// Send appends a copy of rec to the current unit of work: its slices may be
	// written again when Send returns. It does not block on the network; Buffered
	// tells how much waits.
	Send(tp record.TopicPartition, rec record.Record)
	// Buffered is the number of bytes not yet acknowledged.
	Buffered() int
	// Size is what rec takes of a topic's max.message.bytes when it is sent alone,
	// in bytes. It may cost as much as sending it.
	Size(rec *record.Record) int
	// Commit seals the current unit of work and completes it in the background;
	// done is called exactly once, from another goroutine. Sends after Commit
	// belong to the next unit: they are buffered and leave only when this one
	// has ended. At most one Commit is in flight.
	Commit(c Commit, done func(CommitResult))
	// Discard forgets everything that was sent and not committed. After a Commit
	// that ended with ErrAborted or ErrFenced nothing leaves the producer until
	// Discard is called: what its owner had sent meanwhile was computed from
	// what was not committed. Under at-least-once likewise.
	Discard()
	// Err returns a failure that cannot be mended by itself (a record too large, no permission, fenced), nil otherwise.
	Err() error
	// Close aborts an open transaction and lets go.
	Close(ctx context.Context) error
}

// TaskID names a task: a sub-topology and a partition.
type TaskID struct {
	Sub       string
	Partition int32
}

// GroupEvent is a change of what this process owns.
type GroupEvent struct {
	Meta  GroupMeta
	Tasks []TaskID // all tasks this process owns from now on
	// Standbys are the tasks of which this process keeps a copy of the state
	// without running them: standby replicas, and warm-ups of tasks that move here
	// when they have caught up. None of them is in Tasks.
	Standbys []TaskID
	// Members are all processes of the group at this generation, this one too, those
	// included that are silent but within their session; nil = not known.
	Members []Member
	Lost    bool  // the membership is gone: close tasks without committing
	Err     error // fatal
	// Ack must be called when the tasks that were taken away are committed and
	// closed; the group goes on only then.
	Ack func()
}

// Coordinator is the process's membership in the pipeline's group.
type Coordinator interface {
	// Events delivers changes of ownership; closed after Leave.
	Events() <-chan GroupEvent
	// Report tells how much of which task's state lies here; each call replaces
	// what the last one said. The member says it at its next join, and asks for a
	// join when what it said before lets the assignment change: a warm-up has
	// caught up. Callable from any goroutine, cheap.
	Report(held []Held)
	// Leave ends the membership. With keepPlace a static member's tasks stay its
	// own until its session ends, so that a restart within it moves nothing;
	// otherwise it leaves at once, a static member too: others take the tasks
	// without waiting, and the group can be rewound.
	Leave(ctx context.Context, keepPlace bool) error
}

// Held says how much of a task's state a process has.
type Held struct {
	Task TaskID
	// Lag is how many records would have to be read before the task could run
	// here; 0 for a task that runs here, -1 = not known.
	Lag int64
	// Bytes is what the state takes on disk, about.
	Bytes int64
}

// Member is what everybody in the group knows of a process: enough to name its producers.
type Member struct {
	Instance string
	Workers  int
}

// Membership is what a process says of itself when it joins.
type Membership struct {
	// Instance is the name from which the process's transactional ids derive. It is
	// not its static name in the group, which is the transport's own business.
	Instance string
	Plan     string     // what the pipeline means: who names another plan must not run beside
	Tasks    []TaskInfo // the pipeline's tasks with their inputs
	Held     []Held     // what its disk holds of their state
	// Workers is how many goroutines own tasks here: its share of the work.
	Workers int
	// Rack names the failure domain, "" = not known: replicas go to other racks than the task.
	Rack string
	// Standbys is how many replicas of every task with state the group keeps beside the one that runs.
	Standbys int
	// AcceptableLag, records: a process that lags no more takes a task over without a warm-up.
	AcceptableLag int64
}

// TopicInfo describes an existing topic.
type TopicInfo struct {
	Name       string
	ID         string // another one after the topic was deleted and created anew; "" where the broker does not tell
	Partitions int32
	Configs    map[string]string // cleanup.policy, retention.ms, max.message.bytes, message.timestamp.type where known
}

// Admin is the control plane.
type Admin interface {
	// Topics describes those of names that exist.
	Topics(ctx context.Context, names []string) (map[string]TopicInfo, error)
	// CreateTopic makes a topic; one that exists already is an error that wraps ErrTopicExists.
	CreateTopic(ctx context.Context, name string, partitions int32, configs map[string]string) error
	// Ends gives the end offsets (high watermark or last stable offset by iso), Starts the first ones still there.
	Ends(ctx context.Context, tps []record.TopicPartition, iso Isolation) (map[record.TopicPartition]int64, error)
	Starts(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error)
	// Committed gives the group's committed offsets, stable ones only (it waits
	// out open transactions); a partition without one is not in the map.
	Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error)
	// CommittedWith is Committed with what was committed beside the offsets.
	CommittedWith(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]LastCommit, error)
	// LastCommitted gives what was committed last and who did it, at once: an open
	// transaction that carries a newer offset is not waited for.
	LastCommitted(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]LastCommit, error)
	// Purge deletes the records below the given offsets.
	Purge(ctx context.Context, below map[record.TopicPartition]int64) error
}

// LastCommit is a committed offset.
type LastCommit struct {
	Offset int64
	By     string // the transactional id that committed it, "" = none, or not known
	// StreamTime is that of the task that had the partition, ms; 0 = not known.
	StreamTime int64
	// Promises are what was committed as Commit.Promises, "" = not known.
	Promises string
}

// Timeless is the stream time of a task that has read everything and found nothing
// that has a time.
const Timeless = -1

// Clock is wall-clock time.
type Clock interface {
	Now() time.Time
	// After calls f once in its own goroutine after d, unless stopped.
	AfterFunc(d time.Duration, f func()) (stop func())
}

// Transport makes the ports; one per process.
type Transport interface {
	NewSource() (Source, error)
	// NewProducer opens a producer; under exactly-once id is its transactional
	// id, and leftovers of an earlier one with this id have been aborted when it returns.
	NewProducer(ctx context.Context, id string, exactlyOnce bool) (Producer, error)
	Admin() Admin
	// Join becomes a member of the group.
	Join(ctx context.Context, m Membership) (Coordinator, error)
	// Incidents counts what the ports have recovered from since the process
	// started, by the names of the Incident constants. The map is the caller's.
	Incidents() map[string]int64
	Close() error
}

// TaskInfo is what the assignor needs to know of a task.
type TaskInfo struct {
	ID     TaskID
	Inputs []record.TopicPartition
	State  bool // has tables
}
