package testkit

import (
	"context"
	"fmt"
	"time"
)

// feedTick is the time between batches of a feed.
const feedTick = 10 * time.Millisecond

// mostAtOnce bounds how many batches a feed makes up for when brokers were slow.
const mostAtOnce = 100

// Feed produces a batch from next for every 10 ms that pass, until stop is called;
// stop returns when everything is acknowledged. acked, unless nil, is told
// of every acknowledged record to which partition it went.
func (c *Cluster) Feed(topic string, batch int, next func() Message, acked func(partition int32)) (stop func() error) {
	if acked == nil {
		acked = func(int32) {}
	}
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(feedTick)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-quit:
				done <- nil
				return
			case <-tick.C:
			}
			due := time.Since(last) / feedTick
			last = last.Add(due * feedTick)
			messages := make([]Message, batch*int(min(due, mostAtOnce)))
			for i := range messages {
				messages[i] = next()
			}
			if _, err := c.ProduceCounted(context.Background(), topic, eachOf(messages), acked); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() error {
		close(quit)
		return <-done
	}
}

// WantAndGot reads input and output as committed, by partition; want is what
// the model makes of each record of the input.
func (c *Cluster) WantAndGot(ctx context.Context, in, out string, model func(Message) (Output, error)) (want, got Sequences, err error) {
	want, got = make(Sequences), make(Sequences)
	var failed error
	err = c.Read(ctx, in, func(m Message) {
		o, err := model(m)
		if err != nil && failed == nil {
			failed = err
		}
		place := fmt.Sprint("partition ", m.Partition)
		want[place] = append(want[place], o)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, nil, err
	}
	err = c.Read(ctx, out, func(m Message) {
		place := fmt.Sprint("partition ", m.Partition)
		got[place] = append(got[place], Output{Key: string(m.Key), Value: string(m.Value)})
	})
	return want, got, err
}
