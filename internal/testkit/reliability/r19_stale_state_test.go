package reliability

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/internal/testkit"
)

const twoTablesPipeline = `pipeline: p
commit_interval: 20ms
sources:
  views: {topic: p-views}
tables:
  first: {topic: p-first-names}
  second: {topic: p-second-names}
streams:
  named:
    from: views v
    join:
      - left: first a
        on: v.key == a.key
      - left: second b
        on: v.key == b.key
    select:
      - n: v.n
      - a: a.name
      - b: b.name
sinks:
  out: {from: named, topic: p-out, key: key}
`

// named is a world with a stream and two tables read straight from their topics.
type named struct {
	*world
	tables map[string]map[string]string // topic, key: name
	n      int
}

var nameTopics = []string{"p-first-names", "p-second-names"}

func newNamed(t *testing.T, seed uint64) *named {
	t.Helper()
	topics := map[string]int32{"p-views": partitions, "p-out": partitions}
	for _, name := range nameTopics {
		topics[name] = partitions
	}
	return &named{newWorld(t, seed, twoTablesPipeline, topics),
		map[string]map[string]string{nameTopics[0]: {}, nameTopics[1]: {}}, 0}
}

// name sets the name of a key, "" deletes it.
func (w *named) name(topic, key, name string) {
	var value []byte
	if w.tables[topic][key] = name; name != "" {
		value = fmt.Appendf(nil, `{"name":%q}`, name)
	} else {
		delete(w.tables[topic], key)
	}
	w.log.Produce(topic, -1, []byte(key), value, w.clock.Now().UnixMilli())
}

// change gives random keys of a topic other names, or none.
func (w *named) change(topic string, times int) {
	for range times {
		key, name := fmt.Sprint("key-", w.rand.IntN(viewers)), ""
		if w.rand.IntN(3) > 0 {
			name = fmt.Sprint("name-", w.rand.IntN(1000))
		}
		w.name(topic, key, name)
	}
}

// ask views every key, behind all changes, and says what must come out.
func (w *named) ask() (want testkit.Sequences) {
	want = make(testkit.Sequences)
	for i := range viewers {
		key := fmt.Sprint("key-", i)
		w.n++
		w.log.Produce("p-views", -1, []byte(key), fmt.Appendf(nil, `{"n":%d}`, w.n), w.clock.Now().UnixMilli())
		field := func(topic string) string {
			if name, ok := w.tables[topic][key]; ok {
				return fmt.Sprintf("%q", name)
			}
			return "null"
		}
		want.Add(testkit.Output{Key: key, Value: fmt.Sprintf(`{"n":%d,"a":%s,"b":%s}`, w.n, field(nameTopics[0]), field(nameTopics[1]))})
	}
	return want
}

// answers are the last outputs of every key.
func (w *named) answers() testkit.Sequences {
	got := make(testkit.Sequences)
	for _, records := range w.log.ReadCommitted("p-out") {
		for _, r := range records {
			got[string(r.Key)] = []testkit.Output{{Key: string(r.Key), Value: string(r.Value)}}
		}
	}
	return got
}

func (w *named) mustAnswer(store engine.Store) engine.Stats {
	w.t.Helper()
	want := w.ask()
	stats := w.mustLive(store)
	if diff := testkit.Diff(want, w.answers()); diff != "" {
		w.t.Errorf("%s; they said:\n%s", diff, w.said.tail())
	}
	return stats
}

// purge deletes what lies below offsets, as retention does.
func (w *world) purge(below map[record.TopicPartition]int64) {
	w.t.Helper()
	transport := w.log.Transport(memlog.TransportConfig{Group: "retention"})
	if err := transport.Admin().Purge(context.Background(), below); err != nil {
		w.t.Fatal(err)
	}
}

// TestR19StaleState: a state that comes back after its topics have forgotten
// deletions is rebuilt: deleted keys stay deleted.
func TestR19StaleState(t *testing.T) {
	t.Run("older than deletions are kept", func(t *testing.T) {
		seeds(t, 20, func(t *testing.T, seed uint64) {
			w := newNamed(t, seed)
			for _, topic := range nameTopics {
				w.change(topic, 100)
			}
			store := w.directory()
			w.mustAnswer(store)
			for key := range w.tables[nameTopics[0]] {
				if w.rand.IntN(2) == 0 {
					w.name(nameTopics[0], key, "")
				}
			}
			w.change(nameTopics[1], 20)
			w.clock.Advance(25 * time.Hour)
			for _, topic := range nameTopics {
				w.log.Compact(topic, true)
			}
			stats := w.mustAnswer(store)
			if n := stats.Incidents[engine.IncidentStateStale]; n != partitions {
				t.Errorf("%d states were rebuilt, want one per partition", n)
			}
			w.checkState(store)
		})
	})
	// The topic of one of a task's tables begins behind what the state has read of
	// it; the other table's rows must come back too, although its position was fine.
	t.Run("a table's topic has lost its beginning", func(t *testing.T) {
		seeds(t, 20, func(t *testing.T, seed uint64) {
			w := newNamed(t, seed)
			for _, topic := range nameTopics {
				w.change(topic, 100)
			}
			store := w.directory()
			w.mustAnswer(store)
			lost := nameTopics[w.rand.IntN(2)]
			w.change(lost, 50)
			high, _ := w.log.Ends(lost)
			below := make(map[record.TopicPartition]int64)
			for p, end := range high {
				below[record.TopicPartition{Topic: lost, Partition: int32(p)}] = end
			}
			w.purge(below)
			clear(w.tables[lost])
			w.change(lost, 30)
			stats := w.mustAnswer(store)
			if stats.Incidents[engine.IncidentStateStale] == 0 {
				t.Error("not counted")
			}
			w.checkState(store)
		})
	})
	// A day is what Kafka keeps deletions for where the topic says nothing else.
	t.Run("younger is kept", func(t *testing.T) {
		w := newNamed(t, 1)
		for _, topic := range nameTopics {
			w.change(topic, 100)
		}
		store := w.directory()
		w.mustAnswer(store)
		w.clock.Advance(20 * time.Hour)
		if stats := w.mustAnswer(store); stats.Incidents[engine.IncidentStateStale] != 0 || stats.FullRestores != 0 {
			t.Errorf("rebuilt after 20 h: %d restores; it said:\n%s", stats.FullRestores, w.said.tail())
		}
		if strings.Contains(w.said.text(), "it is rebuilt") {
			t.Error("it says that it is rebuilt")
		}
	})
}
