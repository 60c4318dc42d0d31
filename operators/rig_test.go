package operators_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"streamctl/internal/codec"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// rig runs a bound topology in one goroutine over topics in memory: tables
// first, then by event time, as the engine does, but without any of its rest.
type rig struct {
	t        *testing.T
	topology *operators.Topology
	topics   map[string][][]record.Record // by topic and partition
	tasks    []*rigTask
	db       *state.DB
	now      int64
	// changelog holds the live keys of each table's.
	changelog map[string]map[string]bool
	limits    map[string]*atomic.Int64 // of records, by topic
	measured  int                      // records whose size was asked for
}

// limit is how large a record of topic may be, 0 = not known.
func (r *rig) limit(topic string) *atomic.Int64 {
	if r.limits == nil {
		r.limits = map[string]*atomic.Int64{}
	}
	if r.limits[topic] == nil {
		r.limits[topic] = new(atomic.Int64)
	}
	return r.limits[topic]
}

// size is what rec takes by itself: as if values were compressed to a tenth.
func (r *rig) size(rec *record.Record) int {
	r.measured++
	n := 70 + len(rec.Key) + len(rec.Value)/10
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value) + 2
	}
	return n
}

type rigTask struct {
	rig      *rig
	sub      *operators.SubTopology
	tc       *operators.TaskContext
	store    *state.Task
	inputs   []operators.Input
	position []int64
	// streamTime is kept with the state, as the engine keeps it.
	streamTime int64
}

// newRig compiles src; parts gives the partition counts of outer topics, 2 is
// the default.
func newRig(t *testing.T, src string, parts map[string]int) *rig {
	t.Helper()
	result, diags := pipeline.Compile("test.yaml", []byte(src), pipeline.ParseOptions{})
	if diags.HasErrors() {
		var out strings.Builder
		_ = result.File.Printer().Print(&out, diags)
		t.Fatalf("compile:\n%s", out.String())
	}
	db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{t: t, topology: result.Topology, db: db, topics: map[string][][]record.Record{}, now: 1_700_000_000_000}
	r.makeTopics(parts)
	r.open()
	return r
}

func (r *rig) makeTopics(parts map[string]int) {
	own := map[string][]string{}
	for _, it := range r.topology.Internal {
		own[it.Name] = it.PartitionsLike
	}
	var count func(topic string) int
	count = func(topic string) int {
		like, ok := own[topic]
		if !ok {
			if n := parts[topic]; n > 0 {
				return n
			}
			return 2
		}
		most := 0
		for _, other := range like {
			most = max(most, count(other))
		}
		return most
	}
	for _, s := range r.topology.Subs {
		for _, in := range s.Inputs {
			r.topics[in.Topic] = make([][]record.Record, count(in.Topic))
		}
		for _, out := range s.Outputs {
			r.topics[out.Topic] = make([][]record.Record, count(out.Topic))
		}
	}
}

func (r *rig) open() {
	for _, s := range r.topology.Subs {
		partitions := len(r.topics[s.Inputs[0].Topic])
		for _, in := range s.Inputs {
			if n := len(r.topics[in.Topic]); n != partitions {
				r.t.Fatalf("sub-topology %s: %s has %d partitions, %s has %d", s.Name, s.Inputs[0].Topic, partitions, in.Topic, n)
			}
		}
		for p := range partitions {
			r.openTask(s, int32(p))
		}
	}
}

func (r *rig) openTask(s *operators.SubTopology, p int32) {
	r.t.Helper()
	task := &rigTask{rig: r, sub: s, position: make([]int64, len(s.Inputs))}
	var err error
	if task.store, err = r.db.OpenTask(s.Name, p, s.Tables); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = task.store.Close() })
	task.streamTime = task.store.StreamTime()
	task.tc = &operators.TaskContext{
		Partition: p, Tables: map[string]*state.Table{}, Emitter: task, Counters: &operators.Counters{},
		StreamTime: func() int64 { return task.streamTime },
		Now:        func() int64 { return r.now },
		Partitions: func(topic string) int32 { return int32(len(r.topics[topic])) },
		Timers:     &operators.Timers{},
		Limit:      r.limit,
		Size:       r.size,
	}
	for _, spec := range s.Tables {
		task.tc.Tables[spec.Name] = task.store.Table(spec.Name)
	}
	if task.inputs, err = s.Build(task.tc); err != nil {
		r.t.Fatal(err)
	}
	if err := task.tc.Timers.Start(task.streamTime); err != nil {
		r.t.Fatal(err)
	}
	r.tasks = append(r.tasks, task)
}

// Emit implements operators.Emitter.
func (t *rigTask) Emit(out int, partition int32, rec record.Record) {
	rec.Key, rec.Value, rec.Headers = bytes.Clone(rec.Key), bytes.Clone(rec.Value), slices.Clone(rec.Headers)
	for i := range rec.Headers {
		rec.Headers[i].Value = bytes.Clone(rec.Headers[i].Value)
	}
	t.rig.append(t.sub.Outputs[out].Topic, partition, rec)
}

func (r *rig) append(topic string, partition int32, rec record.Record) {
	parts := r.topics[topic]
	rec.Offset = int64(len(parts[partition]))
	parts[partition] = append(parts[partition], rec)
}

// produce writes a record as a Java client would; an empty value "-" is null,
// as is the key "-".
func (r *rig) produce(topic, key, value string, time int64, headers ...record.Header) {
	rec := record.Record{Time: time, Headers: headers}
	partition := int32(0)
	if key != "-" {
		rec.Key = []byte(key)
		partition = codec.Partition(rec.Key, int32(len(r.topics[topic])))
	}
	if value != "-" {
		rec.Value = []byte(value)
	}
	r.append(topic, partition, rec)
}

// run processes everything there is; the error of the first record that stops it.
func (r *rig) run() error {
	for {
		progress := false
		for _, stage := range []bool{true, false} { // tables to their ends, then streams
			for again := true; again; {
				again = false
				for _, t := range r.tasks {
					moved, err := t.step(stage)
					if err != nil {
						return err
					}
					again = again || moved
				}
				progress = progress || again
			}
		}
		if !progress {
			return nil
		}
	}
}

// step processes one record of the task: of its tables, or of all inputs, the
// earliest. Re-keying steps count as tables: what they write is one.
func (t *rigTask) step(tables bool) (bool, error) {
	best, bestTime := -1, int64(0)
	for i, in := range t.sub.Inputs {
		if tables && in.Table == "" && !strings.HasSuffix(t.sub.Name, ".rekey") {
			continue
		}
		for {
			log := t.rig.topics[in.Topic][t.tc.Partition]
			if t.position[i] >= int64(len(log)) {
				break
			}
			tp := record.TopicPartition{Topic: in.Topic, Partition: t.tc.Partition}
			time, skip, err := t.inputs[i].Decode(&log[t.position[i]], tp)
			if err != nil {
				return false, err
			}
			if skip {
				t.position[i]++
				continue
			}
			if best < 0 || time < bestTime {
				best, bestTime = i, time
			}
			break
		}
	}
	if best < 0 {
		return false, nil
	}
	t.position[best]++
	if bestTime > t.streamTime {
		t.streamTime = bestTime
		if err := t.tc.Timers.Advance(bestTime); err != nil {
			return false, err
		}
	}
	return true, t.inputs[best].Process()
}

// mustRun is run that must not fail.
func (r *rig) mustRun() {
	r.t.Helper()
	if err := r.run(); err != nil {
		r.t.Fatal(err)
	}
}

// show lists a topic's records, "partition key value @time", partition by partition.
func (r *rig) show(topic string) []string {
	var out []string
	for p, log := range r.topics[topic] {
		for _, rec := range log {
			out = append(out, fmt.Sprintf("%d %s %s @%d", p, text(rec.Key), text(rec.Value), rec.Time))
		}
	}
	return out
}

// values lists a topic's "key value" pairs, sorted by key; records of one key keep their order.
func (r *rig) values(topic string) []string {
	var out []record.Record
	for _, log := range r.topics[topic] {
		out = append(out, log...)
	}
	slices.SortStableFunc(out, func(a, b record.Record) int { return strings.Compare(text(a.Key), text(b.Key)) })
	var lines []string
	for _, rec := range out {
		lines = append(lines, text(rec.Key)+" "+text(rec.Value))
	}
	return lines
}

func text(b []byte) string {
	if b == nil {
		return "-"
	}
	return string(b)
}

// drops adds up the counters of all tasks, as "operator reason count".
func (r *rig) drops() []string {
	sum := map[operators.DropKey]int64{}
	for _, t := range r.tasks {
		for k, n := range t.tc.Counters.Drops {
			sum[k] += n
		}
	}
	var out []string
	for k, n := range sum {
		out = append(out, fmt.Sprintf("%s %s %d", k.Operator, k.Reason, n))
	}
	slices.Sort(out)
	return out
}

// expect compares lines.
func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got  %s\n want %s", what, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}

func replaced(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

// reopen commits what was changed, and opens all tasks anew on what is stored.
func (r *rig) reopen() {
	r.t.Helper()
	old := r.tasks
	for _, t := range old {
		if t.streamTime != math.MinInt64 {
			t.store.SetStreamTime(t.streamTime)
		}
		sealed, err := t.store.Seal(func(table *state.Table, key, row []byte) { r.log(table.Name(), t.tc.Partition, key, row) })
		if err == nil {
			err = t.store.Apply(sealed)
		}
		if err == nil {
			err = t.store.Close()
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.tasks = nil
	r.open()
	for i, t := range r.tasks {
		t.position = old[i].position
		t.tc.Counters.Drops = old[i].tc.Counters.Drops
	}
}

// log notes what a reopening writes to the changelog of a table.
func (r *rig) log(table string, partition int32, key, row []byte) {
	if r.changelog == nil {
		r.changelog = map[string]map[string]bool{}
	}
	if r.changelog[table] == nil {
		r.changelog[table] = map[string]bool{}
	}
	name := fmt.Sprint(partition, " ", string(key))
	if row == nil {
		delete(r.changelog[table], name)
	} else {
		r.changelog[table][name] = true
	}
}

// liveKeys counts the keys that the changelog of a table holds once it is compacted.
func (r *rig) liveKeys(table string) int { return len(r.changelog[table]) }

// partitionOf is where a Java client would put a key.
func (r *rig) partitionOf(topic, key string) int32 {
	return codec.Partition([]byte(key), int32(len(r.topics[topic])))
}
