package engine

import (
	"log/slog"
	"testing"

	"streamctl/operators"
)

// The size that a topic takes is known from the start, of one just created by
// what it was created with, and a change of it is heard of when the topics are
// looked at.
func TestLimitsAreFollowed(t *testing.T) {
	limit := func(n string) map[string]string { return map[string]string{"max.message.bytes": n} }
	topics := func(out map[string]string) map[string]TopicInfo {
		return map[string]TopicInfo{"out": {Name: "out", Partitions: 1, Configs: out}}
	}
	e := &Engine{log: slog.New(slog.DiscardHandler), opts: Options{Topology: &operators.Topology{
		Subs:     []*operators.SubTopology{{Outputs: []operators.OutputSpec{{Topic: "out"}, {Topic: "own"}}}},
		Internal: []operators.InternalTopic{{Name: "own", Configs: limit("70")}},
	}}}
	e.found = topics(limit("50"))
	e.makeLimits(e.found)
	out, own := e.limitOf("out"), e.limitOf("own")
	if out.Load() != 50 || own.Load() != 70 {
		t.Fatalf("limits %d and %d", out.Load(), own.Load())
	}
	for _, c := range []struct {
		configs map[string]string
		want    int64
	}{{limit("60"), 60}, {nil, 60}, {limit("10"), 10}} {
		if err := e.compareTopics(topics(c.configs), map[string]int{}); err != nil {
			t.Fatal(err)
		}
		if out.Load() != c.want {
			t.Errorf("limit %d after %v, want %d", out.Load(), c.configs, c.want)
		}
	}
}
