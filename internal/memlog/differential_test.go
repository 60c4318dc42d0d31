package memlog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"streamctl/internal/engine"
	"streamctl/internal/kafka"
	"streamctl/internal/kafkatest"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
)

// TestRealKafkaDoesTheSame plays random scripts of sends, commits, discards
// and take-overs on the log and, through the product's client, on a real
// Kafka, and compares after every step: end offsets of both isolations,
// committed offsets, what each commit reported; and at the end every record
// with its offset. What the engine's tests show on the log then holds there.
func TestRealKafkaDoesTheSame(t *testing.T) {
	broker := kafkatest.Start(t, kafkatest.Options{})
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			group := fmt.Sprint("group-", seed)
			real, err := kafka.Open(t.Context(), kafka.Settings{Brokers: []string{broker.Addr()}, Group: group})
			if err != nil {
				t.Fatal(err)
			}
			log := memlog.New(memlog.Config{Clock: engine.SystemClock{}})
			play(t, seed, newSide(t, log.Transport(memlog.TransportConfig{Group: group}), seed), newSide(t, real, seed))
		})
	}
}

// side is one of the two clusters with the processes on it.
type side struct {
	t         *testing.T
	transport engine.Transport
	topic     string
	meta      engine.GroupMeta
	producers map[string]engine.Producer
	retired   []engine.Producer // fenced by a younger one with their id
}

const diffPartitions = 2

var ids = []string{"a", "b"}

func newSide(t *testing.T, transport engine.Transport, seed uint64) *side {
	t.Helper()
	s := &side{t: t, transport: transport, topic: fmt.Sprint("diff-", seed), producers: make(map[string]engine.Producer)}
	t.Cleanup(func() { _ = transport.Close() })
	if err := transport.Admin().CreateTopic(t.Context(), s.topic, diffPartitions, nil); err != nil {
		t.Fatal(err)
	}
	var tasks []engine.TaskInfo
	for p := range int32(diffPartitions) {
		tasks = append(tasks, engine.TaskInfo{ID: engine.TaskID{Sub: "s", Partition: p}, Inputs: []record.TopicPartition{{Topic: s.topic, Partition: p}}})
	}
	member, err := transport.Join(t.Context(), engine.Membership{Tasks: tasks})
	if err != nil {
		t.Fatal(err)
	}
	for s.meta.Member == "" {
		select {
		case ev := <-member.Events():
			if ev.Err != nil {
				t.Fatal(ev.Err)
			}
			if ev.Ack != nil {
				ev.Ack()
			}
			if len(ev.Tasks) == diffPartitions {
				s.meta = ev.Meta
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no assignment")
		}
	}
	for _, id := range ids {
		s.open(id)
	}
	return s
}

func (s *side) open(id string) {
	s.t.Helper()
	p, err := s.transport.NewProducer(s.t.Context(), s.topic+"-"+id, true)
	if err != nil {
		s.t.Fatal(err)
	}
	s.producers[id] = p
}

func (s *side) tps() []record.TopicPartition {
	var out []record.TopicPartition
	for p := range int32(diffPartitions) {
		out = append(out, record.TopicPartition{Topic: s.topic, Partition: p})
	}
	return out
}

func says(what string) func() string { return func() string { return what } }

// eventually waits for what a real broker does in its own time.
func eventually(t *testing.T, what func() string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out: %s", what())
		}
	}
}

func (s *side) send(id string, partition int32, n, serial int) {
	s.t.Helper()
	p := s.producers[id]
	for i := range n {
		key := fmt.Appendf(nil, "k%d", i%3)
		p.Send(record.TopicPartition{Topic: s.topic, Partition: partition}, record.Record{
			Key: key, Value: fmt.Appendf(nil, "%s-%d-%d", id, serial, i), Time: int64(1000 + serial),
			Headers: []record.Header{{Key: "h", Value: []byte(id)}},
		})
	}
	eventually(s.t, says("acknowledgement of sends"), func() bool { return p.Buffered() == 0 })
}

// commit says how it ended, in words that both sides share.
func (s *side) commit(p engine.Producer, offsets map[record.TopicPartition]int64) string {
	s.t.Helper()
	done := make(chan engine.CommitResult, 1)
	p.Commit(engine.Commit{Offsets: offsets, Group: s.meta}, func(r engine.CommitResult) { done <- r })
	select {
	case r := <-done:
		out := outcome(r.Err)
		if r.Err == nil {
			for _, tp := range s.tps() {
				if next, ok := r.Next[tp]; ok {
					out += fmt.Sprintf(" next of %d: %d", tp.Partition, next)
				}
			}
		}
		return out
	case <-time.After(30 * time.Second):
		s.t.Fatal("commit does not end")
		return ""
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "committed"
	case errors.Is(err, engine.ErrFenced):
		return "fenced"
	case errors.Is(err, engine.ErrAborted):
		return "aborted"
	default:
		return "other failure: " + err.Error()
	}
}

// state is what can be seen of the cluster from outside.
func (s *side) state() string {
	s.t.Helper()
	ctx, admin := context.Background(), s.transport.Admin()
	hw, err := admin.Ends(ctx, s.tps(), engine.ReadUncommitted)
	if err != nil {
		s.t.Fatal(err)
	}
	lso, err := admin.Ends(ctx, s.tps(), engine.ReadCommitted)
	if err != nil {
		s.t.Fatal(err)
	}
	committed, err := admin.Committed(ctx, s.tps())
	if err != nil {
		s.t.Fatal(err)
	}
	starts, err := admin.Starts(ctx, s.tps())
	if err != nil {
		s.t.Fatal(err)
	}
	out := ""
	for _, tp := range s.tps() {
		off, ok := committed[tp]
		out += fmt.Sprintf("%d: [%d, %d, %d) committed %d %v; ", tp.Partition, starts[tp], lso[tp], hw[tp], off, ok)
	}
	return out
}

// records reads everything there is by fetches.
func (s *side) records(iso engine.Isolation) []string {
	s.t.Helper()
	src, err := s.transport.NewSource()
	if err != nil {
		s.t.Fatal(err)
	}
	defer src.Close()
	starts, err := s.transport.Admin().Starts(context.Background(), s.tps())
	if err != nil {
		s.t.Fatal(err)
	}
	lines := make([][]string, diffPartitions)
	left := make(map[record.TopicPartition]bool)
	for _, tp := range s.tps() {
		src.Start(tp, starts[tp], iso)
		left[tp] = true
	}
	eventually(s.t, says("reading all"), func() bool {
		for _, f := range src.Poll(50 * time.Millisecond) {
			if f.Err != nil {
				s.t.Fatal(f.Err)
			}
			for _, r := range f.Records {
				lines[f.TP.Partition] = append(lines[f.TP.Partition], fmt.Sprintf("%d/%d %s=%s at %d %s", f.TP.Partition, r.Offset, r.Key, r.Value, r.Time, r.Headers[0].Value))
			}
			if f.Next >= f.End {
				lines[f.TP.Partition] = append(lines[f.TP.Partition], fmt.Sprintf("end %d at %d from %d", f.Next, f.End, f.LogStart))
				delete(left, f.TP)
			}
			src.Release(f)
		}
		return len(left) == 0
	})
	var out []string
	for _, l := range lines {
		out = append(out, l...)
	}
	return out
}

// agree waits until Kafka looks as the log does: it answers the end of a
// transaction before it has written the markers.
func agree(t *testing.T, script []string, mem, real *side) {
	t.Helper()
	want := mem.state()
	seen := ""
	eventually(t, func() string { return fmt.Sprintf("after %q: the log has %s, Kafka %s", script, want, seen) }, func() bool {
		seen = real.state()
		return seen == want
	})
}

// play runs the script of a seed on both sides.
func play(t *testing.T, seed uint64, mem, real *side) {
	r := rand.New(rand.NewPCG(seed, 0))
	var script []string
	position := int64(0)
	for step := range 25 {
		id := ids[r.IntN(len(ids))]
		offsets := func(s *side) map[record.TopicPartition]int64 {
			return map[record.TopicPartition]int64{s.tps()[0]: position}
		}
		var what, got, want string
		switch n := r.IntN(10); {
		case n < 4:
			partition, count := int32(r.IntN(diffPartitions)), 1+r.IntN(5)
			what = fmt.Sprintf("%s sends %d to %d", id, count, partition)
			mem.send(id, partition, count, step)
			real.send(id, partition, count, step)
		case n < 7:
			position++
			what = id + " commits"
			if r.IntN(3) == 0 { // records alone, or nothing at all
				want, got = mem.commit(mem.producers[id], nil), real.commit(real.producers[id], nil)
				break
			}
			want, got = mem.commit(mem.producers[id], offsets(mem)), real.commit(real.producers[id], offsets(real))
		case n < 8:
			what = id + " discards"
			mem.producers[id].Discard()
			real.producers[id].Discard()
		case n < 9:
			position++
			what = id + " is taken over, the older one commits"
			older, olderReal := mem.producers[id], real.producers[id]
			mem.open(id)
			real.open(id)
			want, got = mem.commit(older, offsets(mem)), real.commit(olderReal, offsets(real))
			mem.retired, real.retired = append(mem.retired, older), append(real.retired, olderReal)
		default:
			what = id + " is closed and opened"
			for _, s := range []*side{mem, real} {
				if err := s.producers[id].Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				s.open(id)
			}
		}
		script = append(script, what)
		if want != got {
			t.Fatalf("after %q: the log says %q, Kafka %q", script, want, got)
		}
		agree(t, script, mem, real)
	}
	for _, id := range ids {
		mem.commit(mem.producers[id], nil)
		real.commit(real.producers[id], nil)
	}
	agree(t, script, mem, real)
	for _, iso := range []engine.Isolation{engine.ReadCommitted, engine.ReadUncommitted} {
		if diff := cmp.Diff(mem.records(iso), real.records(iso)); diff != "" {
			t.Errorf("isolation %d, script %q: log against Kafka: %s", iso, script, diff)
		}
	}
}
