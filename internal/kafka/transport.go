package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// Transport makes the engine's ports on one cluster; one per process.
type Transport struct {
	c      *cluster
	probes *links // of Ping

	mu     sync.Mutex
	member *group // the current membership
}

var _ engine.Transport = (*Transport)(nil)

// Open connects to the cluster and checks that it answers. It fails after the
// dial timeout when no broker can be reached.
func Open(ctx context.Context, set Settings) (*Transport, error) {
	if err := set.Validate(); err != nil {
		return nil, err
	}
	set = set.withDefaults()
	setLimit(int32(set.MaxResponseBytes))
	c, err := newCluster(set)
	if err != nil {
		return nil, err
	}
	if set.TLS.Enabled && set.TLS.InsecureSkipVerify {
		set.Logger.Warn("TLS WITHOUT VERIFICATION: anybody can pose as the broker")
	}
	ctx, cancel := context.WithTimeout(ctx, set.DialTimeout)
	defer cancel()
	err = c.retry(ctx, "connect to Kafka", c.bootstrap)
	if err != nil {
		c.links.close()
		return nil, err
	}
	return &Transport{c: c, probes: newLinks(c.dialer, 0)}, nil
}

// setLimit sets sarama's bound on an answer. It is a variable of that package, so the
// settings of the last Open hold for the process; it is written only when it changes,
// since connections may be reading it.
func setLimit(response int32) {
	if sarama.MaxResponseSize != response {
		sarama.MaxResponseSize = response
	}
}

// NewSource implements engine.Transport. The source has goroutines; Close ends them.
func (t *Transport) NewSource() (engine.Source, error) { return newSource(t.c), nil }

// NewProducer implements engine.Transport. The producer has goroutines; Close ends them.
func (t *Transport) NewProducer(ctx context.Context, id string, exactlyOnce bool) (engine.Producer, error) {
	if exactlyOnce && id == "" {
		return nil, errors.New("open producer: exactly-once needs a transactional id")
	}
	p := newProducer(t.c, id, exactlyOnce, t.latest)
	life, err := p.initProducerID(ctx, renewFresh, nil)
	if err != nil {
		p.links.close()
		return nil, fmt.Errorf("open producer: %w", err)
	}
	p.life = life
	p.start()
	return p, nil
}

// latest is the membership that meta belongs to, as it is now.
func (t *Transport) latest(meta engine.GroupMeta) (engine.GroupMeta, bool) {
	t.mu.Lock()
	g := t.member
	t.mu.Unlock()
	if g == nil || g.name != meta.Group {
		return meta, true
	}
	return g.latest(meta)
}

// Admin implements engine.Transport.
func (t *Transport) Admin() engine.Admin { return t.Control() }

// Control is Admin with what is needed beyond the engine.
func (t *Transport) Control() *Admin { return &Admin{c: t.c} }

// Join implements engine.Transport. The membership has a goroutine; Leave ends
// it. The first assignment is the first event.
func (t *Transport) Join(_ context.Context, m engine.Membership) (engine.Coordinator, error) {
	if t.c.set.Group == "" {
		return nil, errors.New("join group: no group is set")
	}
	g := newGroup(t.c, m)
	t.mu.Lock()
	t.member = g
	t.mu.Unlock()
	g.running.Go(g.run)
	return g, nil
}

// Incidents implements engine.Transport.
func (t *Transport) Incidents() map[string]int64 { return t.c.incidents.All() }

// Close implements engine.Transport. Sources, producers and the membership are
// closed by their owners before.
func (t *Transport) Close() error {
	t.probes.close()
	t.c.links.close()
	return nil
}
