package upgrade

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/pipeline"
)

// cluster is the rest of a broker: members, and deletions that may fail.
type cluster struct {
	log *memlog.Log

	mu      sync.Mutex
	members []string
	asked   chan struct{} // told at each question for members; may be nil
	fail    error         // of the next deletion of topics
	deleted []string
	forgot  []string
}

func (c *cluster) Members(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != nil {
		select {
		case c.asked <- struct{}{}:
		default:
		}
	}
	return slices.Clone(c.members), nil
}

func (c *cluster) DeleteCommitted(_ context.Context, tps []record.TopicPartition) error {
	for _, tp := range tps {
		c.forgot = append(c.forgot, tp.Topic)
	}
	return nil
}

func (c *cluster) DeleteTopics(_ context.Context, topics []string) error {
	if err := c.fail; err != nil {
		c.fail = nil
		return err
	}
	for _, topic := range topics {
		if err := c.log.DeleteTopic(topic); err != nil {
			return err
		}
	}
	c.deleted = append(c.deleted, topics...)
	return nil
}

// rig is a log in memory on which the base pipeline has run, everything read.
type rig struct {
	t       *testing.T
	log     *memlog.Log
	cluster *cluster
}

func newRig(t *testing.T) *rig {
	t.Helper()
	log := memlog.New(memlog.Config{})
	r := &rig{t: t, log: log, cluster: &cluster{log: log}}
	base := describe(t, base)
	s := situation(base)
	for _, topic := range slices.Sorted(maps.Keys(s.Counts)) {
		if err := log.CreateTopic(topic, 3, map[string]string{"cleanup.policy": "compact"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"views", "people", "articles"} {
		log.Produce(topic, 0, []byte("k"), []byte("{}"), 1)
	}
	r.commit(map[record.TopicPartition]int64{{Topic: "views"}: 1, {Topic: "people"}: 1, {Topic: "articles"}: 1})
	g := r.gate(base, nil)
	r.run(g)
	return r
}

// commit sets committed offsets, as a run does.
func (r *rig) commit(offsets map[record.TopicPartition]int64) {
	r.t.Helper()
	p, err := r.transport().NewProducer(r.t.Context(), "", false)
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	p.Commit(engine.Commit{Offsets: offsets, Group: engine.GroupMeta{Group: "p"}}, func(res engine.CommitResult) { done <- res.Err })
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) transport() *memlog.Transport {
	return r.log.Transport(memlog.TransportConfig{Group: "p"})
}

func (r *rig) gate(plan *pipeline.Description, chosen map[string]Action) *Gate {
	return &Gate{Transport: r.transport(), Cluster: r.cluster, Plan: plan, Chosen: chosen, Version: "test",
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Poll: time.Millisecond}
}

// run goes through the gate, makes the topics that are missing, as the engine
// does, and says that the group was joined.
func (r *rig) run(g *Gate) map[string]string {
	r.t.Helper()
	marks, err := g.Admit(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, topic := range g.Plan.InternalTopics {
		if slices.Contains(r.log.Topics(), topic.Name) {
			continue
		}
		if err := r.log.CreateTopic(topic.Name, 3, map[string]string{"cleanup.policy": "compact"}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := g.Joined(r.t.Context(), marks); err != nil {
		r.t.Fatal(err)
	}
	return marks
}

func (r *rig) recorded() *Record {
	r.t.Helper()
	rec, err := r.gate(describe(r.t, base), nil).store().Read(r.t.Context())
	if err != nil || rec == nil {
		r.t.Fatal(rec, err)
	}
	return rec
}

// writes is how often a plan has been recorded.
func (r *rig) writes() int { return len(r.log.ReadCommitted(Topic("p"))[0]) }

func TestAnUnchangedPlanIsRecordedOnce(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			g := r.gate(describe(t, base), nil)
			marks, err := g.Admit(context.Background())
			if err == nil {
				err = g.Joined(context.Background(), marks)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := r.writes(); n != 1 {
		t.Errorf("recorded %d times", n)
	}
}

// The process with the changed plan does not join before the last one of the
// recorded plan has left; one with the same plan does not wait.
func TestAChangedPlanWaitsForTheGroupToBeEmpty(t *testing.T) {
	r := newRig(t)
	r.cluster.members = []string{"somebody"}
	r.run(r.gate(describe(t, base), nil))
	r.cluster.asked = make(chan struct{}, 1)
	admitted := make(chan error, 1)
	g := r.gate(edited(t, "{who: a.name}", "{who: a.title}"), nil)
	go func() {
		_, err := g.Admit(context.Background())
		admitted <- err
	}()
	for range 3 {
		<-r.cluster.asked
	}
	select {
	case err := <-admitted:
		t.Fatal("it has not waited:", err)
	default:
	}
	if r.writes() != 1 {
		t.Error("it has recorded its plan while it waited")
	}
	r.cluster.mu.Lock()
	r.cluster.members = nil
	r.cluster.mu.Unlock()
	if err := <-admitted; err != nil {
		t.Fatal(err)
	}
	// A wait ends with its context.
	r.cluster.mu.Lock()
	r.cluster.members = []string{"somebody"}
	r.cluster.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Admit(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWhatIsRefusedWritesNothing(t *testing.T) {
	r := newRig(t)
	before := slices.Clone(r.log.Topics())
	for _, chosen := range []map[string]Action{nil, {"per_page": Empty}} {
		plan := edited(t, "max(v.viewer)", "sum(v.viewer)", "key: value.id", "key: value.number", "{id: int,", "{number: int,")
		if _, err := r.gate(plan, chosen).Admit(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "articles") {
			t.Errorf("with %v: %v", chosen, err)
		}
	}
	if r.writes() != 1 || !slices.Equal(before, r.log.Topics()) || r.cluster.deleted != nil {
		t.Error("something was written")
	}
}

// A clearing that was interrupted is finished by whoever comes next, be it
// with the old plan, and only then.
func TestAClearingIsFinishedByTheNextProcess(t *testing.T) {
	for _, next := range []string{"the new plan", "the old plan"} {
		t.Run(next, func(t *testing.T) {
			r := newRig(t)
			was := r.recorded().Marks()
			changed := edited(t, "key: value.id", "key: value.number", "{id: int,", "{number: int,")
			chosen := map[string]Action{"articles": Rebuild}
			r.cluster.fail = errors.New("power cut")
			if _, err := r.gate(changed, chosen).Admit(t.Context()); err == nil {
				t.Fatal("no failure")
			}
			g := r.gate(changed, chosen)
			if next == "the old plan" {
				g = r.gate(describe(t, base), nil)
			}
			is := r.run(g)
			if !slices.Contains(r.cluster.deleted, "p.articles.changelog") || !slices.Contains(r.cluster.forgot, "articles") {
				t.Errorf("deleted %v, forgot %v", r.cluster.deleted, r.cluster.forgot)
			}
			if was["articles"] == is["articles"] || was["per_page"] != is["per_page"] {
				t.Errorf("rows were %v, are %v", was, is)
			}
			deleted := len(r.cluster.deleted)
			if again := r.run(g); !maps.Equal(is, again) || len(r.cluster.deleted) != deleted {
				t.Errorf("the next start makes %v of %v", again, is)
			}
		})
	}
}

// Between admission and joining somebody else may have recorded another plan.
func TestWhoeverIsOvertakenLooksAgain(t *testing.T) {
	r := newRig(t)
	slow := r.gate(describe(t, base), nil)
	marks, err := slow.Admit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.run(r.gate(edited(t, "max(v.viewer)", "sum(v.viewer)"), map[string]Action{"per_page": Empty}))
	if err := slow.Joined(t.Context(), marks); !errors.Is(err, ErrRefused) && !errors.Is(err, ErrOvertaken) {
		t.Errorf("joined with %v", err)
	}
}

func TestARewindTakesBackWhatItClears(t *testing.T) {
	r := newRig(t)
	was := r.recorded().Marks()
	store := r.gate(describe(t, base), nil).store()
	if err := store.Cleared(t.Context(), []string{"per_page", "articles", "articles.rekey", "unheard-of"}); err != nil {
		t.Fatal(err)
	}
	plan := edited(t, "max(v.viewer)", "sum(v.viewer)")
	is := r.run(r.gate(plan, nil))
	for name, changed := range map[string]bool{"per_page": true, "articles": true, "articles.rekey": true, "people": false} {
		if (was[name] != is[name]) != changed {
			t.Errorf("%s: rows %q became %q", name, was[name], is[name])
		}
	}
	if _, err := r.gate(describe(t, base), nil).Admit(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("the change back: %v", err)
	}
	none := Store{Transport: r.transport(), Pipeline: "other"}
	if err := none.Cleared(t.Context(), []string{"x"}); err != nil {
		t.Error(err)
	}
}

func TestPendingRecordsAreSeen(t *testing.T) {
	r := newRig(t)
	plan := edited(t, "{topic: views, fields: {viewer: int, page: string}}", "{topic: views, fields: {viewer: int, page: string, x: int}}", "  named:\n    from: views v\n", "  named:\n    from: views v\n    where: v.x > 1\n")
	const topic = "p.named-people.repartition"
	if _, err := r.gate(plan, nil).Admit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.log.Produce(topic, 2, []byte("k"), []byte("{}"), 1)
	if _, err := r.gate(plan, nil).Admit(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("with a record that was not processed: %v", err)
	}
	r.commit(map[record.TopicPartition]int64{{Topic: topic, Partition: 2}: 1})
	if _, err := r.gate(plan, nil).Admit(t.Context()); err != nil {
		t.Error(err)
	}
}

// slowToLearn is a cluster whose brokers do not all know of a new topic yet:
// the one that is asked for it does not.
type slowToLearn struct{ engine.Transport }

func (s slowToLearn) Admin() engine.Admin { return slowAdmin{s.Transport.Admin()} }

type slowAdmin struct{ engine.Admin }

func (slowAdmin) Topics(context.Context, []string) (map[string]engine.TopicInfo, error) {
	return map[string]engine.TopicInfo{}, nil
}

// Of several processes that start at the same time one creates the topic of the
// plan; that another still hears from its broker that there is none must not end it.
func TestTheTopicOfThePlanIsCreatedByAnother(t *testing.T) {
	r := newRig(t)
	s := Store{Transport: slowToLearn{r.transport()}, Pipeline: "p"}
	if err := s.Write(t.Context(), r.recorded()); err != nil {
		t.Fatal(err)
	}
	if n := r.writes(); n != 2 {
		t.Errorf("the plan has been written %d times, want 2", n)
	}
}
