package differential

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/testkit"
	"streamctl/pipeline"
)

// promise is what is defined of the records of a sink, see docs/testing.md.
type promise int

const (
	eachInOrder promise = iota // the same records, those of each key in the same order
	thinned                    // of each key some of the records, in order, and what the last one says
	inAnyOrder                 // the same records
	contents                   // of each key the last record
	nothing
)

// promised says what is defined of what lies in the topics of the sinks; again: work
// was done again at least once.
func (c *compiled) promised(set settings, again bool) map[string]promise {
	twoWays, vague := c.unordered(), c.ambiguous()
	held := c.waitsApart()
	if set.Partitions > 1 {
		held = c.letGo()
	}
	asked := c.askedForTime()
	out := map[string]promise{}
	c.eachStep(func(s *pipeline.Step, _ []string) {
		if s.Kind != pipeline.SinkStep {
			return
		}
		p, d := eachInOrder, s.Def
		switch {
		case vague && !c.settled(d), again && groupsJoined(d), asked && goesByTime(d):
			p = nothing
		case coalesces(d):
			p = c.coalesced(d)
			if p == thinned && (vague || again || twoWays[s.Topic] || held[s.Topic]) {
				p = contents
			}
		case vague && isOfTable(d):
			p = contents
		case again && joinsTables(d) && isOfTable(d):
			p = contents
		case vague, twoWays[s.Topic], held[s.Topic]:
			p = inAnyOrder
		}
		out[s.Topic] = max(out[s.Topic], p)
	})
	return out
}

// someDefined says that there is something to compare.
func (c *compiled) someDefined() bool {
	for _, p := range c.promised(settings{Partitions: 1}, false) {
		if p != nothing {
			return true
		}
	}
	return false
}

// every says that a table sends its rows every so often.
func every(d *pipeline.Def) bool {
	return d.Query != nil && d.Query.Emit != nil && d.Query.Emit.Every.Value != ""
}

// coalesces says that it does, or one before it.
func coalesces(d *pipeline.Def) bool { return every(d) || slices.ContainsFunc(before(d), coalesces) }

// behindClock lists the definitions that take rows which are sent every so often: what
// they drop and refuse depends on which rows have been sent. So are those that go by a
// time which answers move.
func (c *compiled) behindClock() map[string]bool {
	names, asked := map[string]bool{}, c.askedForTime()
	for _, sub := range c.result.Plan.Subs {
		for _, in := range sub.Inputs {
			names[in.Def.Name] = names[in.Def.Name] || asked && goesByTime(in.Def)
		}
	}
	c.eachStep(func(s *pipeline.Step, _ []string) {
		names[s.Def.Name] = names[s.Def.Name] || slices.ContainsFunc(before(s.Def), coalesces) || asked && goesByTime(s.Def)
	})
	return names
}

// askedForTime says that time decides in a task that asks others for rows by a foreign
// key, or answers: questions and answers move its time (docs/language.md), when
// they come, which the interpreter does not know.
func (c *compiled) askedForTime() bool {
	for i, sub := range c.result.Plan.Subs {
		if c.topology.Subs[i].Timely && slices.ContainsFunc(sub.Inputs, func(in *pipeline.InputPlan) bool {
			return in.Kind == pipeline.AnswerInput || in.Kind == pipeline.SubscriptionInput
		}) {
			return true
		}
	}
	return false
}

// goesByTime says that time decides what a definition, or one before it, gives out.
func goesByTime(d *pipeline.Def) bool {
	if d.TTL > 0 || d.History > 0 || d.Window != nil || d.Query != nil && d.Query.Dedup != nil {
		return true
	}
	if slices.ContainsFunc(d.Joins, func(j pipeline.ResolvedJoin) bool { return j.Wait > 0 || j.Bounds != nil }) {
		return true
	}
	return slices.ContainsFunc(before(d), goesByTime)
}

// coalesced says what is defined of a sink behind a table that sends its rows every so
// often: which rows it has sent in between depends on the clock.
func (c *compiled) coalesced(sink *pipeline.Def) promise {
	d := sink.From[0].Def
	switch {
	case every(d) && !slices.ContainsFunc(before(d), coalesces):
		return thinned
	case c.settled(d) && isOfTable(d):
		return contents
	}
	return nothing
}

// isOfTable says that what a definition gives out are the changes of a table.
func isOfTable(d *pipeline.Def) bool {
	return d.IsTable() || d.Query != nil && len(d.From) > 0 && isOfTable(d.From[0].Def) || d.Kind == pipeline.SinkDef && isOfTable(d.From[0].Def)
}

// before lists what a definition reads.
func before(d *pipeline.Def) (list []*pipeline.Def) {
	for _, in := range d.From {
		list = append(list, in.Def)
	}
	for _, j := range d.Joins {
		list = append(list, j.Def)
	}
	return list
}

// settled says that what a definition comes to in the end does not depend on which of two
// ways a record is first on: of a table its rows, of a stream its records without their
// order. What looks rows up, and what goes by time, depends on it.
func (c *compiled) settled(d *pipeline.Def) bool {
	if d.TTL > 0 || d.History > 0 || d.Window != nil {
		return false
	}
	if q := d.Query; q != nil {
		if q.Dedup != nil || q.Match != nil || len(d.Joins) > 0 && !isOfTable(d.From[0].Def) {
			return false
		}
		if len(q.GroupBy) > 0 && isOfTable(d.From[0].Def) && !inTurn(d.From[0].Def) {
			return false // a group that a row has only passed through stays, empty (docs/language.md)
		}
		inOrder := strings.Contains(c.text, "first(") || strings.Contains(c.text, "last(") || strings.Contains(c.text, "collect_list(")
		if len(q.GroupBy) > 0 && inOrder {
			return false
		}
	} else if len(d.From) > 0 && d.Kind != pipeline.SinkDef {
		return false // what was late
	}
	return !slices.ContainsFunc(before(d), func(b *pipeline.Def) bool { return !c.settled(b) })
}

// inTurn says that the rows of a table change as the records of one topic do, in their
// order: which groups a row passes through is defined then.
func inTurn(d *pipeline.Def) bool {
	if q := d.Query; q != nil && (len(q.GroupBy) > 0 || q.Top != nil) || len(d.Joins) > 0 {
		return false
	}
	return len(d.From) == 0 || len(d.From) == 1 && inTurn(d.From[0].Def)
}

// joinsTables says that there is a join of tables in a definition, or before it.
func joinsTables(d *pipeline.Def) bool {
	return len(d.Joins) > 0 && isOfTable(d.From[0].Def) || slices.ContainsFunc(before(d), joinsTables)
}

// joinedTables lists the topics of the sinks of such tables.
func (c *compiled) joinedTables() map[string]bool {
	topics := map[string]bool{}
	c.eachStep(func(s *pipeline.Step, _ []string) {
		if s.Kind == pipeline.SinkStep && joinsTables(s.Def) && isOfTable(s.Def) {
			topics[s.Topic] = true
		}
	})
	return topics
}

// groupsJoined says that rows of joined tables are grouped: a group that does not come
// about any more when work is done again may stay in the sink's topic (docs/guarantees.md).
func groupsJoined(d *pipeline.Def) bool {
	if q := d.Query; q != nil && (len(q.GroupBy) > 0 || q.Top != nil) && slices.ContainsFunc(before(d), joinsTables) {
		return true
	}
	return slices.ContainsFunc(before(d), groupsJoined)
}

// countsAgain says that what comes out of a topic of the pipeline's own is counted: what
// is sent there again at least once counts again.
func (c *compiled) countsAgain() bool {
	own := map[string]bool{}
	for _, sub := range c.topology.Subs {
		for _, out := range sub.Outputs {
			own[out.Topic] = own[out.Topic] || out.Internal
		}
	}
	for _, sub := range c.result.Plan.Subs {
		for _, in := range sub.Inputs {
			if own[in.Topic] && in.Kind != pipeline.ChangelogInput && ordered(in.Steps) {
				return true
			}
		}
	}
	return false
}

// lasting are the rows that the records of a table's sink come to.
func lasting(all testkit.Sequences) testkit.Sequences {
	out := testkit.Sequences{}
	for key, list := range all {
		value, _, _ := strings.Cut(list[len(list)-1].Value, " @")
		if value != "-" {
			out.Add(testkit.Output{Key: key, Value: value})
		}
	}
	return out
}

// fewer says what is in got that is not in want in this order, and what is last in
// one but not in the other. The time of a deletion is that of the change that is told.
func fewer(sink string, want, got testkit.Sequences) (problems []string) {
	for key, list := range got {
		rest := want[key]
		for _, o := range list {
			at := slices.IndexFunc(rest, func(w testkit.Output) bool {
				return w == o || strings.HasPrefix(w.Value, "- @") && strings.HasPrefix(o.Value, "- @")
			})
			if at < 0 {
				problems = append(problems, fmt.Sprintf("sink %s: %v is none of those there may be: of %v there is %v", sink, o, want[key], list))
				break
			}
			rest = rest[at+1:]
		}
	}
	if diff := testkit.Diff(lasting(want), lasting(got)); diff != "" {
		problems = append(problems, fmt.Sprintf("sink %s in the end: %s", sink, diff))
	}
	return problems
}

// besides leaves out of got the deletions that are none of want's: the same, of records
// that have no order.
func besides(want, got testkit.Sequences) testkit.Sequences {
	out := testkit.Sequences{}
	for key, list := range got {
		rest := slices.Clone(want[key])
		for _, o := range list {
			at := slices.Index(rest, o)
			if at >= 0 {
				rest = slices.Delete(rest, at, at+1)
			}
			if at >= 0 || !strings.HasPrefix(o.Value, "- @") {
				out.Add(o)
			}
		}
	}
	return out
}

// needed leaves out deletions of what is not there, which joins of tables tell at least
// once when they have been stopped.
func needed(all testkit.Sequences) testkit.Sequences {
	out := testkit.Sequences{}
	for _, list := range all {
		there := false
		for _, o := range list {
			deleted := strings.HasPrefix(o.Value, "- @")
			if !deleted || there {
				out.Add(o)
			}
			there = !deleted
		}
	}
	return out
}
