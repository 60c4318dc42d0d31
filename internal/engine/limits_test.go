package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// A result that is larger than its topic takes is a matter of on_error, and what
// it comes from is committed like anything else.
func TestResultAboveTheLimitOfItsTopic(t *testing.T) {
	large := strings.Repeat("x", 5000)
	try := func(policy string) (*memlog.Log, engine.Stats, error) {
		result, diags := pipeline.Compile("p.yaml", []byte(`
pipeline: p
sources:
  in: {topic: in, format: string}
sinks:
  out: {from: in, topic: out, on_error: `+policy+`}
`), pipeline.ParseOptions{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		log := memlog.New(memlog.Config{})
		create(t, log, "in", 1)
		if err := log.CreateTopic("out", 1, map[string]string{"max.message.bytes": "1000"}); err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"a", large, "b"} {
			produce(t, log, "in", 0, []byte("k"), []byte(value), 1)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stats, err := engine.Run(ctx, options(result.Topology, process(log), openState(t, state.NewMemFS())))
		return log, stats, err
	}
	outputs := func(log *memlog.Log) string { return strings.Join(committedPerKey(t, log, "out")["k"], " ") }

	log, _, err := try("fail")
	var record *operators.RecordError
	if !errors.As(err, &record) || record.Position.Offset != 1 || !strings.Contains(err.Error(), "max.message.bytes") {
		t.Errorf("fail: %v", err)
	}
	if got := log.Committed("p")[record.Position.TopicPartition]; got > 1 {
		t.Errorf("fail: offset %d is committed", got)
	}

	for policy, letters := range map[string]int{"skip": 0, "dead_letter": 1} {
		log, stats, err := try(policy)
		if err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		if got := outputs(log); got != `"a" "b"` {
			t.Errorf("%s: results %q", policy, got)
		}
		if got := stats.Counters.Drops[operators.DropKey{Operator: "out", Reason: operators.ReasonTooLarge}]; got != 1 {
			t.Errorf("%s: drops %v", policy, stats.Counters.Drops)
		}
		if letters > 0 {
			got := log.ReadCommitted("p.dead-letters")[0]
			if len(got) != letters || string(got[0].Value) != large {
				t.Errorf("%d dead letters", len(got))
			}
		}
	}
}
