package pipeline

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/state"
)

// Versioned tables and joins that look rows up as of the record's time. The topic
// of a table holds the last rows only, once it has been compacted: a table with
// its history has a changelog of its own, and its topic is read as a stream is, by
// event time. Records that wait for late rows (grace) do so in front of the join.

// history reads how much of a table's history is kept, and checks that it can be.
func (r *resolver) history(d *Def) {
	t := d.Table
	if d.Kind != TopicTableDef || !t.Versioned.Set {
		return
	}
	d.History = r.duration(t.Versioned, 0, time.Millisecond, maxDuration)
	if d.replicated() {
		r.list.Add(diag.Errorf(codeVersioned, t.Replicate.Span, "table %q is versioned: it cannot be replicated", d.Name).
			WithNote(t.Versioned.Span, "so it is written here").
			WithHelp("leave one of the two out"))
	}
}

// asOf checks what a join with a table says of time.
func (r *resolver) asOf(j *Join, table *Def, out *ResolvedJoin) {
	out.AsOf = j.AsOf.Value == "true"
	versioned := table.Kind == TopicTableDef && table.Table.Versioned.Set
	switch {
	case out.AsOf && !versioned:
		help := "add `versioned: 7d` to the table: how much of its history is kept"
		if table.Kind != TopicTableDef {
			help = "leave as_of out: only tables that are read from a topic can be versioned"
		}
		r.list.Add(diag.Errorf(codeVersioned, j.AsOf.Span, "table %q does not keep its history", table.Name).
			WithNote(table.Decl.Span, "the table is defined here").WithHelp("%s", help))
	case !out.AsOf && versioned:
		r.list.Add(diag.Errorf(codeVersioned, j.Input.NameSpan, "table %q is versioned: a join of it must say as of when", table.Name).
			WithNote(table.Table.Versioned.Span, "so it is written here").
			WithHelp("add `as_of: true`: the row at the record's time is joined; or leave versioned out of the table: the last row is"))
	case !out.AsOf && j.Grace.Set:
		r.list.Add(diag.Errorf(codeJoinBounds, j.Grace.Span, "grace belongs to a join of two streams, or to one with as_of, and %q is a table", table.Name).
			WithNote(table.Decl.Span, "the table is defined here").
			WithHelp("leave it out: a stream finds the row that the table has for the key"))
	}
	if !out.AsOf || !versioned {
		return
	}
	out.Wait = r.duration(j.Grace, 0, 0, maxDuration)
	if history := r.duration(table.Table.Versioned, 0, time.Millisecond, maxDuration); out.Wait > history {
		r.list.Add(diag.Errorf(codeVersioned, j.Grace.Span, "records would wait longer than the table keeps its history").
			WithNote(table.Table.Versioned.Span, "table %q keeps %s", table.Name, formatDuration(history)).
			WithHelp("let grace be at most versioned"))
	}
}

// checkVersioned refuses what cannot be done with a table that keeps its history.
func (c *compiler) checkVersioned(d *Def) {
	refuse := func(in ResolvedInput, help string) {
		c.diags.Add(diag.Errorf(codeVersioned, in.Span, "table %q is versioned: its changes cannot be read, for late ones change its past only", in.Def.Name).
			WithNote(in.Def.Table.Versioned.Span, "so it is written here").WithHelp("%s", help))
	}
	for _, in := range d.From {
		if in.Def.History > 0 {
			refuse(in, "leave versioned out to read the table's changes; as_of joins need it")
		}
	}
	if !c.typed[d].changes {
		return
	}
	for _, j := range d.Joins {
		if j.Def.History > 0 {
			refuse(j.ResolvedInput, "join it to a stream: tables are joined as they are now")
		}
	}
}

// delay lets the records of a flow wait in front of a join.
func (p *planner) delay(f *flow, d *Def, i, flows int) {
	name := joinName(d, i)
	if flows > 1 { // each way of a union waits by itself
		name += "-" + f.input.Def.Name
	}
	name += ".wait"
	root := f.part.root()
	root.tables = append(root.tables, state.TableSpec{Name: name, Changelog: p.ownTopic(name+".changelog", f.part, compacted())})
	f.lag += d.Joins[i].Wait
	f.add(&Step{Kind: DelayStep, Def: d, Join: i, Branch: f.branches[0], Table: name, Origins: f.input.Origins})
}

// delay makes the step in which records wait. It is a boundary: what waits is
// kept in the state.
func (b *binder) delay(s *Step, at cursor) []*operators.Node {
	c, d := b.c, s.Def
	spec := &operators.Delay{
		Policy: c.policy(d), Name: s.Table, Wait: d.Joins[s.Join].Wait.Milliseconds(),
		Doc: keepBindings(c.layout, at.view), Numbers: map[string]int{},
	}
	for n, topic := range s.Origins {
		spec.Numbers[topic] = n
		spec.Origins = append(spec.Origins, operators.Origin{Topic: topic, KeyFormat: b.plan.keyFormat(topic)})
	}
	behind := c.layout.bound(uniteKept(nil, at.view))
	spec.Kept = behind.read()
	at.out, at.view = nil, behind.view
	spec.Next = b.nodes(s.Next, at)
	return one(spec, nil)
}

// asOf makes a join with the history of a table.
func (b *binder) asOf(s *Step, at cursor) []*operators.Node {
	c, d, j := b.c, s.Def, s.Def.Joins[s.Join]
	t := c.table(j.Def, j.Alias)
	c.layout.notJoined(t.memo)
	spec := &operators.AsOf{
		Policy: c.policy(d), Left: j.Left, Keys: c.join(d, s.Join, at.view, t), Table: b.table(t),
		History: j.Def.History.Milliseconds(), Wait: j.Wait.Milliseconds(),
	}
	at.view = append(at.view[:len(at.view):len(at.view)], t.binding)
	return one(spec, b.nodes(s.Next, at))
}

// versionedTable writes that a table keeps its history.
func (k *canon) versionedTable(d *Def, t *TableDescription, lines []string) []string {
	td := k.typed.defs[d]
	t.Kind, t.Inputs, t.Topic = DerivedTable, []string{d.Table.Topic.Value}, ""
	t.Changelogs = []string{k.changelog(d.Name)}
	if td.rekeyed && !td.direct() {
		lines = append(lines, "partitions follow keys as "+k.plan.keeper(d.Name).KeyFormat.String())
		if td.keyFromValue {
			t.Changelogs = append(t.Changelogs, k.changelog(KeysTable(d.Name)))
		}
	}
	return append(lines, "with the history of "+formatDuration(d.History))
}

// timesOf writes what a join with a table says of time, "" = nothing.
func (j ResolvedJoin) timesOf() string {
	if !j.AsOf {
		return ""
	}
	if j.Wait == 0 {
		return ", as of the record's time"
	}
	return fmt.Sprintf(", as of the record's time, after %s", formatDuration(j.Wait))
}

// history is how long the table of the input keeps older rows, ms, 0 = it does not.
func (in *InputPlan) history() int64 {
	if in.Def.History == 0 {
		return 0
	}
	return (in.Def.History + in.Held).Milliseconds()
}

// versionedText writes how the topic of a table with its history is read.
func versionedText(in *InputPlan) string {
	keeps := "which keeps " + formatDuration(in.Def.History) + " of its history"
	if held := in.Held.Truncate(time.Second); in.Held > 0 {
		keeps += fmt.Sprintf(", and %s more for records that were held back", formatDuration(cmp.Or(held, in.Held)))
	}
	if in.Kind == ChangelogInput {
		return fmt.Sprintf("as changes of table %s, %s; nothing is read before %s has been copied", in.Def.Name, keeps, strings.Join(in.Origins, ", "))
	}
	return fmt.Sprintf("as table %s, %s", in.Def.Name, keeps)
}
