package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"streamctl/internal/record"
	"streamctl/operators"
)

// boundsInterval is how often committed offsets are asked for while ends are
// still unknown; a commit of this process asks at once.
const boundsInterval = 50 * time.Millisecond

// markerWait is how long the markers of transactions that end at the start are
// waited for. Whatever is still open then is not part of what was there.
const markerWait = time.Second

// tellWait is how long those that have committed everything may take to tell their
// stream time.
const tellWait = time.Second

// bounds knows, for every topic the topology reads, the end as taken at start:
// how far a first load of a table goes, and how far a bounded run. For outer
// topics these are the ends when the engine started. For a topic that the
// pipeline itself writes, the ends are taken as soon as the group has
// committed everything below the bounds of the topics that feed it: so the end
// of an outer topic is carried through every re-keying step, whichever process
// does it.
type bounds struct {
	engine *Engine
	poked  chan struct{}

	mu   sync.RWMutex
	ends map[string]map[int32]int64
	// open are outer topics whose ends wait for transactions, with their high
	// watermarks at start; until is how long they are waited for.
	open  map[string]map[record.TopicPartition]int64
	until time.Time
	asked map[string]time.Time // since when topics wait for their writers to tell their time; of follow only
	all   atomic.Bool          // every topic's bound is known

	// Of a bounded run: wanted is set when this process has come to the end of what
	// is its own and others have the rest, reached when that is committed too.
	wanted, reached atomic.Bool
}

func newBounds(e *Engine) *bounds {
	return &bounds{engine: e, poked: make(chan struct{}, 1), ends: make(map[string]map[int32]int64), open: make(map[string]map[record.TopicPartition]int64), asked: make(map[string]time.Time)}
}

// at gives the bound of tp, once known.
func (b *bounds) at(tp record.TopicPartition) (int64, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	ends, ok := b.ends[tp.Topic]
	return ends[tp.Partition], ok
}

// pending says that some bound is still to be found out.
func (b *bounds) pending() bool { return !b.all.Load() }

// poke asks to look again soon.
func (b *bounds) poke() {
	select {
	case b.poked <- struct{}{}:
	default:
	}
}

// partitions lists the partitions of topic.
func (b *bounds) partitions(topic string) []record.TopicPartition {
	tps := make([]record.TopicPartition, b.engine.counts[topic])
	for p := range tps {
		tps[p] = record.TopicPartition{Topic: topic, Partition: int32(p)}
	}
	return tps
}

// takeOuterEnds takes the ends of the topics that the pipeline does not write.
// What counts is what had been committed, but a broker answers the end of a
// transaction before its markers are written: where the last stable offset is
// behind the high watermark it is given some time to come up.
func (b *bounds) takeOuterEnds(ctx context.Context) error {
	var tps []record.TopicPartition
	seen := make(map[string]bool)
	for _, sub := range b.engine.opts.Topology.Subs {
		for _, in := range sub.Inputs {
			if !seen[in.Topic] && len(b.engine.writersOf(in.Topic)) == 0 {
				seen[in.Topic] = true
				tps = append(tps, b.partitions(in.Topic)...)
			}
		}
	}
	admin := b.engine.opts.Transport.Admin()
	high, err := admin.Ends(ctx, tps, ReadUncommitted)
	if err != nil {
		return fmt.Errorf("read ends of topics: %w", err)
	}
	for _, tp := range tps {
		if b.open[tp.Topic] == nil {
			b.open[tp.Topic] = make(map[record.TopicPartition]int64)
		}
		b.open[tp.Topic][tp] = high[tp]
	}
	b.until = b.engine.opts.Clock.Now().Add(markerWait)
	stable, err := admin.Ends(ctx, tps, ReadCommitted)
	if err != nil {
		return fmt.Errorf("read ends of topics: %w", err)
	}
	for topic := range b.open {
		b.settle(topic, stable)
	}
	return nil
}

// settle takes the ends of an outer topic, if nothing in it is open or it has
// been waited for long enough.
func (b *bounds) settle(topic string, stable map[record.TopicPartition]int64) bool {
	ends := make(map[record.TopicPartition]int64)
	waited := !b.engine.opts.Clock.Now().Before(b.until)
	for tp, high := range b.open[topic] {
		if stable[tp] < high && !waited {
			return false
		}
		ends[tp] = min(stable[tp], high)
	}
	b.set(b.partitions(topic), ends)
	return true
}

// set records the ends of all partitions of the topics in tps.
func (b *bounds) set(tps []record.TopicPartition, ends map[record.TopicPartition]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, tp := range tps {
		if b.ends[tp.Topic] == nil {
			b.ends[tp.Topic] = make(map[int32]int64)
		}
		b.ends[tp.Topic][tp.Partition] = ends[tp]
	}
}

// unfed says that nothing of an input of sub ever leads to topic, which sub writes.
func unfed(sub *operators.SubTopology, topic, input string) bool {
	for _, out := range sub.Outputs {
		if out.Topic == topic {
			return slices.Contains(out.Unfed, input)
		}
	}
	return false
}

// unknown lists the read topics whose bounds are not known yet.
func (b *bounds) unknown() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []string
	seen := make(map[string]bool)
	for _, sub := range b.engine.opts.Topology.Subs {
		for _, in := range sub.Inputs {
			if _, known := b.ends[in.Topic]; !known && !seen[in.Topic] {
				seen[in.Topic] = true
				out = append(out, in.Topic)
			}
		}
	}
	return out
}

// follow finds out the missing bounds until all are known or ctx ends.
func (b *bounds) follow(ctx context.Context) {
	for {
		b.engine.yield("bounds")
		if ctx.Err() != nil {
			return
		}
		unknown := b.unknown()
		if len(unknown) == 0 {
			b.all.Store(true)
			if !b.engine.opts.UntilEnd || b.wanted.Load() && b.everywhere(ctx) {
				return
			}
		}
		for _, topic := range unknown {
			known, err := b.resolve(ctx, topic)
			if err != nil && ctx.Err() == nil {
				b.engine.log.Warn("ends of topic not known yet", "topic", topic, "cause", err)
			}
			if known {
				b.engine.log.Debug("bounds known", "topic", topic)
				for _, w := range b.engine.workers {
					w.source.Wake()
				}
			}
		}
		tick := make(chan struct{})
		stop := b.engine.opts.Clock.AfterFunc(boundsInterval, func() { close(tick) })
		select {
		case <-ctx.Done(): // and out, above
			stop()
		case <-b.poked:
			stop()
		case <-tick:
		}
	}
}

// everywhere tells the engine when the group has committed everything up to the
// bounds, whichever process did it.
func (b *bounds) everywhere(ctx context.Context) bool {
	var inputs []record.TopicPartition
	for _, task := range b.engine.tasks {
		inputs = append(inputs, task.Inputs...)
	}
	_, passed, err := b.passed(ctx, inputs)
	if err != nil && ctx.Err() == nil {
		b.engine.log.Warn("not known yet how far other processes have come", "cause", err)
	}
	if passed {
		b.reached.Store(true)
		b.engine.notify(statusEvent{})
	}
	return passed
}

// resolve takes the ends of an internal topic if all that feeds it has passed,
// those of an outer one if its transactions have ended.
func (b *bounds) resolve(ctx context.Context, topic string) (bool, error) {
	if _, outer := b.open[topic]; outer {
		stable, err := b.engine.opts.Transport.Admin().Ends(ctx, b.partitions(topic), ReadCommitted)
		if err != nil {
			return false, err
		}
		return b.settle(topic, stable), nil
	}
	var inputs []record.TopicPartition
	for _, sub := range b.engine.writersOf(topic) {
		for _, in := range sub.Inputs {
			if !unfed(sub, topic, in.Topic) {
				inputs = append(inputs, b.partitions(in.Topic)...)
			}
		}
	}
	for _, tp := range inputs {
		if _, known := b.at(tp); !known {
			return false, nil
		}
	}
	if committed, passed, err := b.passed(ctx, inputs); err != nil || !passed || !b.told(topic, inputs, committed) {
		return false, err
	}
	tps := b.partitions(topic)
	// The high watermark: the markers of the transactions just seen committed may
	// still be on their way, their records are there.
	ends, err := b.engine.opts.Transport.Admin().Ends(ctx, tps, ReadUncommitted)
	if err != nil {
		return false, err
	}
	b.set(tps, ends)
	return true, nil
}

// told says whether all tasks that write a topic have told there what stream time they
// have, if only that there is none: it is part of what lies below the bound.
func (b *bounds) told(topic string, inputs []record.TopicPartition, committed map[record.TopicPartition]LastCommit) bool {
	if !b.engine.carriesTime(topic) {
		return true
	}
	now := b.engine.opts.Clock.Now()
	if b.asked[topic].IsZero() {
		b.asked[topic] = now
	}
	for _, tp := range inputs {
		if committed[tp].StreamTime == 0 {
			return !now.Before(b.asked[topic].Add(tellWait))
		}
	}
	return true
}

// passed says whether the group has committed each of inputs up to its bound, and what it
// has committed.
func (b *bounds) passed(ctx context.Context, inputs []record.TopicPartition) (committed map[record.TopicPartition]LastCommit, passed bool, err error) {
	admin := b.engine.opts.Transport.Admin()
	if committed, err = admin.CommittedWith(ctx, inputs); err != nil {
		return nil, false, err
	}
	var missing []record.TopicPartition
	for _, tp := range inputs {
		end, _ := b.at(tp)
		if at, ok := committed[tp]; ok && at.Offset < end {
			return committed, false, nil
		} else if !ok && end > 0 {
			missing = append(missing, tp)
		}
	}
	if len(missing) > 0 { // never committed: fine where nothing was left to read
		starts, err := admin.Starts(ctx, missing)
		if err != nil {
			return committed, false, err
		}
		for _, tp := range missing {
			if end, _ := b.at(tp); starts[tp] < end {
				return committed, false, nil
			}
		}
	}
	return committed, true, nil
}
