package testkit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/broker"
)

// embedded starts a broker that ends with the test.
func embedded(t *testing.T) *Cluster {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// transaction produces values to partition 0 and commits or aborts them.
func transaction(t *testing.T, c *Cluster, topic string, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addr), kgo.TransactionalID("test-"+t.Name()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}, nil)
	}
	if err := errors.Join(cl.Flush(t.Context()), cl.EndTransaction(t.Context(), end)); err != nil {
		t.Fatal(err)
	}
}

func TestReadsCommittedRecordsToTheEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := embedded(t)
	if err := c.CreateTopic(ctx, "t", 2, "delete"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(ctx, "t", 2, "delete"); err != nil {
		t.Errorf("creating it again: %v", err)
	}
	read := func() string {
		t.Helper()
		s := ""
		if err := c.Read(ctx, "t", func(m Message) { s += fmt.Sprintf("%d:%s ", m.Partition, m.Value) }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := read(); got != "" {
		t.Errorf("empty topic holds %q", got)
	}
	transaction(t, c, "t", kgo.TryCommit, "a", "b")
	transaction(t, c, "t", kgo.TryAbort, "lost")
	if got := read(); got != "0:a 0:b " {
		t.Errorf("got %q", got)
	}
	transaction(t, c, "t", kgo.TryCommit, "c")
	if got := read(); got != "0:a 0:b 0:c " {
		t.Errorf("got %q", got)
	}
	if ends, err := c.Ends(ctx, "t"); err != nil || ends[0] != 7 || ends[1] != 0 {
		t.Errorf("ends %v, %v: want 4 records and 3 markers", ends, err)
	}
}

func TestProduceReportsWhatFailed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := embedded(t)
	if err := c.CreateTopic(ctx, "t", 1, "delete"); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceAll(ctx, "t", []Message{{Value: []byte("a"), Time: 5}, {Value: make([]byte, 2<<20)}}); err == nil {
		t.Error("a record of 2 MiB was taken")
	}
	if err := c.AwaitRecord(ctx, "t"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteTopics(ctx, "t"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteTopics(ctx, "t"); err == nil {
		t.Error("a topic was deleted twice")
	}
}
