package pipetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
)

// world is a cluster and a clock with the pipelines of one test. Nothing happens
// in it but what a step makes happen: a record is sent and processed to its end,
// through all repartitions and commits, before the next one.
type world struct {
	clock   *memlog.Clock
	log     *memlog.Log
	runs    []*running           // in the order in which the test names them
	watched []string             // topics whose records are collected
	read    map[string][]int64   // by topic and partition: the offset from which to collect
	arrived map[string][]arrival // collected, by topic
}

// arrival is a record that a pipeline has sent.
type arrival = memlog.Rec

// worldConfig says how a world begins.
type worldConfig struct {
	programs   []program
	now        time.Time
	partitions func(topic string) int32
	watched    []string
}

// program is a pipeline that can be run.
type program struct {
	topology    *operators.Topology
	exactlyOnce bool
	idleTimeout time.Duration // negative = stream time never follows the wall clock
}

// newWorld makes the topics; the pipelines of the world do not run yet.
func newWorld(cfg worldConfig) (*world, error) {
	clock := memlog.NewClock(cfg.now)
	w := &world{
		clock: clock, log: memlog.New(memlog.Config{Clock: clock}), watched: cfg.watched,
		read: make(map[string][]int64), arrived: make(map[string][]arrival),
	}
	configs := make(map[string]map[string]string) // of the topics that are not a pipeline's own
	for _, p := range cfg.programs {
		w.runs = append(w.runs, newRunning(w, p))
		outerTopics(p.topology, configs)
	}
	for _, topic := range slices.Sorted(maps.Keys(configs)) {
		if err := w.log.CreateTopic(topic, cfg.partitions(topic), configs[topic]); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// outerTopics adds the topics of a topology that it does not make itself, with the
// settings that they need.
func outerTopics(t *operators.Topology, configs map[string]map[string]string) {
	add := func(topic string) map[string]string {
		if configs[topic] == nil {
			configs[topic] = map[string]string{}
		}
		return configs[topic]
	}
	for _, sub := range t.Subs {
		for _, out := range sub.Outputs {
			if !out.Internal {
				add(out.Topic)
			}
		}
		for _, in := range sub.Inputs {
			if in.Internal {
				continue
			}
			if config := add(in.Topic); in.Table != "" {
				config["cleanup.policy"] = "compact"
			}
		}
	}
}

// settle lets the pipelines that run do all that there is to do: one after the
// other, and again as long as one has sent what another reads.
func (w *world) settle() error {
	const rounds = 1000 // two that feed each other need not come to an end
	for range rounds {
		for _, r := range w.runs {
			if err := r.settle(); err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(w.runs, func(r *running) bool { return r.life != nil && r.life.behind() != "" }) {
			w.collect()
			return nil
		}
	}
	return fmt.Errorf("%w: what the pipelines send to each other does not come to an end", errUnrest)
}

// send produces a record and has it processed. Nothing comes from the future: when
// its time lies past the wall clock, the time between passes first.
func (w *world) send(topic string, partition int32, rec record.Record) error {
	if left := time.UnixMilli(rec.Time).Sub(w.clock.Now()); left > 0 {
		if err := w.pass(left, max(leastGap, left/gaps)); err != nil || w.failed() != nil {
			return err
		}
	}
	w.log.ProduceRecord(topic, partition, rec)
	return w.settle()
}

// Time passes in pieces, because what is due at some time may cause something that
// is due later. Where a test asks for it they are small; between two records they
// are long enough for a task to which nothing comes to follow, and few.
const (
	leastPiece = 200 * time.Millisecond
	pieces     = 256
	leastGap   = 45 * time.Second
	gaps       = 16
)

// advance lets wall-clock time pass.
func (w *world) advance(d time.Duration) error { return w.pass(d, max(leastPiece, d/pieces)) }

// pass lets time pass, piece by piece.
func (w *world) pass(d, piece time.Duration) error {
	until := w.clock.Now().Add(d)
	for left := d; left > 0; left = until.Sub(w.clock.Now()) {
		w.clock.Advance(min(piece, left))
		if err := w.settle(); err != nil || w.failed() != nil {
			return err
		}
	}
	return nil
}

// failed gives the first pipeline that has ended by itself, nil = none has.
func (w *world) failed() *running {
	for _, r := range w.runs {
		if r.failure != nil {
			return r
		}
	}
	return nil
}

// close ends the world.
func (w *world) close() {
	for _, r := range w.runs {
		if r.life != nil {
			r.life.abandon()
			r.life = nil
		}
	}
}

// collect takes what has been committed to the watched topics. What came at once
// in several partitions comes in their order.
func (w *world) collect() {
	for _, topic := range w.watched {
		if n := w.log.Partitions(topic); len(w.read[topic]) != n { // that of the dead letters comes with the first start
			w.read[topic] = make([]int64, n)
		}
		for p, from := range w.read[topic] {
			recs, next := w.log.ReadFrom(record.TopicPartition{Topic: topic, Partition: int32(p)}, from)
			w.arrived[topic] = append(w.arrived[topic], recs...)
			w.read[topic][p] = next
		}
	}
}

// take gives what has arrived in a topic and forgets it.
func (w *world) take(topic string) []arrival {
	out := w.arrived[topic]
	delete(w.arrived, topic)
	return out
}

// drops gives what a pipeline has dropped since the test began, by the names that
// nameOf gives to its definitions.
func (w *world) drops(nameOf func(pipeline, definition string) string) map[operators.DropKey]int64 {
	out := make(map[operators.DropKey]int64)
	for _, r := range w.runs {
		for key, n := range r.monitor.Snapshot().Stats.Counters.Drops {
			key.Operator = nameOf(r.name(), key.Operator)
			out[key] += n
		}
	}
	return out
}

// now is the wall clock, ms.
func (w *world) now() int64 { return w.clock.Now().UnixMilli() }
