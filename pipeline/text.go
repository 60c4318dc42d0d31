package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"streamctl/operators"
	"streamctl/state"
)

// String is the stable text form of the plan: the same for the same pipeline,
// whatever machine and run.
func (p *Plan) String() string { return p.Describe().Text }

// Text is String with the numbers of tasks and partitions, where counts has
// those of the topics that they follow.
func (p *Plan) Text(counts map[string]int32) string { return p.text(p.Describe(), counts) }

// text writes the plan that d describes.
func (p *Plan) text(d *Description, counts map[string]int32) string {
	w := &textWriter{plan: p, counts: counts, fields: make(map[string][]string)}
	for _, r := range d.Reads {
		w.fields[r.Topic] = r.Fields
	}
	w.linef(0, "pipeline %s, %s", p.Pipeline, strings.ReplaceAll(d.Guarantee, "_", " "))
	for _, s := range p.Subs {
		w.sub(s)
	}
	w.functions()
	for _, t := range p.Topics {
		w.linef(0, "")
		w.linef(0, "topic %s", t.Name)
		like := "partitions like " + strings.Join(t.PartitionsLike, ", ")
		if n := counts[t.Name]; n > 0 {
			like += fmt.Sprintf(": %d", n)
		}
		w.linef(1, "%s", like)
		for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
			w.linef(1, "%s = %s", k, t.Configs[k])
		}
	}
	return w.out.String()
}

// textWriter writes a plan line by line.
type textWriter struct {
	plan   *Plan
	counts map[string]int32    // partitions of topics, where they are known
	fields map[string][]string // that are read of a topic's values
	out    strings.Builder
}

// linef writes one line, indented by depth.
func (w *textWriter) linef(depth int, format string, args ...any) {
	line := strings.Repeat("  ", depth) + fmt.Sprintf(format, args...)
	w.out.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (w *textWriter) sub(s *SubPlan) {
	w.linef(0, "")
	w.linef(0, "sub-topology %s", s.Name)
	w.linef(1, "%s", w.tasks(s))
	if len(s.Tables) > 0 {
		w.linef(1, "partitions follow keys as %s", s.KeyFormat)
	}
	for _, t := range s.Tables {
		w.linef(1, "keeps %s: %s", t.Name, s.restoredFrom(t))
	}
	for _, in := range s.Inputs {
		w.input(in)
	}
}

// tasks says how many tasks run the sub-topology.
func (w *textWriter) tasks(s *SubPlan) string {
	var topics []string
	for _, in := range s.Inputs {
		topics = append(topics, in.Topic)
	}
	slices.Sort(topics)
	each := "one task per partition of " + strings.Join(topics, ", ")
	for _, topic := range topics {
		if n := w.counts[topic]; n > 0 {
			return fmt.Sprintf("%s: %d", each, n)
		}
	}
	return each
}

// restoredFrom says from where the state of a table comes when it is lost.
func (s *SubPlan) restoredFrom(t state.TableSpec) string {
	if t.Changelog != "" {
		return "local state, restored from " + t.Changelog
	}
	for _, in := range s.Inputs {
		switch {
		case in.Kind == TableInput && in.Def.Name == t.Name:
			return "local state, restored from its topic " + in.Topic
		case in.Kind == ChangelogInput && in.Table == t.Name:
			return fmt.Sprintf("local state, restored from %s, which has all rows of %s", in.Topic, strings.Join(in.Origins, ", "))
		case in.Kind == ChangelogInput && in.Def.Name == t.Name:
			return fmt.Sprintf("local state, restored from %s, which has %s under the table's key", in.Topic, strings.Join(in.Origins, ", "))
		}
	}
	return "local state"
}

// input writes what an input reads and does.
func (w *textWriter) input(in *InputPlan) {
	d := in.Def
	w.linef(1, "reads %s", in.Topic)
	switch in.Kind {
	case SourceInput:
		w.decoding(in, "as source "+d.Name)
	case TableInput:
		if d.History > 0 {
			w.decoding(in, versionedText(in))
		} else {
			w.decoding(in, "as table "+d.named()+", its own changelog")
		}
	case RekeyInput:
		w.decoding(in, "as table "+d.named())
		if len(in.Copies) > 0 {
			w.copied(in)
		} else {
			w.linef(2, "writes rows by key %s to %s", oneLine(d.Table.Key.Value), in.Output)
		}
		if w.plan.typed.defs[d].keyFromValue {
			w.linef(2, "remembers the key of each record key in %s", KeysTable(d.Name))
		}
	case ChangelogInput:
		if d.History > 0 {
			w.linef(2, "%s", versionedText(in))
			break
		}
		w.linef(2, "as %s, complete when %s is read", replicaKind(in), strings.Join(in.Origins, ", "))
	case RepartitionInput:
		if in.Join == documentsStep || in.Join == partsStep {
			w.matchInput(in)
			break
		}
		w.linef(2, "as repartition of %s", d.Name)
		if lag := in.Lag.Truncate(time.Second); in.Lag > 0 {
			w.linef(2, "stream time runs %s behind: records were held back", formatDuration(cmp.Or(lag, in.Lag)))
		}
	case SubscriptionInput:
		w.linef(2, "as what %s asks for in its join of %s", d.Name, d.Joins[in.Join].Def.Name)
	case AnswerInput:
		w.linef(2, "as answers to %s in its join of %s", d.Name, d.Joins[in.Join].Def.Name)
	}
	w.steps(in.Steps, 2)
}

// decoding writes how records of an outer topic are read.
func (w *textWriter) decoding(in *InputPlan, as string) {
	d, td := in.Def, w.plan.typed.defs[in.Def]
	w.linef(2, "%s", as)
	w.linef(2, "key %s, value %s", td.keyFormat, td.format)
	if fields := w.fields[in.Topic]; len(fields) > 0 {
		w.linef(2, "fields %s", strings.Join(fields, ", "))
	}
	timestamp, placed := Text{}, Text{}
	if d.Kind == SourceDef {
		timestamp, placed = d.Source.Timestamp, d.Source.PartitionedBy
	} else {
		timestamp, placed = d.Table.Timestamp, d.Table.PartitionedBy
		if d.Table.Envelope.Set {
			w.linef(2, "envelope %s", d.Table.Envelope.Value)
		}
		if in.Kind == TableInput && d.Table.Key.Set {
			w.linef(2, "key %s", oneLine(d.Table.Key.Value))
		}
		if d.Table.Value.Set {
			w.linef(2, "row %s", oneLine(d.Table.Value.Value))
		}
	}
	if timestamp.Set {
		w.linef(2, "event time %s", oneLine(timestamp.Value))
	}
	switch {
	case placed.Set:
		w.linef(2, "checks that partitions follow %s", oneLine(placed.Value))
	case in.Placed:
		w.linef(2, "checks that partitions follow the record key")
	}
	w.lifetime(2, d)
	w.onError(2, d)
	if d.OnGap != operators.GapFail {
		w.linef(2, "on a gap go on at the %s", d.OnGap)
	}
}

// lifetime says how long rows stay that are not updated.
func (w *textWriter) lifetime(depth int, d *Def) {
	if d.TTL > 0 {
		w.linef(depth, "%s", d.ttlLine())
	}
}

func (w *textWriter) onError(depth int, d *Def) {
	if d.OnError != Fail {
		w.linef(depth, "on error %s", d.OnError)
	}
}

// steps writes operators, those of one chain at one depth.
func (w *textWriter) steps(steps []*Step, depth int) {
	for _, s := range steps {
		next := depth
		if len(steps) > 1 || s.Kind == FromStep || s.Kind == GroupStep || s.Kind == MaterializeStep || s.Kind == TableJoinStep || s.Kind == TopStep {
			next++
		}
		w.step(s, depth)
		w.steps(s.Next, next)
	}
}

func (w *textWriter) step(s *Step, depth int) {
	d := s.Def
	switch s.Kind {
	case FromStep:
		in, _ := d.input(s.Branch, w.plan.typed.defs)
		w.linef(depth, "%s %s: from %s", d.Kind, d.named(), strings.TrimSpace(in.Def.Title()+" "+in.Alias))
		w.onError(depth+1, d)
	case WhereStep:
		w.linef(depth, "where %s", oneLine(d.Query.Where.Value))
	case JoinStep:
		j := d.Joins[s.Join]
		kind := "inner"
		if j.Left {
			kind = "left"
		}
		w.linef(depth, "%s join %s %s on %s%s", kind, j.Def.Title(), j.Alias, oneLine(j.Join.On.Value), j.timesOf())
	case ForeignStep, ForeignAnswerStep, ForeignResultStep:
		w.foreign(s, depth)
	case DelayStep:
		w.linef(depth, "wait for late rows of %s for %s, in %s", d.Joins[s.Join].Def.Name, formatDuration(d.Joins[s.Join].Wait), s.Table)
	case TableJoinStep:
		w.tableJoin(s, depth)
	case MatchStep:
		w.match(s, depth)
	case SearchStep:
		w.linef(depth, "match %s with the queries of %s, all of which are here", oneLine(d.Query.Match.Text.Value), d.Match.Def.Name)
	case QueriesStep:
		w.linef(depth, "queries %s, indexed in memory", d.queryText())
	case TopStep:
		w.linef(depth, "%s into %s", topText(d, w.plan.typed.defs[d].top), d.topState())
	case MaterializeStep:
		w.linef(depth, "keep as %s", d.Name)
		w.lifetime(depth+1, d)
	case SelectStep:
		for _, c := range d.Query.Select {
			w.linef(depth, "select %s", columnText(c))
		}
	case LateStep:
		w.linef(depth, "stream %s: what comes too late for %s", d.Name, d.lateOf.Name)
	case GroupStep:
		td := w.plan.typed.defs[d]
		w.linef(depth, "group by %s into %s", oneLine(strings.Join(td.groupTexts, ", ")), d.Name)
		if d.windowed() {
			w.linef(depth+1, "window %s", d.Window.text)
		}
		w.lifetime(depth+1, d)
		for _, c := range d.Query.Select {
			w.linef(depth+1, "select %s", columnText(c))
		}
		if d.Query.Having.Set {
			w.linef(depth+1, "having %s", oneLine(d.Query.Having.Value))
		}
		if d.emitEvery > 0 {
			w.linef(depth+1, "sends what has changed every %s", formatDuration(d.emitEvery))
		}
	case UnnestStep:
		w.linef(depth, "unnest %s as %s", oneLine(d.Query.Unnest.List.Value), d.Query.Unnest.Alias.Value)
	case DedupStep:
		w.linef(depth, "first by %s within %s, remembered in %s", oneLine(d.Query.Dedup.By.Value), formatDuration(d.DedupWithin), DedupState(d))
	case StreamJoinStep:
		w.streamJoin(s, depth)
	case RepartitionStep:
		w.linef(depth, "repartition by %s to %s: %s", oneLine(w.repartitionKey(s)), s.Topic, w.reason(s))
	case SinkStep:
		w.sink(s, depth)
	}
}

// reason says why records are brought into other partitions.
func (w *textWriter) reason(s *Step) string {
	switch {
	case s.Aligned:
		return fmt.Sprintf("they lie by this key, but where keys are written as %s the partitions are others", w.plan.readerOf(s.Topic).KeyFormat)
	case s.Join == dedupStep:
		return "duplicates must lie together, and they do not lie by this key"
	case s.Join == keyStep:
		return "they lie by their group, and are kept by their key"
	case s.Join < 0:
		return "the records of a group must lie together, and they do not lie by this key"
	}
	if s.Def.Joins[s.Join].Bounds != nil {
		return "they must lie where the other side of the join lies, and they do not lie by this key"
	}
	return fmt.Sprintf("they must lie where %s has its rows, and they do not lie by this key", s.Def.Joins[s.Join].Def.Title())
}

// repartitionKey is the text of the key that a step repartitions by.
func (w *textWriter) repartitionKey(s *Step) string {
	td := w.plan.typed.defs[s.Def]
	switch {
	case s.Join == dedupStep:
		return oneLine(s.Def.Query.Dedup.By.Value)
	case s.Join == keyStep:
		return "key"
	case s.Join == topStep:
		return cmp.Or(strings.Join(td.top.texts, ", "), "nothing")
	case s.Join < 0:
		return strings.Join(td.groupTexts, ", ")
	case s.Right:
		return strings.Join(td.streams[s.Join].rightKeys[s.Branch].texts, ", ")
	}
	return strings.Join(td.joins[s.Branch][s.Join].texts, ", ")
}

func (w *textWriter) sink(s *Step, depth int) {
	d, td := s.Def, w.plan.typed.defs[s.Def]
	key := "its own"
	if d.Sink.Key.Set {
		key = oneLine(d.Sink.Key.Value)
	}
	keep := ""
	if s.Keep {
		keep = ", partition kept"
	}
	w.linef(depth, "sink %s to %s: key %s as %s%s, value %s", d.Name, s.Topic, key, td.keyFormat, keep, td.format)
	w.onError(depth+1, d)
}

func columnText(c Column) string {
	switch {
	case c.Spread == "*":
		return "*" + exceptText(c)
	case c.Spread != "":
		return c.Spread + ".*" + exceptText(c)
	}
	return c.Name.Value + ": " + oneLine(c.Expr.Value)
}

func exceptText(c Column) string {
	if len(c.Except) == 0 {
		return ""
	}
	names := make([]string, len(c.Except))
	for i, e := range c.Except {
		names[i] = e.Value
	}
	return " except [" + strings.Join(names, ", ") + "]"
}

// oneLine writes an expression of several lines in one.
func oneLine(s string) string {
	if !strings.Contains(s, "\n") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}
