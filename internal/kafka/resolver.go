package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/record"
)

// unknownTopicLimit is how long a topic may be missing before it counts as
// not there: one that was just created is not known everywhere at once.
const unknownTopicLimit = 30 * time.Second

// resolver finds the leaders of partitions that have none, in one goroutine,
// for one source or producer.
type resolver struct {
	c      *cluster
	found  func(record.TopicPartition, leader)
	failed func(record.TopicPartition, error)

	mu     sync.Mutex
	wishes map[record.TopicPartition]*wish
	poked  chan struct{}
}

// wish is one partition that looks for its leader.
type wish struct {
	since time.Time
	due   time.Time
	wait  backoff
	stale bool // what is cached has proved wrong
}

func newResolver(c *cluster, found func(record.TopicPartition, leader), failed func(record.TopicPartition, error)) *resolver {
	return &resolver{c: c, found: found, failed: failed, wishes: make(map[record.TopicPartition]*wish), poked: make(chan struct{}, 1)}
}

// need asks for tp's leader, after a delay. stale says that the cached one is wrong.
func (r *resolver) need(tp record.TopicPartition, delay time.Duration, stale bool) {
	now := time.Now()
	r.mu.Lock()
	r.wishes[tp] = &wish{since: now, due: now.Add(delay), stale: stale}
	r.mu.Unlock()
	poke(r.poked)
}

// drop gives up on tp.
func (r *resolver) drop(tp record.TopicPartition) {
	r.mu.Lock()
	delete(r.wishes, tp)
	r.mu.Unlock()
}

// run serves wishes until ctx ends.
func (r *resolver) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, next := r.due(time.Now())
		if len(due) > 0 {
			r.serve(ctx, due)
			continue
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-r.poked:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// due lists the wishes whose time has come, or how long until the first.
func (r *resolver) due(now time.Time) ([]record.TopicPartition, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := time.Hour
	var out []record.TopicPartition
	for tp, w := range r.wishes {
		if d := w.due.Sub(now); d <= 0 {
			out = append(out, tp)
		} else {
			next = min(next, d)
		}
	}
	return out, next
}

// serve answers what can be answered from memory, then asks for the rest.
func (r *resolver) serve(ctx context.Context, due []record.TopicPartition) {
	var ask []string
	for _, tp := range due {
		if l, ok := r.c.cached(tp); ok && !r.isStale(tp) {
			r.answer(tp, l)
		} else if !slices.Contains(ask, tp.Topic) {
			ask = append(ask, tp.Topic)
		}
	}
	if len(ask) == 0 {
		return
	}
	resp, err := r.c.metadata(ctx, ask)
	errs := make(map[string]error)
	if err == nil {
		for _, t := range resp.Topics {
			if t.Err != sarama.ErrNoError {
				errs[t.Name] = t.Err
			}
		}
	}
	for _, tp := range due {
		if !slices.Contains(ask, tp.Topic) {
			continue
		}
		if l, ok := r.c.cached(tp); ok && err == nil && errs[tp.Topic] == nil {
			r.answer(tp, l)
			continue
		}
		cause := err
		if cause == nil {
			cause = errs[tp.Topic]
		}
		r.again(tp, cause)
	}
}

func (r *resolver) isStale(tp record.TopicPartition) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wishes[tp]
	return w != nil && w.stale
}

// answer fulfils the wish, unless it was dropped meanwhile.
func (r *resolver) answer(tp record.TopicPartition, l leader) {
	r.mu.Lock()
	_, wanted := r.wishes[tp]
	delete(r.wishes, tp)
	r.mu.Unlock()
	if wanted {
		r.found(tp, l)
	}
}

// again puts the wish off, or fails it when waiting is of no use.
func (r *resolver) again(tp record.TopicPartition, cause error) {
	if cause == nil {
		cause = sarama.ErrLeaderNotAvailable
	}
	now := time.Now()
	r.mu.Lock()
	w := r.wishes[tp]
	if w == nil {
		r.mu.Unlock()
		return
	}
	missing := cause == sarama.ErrUnknownTopicOrPartition && now.Sub(w.since) > unknownTopicLimit
	fatal := missing || denied(cause) || cause == sarama.ErrInvalidTopic
	if fatal {
		delete(r.wishes, tp)
	} else {
		w.due = now.Add(w.wait.next())
	}
	warn := w.wait.attempt == 5
	r.mu.Unlock()
	if fatal {
		r.failed(tp, fmt.Errorf("find leader of %s/%d: %w", tp.Topic, tp.Partition, permission(cause, subject{operation: "Describe", topic: tp.Topic})))
	} else if warn {
		r.c.log.Warn("no leader yet", "topic", tp.Topic, "partition", tp.Partition, "cause", cause)
	}
}

// poke wakes the one goroutine that listens to c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
