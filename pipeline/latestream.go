package pipeline

import (
	"fmt"
	"slices"

	"streamctl/operators"
)

// late: NAME makes a stream of the records that came too late for all their
// windows. It is a definition like those under streams:, which reads what its table
// reads, behind the same where; what goes on in it is decided by the table's windows.

// declareLate makes the definitions of such streams.
func (r *resolver) declareLate() {
	for _, d := range slices.Clone(r.out.Tables) {
		if d.Query == nil || d.Query.Window == nil {
			continue
		}
		late := d.Query.Window.Late
		switch late.Value {
		case "", "drop", "dead_letter":
			continue
		}
		if help := otherLate(late.Value); help != "" {
			r.list.Errorf(codeWindow, late.Span, "late cannot be %q", late.Value).Help = help
			continue
		}
		if !isPlainName(late.Value) {
			r.list.Errorf(codeWindow, late.Span, "late cannot be %q", late.Value).
				Help = "use drop (counted, the default), dead_letter, or the name of a stream that takes late records: lower case letters, digits and _"
			continue
		}
		s := &Stream{Declared: Declared{Name: late, Span: late.Span}, Query: Query{From: d.Query.From}}
		of := &Def{Kind: StreamDef, Stream: s, Query: &s.Query, OnError: d.OnError, lateOf: d}
		r.out.Streams = append(r.out.Streams, r.add(of, &s.Declared))
	}
}

// otherLate says what to write instead of words that other policies have and that can
// only be meant as such here: as the name of a stream, nobody would ever read it.
func otherLate(word string) string {
	switch word {
	case "skip", "ignore", "discard":
		return "write `late: drop`: records that come too late are counted and left out, which is the default"
	case "fail", "warn":
		return "a record that comes too late is no error: write `late: drop` (counted, the default), `late: dead_letter`, or the name of a stream that takes late records"
	}
	return ""
}

func isPlainName(name string) bool {
	for i, c := range name {
		if !(c >= 'a' && c <= 'z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return name != ""
}

// lateInputs gives the stream the inputs of its table.
func (r *resolver) lateInputs(d *Def) {
	q := d.lateOf.Query
	if len(q.Joins) > 0 || q.Unnest != nil || q.Dedup != nil {
		r.list.Errorf(codeWindow, d.Decl.Span, "late records of %q have been joined, unnested or searched for duplicates: they are no records of its input any more", d.lateOf.Name).
			Help = "do that in a definition under streams:, and let the table read it"
		return
	}
	for _, in := range d.lateOf.From {
		in.Def.UsedBy = append(in.Def.UsedBy, d)
		d.From = append(d.From, in)
	}
	d.lateOf.UsedBy = append(d.lateOf.UsedBy, d)
}

// lateFlow is where late records of a table leave: behind its windows.
type lateFlow struct {
	flow *flow
	tail *[]*Step
}

// late plans a stream of late records.
func (p *planner) late(d *Def) []*flow {
	p.table(d.lateOf)
	var out []*flow
	for _, l := range p.lates[d.lateOf] {
		f := &flow{part: l.flow.part, input: l.flow.input, tail: l.tail, branches: slices.Clone(l.flow.branches), facts: l.flow.facts}
		f.add(&Step{Kind: LateStep, Def: d, Branch: f.branches[0]})
		out = append(out, f)
	}
	return out
}

// lateStep makes the operator that lets late records through.
func (b *binder) lateStep(s *Step, at cursor) []*operators.Node {
	at.out, at.view = at.view[0].as(""), nil
	return one(&operators.LateRecords{Table: s.Def.lateOf.Name}, b.nodes(s.Next, at))
}

// walkLate is the way of late records.
func (k *canon) walkLate(d *Def, x walked) walked {
	t := k.table(d.lateOf)
	x.steps = append(x.steps, walkedStep{text: fmt.Sprintf("late for %s (%s)", d.lateOf.Name, t.Fingerprint)})
	return x
}
