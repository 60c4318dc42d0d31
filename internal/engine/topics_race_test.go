package engine_test

import (
	"context"
	"strings"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
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
