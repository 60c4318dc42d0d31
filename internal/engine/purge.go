package engine

import (
	"context"
	"maps"
	"sync"
	"time"

	"streamctl/internal/record"
)

// purgeInterval is the least time between two rounds of deleting what has
// been read from repartition topics.
const purgeInterval = 10 * time.Second

// purger deletes the records of repartition topics below the committed
// offsets: they are nobody else's, and nothing reads them again.
type purger struct {
	engine *Engine
	mu     sync.Mutex
	offset map[record.TopicPartition]int64
	done   map[record.TopicPartition]int64
}

func newPurger(e *Engine) *purger {
	return &purger{engine: e, offset: make(map[record.TopicPartition]int64), done: make(map[record.TopicPartition]int64)}
}

// below notes that tp has been committed up to offset.
func (p *purger) below(tp record.TopicPartition, offset int64) {
	p.mu.Lock()
	p.offset[tp] = offset
	p.mu.Unlock()
}

// run purges from time to time until ctx ends.
func (p *purger) run(ctx context.Context) {
	for {
		tick := make(chan struct{})
		stop := p.engine.opts.Clock.AfterFunc(purgeInterval, func() { close(tick) })
		select {
		case <-ctx.Done():
			stop()
			return
		case <-tick:
			p.engine.yield("purge")
			p.flush(ctx)
		}
	}
}

// flush deletes what has been noted since the last time. A failure costs disk
// at the broker, nothing else: it is logged and tried again later.
func (p *purger) flush(ctx context.Context) {
	p.mu.Lock()
	below := maps.Clone(p.offset)
	p.mu.Unlock()
	maps.DeleteFunc(below, func(tp record.TopicPartition, offset int64) bool { return offset <= p.done[tp] })
	if len(below) == 0 {
		return
	}
	if err := p.engine.opts.Transport.Admin().Purge(ctx, below); err != nil {
		if ctx.Err() == nil {
			p.engine.log.Warn("purge of repartition topics failed", "cause", err)
		}
		return
	}
	maps.Copy(p.done, below)
}
