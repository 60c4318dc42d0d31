package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"streamctl/internal/engine"
	"streamctl/internal/kafkatest"
	"streamctl/internal/record"
)

var (
	shared = kafkatest.Shared{Options: kafkatest.Options{Secure: true, Properties: map[string]string{
		"group.min.session.timeout.ms":                                "500",
		"log.cleaner.backoff.ms":                                      "200",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "300",
	}}}
	names      atomic.Int64
	notInNames = regexp.MustCompile(`[^a-z0-9-]+`)
)

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

// env is one cluster that a test runs on.
type env struct {
	*testing.T
	addr string
	real bool
	fake *kfake.Cluster // nil on real Kafka
}

// onBoth runs a test on the fake and on real Kafka.
func onBoth(t *testing.T, f func(e *env)) { onBothOr(t, f, true) }

func onBothOr(t *testing.T, f func(e *env), real bool) {
	t.Run("fake", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		f(&env{T: t, addr: c.ListenAddrs()[0], fake: c})
	})
	if real {
		onReal(t, f)
	}
}

// onFake runs a test on the fake only, whose answers it changes.
func onFake(t *testing.T, f func(e *env)) {
	onBothOr(t, f, false)
}

// onReal runs a test on the shared real broker.
func onReal(t *testing.T, f func(e *env)) {
	t.Run("kafka", func(t *testing.T) {
		f(&env{T: t, addr: shared.Broker(t).Addr(), real: true})
	})
}

func (e *env) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	e.Cleanup(cancel)
	return ctx
}

// name makes a name that no other test uses.
func (e *env) name(kind string) string {
	return fmt.Sprintf("%s-%s-%d", kind, notInNames.ReplaceAllString(strings.ToLower(e.Name()), "-"), names.Add(1))
}

func (e *env) settings() Settings {
	return Settings{Brokers: []string{e.addr}, Group: e.name("group"), Logger: slog.New(slog.NewTextHandler(testWriter{e.T}, nil))}
}

// testWriter sends logs to the test, as long as it runs.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	defer func() { _ = recover() }() // the test has ended
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (e *env) open(change ...func(*Settings)) *Transport {
	e.Helper()
	set := e.settings()
	for _, c := range change {
		c(&set)
	}
	t, err := Open(e.ctx(), set)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { t.Close() })
	return t
}

func (e *env) topic(t *Transport, partitions int32, configs map[string]string) string {
	e.Helper()
	name := e.name("topic")
	if err := t.Control().CreateTopic(e.ctx(), name, partitions, configs); err != nil {
		e.Fatal(err)
	}
	return name
}

func (e *env) producer(t *Transport, id string) *producer {
	e.Helper()
	p, err := t.NewProducer(e.ctx(), id, id != "")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			e.Errorf("close producer: %v", err)
		}
	})
	return p.(*producer)
}

func (e *env) source(t *Transport) engine.Source {
	e.Helper()
	s, err := t.NewSource()
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(s.Close)
	return s
}

// commit commits and waits for the outcome.
func (e *env) commit(p engine.Producer, c engine.Commit) engine.CommitResult {
	e.Helper()
	done := make(chan engine.CommitResult, 2)
	p.Commit(c, func(r engine.CommitResult) { done <- r })
	select {
	case r := <-done:
		return r
	case <-time.After(60 * time.Second):
		e.Fatalf("commit does not end (producer error: %v)", p.Err())
		panic("not reached")
	}
}

func (e *env) mustCommit(p engine.Producer, c engine.Commit) engine.CommitResult {
	e.Helper()
	r := e.commit(p, c)
	if r.Err != nil {
		e.Fatalf("commit: %v", r.Err)
	}
	return r
}

// readTo reads tp from offset until everything before its end at that time has
// been seen, and returns the records and where the log was covered to.
func (e *env) readTo(s engine.Source, tp record.TopicPartition, from int64, iso engine.Isolation) ([]record.Record, int64) {
	e.Helper()
	s.Start(tp, from, iso)
	defer s.Stop(tp)
	var out []record.Record
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		for _, f := range s.Poll(time.Second) {
			s.Release(f)
			if f.TP != tp {
				continue
			}
			if f.Err != nil {
				e.Fatalf("fetch: %v", f.Err)
			}
			out = append(out, f.Records...)
			if f.Next >= f.End {
				return out, f.Next
			}
		}
	}
	e.Fatalf("the end of %v was not reached: %d records", tp, len(out))
	panic("not reached")
}

// settle waits until the markers of ended transactions are in tp's log: the
// broker answers the end of a transaction before it has written them.
func (e *env) settle(t *Transport, tp record.TopicPartition) {
	e.Helper()
	e.await("markers", func() bool {
		at := []record.TopicPartition{tp}
		stable, err := t.Admin().Ends(e.ctx(), at, engine.ReadCommitted)
		if err != nil {
			e.Fatal(err)
		}
		end, err := t.Admin().Ends(e.ctx(), at, engine.ReadUncommitted)
		if err != nil {
			e.Fatal(err)
		}
		return stable[tp] == end[tp]
	})
}

// readAll reads what tp holds when its transactions have ended.
func (e *env) readAll(t *Transport, tp record.TopicPartition) []record.Record {
	e.Helper()
	e.settle(t, tp)
	out, _ := e.readTo(e.source(t), tp, 0, engine.ReadCommitted)
	return out
}

// await repeats f until it returns true.
func (e *env) await(what string, f func() bool) {
	e.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		if f() {
			return
		}
	}
	e.Fatalf("%s: waited in vain", what)
}

func tp(topic string, partition int32) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: partition}
}

func rec(key, value string) record.Record {
	return record.Record{Key: []byte(key), Value: []byte(value), Time: 1700000000000}
}

func values(records []record.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = string(r.Value)
	}
	return out
}
