package engine

import (
	"fmt"
	"math"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// taskState is where a task is in its life:
//
//	                  +-----------------------------+
//	                  |                             v
//	Created ----> Restoring --> Running --> Suspended --> Closed
//	   |           ^    |                                  ^
//	   +-> Standby-+    |                                  |
//	   |      |         |                                  |
//	   +------+---------+----------------------------------+
//
// Created: its operators and tables exist. Standby: it is run elsewhere, and
// its tables are kept up to date here. Restoring: tables are brought to
// what was committed, and at first start to the end of their topics; no
// stream record is processed. Running: records flow. Suspended: no record is
// processed any more, what was done is being committed. Closed: nothing is
// held any more.
type taskState uint8

const (
	taskCreated taskState = iota
	taskRestoring
	taskRunning
	taskSuspended
	taskClosed
	taskStandby
)

func (s taskState) String() string {
	return [...]string{"created", "restoring", "running", "suspended", "closed", "standby"}[s]
}

// taskTransitions is the picture above as a table.
var taskTransitions = map[taskState][]taskState{
	taskCreated:   {taskRestoring, taskStandby, taskClosed},
	taskStandby:   {taskRestoring, taskClosed},
	taskRestoring: {taskRunning, taskSuspended, taskClosed},
	taskRunning:   {taskSuspended},
	taskSuspended: {taskClosed},
}

// task is one sub-topology on one partition. Its worker's goroutine owns it.
type task struct {
	id      TaskID
	sub     *operators.SubTopology
	state   taskState
	store   *state.Task
	inputs  []*input     // tables first: at equal times a table's record goes before a stream's
	restore []*restoring // tables that are still being loaded
	over    []*passedOver
	life    int64 // at least once, see stamp.go
	// restored is how many offsets those that are loaded took.
	restored int64
	// gated is true while a table input has not reached its end as taken at first
	// start: stream inputs wait.
	gated      bool
	marked     bool // a mark of the store waits to be committed
	timed      bool // what was done because time has passed waits to be committed
	streamTime int64
	// own is the greatest time of what comes from elsewhere than upstream tasks; it
	// counts when these have nothing.
	own int64
	// promise is the stream time that the task promises to those behind it: what it was
	// before it began to move.
	promise   int64
	fed       []*input // those that hear of time from the tasks that write them
	tells     []record.TopicPartition
	told      int64 // the promise that was announced last
	announced bool  // something was, since the task started
	toldEmpty bool  // it was that there is nothing
	shortName uint32
	heard     int64 // announcements among what was processed
	wall      []wallTimer
	farewell  bool // of a bounded run: its timers have been called for the last time
	idle      idleness
	context   *operators.TaskContext
	processed int64
}

// transition moves the task to state to; a step that the picture does not have is a bug.
func (t *task) transition(to taskState) error {
	for _, allowed := range taskTransitions[t.state] {
		if allowed == to {
			t.state = to
			return nil
		}
	}
	return fmt.Errorf("move task %s from %s to %s: no such transition", t.id, t.state, to)
}

func (id TaskID) String() string { return fmt.Sprintf("%s/%d", id.Sub, id.Partition) }

// input is one topic partition of a task: what has been fetched of it and how
// far it has been processed.
type input struct {
	spec   operators.InputSpec
	op     operators.Input
	loader operators.Loader // set for tables
	tp     record.TopicPartition

	queue   []*Fetched // fetched, not begun
	current *Fetched
	index   int // next record of current

	head     bool // op holds a decoded record that waits to be processed
	headTime int64
	headNext int64   // offset after the head
	promise  promise // that came with the head
	promised bool

	upstream  *upstream // what the tasks that write the topic have promised; nil = they do not
	again     int64     // at least once: the end of the topic when the task started
	pos       int64     // next offset to process: what is committed
	committed int64     // last committed pos, -1 = never
	started   bool      // being fetched
	answered  bool      // at least one fetch has been answered since start
	fetchedTo int64     // how far the fetches have come
	end       int64     // end of the log at the last fetch
	skipToEnd bool      // behind a gap: go on at the end, once it is known
	stopAt    int64     // of a bounded run: where it may end, -1 = not known, or no bound
	onward    bool      // go on beyond stopAt: others may wait for what lies there
	sampled   int64     // timestamp of a record that was taken since the last commit, ms, 0 = none
}

// isTable says whether the input fills a table.
func (in *input) isTable() bool { return in.spec.Table != "" }

// first says that the input is read to its end, as it was at first start,
// before any stream.
func (in *input) first() bool { return in.isTable() || in.spec.Awaited }

// accept takes a fetch for this input.
func (in *input) accept(f *Fetched) {
	in.answered = true
	if f.Next > in.fetchedTo {
		in.fetchedTo = f.Next
	}
	if f.End > in.end {
		in.end = f.End
	}
	in.queue = append(in.queue, f)
}

// fullyRead says that the broker had no more of this input than what has been
// processed, so that nobody needs to wait for it.
func (in *input) fullyRead() bool {
	if in.head || in.current != nil || len(in.queue) > 0 {
		return false
	}
	if in.stops(in.pos) {
		return true
	}
	return in.answered && in.fetchedTo >= in.end
}

// advance decodes the next record into op, unless one waits already or none
// has been fetched. Records that op skips are passed over here.
func (in *input) advance(release func(*Fetched)) error {
	for !in.head {
		if in.current == nil {
			if len(in.queue) == 0 {
				return nil
			}
			in.current, in.index = in.queue[0], 0
			in.queue[0] = nil
			in.queue = in.queue[1:]
			in.sample(in.current)
		}
		f := in.current
		if in.index == len(f.Records) {
			in.passed(f.Next)
			in.current = nil
			release(f)
			continue
		}
		rec := &f.Records[in.index]
		if rec.Offset < in.pos { // a fetch answers whole batches
			in.index++
			continue
		}
		if in.stops(rec.Offset) {
			in.passed(in.stopAt)
			return nil
		}
		if in.spec.Internal {
			var err error
			if in.promise, in.promised, err = takePromise(rec); err != nil {
				return fmt.Errorf("read %s/%d at offset %d: %w", in.tp.Topic, in.tp.Partition, rec.Offset, err)
			}
			if in.promised && in.promise.bare {
				in.index++
				in.head, in.headTime, in.headNext = true, rec.Time, rec.Offset+1
				return nil
			}
		}
		time, skip, err := in.op.Decode(rec, in.tp)
		if err != nil {
			return err
		}
		in.index++
		if skip {
			in.pos = rec.Offset + 1
			continue
		}
		in.head, in.headTime, in.headNext = true, time, rec.Offset+1
	}
	return nil
}

// stops says that nothing is processed from offset on.
func (in *input) stops(offset int64) bool {
	return in.stopAt >= 0 && offset >= in.stopAt && !in.onward
}

// passed moves the position to offset, never back and never over where it stops.
func (in *input) passed(offset int64) {
	if in.stops(offset) {
		offset = in.stopAt
	}
	if offset > in.pos {
		in.pos = offset
	}
}

// drained says that everything below the bound has been processed and committed.
func (in *input) drained() bool { return in.stopAt >= 0 && in.committed >= in.stopAt }

// reached says that everything below the bound has been processed.
func (in *input) reached() bool { return in.stopAt >= 0 && in.pos >= in.stopAt }

// next picks the input whose head is processed next: the smallest event time.
// nil means that there is nothing to do now: either nothing is there, or an
// input that holds more at the broker has to be waited for.
func (t *task) next(release func(*Fetched)) (*input, error) {
	var best *input
	for _, in := range t.inputs {
		if t.gated && !in.first() {
			continue
		}
		if !in.head {
			if err := in.advance(release); err != nil {
				return nil, err
			}
			if !in.head {
				if !in.fullyRead() && !in.bounded() {
					return nil, nil
				}
				continue
			}
		}
		if best == nil || in.headTime < best.headTime {
			best = in
		}
	}
	return best, nil
}

// bounded says that the input stops here, be there more or not.
func (in *input) bounded() bool { return in.stops(in.pos) && !in.head }

// step processes up to max records and says how many it did.
func (t *task) step(max int, release func(*Fetched)) (int, error) {
	if t.state != taskRunning {
		return 0, nil
	}
	for n := 0; n < max; n++ {
		in, err := t.next(release)
		if err != nil || in == nil {
			t.processed += int64(n)
			return n, err
		}
		if at := t.hear(in); at > t.streamTime {
			if err := t.advance(at); err != nil {
				return n, err
			}
		}
		in.head = false
		if in.promised && in.promise.bare {
			in.pos = in.headNext
			t.heard++
			continue
		}
		if err := in.op.Process(); err != nil {
			return n, err
		}
		in.pos = in.headNext
	}
	t.processed += int64(max)
	return max, nil
}

// input finds the input that reads tp.
func (t *task) input(tp record.TopicPartition) *input {
	for _, in := range t.inputs {
		if in.tp == tp {
			return in
		}
	}
	return nil
}

// dirty says whether there is something to commit.
func (t *task) dirty() bool {
	if t.marked || t.timed || t.owes() {
		return true
	}
	for _, in := range t.inputs {
		if t.commits(in) {
			return true
		}
	}
	return false
}

// commits says whether in has a position to commit. That a stream has been
// committed, be it at its beginning, tells the next one who runs the task that
// its tables were complete: so not before they are.
func (t *task) commits(in *input) bool {
	return in.started && in.pos != in.committed && (!t.gated || in.first() || in.committed >= 0)
}

// mark records with the state that the first load of in's table is complete.
func (t *task) mark(in *input) {
	t.store.Mark(bootMark(in.tp.Topic))
	t.marked = true
}

// drained says that every input has come to its bound and is committed there.
func (t *task) drained() bool {
	if t.state != taskRunning || !t.farewell && len(t.wall) > 0 {
		return false
	}
	for _, in := range t.inputs {
		if !in.drained() {
			return false
		}
	}
	return true
}

const noStreamTime = math.MinInt64
