package testkit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Watch follows what comes out of a topic, as committed, from its start.
type Watch struct {
	cl   *kgo.Client
	done chan struct{}

	mu       sync.Mutex
	arrivals [][]time.Time // per partition, of every record
	failed   error
}

// Watch begins to follow a topic. Close it before the cluster.
func (c *Cluster) Watch(topic string, partitions int) (*Watch, error) {
	from := make(map[int32]kgo.Offset)
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Addr, ",")...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", topic, err)
	}
	w := &Watch{cl: cl, done: make(chan struct{}), arrivals: make([][]time.Time, partitions)}
	go w.run()
	return w, nil
}

func (w *Watch) run() {
	defer close(w.done)
	for {
		fetches := w.cl.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		now := time.Now()
		w.mu.Lock()
		fetches.EachError(func(_ string, _ int32, err error) {
			if w.failed == nil {
				w.failed = err
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			w.arrivals[r.Partition] = append(w.arrivals[r.Partition], now)
		})
		w.mu.Unlock()
	}
}

// Counts is how many records each partition has given so far.
func (w *Watch) Counts() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]int64, len(w.arrivals))
	for p, a := range w.arrivals {
		out[p] = int64(len(a))
	}
	return out
}

// Arrival is when record n (from 0) of a partition arrived; false = it has not.
func (w *Watch) Arrival(partition int, n int64) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n >= int64(len(w.arrivals[partition])) {
		return time.Time{}, false
	}
	return w.arrivals[partition][n], true
}

// Close ends it and gives the first error that it met.
func (w *Watch) Close() error {
	w.cl.Close()
	<-w.done
	return w.failed
}
