package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
	"streamctl/pipeline"
)

// Cluster is what an upgrade needs of a broker beside the engine's ports.
type Cluster interface {
	// Members names the members that the pipeline's group has now.
	Members(ctx context.Context) ([]string, error)
	DeleteCommitted(ctx context.Context, tps []record.TopicPartition) error
	// DeleteTopics returns when the topics are gone.
	DeleteTopics(ctx context.Context, topics []string) error
}

// Gate lets a process run its plan when nothing of another plan is in the way:
//
//   - a plan that does not fit the state of the recorded one is refused;
//   - one that does fit waits until no process runs another plan;
//   - what the user has accepted is cleared, once, before anything runs;
//   - the plan is recorded when the group has taken the process in, before its
//     first task starts.
type Gate struct {
	Transport engine.Transport
	Cluster   Cluster
	Plan      *pipeline.Description
	Chosen    map[string]Action // by name of table or repartition topic
	Version   string            // of this program
	Now       func() time.Time
	Log       *slog.Logger
	// Poll is how often a process that waits looks again; default 1 s.
	Poll time.Duration

	told time.Time // when it was last said what is waited for
}

// tellEvery is how often a process that waits says so.
const tellEvery = 10 * time.Second

func (g *Gate) store() Store { return Store{Transport: g.Transport, Pipeline: g.Plan.Pipeline} }

// Situation asks the cluster what a comparison with the recorded plan needs.
func (g *Gate) Situation(ctx context.Context, old *Record) (Situation, error) {
	s := Situation{Read: make(map[string]bool), Pending: make(map[string]bool), Counts: make(map[string]int32)}
	found, err := g.found(ctx, old)
	if err != nil {
		return s, err
	}
	for name, info := range found {
		s.Counts[name] = info.Partitions
	}
	var inputs []string
	for _, t := range g.Plan.Tables {
		inputs = append(inputs, t.Inputs...)
	}
	slices.Sort(inputs)
	for _, topic := range slices.Compact(inputs) {
		if s.Read[topic], err = g.read(ctx, partitions(topic, s.Counts)); err != nil {
			return s, err
		}
	}
	if old == nil {
		return s, nil
	}
	for _, stale := range Stale(old.Plan, g.Plan) {
		if s.Pending[stale.Topic], err = g.pending(ctx, partitions(stale.Topic, s.Counts)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Found describes those topics of the plan that exist.
func (g *Gate) Found(ctx context.Context) (map[string]engine.TopicInfo, error) {
	return g.found(ctx, nil)
}

func (g *Gate) found(ctx context.Context, old *Record) (map[string]engine.TopicInfo, error) {
	found, err := g.Transport.Admin().Topics(ctx, g.topics(old))
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	return found, nil
}

// topics lists every topic that the plan or the recorded one speaks of.
func (g *Gate) topics(old *Record) []string {
	var names []string
	add := func(d *pipeline.Description) {
		for _, s := range d.Subs {
			names = append(append(names, s.Inputs...), s.Outputs...)
		}
		for _, t := range d.InternalTopics {
			names = append(names, t.Name)
		}
	}
	add(g.Plan)
	if old != nil {
		add(old.Plan)
		for _, st := range old.State {
			if st.Gone != nil {
				names = append(names, st.Gone.Changelogs...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func partitions(topic string, counts map[string]int32) []record.TopicPartition {
	tps := make([]record.TopicPartition, counts[topic])
	for p := range tps {
		tps[p] = record.TopicPartition{Topic: topic, Partition: int32(p)}
	}
	return tps
}

// read says whether the group has passed a record of the partitions.
func (g *Gate) read(ctx context.Context, tps []record.TopicPartition) (bool, error) {
	if len(tps) == 0 {
		return false, nil
	}
	// Not the stable ones: where all processes were killed at once, each would wait
	// here for the transactions that the others end only when they have come by.
	committed, err := g.Transport.Admin().LastCommitted(ctx, tps)
	if err != nil || len(committed) == 0 {
		return false, wrap("read last commits", err)
	}
	starts, err := g.Transport.Admin().Starts(ctx, tps)
	if err != nil {
		return false, fmt.Errorf("read first offsets: %w", err)
	}
	for tp, at := range committed {
		if at.Offset > starts[tp] {
			return true, nil
		}
	}
	return false, nil
}

// pending says whether the partitions hold records behind the group's offsets.
func (g *Gate) pending(ctx context.Context, tps []record.TopicPartition) (bool, error) {
	if len(tps) == 0 {
		return false, nil
	}
	committed, err := g.Transport.Admin().Committed(ctx, tps)
	if err != nil {
		return false, fmt.Errorf("read committed offsets: %w", err)
	}
	for _, tp := range tps {
		from, ok := committed[tp]
		if !ok {
			from = -1
		}
		if more, err := holds(ctx, g.Transport, tp, from); more || err != nil {
			return more, wrap("look into "+tp.Topic, err)
		}
	}
	return false, nil
}

// Compare reads the recorded plan and compares.
func (g *Gate) Compare(ctx context.Context) (*Comparison, Situation, error) {
	old, err := g.store().Read(ctx)
	if err != nil {
		return nil, Situation{}, err
	}
	s, err := g.Situation(ctx, old)
	if err != nil {
		return nil, s, err
	}
	c, err := Compare(old, g.Plan, s, g.Chosen)
	return c, s, err
}

// Admit returns when the process may join its group; marks name the rows of
// its tables. ErrRefused: it must not run.
func (g *Gate) Admit(ctx context.Context) (marks map[string]string, err error) {
	for {
		c, s, err := g.Compare(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.Refused(); err != nil {
			return nil, err
		}
		next := c.Next(g.Plan, s.Counts, g.Version, g.Now())
		if c.Recorded == nil || !c.Differs && !c.clears() {
			return next.Marks(), nil
		}
		members, err := g.Cluster.Members(ctx)
		if err != nil {
			return nil, fmt.Errorf("read members of the group: %w", err)
		}
		if len(members) > 0 {
			if err := g.Wait(ctx, fmt.Sprintf("%d process(es) still run the recorded plan %s: %s", len(members), c.Recorded.Plan.Fingerprint, strings.Join(members, ", "))); err != nil {
				return nil, err
			}
			continue
		}
		if !c.clears() {
			return next.Marks(), nil
		}
		if err := g.clear(ctx, c); err != nil {
			return nil, err
		}
	}
}

// Wait lets some time pass, and says from time to time why.
func (g *Gate) Wait(ctx context.Context, why string) error {
	if now := g.Now(); now.Sub(g.told) >= tellEvery {
		g.told = now
		g.Log.Warn("waiting: the plan has changed, and two plans must not run side by side", "plan", g.Plan.Fingerprint, "cause", why)
	}
	poll := g.Poll
	if poll == 0 {
		poll = time.Second
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clears says whether rows have to be deleted before the plan can run.
func (c *Comparison) clears() bool {
	if c.Recorded == nil {
		return false
	}
	for _, st := range c.Recorded.State {
		if st.Clearing != nil {
			return true
		}
	}
	return slices.ContainsFunc(c.Changes, func(ch Change) bool { return ch.Chosen == Rebuild || ch.Chosen == Empty })
}

// clear deletes the rows of tables. First it is recorded what is about to go,
// so that whoever comes after a crash finishes it; then it goes; then that is recorded.
func (g *Gate) clear(ctx context.Context, c *Comparison) error {
	r := *c.Recorded
	r.State = maps.Clone(r.State)
	if r.State == nil {
		r.State = make(map[string]TableState)
	}
	for _, ch := range c.Changes {
		if ch.Kind != "table" || ch.Chosen != Rebuild && ch.Chosen != Empty {
			continue
		}
		st := r.State[ch.Name]
		if st.Clearing == nil {
			st.Number++
		}
		st.Clearing = clearing(table(r.Plan, ch.Name), st.Gone, table(g.Plan, ch.Name))
		r.State[ch.Name] = st
		g.Log.Info("rows of table are deleted", "table", ch.Name, "as", ch.Chosen)
	}
	if err := g.store().Write(ctx, &r); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.State)) {
		st := r.State[name]
		if st.Clearing == nil {
			continue
		}
		if err := g.delete(ctx, st.Clearing); err != nil {
			return fmt.Errorf("delete rows of table %s: %w", name, err)
		}
		st.Clearing, st.Cleared = nil, true
		r.State[name] = st
	}
	return g.store().Write(ctx, &r)
}

// clearing lists what belongs to the rows of a table, as any of its definitions had them.
func clearing(definitions ...*pipeline.TableDescription) *Clearing {
	out := new(Clearing)
	for _, t := range definitions {
		if t == nil {
			continue
		}
		out.Topics = append(out.Topics, t.Changelogs...)
		if t.Topic != "" {
			out.Forget = append(append(out.Forget, t.Topic), t.Changelogs...)
		}
	}
	slices.Sort(out.Topics)
	slices.Sort(out.Forget)
	out.Topics, out.Forget = slices.Compact(out.Topics), slices.Compact(out.Forget)
	return out
}

func (g *Gate) delete(ctx context.Context, c *Clearing) error {
	found, err := g.Transport.Admin().Topics(ctx, slices.Concat(c.Topics, c.Forget))
	if err != nil {
		return err
	}
	var forget []record.TopicPartition
	for _, topic := range c.Forget {
		forget = append(forget, partitions(topic, map[string]int32{topic: found[topic].Partitions})...)
	}
	if len(forget) > 0 {
		committed, err := g.Transport.Admin().Committed(ctx, forget)
		if err != nil {
			return err
		}
		forget = slices.DeleteFunc(forget, func(tp record.TopicPartition) bool { _, ok := committed[tp]; return !ok })
	}
	if len(forget) > 0 {
		if err := g.Cluster.DeleteCommitted(ctx, forget); err != nil {
			return err
		}
	}
	topics := slices.DeleteFunc(slices.Clone(c.Topics), func(t string) bool { _, ok := found[t]; return !ok })
	if len(topics) == 0 {
		return nil
	}
	return g.Cluster.DeleteTopics(ctx, topics)
}

// ErrOvertaken: another plan was recorded after this process was admitted; it
// must go through the gate once more.
var ErrOvertaken = errors.New("another plan has been recorded meanwhile")

// Joined records the plan: the group has taken the process in, so that nobody
// runs another one. marks are those that Admit gave.
func (g *Gate) Joined(ctx context.Context, marks map[string]string) error {
	c, s, err := g.Compare(ctx)
	if err != nil {
		return err
	}
	if err := c.Refused(); err != nil {
		return err
	}
	next := c.Next(g.Plan, s.Counts, g.Version, g.Now())
	if c.clears() || !maps.Equal(next.Marks(), marks) {
		return ErrOvertaken
	}
	if next.Same(c.Recorded) {
		return nil
	}
	return g.store().Write(ctx, next)
}

// Cleared records that a rewind deletes the rows of tables, before it does.
func (s Store) Cleared(ctx context.Context, tables []string) error {
	r, err := s.Read(ctx)
	if err != nil || r == nil {
		return err
	}
	if r.State == nil {
		r.State = make(map[string]TableState)
	}
	for _, name := range tables {
		st, known := r.State[name]
		if !known {
			continue
		}
		st.Number, st.Cleared = st.Number+1, true
		r.State[name] = st
	}
	r.Rewound = true
	return s.Write(ctx, r)
}
