package pipetest

import (
	"errors"
	"maps"
	"slices"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// world is a pipeline with its cluster, its clock and its disk, for one test.
// Nothing happens in it but what a step makes happen: a record is sent and
// processed to its end, through all repartitions and commits, before the next one.
type world struct {
	topology    *operators.Topology
	exactlyOnce bool
	clock       *memlog.Clock
	log         *memlog.Log
	monitor     *engine.Monitor
	life        *life    // nil while the pipeline is stopped
	disk        state.FS // while it is
	failure     error    // why the pipeline has ended by itself

	watched []string             // topics whose records are collected
	read    map[string][]int64   // by topic and partition: the offset after the last one collected
	arrived map[string][]arrival // collected, by topic
}

// arrival is a record that the pipeline has sent.
type arrival struct {
	memlog.Rec
	at int64 // the wall clock when it was seen, ms
}

// worldConfig says how a world begins.
type worldConfig struct {
	topology    *operators.Topology
	exactlyOnce bool
	now         time.Time
	partitions  func(topic string) int32
	watched     []string
}

// newWorld makes the topics; begin starts the pipeline.
func newWorld(cfg worldConfig) (*world, error) {
	clock := memlog.NewClock(cfg.now)
	w := &world{
		topology: cfg.topology, exactlyOnce: cfg.exactlyOnce, clock: clock, log: memlog.New(memlog.Config{Clock: clock}),
		monitor: &engine.Monitor{}, disk: state.NewCrashFS(), watched: cfg.watched,
		read: make(map[string][]int64), arrived: make(map[string][]arrival),
	}
	configs := make(map[string]map[string]string) // of the topics that are not the pipeline's own
	for _, sub := range cfg.topology.Subs {
		for _, out := range sub.Outputs {
			if !out.Internal && configs[out.Topic] == nil {
				configs[out.Topic] = map[string]string{}
			}
		}
		for _, in := range sub.Inputs {
			if in.Internal {
				continue
			}
			if configs[in.Topic] == nil {
				configs[in.Topic] = map[string]string{}
			}
			if in.Table != "" {
				configs[in.Topic]["cleanup.policy"] = "compact"
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(configs)) {
		if err := w.log.CreateTopic(topic, cfg.partitions(topic), configs[topic]); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// begin starts the pipeline on its disk.
func (w *world) begin() error {
	life, err := w.start(w.disk)
	if life == nil {
		return err
	}
	w.life, w.disk = life, nil
	return w.settled(err)
}

// settled takes note of an end of the process that nobody asked for, and of what came.
func (w *world) settled(err error) error {
	w.collect()
	if err == nil {
		return nil
	}
	if errors.Is(err, errUnrest) || w.life.running() {
		return err
	}
	w.failure, w.disk, w.life = err, w.life.disk, nil
	return nil
}

// settle lets the pipeline, if it runs, do all that there is to do.
func (w *world) settle() error {
	if w.life == nil {
		return nil
	}
	return w.settled(w.life.settle())
}

// send produces a record and has it processed. Its time moves the clock: nothing
// comes from the future.
func (w *world) send(topic string, partition int32, rec record.Record) error {
	if at := time.UnixMilli(rec.Time); at.After(w.clock.Now()) {
		w.clock.Advance(at.Sub(w.clock.Now()))
	}
	w.log.ProduceRecord(topic, partition, rec)
	if w.life == nil {
		return nil
	}
	w.life.gate.release()
	return w.settle()
}

// What advance does in one go: time is let pass in pieces, because what is due at some
// time may cause something that is due later.
const (
	leastPiece = 200 * time.Millisecond
	pieces     = 256
)

// advance lets wall-clock time pass.
func (w *world) advance(d time.Duration) error {
	until := w.clock.Now().Add(d)
	piece := max(leastPiece, d/pieces)
	for left := d; left > 0; left = until.Sub(w.clock.Now()) {
		w.clock.Advance(min(piece, left))
		if w.life == nil {
			continue
		}
		w.life.gate.release()
		if err := w.settle(); err != nil {
			return err
		}
	}
	return nil
}

// restart kills the process, cuts the power of its machine, and starts another
// one there; without the disk, if that is lost too.
func (w *world) restart(loseState bool) error {
	w.kill()
	if loseState {
		w.disk = state.NewCrashFS()
	}
	return w.begin()
}

// kill ends the process without a goodbye.
func (w *world) kill() {
	if w.life != nil {
		w.disk = w.life.crash()
		w.life = nil
	}
	w.failure = nil
}

// stop ends the process as TERM does.
func (w *world) stop() error {
	if w.life == nil {
		return nil
	}
	err := w.life.stop()
	w.disk, w.life = w.life.disk, nil
	w.collect()
	return err
}

// close ends the world.
func (w *world) close() {
	if w.life != nil {
		w.life.abandon()
		w.life = nil
	}
}

// collect takes what has been committed to the watched topics. What came at once
// in several partitions comes in their order.
func (w *world) collect() {
	now := w.clock.Now().UnixMilli()
	for _, topic := range w.watched {
		for p, recs := range w.log.ReadCommitted(topic) {
			for len(w.read[topic]) <= p {
				w.read[topic] = append(w.read[topic], 0)
			}
			for _, rec := range recs {
				if rec.Offset >= w.read[topic][p] {
					w.arrived[topic] = append(w.arrived[topic], arrival{rec, now})
					w.read[topic][p] = rec.Offset + 1
				}
			}
		}
	}
}

// take gives what has arrived in a topic and forgets it.
func (w *world) take(topic string) []arrival {
	out := w.arrived[topic]
	delete(w.arrived, topic)
	return out
}

// drops gives what the pipeline has dropped since the test began.
func (w *world) drops() map[operators.DropKey]int64 {
	return maps.Clone(w.monitor.Snapshot().Stats.Counters.Drops)
}

// now is the wall clock, ms.
func (w *world) now() int64 { return w.clock.Now().UnixMilli() }
