package reset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// fakeCluster is a broker's control plane in memory. Every partition of a
// topic has the same bounds.
type fakeCluster struct {
	members   []string
	topics    map[string]topicState
	committed map[record.TopicPartition]int64
	calls     []string
	fail      string // the call that fails
}

type topicState struct {
	partitions int32
	start, end int64
	byTime     map[int64]int64 // ms -> offset
}

var errFake = errors.New("broken on purpose")

func (c *fakeCluster) called(name string) error {
	c.calls = append(c.calls, name)
	if c.fail == name {
		return errFake
	}
	return nil
}

func (c *fakeCluster) Members(context.Context) ([]string, error) { return c.members, nil }

func (c *fakeCluster) Partitions(_ context.Context, topics []string) (map[string]int32, error) {
	out := make(map[string]int32)
	for _, name := range topics {
		if t, ok := c.topics[name]; ok {
			out[name] = t.partitions
		}
	}
	return out, nil
}

func (c *fakeCluster) bounds(tps []record.TopicPartition, of func(topicState) int64) map[record.TopicPartition]int64 {
	out := make(map[record.TopicPartition]int64)
	for _, tp := range tps {
		out[tp] = of(c.topics[tp.Topic])
	}
	return out
}

func (c *fakeCluster) Committed(_ context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	out := make(map[record.TopicPartition]int64)
	for _, tp := range tps {
		if at, ok := c.committed[tp]; ok {
			out[tp] = at
		}
	}
	return out, nil
}

func (c *fakeCluster) Starts(_ context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return c.bounds(tps, func(t topicState) int64 { return t.start }), nil
}

func (c *fakeCluster) Ends(_ context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return c.bounds(tps, func(t topicState) int64 { return t.end }), nil
}

func (c *fakeCluster) At(_ context.Context, tps []record.TopicPartition, ms int64) (map[record.TopicPartition]int64, error) {
	out := make(map[record.TopicPartition]int64)
	for _, tp := range tps {
		if at, ok := c.topics[tp.Topic].byTime[ms]; ok {
			out[tp] = at
		}
	}
	return out, nil
}

func (c *fakeCluster) SetCommitted(_ context.Context, offsets map[record.TopicPartition]int64) error {
	if err := c.called("set"); err != nil {
		return err
	}
	for tp, at := range offsets {
		c.committed[tp] = at
	}
	return nil
}

func (c *fakeCluster) DeleteCommitted(_ context.Context, tps []record.TopicPartition) error {
	if err := c.called("forget"); err != nil {
		return err
	}
	for _, tp := range tps {
		delete(c.committed, tp)
	}
	return nil
}

func (c *fakeCluster) Purge(_ context.Context, below map[record.TopicPartition]int64) error {
	if err := c.called("purge"); err != nil {
		return err
	}
	for tp, at := range below {
		t := c.topics[tp.Topic]
		t.start = at
		c.topics[tp.Topic] = t
	}
	return nil
}

func (c *fakeCluster) DeleteTopics(_ context.Context, topics []string) error {
	if err := c.called("delete"); err != nil {
		return err
	}
	for _, name := range topics {
		delete(c.topics, name)
	}
	return nil
}

func tp(topic string, p int32) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: p}
}

// fixture is a pipeline that joins views with profiles, which are keyed anew
// through a topic of its own, and counts the result per key.
func fixture() (*fakeCluster, Request) {
	c := &fakeCluster{
		topics: map[string]topicState{
			"views":                {partitions: 2, start: 10, end: 100, byTime: map[int64]int64{5000: 60}},
			"profiles":             {partitions: 1, end: 50},
			"p.profiles.table":     {partitions: 2, end: 40},
			"p.counts.repartition": {partitions: 2, start: 20, end: 90},
			"p.counts.changelog":   {partitions: 2, end: 70},
		},
		committed: map[record.TopicPartition]int64{
			tp("views", 0): 95, tp("views", 1): 5, tp("profiles", 0): 50,
			tp("p.profiles.table", 0): 40, tp("p.counts.repartition", 0): 90, tp("p.counts.repartition", 1): 90,
		},
	}
	top := &operators.Topology{
		Pipeline: "p",
		Subs: []*operators.SubTopology{
			{Name: "profiles", Inputs: []operators.InputSpec{{Topic: "profiles"}}},
			{Name: "join", Inputs: []operators.InputSpec{
				{Topic: "views"}, {Topic: "p.profiles.table", Table: "profiles", Internal: true},
			}, Tables: []state.TableSpec{{Name: "profiles"}}},
			{Name: "counts", Inputs: []operators.InputSpec{{Topic: "p.counts.repartition", Internal: true, Purge: true}},
				Tables: []state.TableSpec{{Name: "counts", Changelog: "p.counts.changelog"}}},
		},
		Internal: []operators.InternalTopic{{Name: "p.profiles.table"}, {Name: "p.counts.repartition"}, {Name: "p.counts.changelog"}},
	}
	return c, Request{Topology: top, Group: "p", TableTopics: map[string]string{"profiles": "profiles"}, To: Target{Kind: Earliest}}
}

// afters gives where the streams' partitions go.
func afters(p *Plan) map[record.TopicPartition]int64 {
	out := make(map[record.TopicPartition]int64)
	for _, ch := range p.Offsets {
		if ch.After != nil {
			out[tp(ch.Topic, ch.Partition)] = *ch.After
		}
	}
	return out
}

func TestTargets(t *testing.T) {
	now := time.UnixMilli(3_605_000)
	csv := filepath.Join(t.TempDir(), "o.csv")
	if err := os.WriteFile(csv, []byte("topic,partition,offset\n# why\nviews,1,33\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	js := filepath.Join(t.TempDir(), "o.json")
	if err := os.WriteFile(js, []byte(`[{"topic":"views","partition":0,"offset":44}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]map[record.TopicPartition]int64{
		"earliest":                       {tp("views", 0): 10, tp("views", 1): 10},
		"latest":                         {tp("views", 0): 100, tp("views", 1): 100},
		"offset:42":                      {tp("views", 0): 42, tp("views", 1): 42},
		"offset:4":                       {tp("views", 0): 10, tp("views", 1): 10},
		"offset:4000":                    {tp("views", 0): 100, tp("views", 1): 100},
		"timestamp:5000":                 {tp("views", 0): 60, tp("views", 1): 60},
		"timestamp:1970-01-01T00:00:05Z": {tp("views", 0): 60, tp("views", 1): 60},
		"timestamp:6000":                 {tp("views", 0): 100, tp("views", 1): 100},
		"duration:0d1h":                  {tp("views", 0): 60, tp("views", 1): 60},
		"duration:1h":                    {tp("views", 0): 60, tp("views", 1): 60},
		"shift:-5":                       {tp("views", 0): 90, tp("views", 1): 10},
		"shift:+2":                       {tp("views", 0): 97, tp("views", 1): 10},
		"shift:+9223372036854775807":     {tp("views", 0): 100, tp("views", 1): 100},
		"shift:-9223372036854775808":     {tp("views", 0): 10, tp("views", 1): 10},
		"file:" + csv:                    {tp("views", 1): 33},
		"file:" + js:                     {tp("views", 0): 44},
	} {
		c, r := fixture()
		var err error
		if r.To, err = ParseTarget(text, now); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		p, err := Make(t.Context(), c, r)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, afters(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if len(c.calls) > 0 {
			t.Errorf("%s: planning did %v", text, c.calls)
		}
	}
}

func TestBadTargets(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.csv")
	twice := filepath.Join(t.TempDir(), "twice.csv")
	partial := filepath.Join(t.TempDir(), "partial.json")
	for path, text := range map[string]string{
		bad: "views,x,1\nviews,y,2\n", twice: "views,1,1\nviews,1,2\n", partial: `[{"topic":"views","partition":0}]`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"":                    "want one of",
		"newest":              "want one of",
		"earliest:1":          "takes no argument",
		"offset:":             "want offset:N",
		"offset:-1":           "want offset:N",
		"shift:5":             "want shift:+N",
		"shift:":              "want shift:+N",
		"timestamp:yesterday": "RFC 3339",
		"timestamp:-1":        "before 1970",
		"duration:-1h":        "counted back",
		"duration:x":          "counted back",
		"file:/does/not":      "no such file",
		"file:" + bad:         "line 1: want topic,partition,offset",
		"duration:1d-1h":      "counted back",
		"duration:-1d":        "counted back",
		"duration:99999d":     "counted back",
		"file:" + twice:       "twice",
		"file:" + partial:     "element 1 lacks",
	} {
		if _, err := ParseTarget(text, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestSelection(t *testing.T) {
	c, r := fixture()
	s, err := ParseSelection("views:1")
	if err != nil {
		t.Fatal(err)
	}
	r.Only = []Selection{s}
	p, err := Make(t.Context(), c, r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[record.TopicPartition]int64{tp("views", 1): 10}, afters(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{"": "want TOPIC", ":1": "want TOPIC", "views:x": "not a partition", "views:-1": "not a partition"} {
		if _, err := ParseSelection(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeCluster, *Request)
		want   string
	}{
		"active group":  {func(c *fakeCluster, _ *Request) { c.members = []string{"m1"} }, "1 member(s): m1"},
		"unknown topic": {func(_ *fakeCluster, r *Request) { r.Only = []Selection{{Topic: "view"}} }, `did you mean "views"?`},
		"table's topic": {func(_ *fakeCluster, r *Request) { r.Only = []Selection{{Topic: "profiles"}} }, "always read whole"},
		"no partition":  {func(_ *fakeCluster, r *Request) { r.Only = []Selection{{"views", []int32{2}}} }, "no partition 2"},
		"unknown table": {func(_ *fakeCluster, r *Request) { r.KeepState = []string{"count"} }, `did you mean "counts"?`},
		"missing topic": {func(c *fakeCluster, _ *Request) { delete(c.topics, "views") }, `"views" does not exist`},
		"file's topic": {func(_ *fakeCluster, r *Request) {
			r.To = Target{Kind: File, Files: map[record.TopicPartition]int64{tp("x", 0): 1}}
		}, `"x"`},
		"file's partition": {func(_ *fakeCluster, r *Request) {
			r.To = Target{Kind: File, Files: map[record.TopicPartition]int64{tp("views", 7): 1}}
		}, "no partition 7"},
	} {
		cluster, r := fixture()
		c.change(cluster, &r)
		_, err := Make(t.Context(), cluster, r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if active := errors.Is(err, ErrActive); active != (name == "active group") {
			t.Errorf("%s: errors.Is(ErrActive) = %v", name, active)
		}
	}
}

// Afterwards everything is as before the first run, but for the streams' offsets.
func TestDo(t *testing.T) {
	c, r := fixture()
	p, err := Make(t.Context(), c, r)
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	if err := p.Do(t.Context(), c, func() error { removed++; return c.called("state") }); err != nil {
		t.Fatal(err)
	}
	if removed != 1 {
		t.Errorf("local state removed %d times", removed)
	}
	want := map[record.TopicPartition]int64{tp("views", 0): 10, tp("views", 1): 10}
	if diff := cmp.Diff(want, c.committed); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	for _, gone := range []string{"p.profiles.table", "p.counts.changelog"} {
		if _, there := c.topics[gone]; there {
			t.Errorf("%s is still there", gone)
		}
	}
	if got := c.topics["p.counts.repartition"]; got.start != got.end {
		t.Errorf("repartition topic still holds %d records", got.end-got.start)
	}
	if diff := cmp.Diff([]string{"counts", "profiles"}, p.LostTables); diff != "" {
		t.Errorf("lost tables (-want +got):\n%s", diff)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "retention") {
		t.Errorf("warnings %q, want one of retention (views begin at 10)", p.Warnings)
	}
}

func TestKeepState(t *testing.T) {
	c, r := fixture()
	r.KeepState = []string{"profiles"}
	p, err := Make(t.Context(), c, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Do(t.Context(), c, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	want := map[record.TopicPartition]int64{
		tp("views", 0): 10, tp("views", 1): 10, tp("profiles", 0): 50, tp("p.profiles.table", 0): 40,
		// Emptied, and committed to there: rows without any committed offset are refused by the next run.
		tp("p.counts.repartition", 0): 90, tp("p.counts.repartition", 1): 90,
	}
	if diff := cmp.Diff(want, c.committed); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	if _, there := c.topics["p.profiles.table"]; !there {
		t.Error("the kept table's topic is gone")
	}
	if _, there := c.topics["p.counts.changelog"]; there {
		t.Error("the other table's changelog is still there")
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, "kept rows") }) {
		t.Errorf("warnings %q, want one of kept rows", p.Warnings)
	}
}

// What the re-keying of a table remembers is worth nothing without the table's
// rows, and they are wrong without it: an old row would never be deleted.
func TestCompanionsStayWithTheirTable(t *testing.T) {
	c, r := fixture()
	r.Companions = map[string]string{"profiles.rekey": "profiles", "other.rekey": "other"}
	rekey := r.Topology.Subs[0]
	rekey.Tables = []state.TableSpec{{Name: "profiles.rekey", Changelog: "p.profiles.rekey.changelog"}}
	r.Topology.Internal = append(r.Topology.Internal, operators.InternalTopic{Name: "p.profiles.rekey.changelog"})
	c.topics["p.profiles.rekey.changelog"] = topicState{partitions: 1, end: 8}

	plan := func(keep ...string) *Plan {
		t.Helper()
		r.KeepState = keep
		p, err := Make(t.Context(), c, r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := plan("profiles")
	if diff := cmp.Diff([]string{"profiles", "profiles.rekey"}, p.KeptTables); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"p.counts.changelog"}, p.DeleteTopics); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	if p := plan("counts"); !slices.Contains(p.LostTables, "profiles.rekey") || !slices.Contains(p.DeleteTopics, "p.profiles.rekey.changelog") {
		t.Errorf("with only counts kept: lost %q, deleted %q", p.LostTables, p.DeleteTopics)
	}
	r.KeepState = []string{"profiles.rekey"}
	if _, err := Make(t.Context(), c, r); err == nil || !strings.Contains(err.Error(), `belongs to table "profiles"`) {
		t.Errorf("keep only the companion: %v", err)
	}
	r.KeepState = []string{"other.rekey"}
	if _, err := Make(t.Context(), c, r); err == nil || !strings.Contains(err.Error(), "has no table") {
		t.Errorf("keep a companion that is not there: %v", err)
	}
}

// Wherever a rewind breaks off, doing it again ends where it would have ended.
func TestInterruptedRewindIsDoneAgain(t *testing.T) {
	whole, r := fixture()
	p, err := Make(t.Context(), whole, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Do(t.Context(), whole, func() error { return whole.called("state") }); err != nil {
		t.Fatal(err)
	}
	for _, step := range whole.calls {
		c, r := fixture()
		c.fail = step
		p, err := Make(t.Context(), c, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Do(t.Context(), c, func() error { return c.called("state") }); !errors.Is(err, errFake) {
			t.Fatalf("broken at %s: %v", step, err)
		}
		c.fail = ""
		if p, err = Make(t.Context(), c, r); err != nil {
			t.Fatal(err)
		}
		if err := p.Do(t.Context(), c, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole, c, cmp.AllowUnexported(fakeCluster{}, topicState{}),
			cmpopts.IgnoreFields(fakeCluster{}, "calls", "fail")); diff != "" {
			t.Errorf("broken at %s (-want +got):\n%s", step, diff)
		}
	}
}

// Offsets that a rewind leaves are committed once more: the stream time beside them
// is that of a run that has not been.
func TestStreamTimesAreForgotten(t *testing.T) {
	c, r := fixture()
	c.committed[tp("views", 1)] = 12
	r.Only = []Selection{{Topic: "views", Partitions: []int32{0}}}
	p, err := Make(t.Context(), c, r)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := p.settle[tp("views", 1)]; !ok || at != 12 {
		t.Errorf("the offset that stays is committed again at %d, %v", at, ok)
	}
	if _, twice := p.settle[tp("views", 0)]; twice {
		t.Error("the offset that moves is also to stay")
	}
}
