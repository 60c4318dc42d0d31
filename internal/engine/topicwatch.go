package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"streamctl/operators"
)

// Topics may be deleted, made anew or given more partitions while the pipeline
// runs, and nobody says so. Records of a new partition are not read before this
// has been noticed, so nothing wrong can come of them; what is looked for here is
// the difference to what the topics were when the engine started.

const (
	// watchInterval is how often the topics are looked at.
	watchInterval = 10 * time.Second
	// recheckInterval and missingLimit: a topic is gone when it was missing so
	// often in a row. A broker that has just started does not know all of them.
	recheckInterval = time.Second
	missingLimit    = 4
)

// watchTopics ends the run when a topic of the topology is no more what it was.
func (e *Engine) watchTopics(ctx context.Context) {
	missing := make(map[string]int)
	wait := watchInterval
	if len(e.found) < len(e.topicNames()) { // those that this run has created
		wait = 0
	}
	for {
		tick := make(chan struct{})
		stop := e.opts.Clock.AfterFunc(wait, func() { close(tick) })
		select {
		case <-ctx.Done():
			stop()
			return
		case <-tick:
			e.yield("topics")
		}
		found, err := e.opts.Transport.Admin().Topics(ctx, e.topicNames())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.log.Debug("look at topics failed", "cause", err)
			wait = watchInterval
			continue
		}
		if err := e.compareTopics(found, missing); err != nil {
			select {
			case e.failure <- err:
			default: // another failure came first
			}
			return
		}
		if wait = watchInterval; len(missing) > 0 {
			wait = recheckInterval
		}
	}
}

// compareTopics says what is different from the start. missing counts how often
// in a row a topic was not there.
func (e *Engine) compareTopics(found map[string]TopicInfo, missing map[string]int) error {
	var faults []error
	grown := false
	for _, name := range e.topicNames() {
		now, there := found[name]
		if !there {
			if missing[name]++; missing[name] >= missingLimit {
				faults = append(faults, fmt.Errorf("watch topics: %s, which %s, was deleted; %s", name, e.role(name), e.remedy(name)))
			}
			continue
		}
		delete(missing, name)
		e.learnLimit(name, now.Configs)
		was, known := e.found[name]
		if !known { // created by this run
			e.found[name] = now
			continue
		}
		switch anew := was.ID != now.ID && was.ID != "" && now.ID != ""; {
		case anew:
			faults = append(faults, fmt.Errorf("watch topics: %s, which %s, was deleted and created anew (with %d partitions, it had %d); %s",
				name, e.role(name), now.Partitions, was.Partitions, e.remedy(name)))
		case now.Partitions > was.Partitions:
			if why := e.tied(name); why != "" {
				faults = append(faults, fmt.Errorf("watch topics: %s has %d partitions now, it had %d when the pipeline started, but %s; "+
					"stop the pipeline, give all of them the same number, run reset-offsets --to earliest, delete the pipeline's own topics with the prefix %s., and start again",
					name, now.Partitions, was.Partitions, why, e.opts.Topology.Pipeline))
				continue
			}
			e.log.Warn("topic has got more partitions", "topic", name, "had", was.Partitions, "has", now.Partitions)
			grown = true
		}
	}
	if err := errors.Join(faults...); err != nil || !grown {
		return err
	}
	return errTopicsChanged
}

// tied says why the topic's partitions cannot become more under the pipeline, ""
// when they can: nothing is kept by them, and no other topic has to line up.
func (e *Engine) tied(topic string) string {
	if e.internal(topic) {
		return "it is a topic of the pipeline's own, which lines up with others"
	}
	for _, own := range e.opts.Topology.Internal {
		if slices.Contains(own.PartitionsLike, topic) {
			return fmt.Sprintf("the pipeline's topic %s lines up with it and has %d", own.Name, e.counts[own.Name])
		}
	}
	for _, sub := range e.opts.Topology.Subs {
		if !slices.ContainsFunc(sub.Inputs, func(in operators.InputSpec) bool { return in.Topic == topic }) {
			continue
		}
		var others []string
		for _, in := range sub.Inputs {
			if in.Topic != topic {
				others = append(others, fmt.Sprintf("%s (%d)", in.Topic, e.counts[in.Topic]))
			}
		}
		switch {
		case len(others) > 0:
			return "it is read together by key with " + strings.Join(others, ", ")
		case len(sub.Tables) > 0:
			return "tables are kept by its partitions"
		}
	}
	return ""
}

// role says what the topic is to the pipeline.
func (e *Engine) role(topic string) string {
	switch {
	case e.internal(topic):
		return "is the pipeline's own"
	case e.reads(topic):
		return "the pipeline reads"
	}
	return "the pipeline writes"
}

// remedy says what to do about a topic that is gone.
func (e *Engine) remedy(topic string) string {
	switch {
	case e.internal(topic):
		return "what it held cannot be had from elsewhere: run reset-offsets --to earliest, which builds it anew from the sources"
	case e.reads(topic):
		return "offsets of the old topic mean nothing in a new one: create it, if it is not there, and run reset-offsets --to earliest"
	}
	return "create it, if it is not there, and start the pipeline again: it goes on where it was; " +
		"what the old topic held is written again only after reset-offsets --to earliest"
}

// reads says whether some sub-topology reads the topic.
func (e *Engine) reads(topic string) bool {
	for _, sub := range e.opts.Topology.Subs {
		if slices.ContainsFunc(sub.Inputs, func(in operators.InputSpec) bool { return in.Topic == topic }) {
			return true
		}
	}
	return false
}

// partitionMark is under which it is remembered with the state how many
// partitions a topic had whose keys it keeps.
const partitionMark = "partitions:"

// checkPartitions refuses a state whose topics had another number of partitions
// when it was made: its keys lie in other partitions now.
func (w *worker) checkPartitions(t *task) error {
	if len(t.sub.Tables) == 0 {
		return nil
	}
	for _, topic := range slices.Sorted(maps.Keys(topicsOf(t))) {
		count := w.engine.partitionsOf(topic)
		prefix := partitionMark + topic + ":"
		for _, was := range t.store.MarkedWith(prefix) {
			if was != fmt.Sprint(count) {
				return fmt.Errorf("start task %s: %s has %d partitions now, but had %s when the local state was built: keys lie in other partitions than their rows; "+
					"run reset-offsets --to earliest where every process has its state, delete the pipeline's own topics with the prefix %s., and start again",
					t.id, topic, count, was, w.engine.opts.Topology.Pipeline)
			}
		}
		if mark := prefix + fmt.Sprint(count); !t.store.Marked(mark) {
			t.store.Mark(mark)
			t.marked = true
		}
	}
	return nil
}

// topicsOf lists the topics that a task reads.
func topicsOf(t *task) map[string]bool {
	topics := make(map[string]bool)
	for _, in := range t.inputs {
		topics[in.tp.Topic] = true
	}
	return topics
}
