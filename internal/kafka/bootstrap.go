package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// bootstrapEvery is how long a broker may be silent before the next one is
// asked beside it: long for a broker that is well, short for who waits.
const bootstrapEvery = 250 * time.Millisecond

// greeting is what came of asking one broker.
type greeting struct {
	link *link
	resp *sarama.MetadataResponse
	err  error
}

// bootstrap asks the brokers for each other: one, and the next as soon as that
// one fails or has been silent for a moment. The first answer counts, and the
// connections to the others are closed when it returns. Where none answers, the
// error names each.
func (c *cluster) bootstrap(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := c.addresses()
	came := make(chan greeting, len(left))
	asking := 0
	next := time.NewTimer(0)
	defer next.Stop()
	var won *greeting
	var errs []error
	hopeless := false
	for won == nil && !hopeless && len(left)+asking > 0 {
		select {
		case <-next.C:
			if len(left) == 0 {
				continue
			}
			addr := left[0]
			left = left[1:]
			asking++
			go func() { came <- c.greet(ctx, addr) }()
			next.Reset(bootstrapEvery)
		case g := <-came:
			asking--
			if g.err == nil {
				won = &g
				break
			}
			errs = append(errs, g.err)
			var link *linkError
			hopeless = !errors.As(g.err, &link) || denied(g.err) // the others would say the same
			next.Reset(0)
		}
	}
	cancel()
	for ; asking > 0; asking-- {
		if g := <-came; g.link != nil {
			g.link.close()
		}
	}
	if won == nil {
		return fmt.Errorf("ask for metadata: %w", errors.Join(errs...))
	}
	c.learn(won.resp)
	c.links.adopt(won.link)
	return nil
}

// greet opens a link to the broker at addr and asks it for the brokers there are.
func (c *cluster) greet(ctx context.Context, addr string) greeting {
	l, err := c.dialer.open(ctx, addr, 0, nil)
	if err != nil {
		return greeting{err: err}
	}
	resp, err := call(ctx, l, (*sarama.Broker).GetMetadata, sarama.NewMetadataRequest(protocolVersion, []string{}))
	if err != nil {
		l.close()
		return greeting{err: err}
	}
	return greeting{link: l, resp: resp}
}
