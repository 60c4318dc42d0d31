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
	l.Partitions, l.Writers, l.Flow = partitions, c.writers(), c.flow()
	l.Partition = func(_ string, key []byte) int32 { return codec.Partition(key, partitions) }
	return l
}

// writers lists, for each sub-topology, those that tell it of their time.
func (c *compiled) writers() map[string][]string {
	writers := map[string][]string{}
	for topic, told := range c.carried() {
		for _, sub := range c.topology.Subs {
			if !reads(sub, topic) {
				continue
			}
			for _, before := range told {
				if !slices.Contains(writers[sub.Name], before.Name) {
					writers[sub.Name] = append(writers[sub.Name], before.Name)
				}
			}
		}
	}
	return writers
}

// carried lists the topics in which those who write them promise their time, with these
// (ADR 90): topics of streams behind which somebody asks for time, and of which no
// reader comes before a writer.
func (c *compiled) carried() map[string][]*operators.SubTopology {
	carried := map[string][]*operators.SubTopology{}
	for _, topic := range c.topics {
		var before []*operators.SubTopology
		for _, sub := range c.topology.Subs {
			if writes(sub, topic) {
				before = append(before, sub)
			}
		}
		carries, asked := len(before) > 0, false
		for _, sub := range c.topology.Subs {
			for _, in := range sub.Inputs {
				if in.Topic != topic {
					continue
				}
				behind := c.behind(sub, nil)
				carries = carries && in.Purge && !in.Awaited && in.Table == "" && !slices.ContainsFunc(before, func(w *operators.SubTopology) bool { return slices.Contains(behind, w) })
				asked = asked || slices.ContainsFunc(behind, func(s *operators.SubTopology) bool { return s.Timely })
			}
		}
		if carries && asked {
			carried[topic] = before
		}
	}
	return carried
}

// behind adds to list a sub-topology and those to which its records come.
func (c *compiled) behind(sub *operators.SubTopology, list []*operators.SubTopology) []*operators.SubTopology {
	if slices.Contains(list, sub) {
		return list
	}
	list = append(list, sub)
	for _, out := range sub.Outputs {
		for _, reader := range c.topology.Subs {
			if out.Internal && reads(reader, out.Topic) {
				list = c.behind(reader, list)
			}
		}
	}
	return list
}

// hearsTwice says that a task is told of time in several topics, or by several before
// it: it hears with the next commit only what a record that comes one way has moved on the other.
func (c *compiled) hearsTwice() bool {
	ways := map[string]int{}
	for topic, before := range c.carried() {
		for _, sub := range c.topology.Subs {
			if reads(sub, topic) {
				ways[sub.Name] += len(before)
			}
		}
	}
	for _, n := range ways {
		if n > 1 {
			return true
		}
	}
	return false
}

func reads(sub *operators.SubTopology, topic string) bool {
	return slices.ContainsFunc(sub.Inputs, func(in operators.InputSpec) bool { return in.Topic == topic })
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
			if in.Kind == pipeline.AnswerInput {
				continue // it comes behind what it answers
			}
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

// filledTwice lists the repartition topics to which one record comes on several
// ways: which of them is first there is not defined.
func (c *compiled) filledTwice() map[string]bool {
	twice, seen := map[string]bool{}, map[string]bool{}
	for range c.result.Plan.Subs { // far enough: topics behind topics
		clear(seen)
		for _, sub := range c.result.Plan.Subs {
			for _, in := range sub.Inputs {
				eachStep(in.Steps, func(s *pipeline.Step) {
					if s.Kind != pipeline.RepartitionStep && s.Kind != pipeline.MatchStep {
						return
					}
					for _, origin := range in.Origins {
						twice[s.Topic] = twice[s.Topic] || twice[in.Topic] || seen[s.Topic+" "+origin]
						seen[s.Topic+" "+origin] = true
					}
				})
				if in.Kind == pipeline.RepartitionInput && in.Output != "" { // documents: to where their parts meet
					twice[in.Output] = twice[in.Output] || twice[in.Topic]
				}
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
		return s.Kind == pipeline.StreamJoinStep && s.Right || (s.Kind == pipeline.StreamJoinStep || s.Kind == pipeline.DelayStep) && len(s.Next) == 0
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

// letGo lists the topics of sinks before which records are held back until time has moved:
// those of several partitions that leave at one moment have no order among them, although
// they may have one key.
func (c *compiled) letGo() map[string]bool {
	topics := map[string]bool{}
	c.eachStep(func(s *pipeline.Step, _ []string) {
		if s.Kind == pipeline.SinkStep && holdsBack(s.Def) {
			topics[s.Topic] = true
		}
	})
	return topics
}

// holdsBack says that records are held back in a definition, or before it.
func holdsBack(d *pipeline.Def) bool {
	if d.Window != nil && d.Window.Final {
		return true
	}
	if slices.ContainsFunc(d.Joins, func(j pipeline.ResolvedJoin) bool { return j.Wait > 0 || j.Bounds != nil || holdsBack(j.Def) }) {
		return true
	}
	return slices.ContainsFunc(d.From, func(in pipeline.ResolvedInput) bool { return holdsBack(in.Def) })
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
