package pipeline

import (
	"fmt"
	"slices"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/operators"
)

// The rows of a windowed table are those of groups with two more components
// behind the group key: the start and the end of the window. The start is part of
// the table's key, the end follows from it.

// nameWindow adds the components of the window to those of the group key.
func (td *typedDef) nameWindow() {
	td.groupNames = append(td.groupNames, "", "")
	td.groupTypes = append(td.groupTypes, expr.Type{Kind: expr.Int}, expr.Type{Kind: expr.Int})
	td.windowed = true
}

// keyTypes are the types of the components of a derived table's key.
func (td *typedDef) keyTypes() []expr.Type {
	if td.windowed {
		return td.groupTypes[:len(td.groupTypes)-1]
	}
	return td.groupTypes
}

// windowField resolves window.start and window.end.
func (g *groupSpace) windowField(path []codec.Step) (*expr.Resolved, string) {
	if len(path) != 2 || path[1].IsIndex || path[1].Name != "start" && path[1].Name != "end" {
		return nil, "a window has start and end: write window.start or window.end"
	}
	slot := len(g.td.groupTypes) - 2
	if path[1].Name == "end" {
		slot++
	}
	return &expr.Resolved{Ref: expr.Ref{Row: g.row, Slot: slot}, Type: expr.Type{Kind: expr.Int}}, ""
}

// windowed says that name stands for the window of the group.
func (g *groupSpace) windowed(name string) bool { return g.td.windowed && name == "window" }

// placing are those components of a table's key that its rows lie by: of a table
// of windows, those of the group.
func (td *typedDef) placing(key []expr.Ref) []expr.Ref {
	if td.windowed {
		return key[:len(key)-1]
	}
	return key
}

// isFinal says that what d gives is never changed nor taken back, although it is a table's.
func (c *compiler) isFinal(d *Def) bool {
	if d.windowed() {
		return d.Window.Final
	}
	if d.Kind != StreamDef || len(d.Joins) > 0 || len(d.From) == 0 {
		return false
	}
	return !slices.ContainsFunc(d.From, func(in ResolvedInput) bool { return !c.typed[in.Def].final })
}

// checkWindow refuses what windows cannot be made of, and what cannot be made of them.
func (c *compiler) checkWindow(d *Def) {
	for _, in := range d.From {
		if d.windowed() && c.typed[in.Def].changes && !c.typed[in.Def].final {
			c.diags.Errorf(codeWindow, in.Span, "%q holds a table's changes: they cannot be cut into windows", in.Def.Name).
				Help = "a change takes back what an earlier one said, in a window that may be closed; cut the stream that the table is made of, or give that table windows with emit: final"
		}
		if len(d.Joins) > 0 && in.Def.windowed() {
			c.refuseWindows(in)
		}
	}
	for _, j := range d.Joins {
		if j.Def.windowed() {
			c.refuseWindows(j.ResolvedInput)
		}
	}
	if !d.windowed() {
		return
	}
	for _, g := range d.Query.GroupBy {
		if g.Name.Value == "window" {
			c.diags.Errorf(codeWindow, g.Name.Span, "a field of group_by cannot be called window here").
				Help = "window.start and window.end are the window's: give the field another name"
		}
	}
}

// orFacts is help, or, of windows that are given once, how to make records of them:
// such a window is a fact, and what is for streams only is for it, too.
func (d *Def) orFacts(final bool, help string) string {
	if !final {
		return help
	}
	return fmt.Sprintf("each window of %q is given once: make records of them, `NAME: {from: %s w, unnest: '[{FIELD: w.FIELD}] as r', select: [r.*]}` under streams:, and use those", d.Name, d.Name)
}

// refuseWindows refuses a table of windows in a join.
func (c *compiler) refuseWindows(in ResolvedInput) {
	c.diags.Errorf(codeWindow, in.Span, "table %q has windows: its rows are gone when they close, so it cannot be joined", in.Def.Name).
		Help = fmt.Sprintf("keep its rows for as long as they are asked for, `NAME: {from: %s, ttl: 1d}` under tables:, and join that by the key and the window's start; or join before the window is cut", in.Def.Name)
}

// waits says that steps hold things back until stream time has moved.
func waits(steps []*Step) bool {
	found := false
	eachStep(steps, func(s *Step) {
		found = found || s.Kind == GroupStep && s.Def.windowed() || s.Kind == StreamJoinStep || s.Kind == DelayStep
	})
	return found
}

// timely says that what an input's steps give out depends on stream time: they wait
// for it, forget by it, or look rows up as they were then.
func timely(in *InputPlan) bool {
	found := waits(in.Steps) || in.Def.TTL > 0 || in.Def.History > 0
	eachStep(in.Steps, func(s *Step) {
		found = found || s.Kind == DedupStep || s.Def.TTL > 0 || s.Kind == JoinStep && s.Join >= 0 && s.Def.Joins[s.Join].Def.History > 0
	})
	return found
}

// deadLetters says that records may be sent to the dead letters here.
func (s *Step) deadLetters() bool {
	return s.Def.OnError == DeadLetter || s.Kind == GroupStep && s.Def.windowed() && s.Def.Window.DeadLetters
}

// canonical says what the windows are, for fingerprints.
func (w *WindowSpec) canonical() string {
	g := w.Grid
	text := fmt.Sprintf("window %s unit %d every %d size %d phase %d offset %d span %d grace %d", w.Kind, g.Unit, g.Every, g.Size, g.Phase, g.Offset,
		w.Span.Milliseconds(), w.Grace.Milliseconds())
	if g.Loc != nil {
		text += " in " + g.Loc.String()
	}
	if w.Final {
		text += ", final"
	}
	return text
}

// window makes the windows of a derived table and the columns behind them.
func (b *binder) window(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	td, spec := b.plan.typed.defs[d], d.Window
	row := c.layout.row()
	list := slices.Clone(td.aggregates)
	sel := c.derive(d, at.view, row, &list)
	common := operators.Windowed{
		Policy: c.policy(d), KeyExprs: c.groupKeys(d, at.view),
		Grace: spec.Grace.Milliseconds(), Final: spec.Final, Every: d.emitEvery, DeadLetterLate: spec.DeadLetters,
		Groups: operators.Groups{Name: d.Name, Keys: len(td.groupTypes), Aggregations: aggregations(td.aggregates), Row: row},
	}
	for i := range common.Aggregations {
		common.Aggregations[i].Args = sel.args[i]
	}
	at.out = &binding{typ: sel.typ, space: sel.selection, key: groupKey(row, td)}
	at.view = nil
	common.Next = one(sel.project, b.nodes(s.Next, at))
	if sel.having != nil {
		common.Next = one(&operators.Filter{Policy: c.policy(d), Condition: sel.having}, common.Next)
	}
	switch spec.Kind {
	case SessionWindow:
		return one(&operators.SessionWindow{Windowed: common, Gap: spec.Span.Milliseconds()}, nil)
	case SlidingWindow:
		return one(&operators.SlidingWindow{Windowed: common, Size: spec.Span.Milliseconds()}, nil)
	}
	return one(&operators.GridWindow{Windowed: common, Grid: &spec.Grid}, nil)
}
