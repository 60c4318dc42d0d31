package engine_test

import (
	"context"
	"strings"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/operators"
	"streamctl/state"
)

// laggingAdmin has not heard of a topic yet when it is asked for the first times,
// as when another process is creating it at the same moment, and brokers learn of
// it one after the other.
type laggingAdmin struct {
	engine.Admin
	late  string
	asked int
}

func (a *laggingAdmin) Topics(ctx context.Context, names []string) (map[string]engine.TopicInfo, error) {
	found, err := a.Admin.Topics(ctx, names)
	if a.asked++; a.asked <= 3 {
		delete(found, a.late)
	}
	return found, err
}

type laggingTransport struct {
	*memlog.Transport
	admin *laggingAdmin
}

func (t laggingTransport) Admin() engine.Admin { return t.admin }

func lagging(log *memlog.Log, topic string) laggingTransport {
	t := process(log)
	return laggingTransport{t, &laggingAdmin{Admin: t.Admin(), late: topic}}
}

// Processes that start at the same time create the same internal topics: the one
// that is second takes those of the first.
func TestInternalTopicCreatedBySomebodyElse(t *testing.T) {
	const changelog = "p.counts.changelog"
	log := countLog(t, memlog.Config{}, 6, 10)
	if err := log.CreateTopic(changelog, 3, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	run(t, options(countTopology(), lagging(log, changelog), openState(t, state.NewMemFS())))
	wantCounts(t, committedPerKey(t, log, "out"), 6, 10)
}

// What somebody else has created with other settings is refused all the same.
func TestInternalTopicCreatedOtherwise(t *testing.T) {
	const changelog = "p.counts.changelog"
	log := countLog(t, memlog.Config{}, 6, 10)
	create(t, log, changelog, 2)
	_, err := engine.Run(t.Context(), options(countTopology(), lagging(log, changelog), openState(t, state.NewMemFS())))
	if err == nil || !strings.Contains(err.Error(), "it has 2 partitions") {
		t.Errorf("got %v, want a complaint about 2 partitions", err)
	}
}

// What is refused is refused before the first topic is made: one that was made for
// partition counts that are mended afterwards would be in the way of the next start.
func TestRefusedBeforeAnyTopicIsMade(t *testing.T) {
	const changelog = "p.counts.changelog"
	log := countLog(t, memlog.Config{}, 6, 10)
	create(t, log, "wide", 4)
	top := countTopology()
	top.Subs[0].Inputs = append(top.Subs[0].Inputs, operators.InputSpec{Topic: "wide"})
	transport := process(log)
	_, err := engine.Run(t.Context(), options(top, transport, openState(t, state.NewMemFS())))
	if err == nil || !strings.Contains(err.Error(), "in has 3 partitions and wide has 4") {
		t.Errorf("got %v, want a complaint about 3 and 4 partitions", err)
	}
	found, err := transport.Admin().Topics(t.Context(), []string{changelog})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		t.Errorf("the refused run has made %v", found)
	}
}
