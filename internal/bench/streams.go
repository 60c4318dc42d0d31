package main

import (
	"context"
	"fmt"
	"time"

	"streamctl/internal/testkit"
)

// Topics of the join of two streams.
const (
	ordersTopic   = "bench-orders"
	paymentsTopic = "bench-payments"
	// apartMillis is how far apart the records of one key are.
	apartMillis = 40_000
)

// streamJoinPipeline joins two streams within a minute: a record finds the one of
// its key before it, which is of the other side.
const streamJoinPipeline = `pipeline: %[1]s
%[2]s
sources:
  orders:
    topic: ` + ordersTopic + `
    timestamp: at
    fields: {at: int}
  payments:
    topic: ` + paymentsTopic + `
    timestamp: at
    fields: {at: int, amount: float, method: string}
streams:
  paid:
    from: orders o
    join:
      - inner: payments p
        on: o.key == p.key
        within: 1m
    select: [o.*, {amount: p.amount}, {method: p.method}]
sinks:
  out:
    from: paid
    topic: %[3]s
`

// loadStreams fills the topics of orders and payments.
func (b *bench) loadStreams(ctx context.Context, c *testkit.Cluster) error {
	b.progress("producing %d orders and payments", b.opts.views)
	start := time.Now().Add(-time.Duration(b.opts.views/b.opts.profiles+1) * apartMillis * time.Millisecond).UnixMilli()
	for n, topic := range []string{ordersTopic, paymentsTopic} {
		if err := c.CreateTopic(ctx, topic, b.opts.partitions, "delete"); err != nil {
			return err
		}
		i := -1
		_, err := c.Produce(ctx, topic, func() (testkit.Message, bool) {
			for i++; i/b.opts.profiles%2 != n; {
				i += b.opts.profiles - i%b.opts.profiles // to the next round, which is the other side's
			}
			if i >= b.opts.views {
				return testkit.Message{}, false
			}
			at := start + int64(i)*apartMillis/int64(b.opts.profiles)
			key := fmt.Appendf(nil, "order-%d", i%b.opts.profiles)
			value := fmt.Appendf(nil, `{"orderId":%d,"at":%d,"customer":"urn:customer:77","items":[{"sku":"A-1","n":2},{"sku":"B-7","n":1}],"total":129.90,"channel":"web"}`, i, at)
			if n == 1 {
				value = fmt.Appendf(nil, `{"paymentId":%d,"at":%d,"amount":129.90,"currency":"EUR","method":"card","provider":"acme","reference":"0123456789abcdef"}`, i, at)
			}
			return testkit.Message{Key: key, Value: value}, true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// streamJoins measures the join of two streams: one match per record and a
// window of a minute.
func (b *bench) streamJoins(ctx context.Context, c *testkit.Cluster, on string) error {
	if err := b.loadStreams(ctx, c); err != nil {
		return err
	}
	return b.best(func() (result, error) {
		j, err := b.write(streamJoinPipeline, guarantees[0].settings)
		if err != nil {
			return result{}, err
		}
		u, first, err := b.runJob(ctx, c, j)
		if err != nil {
			return result{}, err
		}
		n, _, err := count(ctx, c, j.out, "")
		if want := max(0, b.opts.views-b.opts.profiles); err == nil && n != int64(want) {
			err = fmt.Errorf("%d pairs came out, want %d", n, want)
		}
		if err != nil {
			return result{}, err
		}
		return result{name: "join of two streams, exactly once, " + on, records: int64(b.opts.views), usage: u, first: first}, nil
	})
}
