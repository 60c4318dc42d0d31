package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The tests of this file run hand-made sub-topologies, so that what they show
// is the engine's and nobody else's.

// counter counts records per key and emits every count as "key=n".
type counter struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (c *counter) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	c.rec = *rec
	return rec.Time, false, nil
}

func (c *counter) Process() error {
	row, err := c.tc.Tables["counts"].Get(c.rec.Key)
	if err != nil {
		return err
	}
	n := 0
	if row != nil {
		n, _ = strconv.Atoi(string(row.Value))
	}
	value := []byte(strconv.Itoa(n + 1))
	if _, err := c.tc.Tables["counts"].Put(c.rec.Key, value); err != nil {
		return err
	}
	c.tc.Emitter.Emit(0, c.tc.Partition, record.Record{Key: c.rec.Key, Value: value, Time: c.rec.Time})
	return nil
}

// countTopology counts the records of topic "in" to topic "out".
func countTopology() *operators.Topology {
	return &operators.Topology{
		Pipeline: "p",
		Subs: []*operators.SubTopology{{
			Name:    "count",
			Inputs:  []operators.InputSpec{{Topic: "in"}},
			Outputs: []operators.OutputSpec{{Topic: "out"}},
			Tables:  []state.TableSpec{{Name: "counts", Changelog: "p.counts.changelog"}},
			Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
				return []operators.Input{&counter{tc: tc}}, nil
			},
		}},
		Internal: []operators.InternalTopic{{Name: "p.counts.changelog", PartitionsLike: []string{"in"}, Configs: map[string]string{"cleanup.policy": "compact"}}},
	}
}

// rekey sends every record on, to the internal topic, under the key before ":".
type rekey struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (r *rekey) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	r.rec = *rec
	return rec.Time, false, nil
}

func (r *rekey) Process() error {
	r.tc.Emitter.Emit(0, r.tc.Partition, r.rec)
	return nil
}

// tableInput keeps the last value per key.
type tableInput struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (t *tableInput) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	t.rec = *rec
	return rec.Time, false, nil
}

func (t *tableInput) Process() error {
	_, err := t.tc.Tables["names"].Put(t.rec.Key, t.rec.Value)
	return err
}

func (t *tableInput) Load(rec *record.Record, _ record.TopicPartition) (key, row []byte, skip bool, err error) {
	return rec.Key, rec.Value, false, nil
}

// joiner emits the stream's value with the table's.
type joiner struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (j *joiner) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	j.rec = *rec
	return rec.Time, false, nil
}

func (j *joiner) Process() error {
	row, err := j.tc.Tables["names"].Get(j.rec.Key)
	if err != nil {
		return err
	}
	name := "?"
	if row != nil {
		name = string(row.Value)
	}
	value := []byte(string(j.rec.Value) + "/" + name)
	j.tc.Emitter.Emit(0, j.tc.Partition, record.Record{Key: j.rec.Key, Value: value, Time: j.rec.Time})
	return nil
}

// joinTopology re-keys "edits" through an internal topic and joins "views" with it.
func joinTopology() *operators.Topology {
	return &operators.Topology{
		Pipeline: "p",
		Subs: []*operators.SubTopology{
			{
				Name:    "names-rekey",
				Inputs:  []operators.InputSpec{{Topic: "edits"}},
				Outputs: []operators.OutputSpec{{Topic: "p.names.changelog", Internal: true}},
				Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
					return []operators.Input{&rekey{tc: tc}}, nil
				},
			},
			{
				Name:    "join",
				Inputs:  []operators.InputSpec{{Topic: "views"}, {Topic: "p.names.changelog", Table: "names", Internal: true}},
				Outputs: []operators.OutputSpec{{Topic: "out"}},
				Tables:  []state.TableSpec{{Name: "names"}},
				Build: func(tc *operators.TaskContext) ([]operators.Input, error) {
					return []operators.Input{&joiner{tc: tc}, &tableInput{tc: tc}}, nil
				},
			},
		},
		Internal: []operators.InternalTopic{{Name: "p.names.changelog", PartitionsLike: []string{"views"}, Configs: map[string]string{"cleanup.policy": "compact"}}},
	}
}

// openState opens a state on fs that is closed with the test.
func openState(t *testing.T, fs vfs.FS) *state.DB {
	t.Helper()
	db, err := state.Open(state.Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func options(topology *operators.Topology, transport engine.Transport, db *state.DB) engine.Options {
	return engine.Options{
		Topology: topology, Transport: transport, State: db, ExactlyOnce: true, UntilEnd: true, Instance: "one", Workers: 2,
		CommitInterval: 5 * time.Millisecond,
	}
}

// run runs to the end, within a minute.
func run(t *testing.T, opts engine.Options) engine.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stats, err := engine.Run(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the run did not come to its end")
	}
	return stats
}

// perKey collects values per key, in order.
func perKey(records []record.Record, into map[string][]string) {
	for _, r := range records {
		into[string(r.Key)] = append(into[string(r.Key)], string(r.Value))
	}
}

// wantCounts checks that every key's values are 1..n.
func wantCounts(t *testing.T, got map[string][]string, keys, each int) {
	t.Helper()
	if len(got) != keys {
		t.Fatalf("%d keys, want %d", len(got), keys)
	}
	for key, values := range got {
		for i, v := range values {
			if v != strconv.Itoa(i+1) {
				t.Fatalf("key %s: value %d is %s: %s", key, i, v, strings.Join(values, " "))
			}
		}
		if len(values) != each {
			t.Fatalf("key %s: %d values, want %d", key, len(values), each)
		}
	}
}

func key(i int) []byte { return []byte(fmt.Sprintf("k%03d", i)) }
