package differential

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/codec"
	"streamctl/internal/testkit/model"
	"streamctl/operators"
	"streamctl/pipeline"
)

// compiled is a pipeline through all stages.
type compiled struct {
	text     string
	result   *pipeline.Result
	topology *operators.Topology
	topics   []string // all that is read
}

func compile(text string) (*compiled, error) {
	result, diags := pipeline.Compile("pipeline.yaml", []byte(text), pipeline.ParseOptions{})
	if diags.HasErrors() {
		var out strings.Builder
		_ = result.File.Printer().Print(&out, diags)
		return nil, fmt.Errorf("compile: %s", out.String())
	}
	c := &compiled{text: text, result: result, topology: result.Topology}
	for _, sub := range c.topology.Subs {
		for _, in := range sub.Inputs {
			c.topics = append(c.topics, in.Topic)
		}
	}
	slices.Sort(c.topics)
	c.topics = slices.Compact(c.topics)
	return c, nil
}

// layout tells the model where the plan lets things run.
func (c *compiled) layout(partitions int32) model.Layout {
	l := model.Layout{Sub: map[string]string{}, Hops: map[string]string{}}
	for _, sub := range c.result.Plan.Subs {
		for _, in := range sub.Inputs {
			switch in.Kind {
			case pipeline.SourceInput, pipeline.TableInput, pipeline.ChangelogInput:
				l.Sub[in.Def.Name] = sub.Name
			case pipeline.RepartitionInput:
				switch {
				case in.Join >= 0 && in.Right:
					l.Hops[model.RightHop(in.Def.Name, in.Def.Joins[in.Join].Alias)] = sub.Name
				case in.Join >= 0:
					l.Hops[model.Hop(in.Def.Name, in.Def.Joins[in.Join].Alias)] = sub.Name
				case strings.HasSuffix(in.Topic, "."+in.Def.Name+".documents"):
					l.Hops[model.DocumentsHop(in.Def.Name)] = sub.Name
				case strings.HasSuffix(in.Topic, "."+in.Def.Name+".parts"):
					l.Hops[model.PartsHop(in.Def.Name)] = sub.Name
				case strings.HasSuffix(in.Topic, in.Def.Name+".dedup.repartition"):
					l.Hops[model.DedupHop(in.Def.Name)] = sub.Name
				case in.Join == -1:
					l.Hops[model.Hop(in.Def.Name, "")] = sub.Name
				}
			}
		}
	}
	l.Partitions, l.Writers = partitions, c.writers()
	l.Partition = func(_ string, key []byte) int32 { return codec.Partition(key, partitions) }
	return l
}

// writers lists, for each sub-topology, those that write streams for it and are not
// behind it.
func (c *compiled) writers() map[string][]string {
	behind := map[string]map[string]bool{}
	var visit func(from string, sub *operators.SubTopology)
	visit = func(from string, sub *operators.SubTopology) {
		if behind[from][sub.Name] {
			return
		}
		behind[from][sub.Name] = true
		for _, reader := range c.topology.Subs {
			for _, in := range reader.Inputs {
				if in.Internal && writes(sub, in.Topic) {
					visit(from, reader)
				}
			}
		}
	}
	for _, sub := range c.topology.Subs {
		behind[sub.Name] = map[string]bool{}
		visit(sub.Name, sub)
	}
	writers := map[string][]string{}
	for _, sub := range c.topology.Subs {
		for _, in := range sub.Inputs {
			for _, before := range c.topology.Subs {
				if in.Purge && !in.Awaited && writes(before, in.Topic) && !behind[sub.Name][before.Name] {
					writers[sub.Name] = append(writers[sub.Name], before.Name)
				}
			}
		}
	}
	return writers
}

func writes(sub *operators.SubTopology, topic string) bool {
	return slices.ContainsFunc(sub.Outputs, func(out operators.OutputSpec) bool { return out.Internal && out.Topic == topic })
}

// ambiguous says that one record comes to a task on two ways, of which one is
// a detour, or to both sides of a join: which of the two is first is not defined.
func (c *compiled) ambiguous() bool {
	for _, d := range c.result.Plan.Subs {
		for _, in := range d.Inputs {
			if slices.ContainsFunc(in.Steps, func(s *pipeline.Step) bool { return gathersTop(s) }) {
				return true
			}
		}
	}
	twice := c.filledTwice()
	for _, sub := range c.result.Plan.Subs {
		for _, in := range sub.Inputs {
			if twice[in.Topic] && ordered(in.Steps) {
				return true
			}
		}
	}
	for _, sub := range c.result.Plan.Subs {
		seen := map[string]bool{}
		for _, in := range sub.Inputs {
			for _, origin := range in.Origins {
				if seen[origin] {
					return true
				}
				seen[origin] = true
			}
			if meetsItself(in.Steps, map[string]bool{}) {
				return true
			}
		}
	}
	return false
}

// gathersTop says that rows of a top come together again: of those that one record
// moves, which is told first is not defined. It looks at definitions, for there may be a
// topic between.
func gathersTop(s *pipeline.Step) bool {
	if s.Kind == pipeline.GroupStep || s.Kind == pipeline.TopStep {
		for _, in := range s.Def.From {
			if readsTop(in.Def) {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.Next, func(n *pipeline.Step) bool { return gathersTop(n) })
}

func readsTop(d *pipeline.Def) bool {
	if d.Query != nil && d.Query.Top != nil {
		return true
	}
	return slices.ContainsFunc(d.From, func(in pipeline.ResolvedInput) bool { return readsTop(in.Def) })
}

// waitsForSeveral says that time somewhere is the least of what several tasks before it
// promise. How soon those that have never had a record say so is not seen from outside, so
// that what is late meanwhile is not known here: internal/engine tests that.
func (c *compiled) waitsForSeveral(partitions int32) bool {
	for _, list := range c.writers() {
		if len(list)*int(partitions) > 1 {
			return true
		}
	}
	return false
}

// filledTwice lists the repartition topics to which one record comes on several
// ways: which of them is first there is not defined.
func (c *compiled) filledTwice() map[string]bool {
	twice, seen := map[string]bool{}, map[string]bool{}
	for range c.result.Plan.Subs { // far enough: topics behind topics
		clear(seen)
		for _, sub := range c.result.Plan.Subs {
			for _, in := range sub.Inputs {
				eachStep(in.Steps, func(s *pipeline.Step) {
					if s.Kind != pipeline.RepartitionStep {
						return
					}
					for _, origin := range in.Origins {
						twice[s.Topic] = twice[s.Topic] || twice[in.Topic] || seen[s.Topic+" "+origin]
						seen[s.Topic+" "+origin] = true
					}
				})
			}
		}
	}
	return twice
}

// ordered says that what steps make of records depends on their order.
func ordered(steps []*pipeline.Step) (found bool) {
	eachStep(steps, func(s *pipeline.Step) {
		switch s.Kind {
		case pipeline.GroupStep, pipeline.DedupStep, pipeline.TopStep, pipeline.StreamJoinStep:
			found = true
		}
	})
	return found
}

// meetsItself says that records of one input come to a join of streams, or of
// tables, from two sides: which of them goes first is not defined.
func meetsItself(steps []*pipeline.Step, sides map[string]bool) bool {
	for _, s := range steps {
		if s.Kind == pipeline.StreamJoinStep {
			side := func(right bool) string { return fmt.Sprint(s.Def.Name, s.Join, right) }
			if sides[side(!s.Right)] {
				return true
			}
			sides[side(s.Right)] = true
		}
		if s.Kind == pipeline.TableJoinStep {
			if sides[s.Def.Name] {
				return true
			}
			sides[s.Def.Name] = true
		}
		if meetsItself(s.Next, sides) {
			return true
		}
	}
	return false
}

// repartitions says that there are topics of the pipeline's own between its parts.
func (c *compiled) repartitions() bool {
	for _, sub := range c.topology.Subs {
		for _, out := range sub.Outputs {
			if out.Internal {
				return true
			}
		}
	}
	return false
}

// async says that tasks answer each other, so that of two changes in a row one may be skipped.
func (c *compiled) async() (found bool) {
	c.eachStep(func(s *pipeline.Step, _ []string) { found = found || s.Kind == pipeline.ForeignStep })
	return found
}

// unordered lists the topics of sinks to which one record comes on several ways
// through different tasks: which is first is not defined.
func (c *compiled) unordered() map[string]bool {
	behind := map[string][]string{} // of what has steps behind it in one of its places only: the topics of sinks there
	name := func(s *pipeline.Step) string { return fmt.Sprint(s.Kind, " ", s.Def.Name, " ", s.Join) }
	shared := func(s *pipeline.Step) bool {
		return s.Kind == pipeline.StreamJoinStep && s.Right || s.Kind == pipeline.DelayStep && len(s.Next) == 0
	}
	c.eachStep(func(s *pipeline.Step, _ []string) {
		if (s.Kind == pipeline.StreamJoinStep || s.Kind == pipeline.DelayStep) && !shared(s) {
			behind[name(s)] = sinksBehind(s)
		}
	})
	seen, twice := map[string]bool{}, map[string]bool{}
	way := func(topic string, origins []string) {
		for _, origin := range origins {
			twice[topic] = twice[topic] || seen[topic+" "+origin]
			seen[topic+" "+origin] = true
		}
	}
	double := c.filledTwice()
	for _, sub := range c.result.Plan.Subs {
		for _, in := range sub.Inputs {
			eachStep(in.Steps, func(s *pipeline.Step) {
				if s.Kind == pipeline.SinkStep {
					twice[s.Topic] = twice[s.Topic] || double[in.Topic]
				}
			})
		}
	}
	c.eachStep(func(s *pipeline.Step, origins []string) {
		switch {
		case s.Kind == pipeline.SinkStep:
			way(s.Topic, origins)
		case shared(s):
			for _, topic := range behind[name(s)] {
				way(topic, origins)
			}
		}
	})
	return twice
}

// sinksBehind lists the topics of the sinks behind a step.
func sinksBehind(s *pipeline.Step) (topics []string) {
	eachStep(s.Next, func(s *pipeline.Step) {
		if s.Kind == pipeline.SinkStep {
			topics = append(topics, s.Topic)
		}
	})
	return topics
}

// eachStep visits steps and those behind them.
func eachStep(steps []*pipeline.Step, visit func(*pipeline.Step)) {
	for _, s := range steps {
		visit(s)
		eachStep(s.Next, visit)
	}
}

// eachStep visits all steps of the plan with the topics that their records come from.
func (c *compiled) eachStep(visit func(s *pipeline.Step, origins []string)) {
	for _, sub := range c.result.Plan.Subs {
		for _, in := range sub.Inputs {
			eachStep(in.Steps, func(s *pipeline.Step) { visit(s, in.Origins) })
		}
	}
}
