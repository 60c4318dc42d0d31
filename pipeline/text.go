package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"streamctl/operators"
)

// String is the stable text form of the plan: the same for the same pipeline,
// whatever machine and run.
func (p *Plan) String() string {
	w := &textWriter{plan: p}
	w.linef(0, "pipeline %s", p.Pipeline)
	for _, s := range p.Subs {
		w.sub(s)
	}
	for _, t := range p.Topics {
		w.linef(0, "")
		w.linef(0, "topic %s", t.Name)
		w.linef(1, "partitions like %s", strings.Join(t.PartitionsLike, ", "))
		for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
			w.linef(1, "%s = %s", k, t.Configs[k])
		}
	}
	return w.out.String()
}

// textWriter writes a plan line by line.
type textWriter struct {
	plan *Plan
	out  strings.Builder
}

// linef writes one line, indented by depth.
func (w *textWriter) linef(depth int, format string, args ...any) {
	line := strings.Repeat("  ", depth) + fmt.Sprintf(format, args...)
	w.out.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (w *textWriter) sub(s *SubPlan) {
	w.linef(0, "")
	w.linef(0, "sub-topology %s", s.Name)
	if len(s.Tables) > 0 {
		w.linef(1, "partitions follow keys as %s", s.KeyFormat)
	}
	for _, t := range s.Tables {
		if t.Changelog != "" {
			w.linef(1, "keeps %s, changelog %s", t.Name, t.Changelog)
		} else {
			w.linef(1, "keeps %s", t.Name)
		}
	}
	for _, in := range s.Inputs {
		w.input(in)
	}
}

// input writes what an input reads and does.
func (w *textWriter) input(in *InputPlan) {
	d := in.Def
	w.linef(1, "reads %s", in.Topic)
	switch in.Kind {
	case SourceInput:
		w.decoding(in, "as source "+d.Name)
	case TableInput:
		w.decoding(in, "as table "+d.Name+", its own changelog")
	case RekeyInput:
		w.decoding(in, "as table "+d.Name)
		w.linef(2, "writes rows by key %s to %s", oneLine(d.Table.Key.Value), in.Output)
		if w.plan.typed.defs[d].keyFromValue {
			w.linef(2, "remembers the key of each record key in %s", KeysTable(d.Name))
		}
	case ChangelogInput:
		w.linef(2, "as changelog of table %s, complete when %s is read", d.Name, strings.Join(in.Origins, ", "))
	case RepartitionInput:
		w.linef(2, "as repartition of %s", d.Name)
	}
	w.steps(in.Steps, 2)
}

// decoding writes how records of an outer topic are read.
func (w *textWriter) decoding(in *InputPlan, as string) {
	d, td := in.Def, w.plan.typed.defs[in.Def]
	w.linef(2, "%s", as)
	w.linef(2, "key %s, value %s", td.keyFormat, td.format)
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
	w.onError(2, d)
	if d.OnGap != operators.GapFail {
		w.linef(2, "on a gap go on at the %s", d.OnGap)
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
		if len(steps) > 1 || s.Kind == FromStep || s.Kind == GroupStep {
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
		w.linef(depth, "%s %s: from %s", d.Kind, d.Name, strings.TrimSpace(in.Def.Name+" "+in.Alias))
		w.onError(depth+1, d)
	case WhereStep:
		w.linef(depth, "where %s", oneLine(d.Query.Where.Value))
	case JoinStep:
		j := d.Joins[s.Join]
		kind := "inner"
		if j.Left {
			kind = "left"
		}
		w.linef(depth, "%s join %s %s on %s", kind, j.Def.Name, j.Alias, oneLine(j.Join.On.Value))
	case SelectStep:
		for _, c := range d.Query.Select {
			w.linef(depth, "select %s", columnText(c))
		}
	case GroupStep:
		td := w.plan.typed.defs[d]
		w.linef(depth, "group by %s into %s", oneLine(strings.Join(td.groupTexts, ", ")), d.Name)
		for _, c := range d.Query.Select {
			w.linef(depth+1, "select %s", columnText(c))
		}
	case RepartitionStep:
		w.linef(depth, "repartition by %s to %s", oneLine(w.repartitionKey(s)), s.Topic)
	case SinkStep:
		w.sink(s, depth)
	}
}

// repartitionKey is the text of the key that a step repartitions by.
func (w *textWriter) repartitionKey(s *Step) string {
	td := w.plan.typed.defs[s.Def]
	if s.Join < 0 {
		return strings.Join(td.groupTexts, ", ")
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
