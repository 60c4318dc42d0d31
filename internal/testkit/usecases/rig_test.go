package usecases

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/broker"
	"streamctl/internal/testkit"
)

const (
	// patience is how long anything may take that must happen.
	patience = time.Minute
	// poll is how often it is looked whether it has.
	poll = 25 * time.Millisecond
	// eventTime is when the talk's page view happened, in ms and in seconds.
	eventTime = 1413215518000
	eventSec  = eventTime / 1000
)

// rig is a pipeline, its topics, and the broker they are on.
type rig struct {
	t        *testing.T
	ctx      context.Context
	cluster  *testkit.Cluster
	admin    *kadm.Client
	embedded *broker.Broker // nil on real Kafka
	binary   string
	prefix   string // of the names of pipeline and topics
	file     string
	dataDir  string
}

// onBothBrokers runs a story on the embedded broker, as a user has it, and on Kafka.
func onBothBrokers(t *testing.T, story func(*testing.T, *rig)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"embedded", "kafka"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "kafka" && testing.Short() {
				t.Skip("-short: on the embedded broker only")
			}
			t.Parallel()
			story(t, newRig(t, kind == "kafka"))
		})
	}
}

func newRig(t *testing.T, real bool) *rig {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	r := &rig{
		t: t, ctx: ctx, binary: all.build(t), prefix: fmt.Sprintf("u%x-", rand.Uint32()),
		file: filepath.Join(dir, "pipeline.yaml"), dataDir: filepath.Join(dir, "data"),
	}
	addr := ""
	if real {
		addr = all.kafka.Broker(t).Addr()
	} else {
		b, err := broker.Start(broker.Config{Dir: filepath.Join(r.dataDir, "broker")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		})
		r.embedded, addr = b, b.Addr()
	}
	var err error
	if r.cluster, err = testkit.Connect(addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	r.admin = kadm.NewClient(cl)
	return r
}

// pipeline writes the pipeline's file; {p} stands for the prefix of names.
func (r *rig) pipeline(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(strings.ReplaceAll(text, "{p}", r.prefix)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// topic makes a topic that keeps records whatever their time.
func (r *rig) topic(name string, partitions int, cleanup string) {
	r.t.Helper()
	if err := r.cluster.CreateTopic(r.ctx, r.prefix+name, partitions, cleanup); err != nil {
		r.t.Fatal(err)
	}
}

// cleanSoon lets the cleaner take all it can of a compacted topic, as soon as it
// can: deletions too, so that every restart must distrust the local state.
func (r *rig) cleanSoon(name string) {
	r.t.Helper()
	var set []kadm.AlterConfig
	for k, v := range map[string]string{"segment.ms": "50", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0"} {
		set = append(set, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(v)})
	}
	res, err := r.admin.AlterTopicConfigs(r.ctx, set, r.prefix+name)
	for _, one := range res {
		err = errors.Join(err, one.Err)
	}
	if err != nil {
		r.t.Fatalf("set cleaning of %s: %v", name, err)
	}
}

// send produces to a topic, each record where the default partitioner puts it.
func (r *rig) send(topic string, messages ...testkit.Message) {
	r.t.Helper()
	if err := r.cluster.ProduceAll(r.ctx, r.prefix+topic, messages); err != nil {
		r.t.Fatal(err)
	}
}

// transaction produces in one transaction and ends it with a commit or abort.
// Records go to their Partition.
func (r *rig) transaction(topic string, end kgo.TransactionEndTry, messages ...testkit.Message) {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(fmt.Sprintf("%s%s-%x", r.prefix, topic, rand.Uint32())))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		r.t.Fatal(err)
	}
	for _, m := range messages {
		rec := &kgo.Record{Topic: r.prefix + topic, Partition: m.Partition, Key: m.Key, Value: m.Value, Timestamp: time.UnixMilli(m.Time)}
		if err := cl.ProduceSync(r.ctx, rec).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(r.ctx, end); err != nil {
		r.t.Fatal(err)
	}
}

// each visits all committed records of a topic, each partition in its order.
func (r *rig) each(topic string, visit func(testkit.Message)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	if err := r.cluster.Read(ctx, r.prefix+topic, visit); err != nil {
		r.t.Fatal(err)
	}
}

// read gives all committed records of a topic, each partition in its order.
func (r *rig) read(topic string) (out []testkit.Message) {
	r.t.Helper()
	r.each(topic, func(m testkit.Message) { out = append(out, m) })
	return out
}

// outputs gives what a topic holds per key, in order.
func (r *rig) outputs(topic string) testkit.Sequences {
	r.t.Helper()
	out := make(testkit.Sequences)
	for _, m := range r.read(topic) {
		out.Add(testkit.Output{Key: string(m.Key), Value: string(m.Value)})
	}
	return out
}

// await looks until done, and fails the test when it takes too long.
func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// awaitOutputs waits until a topic holds n records.
func (r *rig) awaitOutputs(topic string, n int) testkit.Sequences {
	r.t.Helper()
	var got testkit.Sequences
	r.await(fmt.Sprintf("%d records in %s", n, topic), func() bool {
		got = r.outputs(topic)
		return got.Len() >= n
	})
	return got
}

// compact lets the broker compact a topic until done likes what is left. nudge
// appends something harmless: no broker compacts the end of a log.
func (r *rig) compact(topic string, nudge func(), done func(left []testkit.Message) bool) []testkit.Message {
	r.t.Helper()
	var left []testkit.Message
	r.await("compaction of "+topic, func() bool {
		if r.embedded != nil {
			r.embedded.Compact()
		}
		if left = r.read(topic); done(left) {
			return true
		}
		nudge()
		return false
	})
	return left
}

// loseState deletes the local state, as a lost disk does.
func (r *rig) loseState() {
	r.t.Helper()
	dir := filepath.Join(r.dataDir, "state")
	if _, err := os.Stat(dir); err != nil {
		r.t.Fatalf("there is no state to lose: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		r.t.Fatal(err)
	}
}

// same fails the test unless a topic holds exactly what is wanted, per key and in order.
func (r *rig) same(topic string, want testkit.Sequences) {
	r.t.Helper()
	if diff := testkit.Diff(want, r.outputs(topic)); diff != "" {
		r.t.Errorf("%s: %s", topic, diff)
	}
}

// sequences makes what is wanted from pairs of key and value.
func sequences(keysAndValues ...string) testkit.Sequences {
	out := make(testkit.Sequences)
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		out.Add(testkit.Output{Key: keysAndValues[i], Value: keysAndValues[i+1]})
	}
	return out
}

// message makes a record; an empty value is a tombstone.
func message(key, value string, timeMs int64) testkit.Message {
	m := testkit.Message{Partition: -1, Key: []byte(key), Time: timeMs}
	if value != "" {
		m.Value = []byte(value)
	}
	return m
}
