package simulate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"streamctl/internal/record"
	"streamctl/internal/testkit"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// workload is a pipeline with what its output must be.
type workload struct {
	name     string
	exactly  bool
	moved    bool   // views come keyed by something else than the pipeline needs
	edits    bool   // profiles change while it runs
	single   bool   // one process at a time only
	bounded  bool   // every process ends by itself where the input ended when it started
	seeds    uint64 // of a plain run of the tests, 0 = shortSeeds
	topology *operators.Topology
	idle     time.Duration // idle_timeout
	inputs   []string      // topics that are read
	check    func(*simulation) error
}

// chainPipeline joins, then groups by something else: two repartitions.
const chainPipeline = `pipeline: p
commit_interval: 20ms
sources:
  page_views:
    topic: p-views
    timestamp: seconds(timestamp)
    fields: {viewerId: int, viewedProfileId: int, timestamp: int}
tables:
  profiles:
    topic: p-profiles
    key: int(split(key, ":")[3])
    value: value.profile
  activity:
    from: enriched e
    group_by: e.viewedProfileId
    select:
      - viewerId: e.viewedProfileId
      - views: count()
      - total: sum(e.viewerId)
      - lowest: min(e.viewerId)
      - highest: max(e.viewerId)
      - known: count(e.company)
streams:
  enriched:
    from: page_views v
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - company: p.positions[0].company
sinks:
  out:
    from: activity
    topic: p-out
    key: viewerId
`

// workloads compiles all of them; topologies are used by every seed.
func workloads(t testing.TB) []*workload {
	t.Helper()
	moved := func(text string) string {
		return strings.ReplaceAll(text, "    partitioned_by: viewerId\n", "")
	}
	join, running := fmt.Sprintf(testkit.JoinPipeline, "p"), fmt.Sprintf(testkit.RunningPipeline, "p")
	list := []*workload{
		newWorkload(t, workload{name: "join", exactly: true, edits: true, check: checkJoin}, join),
		newWorkload(t, workload{name: "running", exactly: true, check: checkRunning}, running),
		newWorkload(t, workload{name: "join-moved", exactly: true, moved: true, check: checkJoinMoved}, moved(join)),
		newWorkload(t, workload{name: "running-moved", exactly: true, moved: true, check: checkRunningMoved}, moved(running)),
		newWorkload(t, workload{name: "chain", exactly: true, moved: true, check: checkChain}, chainPipeline),
		newWorkload(t, workload{name: "join-at-least-once", edits: true, check: checkJoin}, join),
		newWorkload(t, workload{name: "running-at-least-once", check: checkRunning}, running),
	}
	return append(list, languageWorkloads(t)...)
}

func newWorkload(t testing.TB, w workload, text string) *workload {
	t.Helper()
	if !w.exactly {
		text += "guarantee: at_least_once\n"
	}
	r, list := pipeline.Compile("test.yaml", []byte(text), pipeline.ParseOptions{})
	if list.HasErrors() {
		t.Fatalf("compile: %v", list)
	}
	w.topology, w.idle = r.Topology, r.Pipeline.Settings.IdleTimeout
	for _, sub := range w.topology.Subs {
		for _, in := range sub.Inputs {
			if !slices.Contains(w.inputs, in.Topic) {
				w.inputs = append(w.inputs, in.Topic)
			}
		}
	}
	return &w
}

// outputs gives what is in the output, by partition.
func (s *simulation) outputs() testkit.Sequences {
	got := make(testkit.Sequences)
	for p, records := range s.log.ReadCommitted("p-out") {
		for _, r := range records {
			got[place(p)] = append(got[place(p)], testkit.Output{Key: string(r.Key), Value: string(r.Value)})
		}
	}
	return got
}

func place(p int) string { return fmt.Sprint("partition ", p) }

// expected gives what a model makes of the views, by the partition they are in.
func (s *simulation) expected(model func(testkit.Message) (testkit.Output, error)) (testkit.Sequences, error) {
	want := make(testkit.Sequences)
	for p, records := range s.log.ReadCommitted("p-views") {
		for _, r := range records {
			o, err := model(testkit.Message{Key: r.Key, Value: r.Value})
			if err != nil {
				return nil, err
			}
			want[place(p)] = append(want[place(p)], o)
		}
	}
	return want, nil
}

// checkRunning wants the model's output record by record, or with repetitions
// where the guarantee allows them.
func checkRunning(s *simulation) error {
	want, err := s.expected(testkit.NewRunningModel().View)
	if err != nil {
		return err
	}
	got := s.outputs()
	if s.work.exactly {
		return differ(testkit.Diff(want, got))
	}
	for place, outputs := range want {
		if err := s.atLeastOnce(outputs, got[place]); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

func differ(diff string) error {
	if diff != "" {
		return fmt.Errorf("output differs from the model: %s", diff)
	}
	return nil
}

// joined is what matters of a row of the join.
type joined struct {
	Seq     int    `json:"seq"`
	Title   string `json:"jobTitle"`
	Company string `json:"company"`
}

// checkJoin wants every view once (at least once), in its order, with a version
// of the profile that it may have met: none older than what had been processed
// when it was produced, none older than what the viewer's view before it met.
func checkJoin(s *simulation) error {
	out := s.log.ReadCommitted("p-out")
	for p, views := range s.log.ReadCommitted("p-views") {
		var want, got []testkit.Output
		values, met := make(map[string][]byte), make(map[string]int) // view by number, version by viewer
		least := make(map[string]int)
		for _, v := range views {
			seq := seqOf(v.Value)
			values[seq], least[seq] = v.Value, s.input.least(int32(p), v.Offset, string(v.Key))
			want = append(want, testkit.Output{Key: string(v.Key), Value: seq})
		}
		for _, r := range out[p] {
			viewer, seq := string(r.Key), seqOf(r.Value)
			from := least[seq]
			if s.work.exactly {
				from = max(from, met[viewer])
			}
			version := from
			versions := s.input.profiles[viewer]
			for version < len(versions) && withProfile(values[seq], versions[version]) != string(r.Value) {
				version++
			}
			if version == len(versions) {
				return fmt.Errorf("partition %d, offset %d: output %s has met none of the profiles from version %d on", p, r.Offset, r.Value, from)
			}
			met[viewer] = version
			got = append(got, testkit.Output{Key: viewer, Value: seq})
		}
		if s.work.exactly {
			if diff := testkit.Diff(testkit.Sequences{"": want}, testkit.Sequences{"": got}); diff != "" {
				return fmt.Errorf("partition %d: %s", p, diff)
			}
		} else if err := s.atLeastOnce(want, got); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// atLeastOnce wants every record there and no other; with one process at a time,
// repetitions are whole stretches.
func (s *simulation) atLeastOnce(want, got []testkit.Output) error {
	if s.plan.slots == 1 && s.plan.weights[actReplace] == 0 {
		if problem, _ := testkit.Repeats(want, got); problem != "" {
			return fmt.Errorf("%s", problem)
		}
		return nil
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			return fmt.Errorf("%v is missing", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			return fmt.Errorf("%v is none of those there must be", g)
		}
	}
	return nil
}

// withProfile is the output that the model gives for a view and an edit.
func withProfile(view, edit []byte) string {
	m := testkit.NewJoinModel()
	var doc struct {
		Viewer int64 `json:"viewerId"`
	}
	_ = json.Unmarshal(view, &doc)
	if edit != nil {
		_ = m.Edit(testkit.Message{Key: fmt.Appendf(nil, "urn:linkedin:profile:%d", doc.Viewer), Value: edit})
	}
	o, _ := m.View(testkit.Message{Value: view})
	return o.Value
}

func seqOf(value []byte) string {
	var j joined
	_ = json.Unmarshal(value, &j)
	return fmt.Sprint(j.Seq)
}

// checkJoinMoved: behind a repartition the order of a viewer's views is that of
// each partition they came from; what comes out is the same set.
func checkJoinMoved(s *simulation) error {
	m := testkit.NewJoinModel()
	for _, e := range s.input.all {
		if err := m.Edit(e); err != nil {
			return err
		}
	}
	want, err := s.expected(m.View)
	if err != nil {
		return err
	}
	got := s.outputs()
	if err := differ(testkit.Diff(byValue(want), byValue(got))); err != nil {
		return err
	}
	for p, outputs := range want {
		if diff := testkit.Diff(byKey(outputs), byKey(among(got, outputs))); diff != "" {
			return fmt.Errorf("views of %s: %s", p, diff)
		}
	}
	return nil
}

// checkRunningMoved: each viewer's views are counted one by one, and the last
// row is that of the model.
func checkRunningMoved(s *simulation) error {
	want, err := s.expected(testkit.NewRunningModel().View)
	if err != nil {
		return err
	}
	return countedOneByOne(byKey(all(want)), byKey(all(s.outputs())))
}

// checkChain is the same for the views of each profile.
func checkChain(s *simulation) error {
	join, running := testkit.NewJoinModel(), testkit.NewRunningModel()
	for _, e := range s.input.all {
		if err := join.Edit(e); err != nil {
			return err
		}
	}
	known := make(map[string]int)
	want, err := s.expected(func(view testkit.Message) (testkit.Output, error) {
		o, err := join.View(view)
		if err != nil {
			return o, err
		}
		var row struct {
			Viewer  int64   `json:"viewerId"`
			Viewed  int64   `json:"viewedProfileId"`
			Company *string `json:"company"`
		}
		if err := json.Unmarshal([]byte(o.Value), &row); err != nil {
			return o, err
		}
		o, err = running.View(testkit.Message{Value: fmt.Appendf(nil, `{"viewerId":%d,"viewedProfileId":%d}`, row.Viewed, row.Viewer)})
		if row.Company != nil {
			known[o.Key]++
		}
		o.Value = strings.TrimSuffix(o.Value, "}") + fmt.Sprintf(`,"known":%d}`, known[o.Key])
		return o, err
	})
	if err != nil {
		return err
	}
	return countedOneByOne(byKey(all(want)), byKey(all(s.outputs())))
}

func countedOneByOne(want, got testkit.Sequences) error {
	for key, rows := range want {
		seen := got[key]
		if len(seen) != len(rows) {
			return fmt.Errorf("key %s: %d rows, want %d", key, len(seen), len(rows))
		}
		for i, row := range seen {
			if !strings.Contains(row.Value, fmt.Sprintf(`"views":%d,`, i+1)) {
				return fmt.Errorf("key %s: row %d is %s", key, i, row.Value)
			}
		}
		if last := seen[len(seen)-1]; last != rows[len(rows)-1] {
			return fmt.Errorf("key %s: last row %s, want %s", key, last.Value, rows[len(rows)-1].Value)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d keys, want %d", len(got), len(want))
	}
	return nil
}

// all joins the sequences, in the order of partitions.
func all(s testkit.Sequences) []testkit.Output {
	var out []testkit.Output
	for p := range len(s) + 3 {
		out = append(out, s[place(p)]...)
	}
	return out
}

func byKey(outputs []testkit.Output) testkit.Sequences {
	s := make(testkit.Sequences)
	for _, o := range outputs {
		s.Add(o)
	}
	return s
}

// byValue makes a set of outputs that all differ comparable.
func byValue(s testkit.Sequences) testkit.Sequences {
	out := make(testkit.Sequences)
	for _, o := range all(s) {
		out[o.Value] = append(out[o.Value], o)
	}
	return out
}

// among leaves those of got that are among outputs, in their order.
func among(got testkit.Sequences, outputs []testkit.Output) []testkit.Output {
	set := make(map[testkit.Output]bool, len(outputs))
	for _, o := range outputs {
		set[o] = true
	}
	var out []testkit.Output
	for _, o := range all(got) {
		if set[o] {
			out = append(out, o)
		}
	}
	return out
}

// finish stops the processes in an orderly way and looks at what they leave.
func (s *simulation) finish() error {
	s.calm, s.closing = true, true
	for _, p := range s.processes {
		s.note("%s is stopped at the end", p.id)
		p.stop()
	}
	for n := 0; len(s.processes) > 0; n++ {
		if n == calmSteps {
			return fmt.Errorf("%w: they do not stop", errNoEnd)
		}
		if err := s.step(); err != nil {
			return err
		}
		s.steps++
	}
	for s.log.PendingMarkers() > 0 {
		s.log.WriteMarker(0)
	}
	for _, topic := range s.log.Topics() {
		high, stable := s.log.Ends(topic)
		for p := range high {
			if stable[p] < high[p] {
				return fmt.Errorf("a transaction is left open in %s/%d at %d, the end is %d", topic, p, stable[p], high[p])
			}
		}
	}
	if err := s.work.check(s); err != nil {
		return err
	}
	return s.checkStores()
}

// checkStores wants every table that lies on a disk, as far as it knows its
// changelog, to be what the changelog says, and each to be up to date somewhere
// unless its last owner lost its disk.
func (s *simulation) checkStores() error {
	if !s.work.exactly {
		return nil
	}
	for _, sl := range s.slots {
		if sl.disk == nil {
			continue
		}
		db, err := state.Open(state.Options{Dir: "state", FS: sl.disk})
		if err != nil {
			return fmt.Errorf("open the state of %s: %w", sl.name, err)
		}
		err = s.checkStore(db)
		if closed := db.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return fmt.Errorf("state of %s: %w", sl.name, err)
		}
	}
	return nil
}

func (s *simulation) checkStore(db *state.DB) error {
	for _, sub := range s.work.topology.Subs {
		for part := range s.plan.partitions {
			task, err := db.OpenTask(sub.Name, part, sub.Tables)
			if err != nil {
				return err
			}
			for _, spec := range sub.Tables {
				if err := s.checkTable(task, spec, part); err != nil {
					return fmt.Errorf("task %s/%d: %w", sub.Name, part, err)
				}
			}
			task.Abandon()
		}
	}
	return nil
}

// checkTable compares a table with what its changelog holds up to where the
// store has read it. Rows that a compaction has taken away count as they are:
// only a table at the end of its changelog can be compared then.
func (s *simulation) checkTable(task *state.Task, spec state.TableSpec, part int32) error {
	if spec.Changelog == "" {
		return nil
	}
	at, known := task.Position(record.TopicPartition{Topic: spec.Changelog, Partition: part})
	want := make(map[string]string)
	var last int64 = -1
	for _, r := range s.log.ReadCommitted(spec.Changelog)[part] {
		last = r.Offset
		if r.Value == nil {
			delete(want, string(r.Key))
			continue
		}
		row, err := state.DecodeChangelog(r.Value)
		if err != nil {
			return err
		}
		want[string(r.Key)] = string(row)
	}
	if !known || at <= last {
		return nil // an old copy
	}
	s.compared++
	got := make(map[string]string)
	err := task.Table(spec.Name).Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
		got[string(key)] = string(row.Value)
		return true, nil
	})
	if err != nil {
		return err
	}
	for key, row := range want {
		if got[key] != row {
			return fmt.Errorf("table %s has %q at %q, its changelog %q", spec.Name, got[key], key, row)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("table %s has %d rows, its changelog %d", spec.Name, len(got), len(want))
	}
	return nil
}
