package differential

import (
	"fmt"
	"slices"
	"strings"
)

// kind is the type of a field, as fields: has it.
type kind string

const (
	anInt  kind = "int"
	aFloat kind = "float"
	aText  kind = "string"
	aBool  kind = "bool"
	// These only pass through.
	aList    kind = "list"
	anObject kind = "object"
	aTime    kind = "time" // too large for arithmetic
)

// field is one that a definition gives out.
type field struct {
	name string
	kind kind
}

// clause is a part of a definition that can be left out; lines are its YAML.
type clause struct {
	lines    []string
	required bool
}

// def is a definition of a random pipeline.
type def struct {
	section string // functions, sources, tables, streams, sinks; late: declared by a window
	name    string
	topic   string
	clauses []clause
	reads   []string
	fields  []field
	// changes: what it gives out are the changes of a table, not facts.
	changes bool
	// keys are the kinds of the components of the key; of a source that of the record key.
	keys []kind
	// strewn: its rows do not lie by its key, so that nobody can look them up.
	strewn bool
	// versioned: it keeps its history, or is replicated: it can be joined by streams only.
	versioned bool
	// windowed: its rows go when their windows close, so that nobody can look them up.
	windowed bool
	// regroups: it brings the rows of a table to groups, between which they may move.
	regroups bool
	// scatters: it does so twice.
	scatters bool
	// queries: its rows are stored queries; matches: it tries them.
	queries, matches bool
	// byField: its event time is a field of its records.
	byField bool
	// held: it comes out of something that holds records back.
	held bool
}

func (d *def) add(required bool, lines ...string) {
	d.clauses = append(d.clauses, clause{lines, required})
}

func (d *def) isTable() bool { return d.section == "tables" }

// pipe is a random pipeline.
type pipe struct {
	functions []*def
	defs      []*def
	// onError is that of the pipeline.
	onError string
	// wide: its windows follow the calendar, so that its records lie far apart.
	wide bool
}

// text writes it.
func (p *pipe) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline: p\non_error: %s\n", p.onError)
	defs := slices.Concat(p.functions, p.defs)
	for _, section := range []string{"functions", "sources", "tables", "streams", "sinks"} {
		begun := false
		for _, d := range defs {
			if d.section != section {
				continue
			}
			if !begun {
				fmt.Fprintf(&b, "%s:\n", section)
				begun = true
			}
			fmt.Fprintf(&b, "  %s:\n", d.name)
			for _, c := range d.clauses {
				for _, line := range c.lines {
					fmt.Fprintf(&b, "    %s\n", line)
				}
			}
		}
	}
	return b.String()
}

// prune takes out what no sink needs.
func (p *pipe) prune() {
	needed := map[string]bool{}
	for i := len(p.defs) - 1; i >= 0; i-- { // readers come behind what they read
		d := p.defs[i]
		if d.section == "sinks" || needed[d.name] {
			for _, name := range d.reads {
				needed[name] = true
			}
		}
	}
	p.defs = slices.DeleteFunc(p.defs, func(d *def) bool { return d.section != "sinks" && !needed[d.name] })
}

// timed says that stream time decides about something.
func (p *pipe) timed() bool {
	text := p.text()
	return slices.ContainsFunc([]string{"window:", "dedup:", "ttl:", "versioned:", "within:", "before:", "after:"}, func(word string) bool { return strings.Contains(text, word) })
}

// scattered says that rows which have moved between groups are brought together
// again: in several partitions, whether they go or come first is then not defined.
func (p *pipe) scattered() bool {
	moved := map[string]bool{}
	for _, d := range p.defs { // readers come behind what they read
		from := slices.ContainsFunc(d.reads, func(name string) bool { return moved[name] })
		if from && d.regroups || d.scatters {
			return true
		}
		moved[d.name] = from || d.regroups
	}
	return false
}

// bunched says that several records that leave at one moment are sent on to
// others: from several partitions they come together again in no order.
func (p *pipe) bunched() bool {
	bunch := map[string]bool{}
	for _, d := range p.defs {
		from := slices.ContainsFunc(d.reads, func(name string) bool { return bunch[name] })
		text := d.text()
		if from && (strings.Contains(text, "join:") || strings.Contains(text, "group_by:") || strings.Contains(text, "dedup:") || strings.Contains(text, "top:")) {
			return true
		}
		// Rows of computed tables leave in all partitions when their time comes.
		expire := d.topic == "" && strings.Contains(text, "ttl:")
		bunch[d.name] = from || expire || d.held || strings.Contains(text, "unnest:") || strings.Contains(text, "emit: final") || strings.Contains(text, "    within:") || strings.Contains(text, "    before:")
	}
	return false
}

// searches says that stored queries are tried: where the results lie is not said.
func (p *pipe) searches() bool {
	return slices.ContainsFunc(p.defs, func(d *def) bool { return d.matches })
}

// text is the YAML of a definition.
func (d *def) text() string {
	var lines []string
	for _, c := range d.clauses {
		lines = append(lines, c.lines...)
	}
	return strings.Join(lines, "\n")
}

// topics are the inputs.
func (p *pipe) topics() (list []*def) {
	for _, d := range p.defs {
		if d.topic != "" && d.section != "sinks" {
			list = append(list, d)
		}
	}
	return list
}
