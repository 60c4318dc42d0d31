package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// pingWidth is how many brokers are asked at once: one that hangs must not
// make a cluster look dead.
const pingWidth = 3

// pingTimeout ends a question that nobody waits for any more.
const pingTimeout = 5 * time.Second

// Ping returns nil when a broker of the cluster answers before ctx ends. It
// asks a few of them for as little as can be asked for, once. Callable from any goroutine.
func (t *Transport) Ping(ctx context.Context) error {
	addrs := t.c.addresses()
	addrs = addrs[:min(len(addrs), pingWidth)]
	answers := make(chan error, len(addrs))
	for _, addr := range addrs {
		go func() {
			// A question that is given up ends its link. So the links are nobody else's,
			// and those who are late may still answer.
			asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
			defer cancel()
			_, err := callAt(asking, t.probes, addr, (*sarama.Broker).GetMetadata, sarama.NewMetadataRequest(protocolVersion, []string{}))
			answers <- err
		}()
	}
	var errs []error
	for range addrs {
		select {
		case err := <-answers:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return fmt.Errorf("ask brokers: %w", ctx.Err())
		}
	}
	return fmt.Errorf("ask brokers: %w", errors.Join(errs...))
}
