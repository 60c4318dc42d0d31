package testkit

import (
	"context"
	"fmt"
	"time"
)

// Feed produces batches from next, one every few milliseconds, until stop is
// called; stop returns when everything is acknowledged. acked, unless nil, is told
// of every acknowledged record to which partition it went.
func (c *Cluster) Feed(topic string, batch int, next func() Message, acked func(partition int32)) (stop func() error) {
	if acked == nil {
		acked = func(int32) {}
	}
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-tick.C:
			}
			messages := make([]Message, batch)
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
