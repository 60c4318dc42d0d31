package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/record"
)

// cluster knows the brokers and who leads what, as far as it has been asked
// for. Its own links serve the control plane; hot paths have theirs.
type cluster struct {
	set    Settings
	dialer *dialer
	links  *links
	log    *slog.Logger

	incidents incidents
	protocols []string // of the group, as offered
	probing   probing

	mu         sync.Mutex
	brokers    map[int32]string
	controller int32
	leaders    map[record.TopicPartition]leader
}

// leader is who leads a partition, as of an epoch.
type leader struct {
	addr  string
	epoch int32
}

func newCluster(set Settings) (*cluster, error) {
	conf, err := set.saramaConfig()
	if err != nil {
		return nil, err
	}
	d := &dialer{conf: conf}
	if set.TLS.Enabled {
		if d.tls, err = set.TLS.config(); err != nil {
			return nil, err
		}
	}
	c := &cluster{
		set: set, dialer: d, links: newLinks(d, 0), log: set.Logger,
		protocols: []string{protocolTwo, protocolOne}, probing: defaultProbing(),
		brokers: make(map[int32]string), leaders: make(map[record.TopicPartition]leader),
	}
	d.lost = c.incidents.connection
	return c, nil
}

// addresses lists where to ask: the known brokers in random order, then the
// ones from the settings.
func (c *cluster) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, addr := range c.brokers {
		out = append(out, addr)
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	for _, addr := range c.set.Brokers {
		if !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// anyone sends a request to the first broker that answers.
func anyone[Req, Resp any](ctx context.Context, c *cluster, do func(*sarama.Broker, Req) (Resp, error), req func() Req) (Resp, error) {
	var none Resp
	var errs []error
	for _, addr := range c.addresses() {
		resp, err := callAt(ctx, c.links, addr, do, req())
		if err == nil {
			return resp, nil
		}
		errs = append(errs, err)
		var link *linkError
		if !errors.As(err, &link) || denied(err) || ctx.Err() != nil {
			break
		}
	}
	return none, errors.Join(errs...)
}

// callAt sends a request to the broker at addr.
func callAt[Req, Resp any](ctx context.Context, s *links, addr string, do func(*sarama.Broker, Req) (Resp, error), req Req) (Resp, error) {
	l, err := s.get(ctx, addr)
	if err != nil {
		var none Resp
		return none, err
	}
	return call(ctx, l, do, req)
}

// metadata asks for topics (nil = none, only the brokers) and remembers the answer.
func (c *cluster) metadata(ctx context.Context, topics []string) (*sarama.MetadataResponse, error) {
	if topics == nil {
		topics = []string{}
	}
	return c.describe(ctx, topics)
}

// describe is metadata, with nil for all topics there are.
func (c *cluster) describe(ctx context.Context, topics []string) (*sarama.MetadataResponse, error) {
	resp, err := anyone(ctx, c, (*sarama.Broker).GetMetadata, func() *sarama.MetadataRequest {
		return sarama.NewMetadataRequest(protocolVersion, topics)
	})
	if err != nil {
		return nil, fmt.Errorf("ask for metadata: %w", err)
	}
	c.learn(resp)
	return resp, nil
}

// learn takes over what an answer says.
func (c *cluster) learn(resp *sarama.MetadataResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.brokers)
	for _, b := range resp.Brokers {
		c.brokers[b.ID()] = b.Addr()
	}
	c.controller = resp.ControllerID
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			tp := record.TopicPartition{Topic: t.Name, Partition: p.ID}
			addr, known := c.brokers[p.Leader]
			if p.Err != sarama.ErrNoError && p.Err != sarama.ErrReplicaNotAvailable || !known {
				delete(c.leaders, tp)
				continue
			}
			c.leaders[tp] = leader{addr: addr, epoch: p.LeaderEpoch}
		}
	}
}

// cached returns the leader of tp without asking.
func (c *cluster) cached(tp record.TopicPartition) (leader, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.leaders[tp]
	return l, ok
}

// forget makes the next look at tp ask anew.
func (c *cluster) forget(tp record.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaders, tp)
}

// controllerAddr is where topics are created and deleted; with KRaft any
// broker passes it on.
func (c *cluster) controllerAddr() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.brokers[c.controller]
	return addr, ok
}

// coordinator finds the broker that coordinates a group or a transactional id.
func (c *cluster) coordinator(ctx context.Context, kind sarama.CoordinatorType, key string) (string, error) {
	resp, err := anyone(ctx, c, (*sarama.Broker).FindCoordinator, func() *sarama.FindCoordinatorRequest {
		return &sarama.FindCoordinatorRequest{Version: 3, CoordinatorType: kind, CoordinatorKey: key}
	})
	what, about := "group", subject{group: key}
	if kind == sarama.CoordinatorTransaction {
		what, about = "transactional id", subject{id: key}
	}
	if err != nil {
		return "", fmt.Errorf("find coordinator of %s %s: %w", what, key, err)
	}
	if resp.Err != sarama.ErrNoError {
		return "", fmt.Errorf("find coordinator of %s %s: %w", what, key, permission(resp.Err, about))
	}
	return resp.Coordinator.Addr(), nil
}

// retryWarning is how long something is retried before anybody is told.
const retryWarning = 2 * time.Second

// retry repeats f while its failure may pass, until ctx ends; where ctx has no
// deadline, for as long as the settings say.
func (c *cluster) retry(ctx context.Context, what string, f func(context.Context) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.set.RetryTimeout)
		defer cancel()
	}
	var wait backoff
	var met trouble
	began, warned := time.Now(), false
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		met.meet(&c.incidents, err)
		if !retriable(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w (%w)", what, err, ctx.Err())
		}
		if !warned && time.Since(began) > retryWarning {
			warned = true
			c.log.Warn("retrying", "what", what, "cause", err)
		}
		if pause(ctx, wait.after(err)) != nil {
			return fmt.Errorf("%s: %w (%w)", what, err, ctx.Err())
		}
	}
}

// retryOn is retry against a coordinator, which is looked up again when it has moved.
func (c *cluster) retryOn(ctx context.Context, what string, kind sarama.CoordinatorType, key string, f func(context.Context, *link) error) error {
	return c.retry(ctx, what, func(ctx context.Context) error {
		addr, err := c.coordinator(ctx, kind, key)
		if err != nil {
			return err
		}
		l, err := c.links.get(ctx, addr)
		if err != nil {
			return err
		}
		return f(ctx, l)
	})
}
