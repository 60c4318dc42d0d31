package kafka

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"streamctl/internal/engine"
)

// memberData is what a member tells the leader: who it is, what it runs, what
// it keeps copies of, and how much of whose state lies on its disk.
type memberData struct {
	Work       work
	Name       string // stable across restarts where possible
	Host       string
	Self       engine.Member
	Rack       string
	Standbys   int
	Acceptable int64  // lag
	Probe      uint64 // counts how often it has asked for a rebalance: two joins are never taken for the same
	Generation int32  // in which it was given Owned
	Owned      []engine.TaskID
	Standby    []engine.TaskID
	Held       []engine.Held
}

// facts names what a member is, apart from what it runs and holds.
func (d memberData) facts() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %d %q %d %d", d.Name, d.Self.Instance, d.Self.Workers, d.Rack, d.Standbys, d.Acceptable)
	return h.Sum64()
}

// assignmentData is what the leader tells a member.
type assignmentData struct {
	Work    work
	Refused string // why the member gets nothing
	Owned   []engine.TaskID
	Standby []engine.TaskID
	Awaited []engine.TaskID // of Standby: when they have caught up, the member asks for a rebalance
	// Settled: no other assignment follows from this one by itself.
	Settled bool
	// Rejoin: the member has to let go of something, and joins again when it has.
	Rejoin     bool
	Acceptable int64  // the lag at which a copy has caught up, for the whole group
	Facts      uint64 // what the leader took the member for
	Members    []engine.Member
}

// The encoding is a byte for the version and then fields in their order, as
// varints and as strings with their length before them. What follows the last
// known field is left alone, so that later versions can append. Tasks are
// written as a table of sub-topologies and, for each, ascending partitions, as
// the differences: thousands of tasks take about a byte each.

const (
	assignmentSettled = 1 << iota
	assignmentRejoin
)

// sizeUnit is how exactly the size of a state is told.
const sizeUnit = 1 << 20

func (d memberData) encode() []byte {
	w := &writer{buf: []byte{dataVersion}}
	w.work(d.Work)
	w.text(d.Name)
	w.text(d.Host)
	w.member(d.Self)
	w.text(d.Rack)
	w.number(int64(d.Standbys))
	w.number(d.Acceptable)
	w.number(int64(d.Probe))
	w.number(int64(d.Generation))
	w.taskList(d.Owned)
	w.taskList(d.Standby)
	held := slices.Clone(d.Held)
	slices.SortFunc(held, func(a, b engine.Held) int { return compareTasks(a.Task, b.Task) })
	held = slices.CompactFunc(held, func(a, b engine.Held) bool { return a.Task == b.Task })
	w.taskList(tasksHeld(held))
	for _, h := range held {
		w.number(h.Lag + 1)
		w.number((max(h.Bytes, 0) + sizeUnit - 1) / sizeUnit)
	}
	return w.buf
}

func tasksHeld(held []engine.Held) []engine.TaskID {
	out := make([]engine.TaskID, len(held))
	for i, h := range held {
		out[i] = h.Task
	}
	return out
}

func decodeMember(data []byte) (memberData, error) {
	r := newReader(data)
	d := memberData{
		Work: r.work(), Name: r.text(), Host: r.text(), Self: r.member(), Rack: r.text(),
		Standbys: int(r.number()), Acceptable: r.number(), Probe: uint64(r.number()), Generation: int32(r.number()),
		Owned: r.taskList(), Standby: r.taskList(),
	}
	for _, id := range r.taskList() {
		h := engine.Held{Task: id, Lag: r.number() - 1}
		h.Bytes = r.number() * sizeUnit
		d.Held = append(d.Held, h)
	}
	return d, r.fault("membership data")
}

func (d assignmentData) encode() []byte {
	w := &writer{buf: []byte{dataVersion}}
	w.work(d.Work)
	w.text(d.Refused)
	var flags int64
	if d.Settled {
		flags |= assignmentSettled
	}
	if d.Rejoin {
		flags |= assignmentRejoin
	}
	w.number(flags)
	w.number(d.Acceptable)
	w.fixed(d.Facts)
	w.taskList(d.Owned)
	w.taskList(d.Standby)
	w.taskList(d.Awaited)
	w.number(int64(len(d.Members)))
	for _, m := range d.Members {
		w.member(m)
	}
	return w.buf
}

func decodeAssignment(data []byte) (assignmentData, error) {
	r := newReader(data)
	d := assignmentData{Work: r.work(), Refused: r.text()}
	flags := r.number()
	d.Settled, d.Rejoin = flags&assignmentSettled != 0, flags&assignmentRejoin != 0
	d.Acceptable, d.Facts = r.number(), r.fixed()
	d.Owned, d.Standby, d.Awaited = r.taskList(), r.taskList(), r.taskList()
	for range r.count() {
		d.Members = append(d.Members, r.member())
	}
	return d, r.fault("assignment")
}

// writer appends what a member or the leader says.
type writer struct{ buf []byte }

func (w *writer) number(n int64) { w.buf = binary.AppendUvarint(w.buf, uint64(max(n, 0))) }
func (w *writer) fixed(n uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, n) }

func (w *writer) text(s string) {
	w.number(int64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *writer) work(k work) {
	w.fixed(k.Tasks)
	w.text(k.Plan)
}

func (w *writer) member(m engine.Member) {
	w.text(m.Instance)
	w.number(int64(m.Workers))
}

// taskList writes tasks in their order, each once.
func (w *writer) taskList(tasks []engine.TaskID) {
	tasks = slices.Clone(tasks)
	slices.SortFunc(tasks, compareTasks)
	tasks = slices.Compact(tasks)
	subs := 0
	for i := range tasks {
		if i == 0 || tasks[i].Sub != tasks[i-1].Sub {
			subs++
		}
	}
	w.number(int64(subs))
	for len(tasks) > 0 {
		n := slices.IndexFunc(tasks, func(id engine.TaskID) bool { return id.Sub != tasks[0].Sub })
		if n < 0 {
			n = len(tasks)
		}
		w.text(tasks[0].Sub)
		w.number(int64(n))
		last := int32(0)
		for _, id := range tasks[:n] {
			w.number(int64(id.Partition - last))
			last = id.Partition
		}
		tasks = tasks[n:]
	}
}

var (
	errShortData = errors.New("it ends too early")
	errBadData   = errors.New("it makes no sense")
)

// reader takes apart what a writer has put together. After a fault it gives zeros.
type reader struct {
	buf []byte
	err error
}

// newReader reads data of our version.
func newReader(data []byte) *reader {
	r := &reader{buf: data}
	switch {
	case len(data) == 0:
		r.err = errShortData
	case data[0] != dataVersion:
		r.err = fmt.Errorf("it has version %d, not %d", data[0], dataVersion)
	default:
		r.buf = data[1:]
	}
	return r
}

func (r *reader) fault(what string) error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("read %s: %w", what, r.err)
}

func (r *reader) fail(err error) {
	r.err = cmp.Or(r.err, err)
	r.buf = nil
}

func (r *reader) number() int64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.buf)
	if size <= 0 || n > 1<<62 {
		r.fail(errShortData)
		return 0
	}
	r.buf = r.buf[size:]
	return int64(n)
}

// count reads how many elements follow; each takes a byte at least.
func (r *reader) count() int {
	n := r.number()
	if n > int64(len(r.buf)) {
		r.fail(errShortData)
		return 0
	}
	return int(n)
}

func (r *reader) fixed() uint64 {
	if len(r.buf) < 8 {
		r.fail(errShortData)
		return 0
	}
	n := binary.BigEndian.Uint64(r.buf)
	r.buf = r.buf[8:]
	return n
}

func (r *reader) text() string {
	n := r.count()
	s := string(r.buf[:n])
	r.buf = r.buf[n:]
	return s
}

func (r *reader) work() work { return work{Tasks: r.fixed(), Plan: r.text()} }

func (r *reader) member() engine.Member {
	return engine.Member{Instance: r.text(), Workers: int(r.number())}
}

func (r *reader) taskList() []engine.TaskID {
	var out []engine.TaskID
	for range r.count() {
		sub := r.text()
		last := int64(0)
		for range r.count() {
			if last += r.number(); last > 1<<31-1 {
				r.fail(errBadData)
				return nil
			}
			out = append(out, engine.TaskID{Sub: sub, Partition: int32(last)})
		}
	}
	return out
}
