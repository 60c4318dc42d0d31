package memlog

import (
	"context"
	"fmt"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// admin is the control plane of one process.
type admin struct{ t *Transport }

// enter asks for faults, waits as they say, and reports what forbids going on.
func (a admin) enter(ctx context.Context, op Op) error {
	f := a.t.log.fault(a.t, op)
	a.t.log.hold(f, ctx.Done())
	a.t.log.mu.Lock()
	defer a.t.log.mu.Unlock()
	return firstError(f.Err, ctx.Err(), a.t.gone())
}

func (a admin) Topics(ctx context.Context, names []string) (map[string]engine.TopicInfo, error) {
	if err := a.enter(ctx, Op{Kind: OpTopics}); err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	l := a.t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]engine.TopicInfo)
	for _, n := range names {
		t := l.topics[n]
		if t == nil {
			continue
		}
		info := engine.TopicInfo{Name: n, ID: t.id, Partitions: int32(len(t.parts)), Configs: make(map[string]string)}
		for k, v := range t.configs {
			info.Configs[k] = v
		}
		out[n] = info
	}
	return out, nil
}

func (a admin) CreateTopic(ctx context.Context, name string, partitions int32, configs map[string]string) error {
	if err := a.enter(ctx, Op{Kind: OpCreateTopic, TP: record.TopicPartition{Topic: name}}); err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return a.t.log.CreateTopic(name, partitions, configs)
}

func (a admin) Ends(ctx context.Context, tps []record.TopicPartition, iso engine.Isolation) (map[record.TopicPartition]int64, error) {
	return a.offsets(ctx, OpEnds, tps, func(p *partition) int64 { return p.limit(iso) })
}

func (a admin) Starts(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	return a.offsets(ctx, OpStarts, tps, func(p *partition) int64 { return p.start })
}

func (a admin) offsets(ctx context.Context, kind OpKind, tps []record.TopicPartition, of func(*partition) int64) (map[record.TopicPartition]int64, error) {
	if err := a.enter(ctx, Op{Kind: kind}); err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	l := a.t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[record.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		p := l.lookup(tp)
		if p == nil {
			return nil, fmt.Errorf("list offsets of %s/%d: %w", tp.Topic, tp.Partition, ErrUnknownTopic)
		}
		out[tp] = of(p)
	}
	return out, nil
}

func (a admin) Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error) {
	with, err := a.CommittedWith(ctx, tps)
	if err != nil {
		return nil, err
	}
	out := make(map[record.TopicPartition]int64, len(with))
	for tp, c := range with {
		out[tp] = c.Offset
	}
	return out, nil
}

// CommittedWith implements engine.Admin.
func (a admin) CommittedWith(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]engine.LastCommit, error) {
	if err := a.enter(ctx, Op{Kind: OpCommitted}); err != nil {
		return nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	for {
		out, changed, err := a.committed(tps)
		if changed == nil {
			return out, err
		}
		if a.t.log.cfg.Gated {
			if err := a.enter(ctx, Op{Kind: OpCommitted, Ready: func() bool { return ctx.Err() != nil || a.stable(tps) }}); err != nil {
				return nil, fmt.Errorf("fetch committed offsets: %w", err)
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("fetch committed offsets: %w (%w)", ctx.Err(), ErrUnstable)
		}
	}
}

// committed returns a channel to wait on when an offset is unstable.
func (a admin) committed(tps []record.TopicPartition) (map[record.TopicPartition]engine.LastCommit, <-chan struct{}, error) {
	l := a.t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := a.t.gone(); err != nil {
		return nil, nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	g := l.group(a.t.cfg.Group)
	out := make(map[record.TopicPartition]engine.LastCommit, len(tps))
	for _, tp := range tps {
		if g.pending[tp] > 0 {
			if l.cfg.Immediate {
				return nil, nil, fmt.Errorf("fetch committed offset of %s/%d: %w", tp.Topic, tp.Partition, ErrUnstable)
			}
			return nil, l.changed, nil
		}
		if off, ok := g.offsets[tp]; ok {
			out[tp] = engine.LastCommit{Offset: off, By: g.by[tp], StreamTime: g.times[tp], Promises: g.promises[tp]}
		}
	}
	return out, nil, nil
}

// stable says whether Committed would answer.
func (a admin) stable(tps []record.TopicPartition) bool {
	_, changed, _ := a.committed(tps)
	return changed == nil
}

func (a admin) Purge(ctx context.Context, below map[record.TopicPartition]int64) error {
	if err := a.enter(ctx, Op{Kind: OpPurge, Offsets: below}); err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	l := a.t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for tp, off := range below {
		p := l.lookup(tp)
		if p == nil {
			return fmt.Errorf("delete records of %s/%d: %w", tp.Topic, tp.Partition, ErrUnknownTopic)
		}
		if off > p.end {
			return fmt.Errorf("delete records of %s/%d below %d, the end is %d: %w", tp.Topic, tp.Partition, off, p.end, engine.ErrOffsetOutOfRange)
		}
		p.purge(off)
	}
	l.broadcast()
	return nil
}
