package chaos

import (
	"context"
	"os"
	"path/filepath"

	"streamctl/internal/record"
	"streamctl/internal/testkit"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// compareStores opens what the members have left on their disks: every table that has read its
// changelog to the end must be what the changelog says. It returns how many there were.
func (f *fleet) compareStores(ctx context.Context, j *job) (compared int, same bool) {
	f.t.Helper()
	text, err := os.ReadFile(j.file)
	if err != nil {
		f.t.Fatal(err)
	}
	checked, diags := pipeline.Check(j.file, text, pipeline.ParseOptions{})
	if diags.HasErrors() {
		f.t.Fatalf("compile %s: %v", j.file, diags)
	}
	topology, diags := pipeline.Bind(checked.Plan)
	if len(diags) > 0 {
		f.t.Fatalf("bind %s: %v", j.file, diags)
	}
	changelogs := map[string]*changelog{}
	same = true
	for _, m := range f.members {
		dir := filepath.Join(m.dataDir, "state", j.name)
		if _, err := os.Stat(dir); err != nil {
			continue // it never ran, or has just lost its state
		}
		db, err := state.Open(state.Options{Dir: dir})
		if err != nil {
			f.t.Fatalf("open the state of member %d: %v", m.index, err)
		}
		for _, sub := range topology.Subs {
			n, ok := f.compareTasks(ctx, db, sub, changelogs)
			compared += n
			if !ok {
				f.t.Errorf("%s: the state of member %d differs from its changelog", j.name, m.index)
				same = false
			}
		}
		if err := db.Close(); err != nil {
			f.t.Fatal(err)
		}
	}
	return compared, same
}

func (f *fleet) compareTasks(ctx context.Context, db *state.DB, sub *operators.SubTopology, logs map[string]*changelog) (compared int, same bool) {
	f.t.Helper()
	same = true
	for part := range int32(partitions) {
		task, err := db.OpenTask(sub.Name, part, sub.Tables)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, spec := range sub.Tables {
			topic, plain := changelogOf(sub, spec)
			if topic == "" {
				continue
			}
			if logs[topic] == nil {
				logs[topic] = f.replay(ctx, topic, plain)
			}
			at, known := task.Position(record.TopicPartition{Topic: topic, Partition: part})
			if !known || at < logs[topic].ends[part]-1 { // what is last is a transaction's marker
				continue // an old copy
			}
			compared++
			want := logs[topic].rows[part]
			rows := 0
			err := task.Table(spec.Name).Scan(nil, nil, func(key []byte, row *state.Row) (bool, error) {
				rows++
				if got := string(row.Value); want[string(key)] != got {
					f.differs("table %s/%d has %q at %s, its changelog %q", spec.Name, part, got, key, want[string(key)])
					same = false
				}
				return same, nil
			})
			if err != nil {
				f.t.Fatal(err)
			}
			if rows != len(want) && same {
				f.differs("table %s/%d has %d rows, its changelog %d", spec.Name, part, rows, len(want))
				same = false
			}
		}
		task.Abandon()
	}
	return compared, same
}

// changelogOf is the topic of the pipeline's own that a table is restored from, ""
// for none; plain says that its values are the rows as they stand.
func changelogOf(sub *operators.SubTopology, spec state.TableSpec) (topic string, plain bool) {
	for _, in := range sub.Inputs {
		if in.Table == spec.Name && in.Internal {
			return in.Topic, true
		}
	}
	return spec.Changelog, false
}

// changelog is what a changelog says, by partition.
type changelog struct {
	rows [partitions]map[string]string
	ends map[int32]int64
}

func (f *fleet) replay(ctx context.Context, topic string, plain bool) *changelog {
	f.t.Helper()
	c := &changelog{}
	for p := range c.rows {
		c.rows[p] = map[string]string{}
	}
	var err error
	if c.ends, err = f.cluster.Ends(ctx, topic); err != nil {
		f.t.Fatal(err)
	}
	err = f.cluster.Read(ctx, topic, func(m testkit.Message) {
		if m.Value == nil {
			delete(c.rows[m.Partition], string(m.Key))
			return
		}
		row := m.Value
		if !plain {
			var err error
			if row, err = state.DecodeChangelog(m.Value); err != nil {
				f.t.Fatalf("read %s/%d: %v", topic, m.Partition, err)
			}
		}
		c.rows[m.Partition][string(m.Key)] = string(row)
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}
