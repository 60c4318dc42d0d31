package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/diag"
	"streamctl/state"
)

// Replicated tables. `replicate: true` gives every task all rows of a table, so
// that streams join it as they lie. Kafka has no topic that every task could
// take as a changelog of its own, so a step reads the table's topic and
// writes each row to every partition of a topic that has the partitions of the
// stream: to the tasks that is a changelog like any other, for the first
// load, for a restore and for standbys (ADR 0040). The topic is called after the
// definition that joins and the table.

// replicated says that every task that joins the table has all of it.
func (d *Def) replicated() bool {
	return d.Kind == TopicTableDef && d.Table.Replicate.Value == "true"
}

// checkReplicated refuses what cannot be done with a table of which every task has a copy.
func (c *compiler) checkReplicated(d *Def) {
	refuse := func(in ResolvedInput, why, help string) {
		c.diags.Add(diag.Errorf(codeReplicate, in.Span, "table %q is replicated: %s", in.Def.Name, why).
			WithNote(in.Def.Table.Replicate.Span, "so it is written here").
			WithHelp("%s", help))
	}
	for _, in := range d.From {
		if in.Def.replicated() {
			refuse(in, "each of its changes is one in every task, and would be told by all of them",
				"leave replicate out: the changes of a table are told where its keys lie")
		}
	}
	if !c.typed[d].changes {
		return
	}
	for _, j := range d.Joins {
		if j.Def.replicated() {
			refuse(j.ResolvedInput, "a change of it would concern rows in every task",
				"join it to a stream, or leave replicate out: tables are joined where their keys lie")
		}
	}
}

// joinReplica gives every part that flows run in a copy of the table.
func (p *planner) joinReplica(d *Def, i int, flows []*flow) []*flow {
	p.copies(d.Joins[i].Def, joinName(d, i), flows, func(f *flow, rows *InputPlan) {
		f.add(&Step{Kind: JoinStep, Def: d, Join: i, Branch: f.branches[0], Table: rows.Table})
	})
	return flows
}

// copies gives every part that flows run in a copy of the table, called by name, and
// lets use have it for each of the flows.
func (p *planner) copies(table *Def, name string, flows []*flow, use func(f *flow, rows *InputPlan)) {
	parts := map[*part]bool{}
	for _, f := range flows {
		parts[f.part.root()] = true
	}
	for _, f := range flows {
		of := name
		if len(parts) > 1 { // a union of streams that do not lie together
			of += "-" + f.input.Def.Name
		}
		use(f, p.replica(table, of+".replica", f.part.root()))
	}
}

// replica brings a copy of a table to a part and gives the input that fills it.
func (p *planner) replica(d *Def, name string, to *part) *InputPlan {
	for _, in := range to.inputs {
		if in.Table == name {
			return in
		}
	}
	source := p.replicas[d]
	if source == nil {
		source = p.copying(d)
		p.replicas[d] = source
	}
	topic := p.ownTopic(name, to, compacted())
	if !slices.Contains(source.Copies, topic) {
		source.Copies = append(source.Copies, topic)
	}
	in := &InputPlan{Kind: ChangelogInput, Topic: topic, Def: d, Table: name, Origins: source.Origins}
	to.inputs = append(to.inputs, in)
	to.tables = append(to.tables, state.TableSpec{Name: name})
	return in
}

// copying plans the step that writes the rows of a replicated table to all partitions.
func (p *planner) copying(d *Def) *InputPlan {
	topic := d.Table.Topic.Value
	from := p.newPart()
	from.rekeyOf = d.Name
	from.keyFormat, from.fixed = p.typed.defs[d].keyFormat, []string{topic}
	in := &InputPlan{Kind: RekeyInput, Topic: topic, Def: d, Origins: []string{topic}}
	from.inputs = []*InputPlan{in}
	if p.typed.defs[d].keyFromValue {
		keys := KeysTable(d.Name)
		from.tables = []state.TableSpec{{Name: keys, Changelog: p.ownTopic(keys+".changelog", from, compacted())}}
	}
	return in
}

// table is the name of the state table that an input fills.
func (in *InputPlan) table() string {
	if in.Table != "" {
		return in.Table
	}
	return in.Def.Name
}

// replica describes the copy of a table that an input fills.
func (k *canon) replica(in *InputPlan, sub string) TableDescription {
	t := *k.table(in.Def)
	t.Name, t.Kind, t.Sub = in.Table, RekeyedTable, sub
	t.Changelogs = []string{in.Topic}
	return t
}

// copied writes where the rows of a replicated table go.
func (w *textWriter) copied(in *InputPlan) {
	key := "the record key"
	if in.Def.Table.Key.Set {
		key = oneLine(in.Def.Table.Key.Value)
	}
	w.linef(2, "writes rows by key %s to every partition of %s", key, strings.Join(in.Copies, ", "))
}

// replicaKind names a copy in texts.
func replicaKind(in *InputPlan) string {
	if in.Table == "" {
		return "changelog of table " + in.Def.Name
	}
	return fmt.Sprintf("a copy of all of table %s", in.Def.Name)
}
