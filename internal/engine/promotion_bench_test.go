package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/operators"
	"streamctl/state"
)

// lastValue keeps the last value per key and emits the key.
type lastValue struct {
	tc  *operators.TaskContext
	rec record.Record
}

func (l *lastValue) Decode(rec *record.Record, _ record.TopicPartition) (int64, bool, error) {
	l.rec = *rec
	return rec.Time, false, nil
}

func (l *lastValue) Process() error {
	if _, err := l.tc.Tables["counts"].Put(l.rec.Key, l.rec.Value); err != nil {
		return err
	}
	l.tc.Emitter.Emit(0, l.tc.Partition, record.Record{Key: l.rec.Key, Time: l.rec.Time})
	return nil
}

// BenchmarkTakeOver measures how long after the end of a dead process's session
// the other one has committed its first output of the tasks it takes over, with a
// copy of 200 MB of state on disk and without one.
func BenchmarkTakeOver(b *testing.B) {
	for _, standbys := range []int{1, 0} {
		b.Run(fmt.Sprintf("standbys=%d", standbys), func(b *testing.B) {
			for b.Loop() {
				took := takeOver(b, standbys)
				b.ReportMetric(float64(took.Milliseconds()), "ms/takeover")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func takeOver(b *testing.B, standbys int) time.Duration {
	const partitions, rows, rowBytes, session = 2, 200_000, 1000, time.Second
	topology := countTopology()
	topology.Subs[0].Build = func(tc *operators.TaskContext) ([]operators.Input, error) {
		return []operators.Input{&lastValue{tc: tc}}, nil
	}
	log := memlog.New(memlog.Config{Clock: engine.SystemClock{}, SessionTimeout: session, FetchBytes: 1 << 20})
	for _, topic := range []string{"in", "out"} {
		if err := log.CreateTopic(topic, partitions, nil); err != nil {
			b.Fatal(err)
		}
	}
	type process struct {
		transport *memlog.Transport
		monitor   engine.Monitor
		db        *state.DB
		cancel    context.CancelFunc
		ended     chan struct{}
	}
	start := func(name string) *process {
		db, err := state.Open(state.Options{Dir: b.TempDir() + "/state"})
		if err != nil {
			b.Fatal(err)
		}
		p := &process{transport: log.Transport(memlog.TransportConfig{Name: name, Group: "p"}), db: db, ended: make(chan struct{})}
		var ctx context.Context
		ctx, p.cancel = context.WithCancel(context.Background())
		opts := engine.Options{
			Topology: topology, Transport: p.transport, State: db, ExactlyOnce: true, Instance: name, Workers: 1,
			Standbys: standbys, AcceptableLag: 10_000_000, Monitor: &p.monitor,
		}
		go func() {
			defer close(p.ended)
			_, _ = engine.Run(ctx, opts)
		}()
		return p
	}
	await := func(ok func() bool) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(5 * time.Minute); !ok(); <-tick.C {
			if time.Now().After(deadline) {
				b.Fatal("not within 5 minutes")
			}
		}
	}
	observer := log.Transport(memlog.TransportConfig{Name: "observer", Group: "p"}).Admin()
	outputs := func(partition int32) int64 {
		tp := record.TopicPartition{Topic: "out", Partition: partition}
		ends, err := observer.Ends(context.Background(), []record.TopicPartition{tp}, engine.ReadCommitted)
		if err != nil {
			b.Fatal(err)
		}
		return ends[tp]
	}
	first, second := start("a"), start("b")
	await(func() bool {
		return first.monitor.Snapshot().Stats.Running == 1 && second.monitor.Snapshot().Stats.Running == 1
	})
	value := make([]byte, rowBytes)
	for i := range rows {
		for at := 0; at+8 <= len(value); at += 8 { // nothing to compress
			binary.BigEndian.PutUint64(value[at:], uint64(i*len(value)+at)*0x9e3779b97f4a7c15)
		}
		log.Produce("in", int32(i%partitions), fmt.Appendf(nil, "k%07d", i), value, 1000)
	}
	await(func() bool { return outputs(0)+outputs(1) >= rows })
	if standbys > 0 { // both copies have nearly all
		await(func() bool {
			return first.monitor.Snapshot().Stats.Followed+second.monitor.Snapshot().Stats.Followed >= rows*99/100
		})
	}
	mine := int32(0) // the partition that the first process runs
	before := [partitions]int64{outputs(0), outputs(1)}
	first.transport.Crash()
	died := time.Now()
	for p := range partitions {
		log.Produce("in", int32(p), []byte("more"), value, 2000)
	}
	await(func() bool { return outputs(0) > before[0] || outputs(1) > before[1] })
	if outputs(0) > before[0] {
		mine = 1
	}
	await(func() bool { return outputs(mine) > before[mine] })
	took := time.Since(died) - session
	for _, p := range []*process{first, second} {
		p.cancel()
		<-p.ended
		_ = p.db.Close()
	}
	return took
}
