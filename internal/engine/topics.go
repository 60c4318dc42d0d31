package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/record"
	"streamctl/operators"
)

// prepareTopics checks the topics of the topology, creates the internal ones
// that are missing, and derives the tasks. What is refused is refused before the
// first topic is made: one that was made for partition counts that are mended
// afterwards would be in the way of the next start.
func (e *Engine) prepareTopics(ctx context.Context) error {
	e.counts, e.tombstones = make(map[string]int32), make(map[string]int64)
	found, err := e.opts.Transport.Admin().Topics(ctx, e.topicNames())
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	e.found = found
	for name, info := range found {
		if ms, err := strconv.ParseInt(info.Configs["delete.retention.ms"], 10, 64); err == nil {
			e.tombstones[name] = ms
		}
	}
	plan, err := planTopics(e.opts.Topology, found)
	if err != nil {
		return err
	}
	e.counts = plan.counts
	for _, topic := range plan.missing {
		if err := e.createInternal(ctx, topic); err != nil {
			return err
		}
	}
	e.makeLimits(found)
	for _, sub := range e.opts.Topology.Subs {
		for p := range e.counts[sub.Inputs[0].Topic] {
			info := TaskInfo{ID: TaskID{Sub: sub.Name, Partition: p}, State: len(sub.Tables) > 0}
			for _, in := range sub.Inputs {
				info.Inputs = append(info.Inputs, record.TopicPartition{Topic: in.Topic, Partition: p})
			}
			e.tasks = append(e.tasks, info)
		}
	}
	return nil
}

// CheckTopics returns nil if a topology can run over the topics that are found, once
// its own that are missing have been made; the error is what a run would say.
func CheckTopics(top *operators.Topology, found map[string]TopicInfo) error {
	_, err := planTopics(top, found)
	return err
}

// topicPlan is what the topics of a topology are once a run has made its own.
type topicPlan struct {
	top     *operators.Topology
	found   map[string]TopicInfo
	counts  map[string]int32          // partitions of every topic, of the missing internal ones as well
	missing []operators.InternalTopic // in the order in which their partition counts became known
}

// planTopics checks the topics that are found, and says which are to be made. The
// partition counts of internal ones may depend on each other, so they are taken in
// the order in which they become known.
func planTopics(top *operators.Topology, found map[string]TopicInfo) (*topicPlan, error) {
	p := &topicPlan{top: top, found: found, counts: make(map[string]int32)}
	for name, info := range found {
		p.counts[name] = info.Partitions
	}
	left := top.Internal
	for len(left) > 0 {
		var later []operators.InternalTopic
		for _, topic := range left {
			want, known := p.partitionsLike(topic)
			if !known {
				later = append(later, topic)
				continue
			}
			info, exists := found[topic.Name]
			if !exists {
				p.counts[topic.Name] = want
				p.missing = append(p.missing, topic)
			} else if err := checkInternal(topic, info, want); err != nil {
				return nil, err
			}
		}
		if len(later) == len(left) {
			return nil, p.missingPartners(later)
		}
		left = later
	}
	var faults []error
	for _, sub := range top.Subs {
		faults = append(faults, p.checkSub(sub))
	}
	return p, errors.Join(faults...)
}

// topicNames lists every topic of the topology once, sorted.
func (e *Engine) topicNames() []string {
	names := make(map[string]bool)
	for _, sub := range e.opts.Topology.Subs {
		for _, in := range sub.Inputs {
			names[in.Topic] = true
		}
		for _, out := range sub.Outputs {
			names[out.Topic] = true
		}
		for _, t := range sub.Tables {
			if t.Changelog != "" {
				names[t.Changelog] = true
			}
		}
	}
	for _, in := range e.opts.Topology.Internal {
		names[in.Name] = true
	}
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// partitionsLike gives the partition count that an internal topic must have.
func (p *topicPlan) partitionsLike(topic operators.InternalTopic) (int32, bool) {
	var count int32
	for _, name := range topic.PartitionsLike {
		n, ok := p.counts[name]
		if !ok {
			return 0, false
		}
		count = max(count, n)
	}
	return count, count > 0
}

// missingPartners says which topics are missing for those internal ones.
func (p *topicPlan) missingPartners(topics []operators.InternalTopic) error {
	missing := make(map[string]bool)
	for _, t := range topics {
		for _, name := range t.PartitionsLike {
			if _, ok := p.counts[name]; !ok && !owns(p.top, name) {
				missing[name] = true
			}
		}
	}
	names := make([]string, 0, len(missing))
	for name := range missing {
		names = append(names, name)
	}
	sort.Strings(names)
	return fmt.Errorf("check topics: these do not exist: %s; create them before the pipeline runs", strings.Join(names, ", "))
}

// internal says whether the pipeline owns the topic.
func (e *Engine) internal(name string) bool { return owns(e.opts.Topology, name) }

// owns says whether a topic is one of the pipeline's own.
func owns(top *operators.Topology, name string) bool {
	return slices.ContainsFunc(top.Internal, func(t operators.InternalTopic) bool { return t.Name == name })
}

// createInternal creates an internal topic with the partitions that are planned.
func (e *Engine) createInternal(ctx context.Context, topic operators.InternalTopic) error {
	partitions := e.counts[topic.Name]
	err := e.opts.Transport.Admin().CreateTopic(ctx, topic.Name, partitions, topic.Configs)
	if err == nil {
		e.log.Info("internal topic created", "topic", topic.Name, "partitions", partitions)
		return nil
	}
	if !errors.Is(err, ErrTopicExists) {
		return fmt.Errorf("create internal topic %s: %w", topic.Name, err)
	}
	// Another process of the pipeline, started at the same time, was faster.
	info, err := e.describeNew(ctx, topic.Name)
	if err != nil {
		return fmt.Errorf("describe internal topic %s: %w", topic.Name, err)
	}
	return checkInternal(topic, info, partitions)
}

// checkInternal refuses an internal topic that has other settings than it must have.
func checkInternal(topic operators.InternalTopic, info TopicInfo, partitions int32) error {
	if info.Partitions != partitions {
		return fmt.Errorf("check internal topic %s: it has %d partitions, but %s now has %d; "+
			"run reset-offsets, which clears the pipeline's own topics, delete the topic, and start again",
			topic.Name, info.Partitions, strings.Join(topic.PartitionsLike, ", "), partitions)
	}
	if want, ok := topic.Configs["cleanup.policy"]; ok && info.Configs["cleanup.policy"] != "" && info.Configs["cleanup.policy"] != want {
		return fmt.Errorf("check internal topic %s: cleanup.policy is %q, it must be %q; mend it with: kafka-configs.sh --alter --topic %s --add-config cleanup.policy=%s",
			topic.Name, info.Configs["cleanup.policy"], want, topic.Name, want)
	}
	return nil
}

// A topic is known to every broker some instants after it was created.
const (
	newTopicPoll = 20 * time.Millisecond
	newTopicWait = 30 * time.Second
)

// describeNew describes a topic that is there, though maybe not yet to the
// broker that is asked.
func (e *Engine) describeNew(ctx context.Context, name string) (TopicInfo, error) {
	for end := e.opts.Clock.Now().Add(newTopicWait); ; {
		found, err := e.opts.Transport.Admin().Topics(ctx, []string{name})
		if err != nil {
			return TopicInfo{}, err
		}
		if info, ok := found[name]; ok {
			return info, nil
		}
		if e.opts.Clock.Now().After(end) {
			return TopicInfo{}, fmt.Errorf("it exists, but after %s the brokers still do not know it", newTopicWait)
		}
		again := make(chan struct{})
		stop := e.opts.Clock.AfterFunc(newTopicPoll, func() { close(again) })
		select {
		case <-again:
		case <-ctx.Done():
			stop()
			return TopicInfo{}, ctx.Err()
		}
	}
}

// checkSub checks that a sub-topology's inputs exist, line up, and that tables
// come from topics that keep the last record of every key.
func (p *topicPlan) checkSub(sub *operators.SubTopology) error {
	var faults []error
	for _, in := range sub.Inputs {
		if _, ok := p.counts[in.Topic]; !ok {
			faults = append(faults, fmt.Errorf("%scheck topic %s: it does not exist; create it before the pipeline runs", at(in), in.Topic))
			continue
		}
		policy := p.found[in.Topic].Configs["cleanup.policy"]
		if in.Table != "" && !in.Internal && policy != "" && !strings.Contains(policy, "compact") {
			faults = append(faults, fmt.Errorf("%scheck topic %s: table %q is restored from it, so it must keep the last record of every key, but its cleanup.policy is %q; "+
				"mend it with: kafka-configs.sh --alter --topic %s --add-config cleanup.policy=compact", at(in), in.Topic, in.Table, policy, in.Topic))
		}
	}
	for _, out := range sub.Outputs {
		if _, ok := p.counts[out.Topic]; !ok {
			faults = append(faults, fmt.Errorf("check topic %s: it does not exist; create it before the pipeline runs", out.Topic))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	first := sub.Inputs[0]
	for _, in := range sub.Inputs[1:] {
		if p.counts[in.Topic] != p.counts[first.Topic] {
			faults = append(faults, fmt.Errorf("%scheck partitions: %s has %d partitions and %s has %d, but they are read together by key; "+
				"give them the same number of partitions", at(in), first.Topic, p.counts[first.Topic], in.Topic, p.counts[in.Topic]))
		}
	}
	return errors.Join(faults...)
}

// at names the place in the pipeline file that an input comes from.
func at(in operators.InputSpec) string {
	if in.Span.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d: ", in.Span.File, in.Span.Start.Line, in.Span.Start.Col)
}
