package upgrade

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"streamctl/internal/diag"
	"streamctl/pipeline"
)

// ErrRefused: going on would mix what two plans mean.
var ErrRefused = errors.New("the plan has changed")

// Verdict is what became of a thing from the recorded plan to this one.
type Verdict string

// The verdicts.
const (
	Unchanged Verdict = "unchanged"
	New       Verdict = "new"
	Changed   Verdict = "changed"
	Gone      Verdict = "gone"
)

// Action is what the user has chosen to do about a change.
type Action string

// The actions.
const (
	Keep    Action = "keep"    // the rows stay as they are; the new definition holds from here on
	Rebuild Action = "rebuild" // the rows are deleted, and the table's topic is read anew
	Empty   Action = "empty"   // the rows are deleted; the table begins with what comes from here on
)

// Change is one line of a comparison.
type Change struct {
	Kind    string   `json:"kind"` // table, sink, repartition, topic, guarantee
	Name    string   `json:"name"`
	Verdict Verdict  `json:"verdict"`
	Effect  string   `json:"effect,omitempty"`  // what happens to it
	Differs []string `json:"differs,omitempty"` // lines with "-" as recorded, with "+" as now
	Refused bool     `json:"refused"`
	Choices []Action `json:"choices,omitempty"` // of which one lifts the refusal
	Chosen  Action   `json:"chosen,omitempty"`
	Left    []string `json:"left,omitempty"` // topics that nothing uses any more

	anew bool // the table's rows are others than those that it had, if any
}

// Comparison says what a plan means for what the recorded one has left.
type Comparison struct {
	Recorded *Record  `json:"-"` // nil: none
	Changes  []Change `json:"changes"`
	// Differs says that the plans do not mean the same, so that they must not run side by side.
	Differs bool `json:"differs"`
}

// Situation is what the comparison has to know of the cluster.
type Situation struct {
	Counts map[string]int32 // partitions of the topics that exist
	Read   map[string]bool  // outer topics that the group has committed offsets of
	// Pending are the repartition topics, of those that mean something else now,
	// that hold records which have not been processed.
	Pending map[string]bool
}

// Compare compares a plan with the recorded one, nil = none. chosen are the
// user's choices by name; one that fits nothing is an error.
func Compare(old *Record, plan *pipeline.Description, s Situation, chosen map[string]Action) (*Comparison, error) {
	c := &comparer{out: &Comparison{Recorded: old}, plan: plan, now: s, chosen: maps.Clone(chosen)}
	if old != nil {
		c.old = old.Plan
		c.out.Differs = old.Plan.Fingerprint != plan.Fingerprint
		c.tables()
		c.sinks()
		c.repartitions()
		c.guarantee()
	}
	c.topics()
	return c.out, c.leftOver()
}

// comparer does one comparison.
type comparer struct {
	out    *Comparison
	old    *pipeline.Description
	plan   *pipeline.Description
	now    Situation
	chosen map[string]Action
	faults []error
}

// add notes a change. Where it is refused, the user's choice lifts that.
func (c *comparer) add(ch Change) {
	if want, ok := c.chosen[ch.Name]; ok && len(ch.Choices) > 0 {
		delete(c.chosen, ch.Name)
		if slices.Contains(ch.Choices, want) {
			ch.Chosen, ch.Refused, ch.Effect = want, false, effects()[want]
		} else {
			c.faults = append(c.faults, fmt.Errorf("%s %s: %q is not possible: want %s", ch.Kind, ch.Name, want, actions(ch.Choices)))
		}
	}
	c.out.Changes = append(c.out.Changes, ch)
}

func effects() map[Action]string {
	return map[Action]string{
		Keep:    "its rows are kept; the new definition holds from here on",
		Rebuild: "its rows are deleted, and its topic is read anew before the streams",
		Empty:   "its rows are deleted; it begins with what comes from here on",
	}
}

func actions(list []Action) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = string(a)
	}
	return strings.Join(words, " or ")
}

// leftOver reports choices that fit nothing. What has been accepted already is
// no fault: processes are started again with the same command line.
func (c *comparer) leftOver() error {
	for _, name := range slices.Sorted(maps.Keys(c.chosen)) {
		var names []string
		known := false
		for _, t := range c.plan.Tables {
			names, known = append(names, t.Name), known || t.Name == name
		}
		for _, r := range c.plan.Repartitions {
			known = known || r.Topic == name
		}
		if known {
			continue
		}
		err := fmt.Errorf("the pipeline has no table %q", name)
		if near := diag.Nearest(name, names); near != "" {
			err = fmt.Errorf("%w; did you mean %q?", err, near)
		}
		c.faults = append(c.faults, err)
	}
	return errors.Join(c.faults...)
}

// tables compares what has state.
func (c *comparer) tables() {
	for i := range c.plan.Tables {
		now := &c.plan.Tables[i]
		was := table(c.old, now.Name)
		st := c.out.Recorded.State[now.Name]
		switch {
		case st.Cleared && (was == nil || was.Fingerprint != now.Fingerprint):
			ch := Change{Kind: "table", Name: now.Name, Verdict: Changed, Effect: "its rows have been deleted: it begins anew"}
			if was != nil {
				ch.Differs = differences(was, now)
			}
			c.add(ch)
		case was == nil && st.Gone == nil:
			c.newTable(now)
		case was == nil:
			c.returned(now, st.Gone)
		case was.Fingerprint == now.Fingerprint:
			c.sameTable(now)
		default:
			c.changedTable(was, now)
		}
	}
	for i := range c.old.Tables {
		if was := &c.old.Tables[i]; table(c.plan, was.Name) == nil {
			c.gone(was, "its rows stay where they are")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.out.Recorded.State)) {
		if was := c.out.Recorded.State[name].Gone; was != nil && table(c.plan, name) == nil && table(c.old, name) == nil && len(c.existing(was.Changelogs)) > 0 {
			c.gone(was, "gone for longer; its rows stay where they are")
		}
	}
}

// deleted are those of the topics that were there when the plan was recorded.
func (c *comparer) deleted(topics []string) []string {
	return slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return c.out.Recorded.Topics[t] == 0 || c.now.Counts[t] > 0 })
}

func (c *comparer) existing(topics []string) []string {
	return slices.DeleteFunc(slices.Clone(topics), func(t string) bool { _, ok := c.now.Counts[t]; return !ok })
}

func (c *comparer) gone(was *pipeline.TableDescription, effect string) {
	left := c.existing(was.Changelogs)
	if len(left) == 0 {
		effect = ""
	}
	c.add(Change{Kind: "table", Name: was.Name, Verdict: Gone, Effect: effect, Left: left})
}

func (c *comparer) sameTable(now *pipeline.TableDescription) {
	was, is := c.out.Recorded.Topics[now.Topic], c.now.Counts[now.Topic]
	cleared := c.out.Recorded.State[now.Name].Cleared
	if now.Kind == pipeline.TopicTable && !cleared && was > 0 && is > 0 && was != is {
		c.add(Change{Kind: "table", Name: now.Name, Verdict: Changed, Refused: true, Choices: []Action{Rebuild},
			Effect:  fmt.Sprintf("%s had %d partitions and has %d: rows of a key may now lie in another one", now.Topic, was, is),
			Differs: []string{fmt.Sprintf("- %d partitions", was), fmt.Sprintf("+ %d partitions", is)}})
		return
	}
	if lost := c.deleted(now.Changelogs); len(lost) > 0 && !cleared {
		// Made anew it would be empty, and the rows would begin in the middle.
		c.newTable(now)
		ch := &c.out.Changes[len(c.out.Changes)-1]
		ch.anew = true
		ch.Effect = fmt.Sprintf("%s, which holds its rows, has been deleted; %s", strings.Join(lost, ", "), ch.Effect)
		return
	}
	c.add(Change{Kind: "table", Name: now.Name, Verdict: Unchanged, Effect: renamed(table(c.old, now.Name), now)})
}

// newTable: one that a topic holds is read whole first; an aggregate over what
// has been read already would begin in the middle.
func (c *comparer) newTable(now *pipeline.TableDescription) {
	if now.Kind == pipeline.RekeyedTable && c.now.Read[now.Topic] {
		// What has been copied elsewhere is not copied again by itself: one more
		// copy of a replicated table would lack it.
		c.add(Change{Kind: "table", Name: now.Name, Verdict: New, Chosen: Rebuild, Effect: fmt.Sprintf("%s is read anew, and whole before the streams", now.Topic)})
		return
	}
	if now.Kind != pipeline.DerivedTable {
		c.add(Change{Kind: "table", Name: now.Name, Verdict: New, Effect: fmt.Sprintf("%s is read whole before the streams", now.Topic)})
		return
	}
	if read := c.readAlready(now); len(read) > 0 {
		c.add(Change{Kind: "table", Name: now.Name, Verdict: New, Refused: true, Choices: []Action{Empty},
			Effect: fmt.Sprintf("%s has been read already: the table would hold only what comes from here on%s", strings.Join(read, ", "), c.nameLost(now))})
		return
	}
	c.add(Change{Kind: "table", Name: now.Name, Verdict: New, Effect: "its input is read from the beginning"})
}

func (c *comparer) readAlready(t *pipeline.TableDescription) []string {
	return slices.DeleteFunc(slices.Clone(t.Inputs), func(topic string) bool { return !c.now.Read[topic] })
}

// returned is a table that the recorded plan did not have, but one before it.
func (c *comparer) returned(now, was *pipeline.TableDescription) {
	switch {
	case now.Kind != pipeline.TopicTable && len(c.existing(was.Changelogs)) == 0:
		c.newTable(now) // its topics have been deleted meanwhile
		c.out.Changes[len(c.out.Changes)-1].anew = true
	case was.Fingerprint != now.Fingerprint:
		c.changedTable(was, now)
	case now.Kind != pipeline.DerivedTable:
		c.add(Change{Kind: "table", Name: now.Name, Verdict: New, Effect: "it was there before: it goes on where it stood"})
	default:
		c.add(Change{Kind: "table", Name: now.Name, Verdict: New, Refused: true, Choices: []Action{Keep, Empty},
			Effect: "it was there before: its rows have missed what was read since"})
	}
}

func (c *comparer) changedTable(was, now *pipeline.TableDescription) {
	ch := Change{Kind: "table", Name: now.Name, Verdict: Changed, Refused: true, Differs: differences(was, now)}
	sameRows := was.Kind == now.Kind && was.Topic == now.Topic && slices.Equal(was.Key, now.Key) && placement(was) == placement(now) && toldAlike(was, now)
	switch {
	case now.Kind == pipeline.DerivedTable:
		ch.Effect = "its rows were made by another definition"
		if sameRows && len(was.Aggregates) <= len(now.Aggregates) && slices.Equal(was.Aggregates, now.Aggregates[:len(was.Aggregates)]) {
			ch.Choices = append(ch.Choices, Keep)
		} else if sameRows {
			ch.Effect = "its rows hold other aggregates, or in another order"
		} else {
			ch.Effect = "its rows lie under other keys"
		}
		ch.Choices = append(ch.Choices, Empty)
	case was.Topic != now.Topic:
		ch.Effect, ch.Choices = "its rows came from another topic", []Action{Rebuild}
	default:
		ch.Effect, ch.Choices = "its rows were made by another definition", []Action{Rebuild}
		if sameRows {
			ch.Choices = []Action{Keep, Rebuild}
		}
	}
	c.add(ch)
}

// renamed says that a table is called something else now, and keeps its state.
func renamed(was, now *pipeline.TableDescription) string {
	if was == nil || cmp.Or(was.Title, was.Name) == cmp.Or(now.Title, now.Name) {
		return ""
	}
	return fmt.Sprintf("kept (renamed): it is called %s now", cmp.Or(now.Title, now.Name))
}

// nameLost says how a new table can have the rows that are there under another name.
func (c *comparer) nameLost(now *pipeline.TableDescription) string {
	if now.Title != "" {
		return fmt.Sprintf("; id_was names %s, and the recorded plan has no such table", now.Name)
	}
	for i := range c.old.Tables {
		if was := &c.old.Tables[i]; was.Fingerprint == now.Fingerprint && table(c.plan, was.Name) == nil {
			return fmt.Sprintf("; it is what %s was: `id_was: %s` keeps those rows", was.Name, was.Name)
		}
	}
	return ""
}

// toldAlike says that the same of the rows has been told to those behind: of
// a top table which are the first, of a topic's table which are over. Rows that
// have been told, or not, by one definition do not fit another.
func toldAlike(was, now *pipeline.TableDescription) bool {
	return lineOf(was, "first ") == lineOf(now, "first ") && (now.Kind == pipeline.DerivedTable || lineOf(was, "rows stay ") == lineOf(now, "rows stay "))
}

// lineOf finds a line of a table's definition by its beginning.
func lineOf(t *pipeline.TableDescription, prefix string) string {
	for _, line := range t.Definition {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}

// placement is the line that says where rows lie.
func placement(t *pipeline.TableDescription) string {
	for _, line := range t.Definition {
		if strings.HasPrefix(line, "partitions follow") {
			return line
		}
	}
	return ""
}

// differences lists the lines that only one of two definitions has.
func differences(was, now *pipeline.TableDescription) []string {
	return lineDifferences(was.Definition, now.Definition)
}

func lineDifferences(was, now []string) []string {
	var out []string
	for _, line := range was {
		if !slices.Contains(now, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(was, line) {
			out = append(out, "+ "+line)
		}
	}
	if out == nil && !slices.Equal(was, now) {
		out = []string{"~ the order"}
	}
	return out
}

// sinks are never refused: what they have sent stays.
func (c *comparer) sinks() {
	find := func(d *pipeline.Description, name string) *pipeline.SinkDescription {
		i := slices.IndexFunc(d.Sinks, func(s pipeline.SinkDescription) bool { return s.Name == name })
		if i < 0 {
			return nil
		}
		return &d.Sinks[i]
	}
	for i := range c.plan.Sinks {
		now := &c.plan.Sinks[i]
		was := find(c.old, now.Name)
		switch {
		case was == nil:
			c.add(Change{Kind: "sink", Name: now.Name, Verdict: New, Effect: "it gets what is read from here on"})
		case was.Fingerprint == now.Fingerprint:
			c.add(Change{Kind: "sink", Name: now.Name, Verdict: Unchanged})
		default:
			c.add(Change{Kind: "sink", Name: now.Name, Verdict: Changed, Effect: "what it has sent stays", Differs: lineDifferences(was.Definition, now.Definition)})
		}
	}
	for _, was := range c.old.Sinks {
		if find(c.plan, was.Name) == nil {
			c.add(Change{Kind: "sink", Name: was.Name, Verdict: Gone, Effect: fmt.Sprintf("what it has sent to %s stays", was.Topic)})
		}
	}
}

// repartitions refuses to leave records behind, or to read records that were
// written for something else.
func (c *comparer) repartitions() {
	for _, was := range Stale(c.old, c.plan) {
		verdict, effect := Changed, "it holds records that the recorded plan has written and not processed"
		if was.gone {
			verdict = Gone
		}
		ch := Change{Kind: "repartition", Name: was.Topic, Verdict: verdict}
		if was.gone {
			ch.Left = c.existing([]string{was.Topic})
		}
		if c.now.Pending[was.Topic] && !was.unwanted && !c.out.Recorded.Rewound {
			ch.Effect, ch.Refused, ch.Choices = effect, true, []Action{Keep}
		}
		c.add(ch)
	}
}

// staleTopic is a repartition topic of the recorded plan whose content means
// something else now, or nothing.
type staleTopic struct {
	pipeline.RepartitionDescription
	gone     bool
	unwanted bool // what it served is gone, too
}

// Stale lists the repartition topics of one plan that another one reads
// otherwise, or not at all.
func Stale(old, plan *pipeline.Description) []staleTopic {
	var out []staleTopic
	for _, was := range old.Repartitions {
		i := slices.IndexFunc(plan.Repartitions, func(r pipeline.RepartitionDescription) bool { return r.Topic == was.Topic })
		if i >= 0 && plan.Repartitions[i].Fingerprint == was.Fingerprint {
			continue
		}
		served := table(plan, was.Of) != nil || slices.Contains(plan.Streams, was.Of)
		out = append(out, staleTopic{was, i < 0, i < 0 && !served})
	}
	return out
}

func (c *comparer) guarantee() {
	if c.old.Guarantee != c.plan.Guarantee {
		c.add(Change{Kind: "guarantee", Name: c.plan.Guarantee, Verdict: Changed, Differs: []string{"- " + c.old.Guarantee, "+ " + c.plan.Guarantee}})
	}
}

// topics refuses partition counts that do not fit any more.
func (c *comparer) topics() {
	want := Partitions(c.plan, c.now.Counts)
	for _, t := range c.plan.InternalTopics {
		is, exists := c.now.Counts[t.Name]
		if w := want[t.Name]; exists && w > 0 && w != is {
			c.add(Change{Kind: "topic", Name: t.Name, Verdict: Changed, Refused: true,
				Effect: fmt.Sprintf("it has %d partitions, but %s now asks for %d: run reset-offsets, delete the topic, and start again", is, strings.Join(t.PartitionsLike, ", "), w)})
		}
	}
}

// Partitions gives the partition counts that the pipeline's own topics must
// have; one that depends on a topic that does not exist is left out.
func Partitions(d *pipeline.Description, counts map[string]int32) map[string]int32 {
	out := make(map[string]int32)
	for range d.InternalTopics { // they may depend on each other
		for _, t := range d.InternalTopics {
			var most int32
			known := true
			for _, like := range t.PartitionsLike {
				n, ok := counts[like]
				if own, is := out[like]; is {
					n, ok = own, true
				}
				known = known && ok
				most = max(most, n)
			}
			if known {
				out[t.Name] = most
			}
		}
	}
	return out
}

// Changed says whether anything is not as it was.
func (c *Comparison) Changed() bool {
	return slices.ContainsFunc(c.Changes, func(ch Change) bool { return ch.Verdict != Unchanged })
}

// Refused lists what is refused, as one error that wraps ErrRefused; nil = nothing.
func (c *Comparison) Refused() error {
	var lines []string
	choices := make(map[string]bool)
	var flags []string
	for _, ch := range c.Changes {
		if !ch.Refused {
			continue
		}
		line := fmt.Sprintf("  %s %s: %s", ch.Kind, ch.Name, ch.Effect)
		for _, d := range ch.Differs {
			line += "\n      " + d
		}
		if len(ch.Choices) > 0 {
			line += fmt.Sprintf("\n      possible: %s", actions(ch.Choices))
			flags = append(flags, ch.Name+"="+string(ch.Choices[0]))
			choices[ch.Kind] = true
		}
		lines = append(lines, line)
	}
	if lines == nil {
		return nil
	}
	help := "What can be done: go back to the recorded plan; give the pipeline another name, and it begins anew beside this one;\n" +
		"or run reset-offsets, which deletes the state and rewinds the input, so that everything is built anew"
	if choices["repartition"] {
		help += ";\nor run the recorded pipeline with --until-end first, so that nothing is left between its steps"
	}
	if len(flags) > 0 {
		help += ";\nor choose with run --accept-changes " + strings.Join(flags, ",")
	}
	return fmt.Errorf("%w in a way that its state does not fit:\n%s\n%s", ErrRefused, strings.Join(lines, "\n"), help)
}

// Next is the record of a plan that follows the recorded one. counts are the
// partitions of the topics that exist.
func (c *Comparison) Next(plan *pipeline.Description, counts map[string]int32, version string, at time.Time) *Record {
	r := &Record{Format: Format, Version: version, At: at.UTC(), Plan: plan, Topics: make(map[string]int32), State: make(map[string]TableState)}
	if c.Recorded != nil {
		for name, st := range c.Recorded.State {
			if was := table(c.Recorded.Plan, name); was != nil {
				st.Gone = was
			}
			r.State[name] = st
		}
	}
	for _, t := range plan.Tables {
		st := r.State[t.Name]
		r.State[t.Name] = TableState{Number: max(st.Number, 1)}
	}
	for _, ch := range c.Changes {
		if st, ok := r.State[ch.Name]; ok && ch.Kind == "table" && (ch.Chosen == Rebuild || ch.Chosen == Empty || ch.anew) {
			st.Number++
			r.State[ch.Name] = st
		}
	}
	for _, read := range plan.Reads {
		if n := counts[read.Topic]; n > 0 {
			r.Topics[read.Topic] = n
		}
	}
	maps.Copy(r.Topics, Partitions(plan, counts))
	return r
}

// Same says whether two records say the same, whoever wrote them when.
func (r *Record) Same(other *Record) bool {
	if r == nil || other == nil {
		return r == other
	}
	a, b := *r, *other
	a.At, a.Version, b.At, b.Version = time.Time{}, "", time.Time{}, ""
	planA, planB := *a.Plan, *b.Plan
	planA.Text, planB.Text = "", "" // how a plan is shown may differ between versions
	a.Plan, b.Plan = &planA, &planB
	x, errX := a.Encode()
	y, errY := b.Encode()
	return errX == nil && errY == nil && string(x) == string(y)
}
