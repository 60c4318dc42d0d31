package memlog

import (
	"context"
	"fmt"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// LastCommitted implements engine.Admin.
func (a admin) LastCommitted(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]engine.LastCommit, error) {
	if err := a.enter(ctx, Op{Kind: OpCommitted}); err != nil {
		return nil, fmt.Errorf("fetch last commits: %w", err)
	}
	l := a.t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.group(a.t.cfg.Group)
	out := make(map[record.TopicPartition]engine.LastCommit, len(tps))
	for _, tp := range tps {
		if off, ok := g.offsets[tp]; ok {
			out[tp] = engine.LastCommit{Offset: off, By: g.by[tp], StreamTime: g.times[tp], Promises: g.promises[tp]}
		}
	}
	return out, nil
}
