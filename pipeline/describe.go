package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/operators"
)

// Description is a plan as others read it: `streamctl plan --output json`
// prints it and the recorded plan holds it. Its JSON form only grows.
type Description struct {
	Pipeline       string                     `json:"pipeline"`
	Fingerprint    string                     `json:"fingerprint"` // of what the pipeline means as a whole
	Guarantee      string                     `json:"guarantee"`
	Subs           []SubDescription           `json:"sub_topologies"`  // by name
	Tables         []TableDescription         `json:"tables"`          // by name
	Sinks          []SinkDescription          `json:"sinks"`           // by name
	Streams        []string                   `json:"streams"`         // names of the derived streams, sorted
	Repartitions   []RepartitionDescription   `json:"repartitions"`    // by topic
	InternalTopics []InternalTopicDescription `json:"internal_topics"` // by name
	Reads          []ReadDescription          `json:"reads"`           // outer topics, by name
	Text           string                     `json:"text"`            // Plan.String
}

// SubDescription is a sub-topology.
type SubDescription struct {
	Name        string   `json:"name"`
	Fingerprint string   `json:"fingerprint"`
	Inputs      []string `json:"inputs"` // topics
	Outputs     []string `json:"outputs"`
	Tables      []string `json:"tables"`
}

// Kinds of tables.
const (
	TopicTable   = "topic"   // its topic is its changelog
	RekeyedTable = "rekeyed" // its topic is copied under the table's key
	DerivedTable = "derived" // by group_by
)

// TableDescription is a table with what makes its rows.
type TableDescription struct {
	Name        string   `json:"name"`
	Title       string   `json:"title,omitempty"` // in the file, where its state has another name
	Kind        string   `json:"kind"`
	Fingerprint string   `json:"fingerprint"`
	Definition  []string `json:"definition"`           // canonical lines, which the fingerprint hashes
	Topic       string   `json:"topic,omitempty"`      // that holds the table; of a derived one none
	Inputs      []string `json:"inputs,omitempty"`     // outer topics that a derived table's rows are made from
	Key         []string `json:"key,omitempty"`        // canonical
	Aggregates  []string `json:"aggregates,omitempty"` // kinds, in the order in which rows hold them
	Changelogs  []string `json:"changelogs,omitempty"` // topics of the pipeline's own that hold its rows
	Sub         string   `json:"sub_topology"`
}

// origins are the outer topics that the table's rows come from.
func (t *TableDescription) origins() []string {
	if t.Kind == DerivedTable {
		return t.Inputs
	}
	return []string{t.Topic}
}

// SinkDescription is a sink with what it sends.
type SinkDescription struct {
	Name        string   `json:"name"`
	Topic       string   `json:"topic"`
	Fingerprint string   `json:"fingerprint"`
	Definition  []string `json:"definition"`
}

// RepartitionDescription is a repartition topic with what lies in it.
type RepartitionDescription struct {
	Topic       string   `json:"topic"`
	Of          string   `json:"of"` // the stream or table whose step it serves
	Fingerprint string   `json:"fingerprint"`
	Definition  []string `json:"definition"`
	// Several: which parts of a record travel depends on all that reads it.
	Several bool `json:"several,omitempty"`
}

// InternalTopicDescription is a topic of the pipeline's own.
type InternalTopicDescription struct {
	Name           string            `json:"name"`
	PartitionsLike []string          `json:"partitions_like"`
	Configs        map[string]string `json:"configs"`
}

// ReadDescription is an outer topic with the fields that expressions use.
type ReadDescription struct {
	Topic  string   `json:"topic"`
	As     string   `json:"as"` // source or table
	Fields []string `json:"fields"`
}

// Describe makes the description of a plan.
func (p *Plan) Describe() *Description {
	k := newCanon(p)
	d := &Description{Pipeline: p.Pipeline, Guarantee: p.guarantee()}
	for _, def := range p.typed.Order {
		if def.Kind == SinkDef {
			d.Sinks = append(d.Sinks, k.sink(def))
		}
	}
	d.Streams = p.streams()
	for _, s := range p.Subs {
		for _, in := range s.Inputs {
			switch in.Kind {
			case RepartitionInput:
				d.Repartitions = append(d.Repartitions, k.repartition(in))
			case SourceInput, TableInput, RekeyInput:
				d.Reads = append(d.Reads, ReadDescription{Topic: in.Topic, As: in.Def.Kind.String() + " " + in.Def.Name})
			}
		}
		for _, in := range s.Inputs {
			if in.Table != "" {
				d.Tables = append(d.Tables, k.replica(in, s.Name))
			}
		}
		d.Tables = append(d.Tables, k.joinStates(s)...)
		d.Tables = append(d.Tables, k.foreignStates(s)...)
		d.Tables = append(d.Tables, k.seenStates(s)...)
		d.Tables = append(d.Tables, k.matchTables(s)...)
		for _, t := range s.Tables {
			if def := p.tableDef(t.Name); def != nil {
				table := *k.table(def)
				table.Sub = s.Name
				d.Tables = append(d.Tables, table)
			}
		}
	}
	for i, r := range d.Reads {
		d.Reads[i].Fields = k.fields(p.defOfTopic(r.Topic))
	}
	for _, t := range p.Topics {
		d.InternalTopics = append(d.InternalTopics, InternalTopicDescription{t.Name, t.PartitionsLike, t.Configs})
	}
	slices.SortFunc(d.Sinks, func(a, b SinkDescription) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Tables, func(a, b TableDescription) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Repartitions, func(a, b RepartitionDescription) int { return strings.Compare(a.Topic, b.Topic) })
	slices.SortFunc(d.Reads, func(a, b ReadDescription) int { return strings.Compare(a.Topic, b.Topic) })
	for _, s := range p.Subs {
		d.Subs = append(d.Subs, d.sub(s))
	}
	d.Fingerprint = d.whole(p)
	for i := range d.Repartitions {
		if r := &d.Repartitions[i]; r.Several {
			r.Fingerprint = fingerprint([]string{r.Fingerprint, d.Fingerprint})
		}
	}
	d.Text = p.text(d, nil)
	return d
}

// streams lists the derived streams that the plan has.
func (p *Plan) streams() []string {
	names := []string{}
	for _, s := range p.Subs {
		for _, in := range s.Inputs {
			eachStep(in.Steps, func(step *Step) {
				if step.Def.Kind == StreamDef {
					names = append(names, step.Def.Name)
				}
			})
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (p *Plan) guarantee() string {
	if p.typed.Settings.ExactlyOnce {
		return "exactly_once"
	}
	return "at_least_once"
}

// tableDef finds a table by name; nil for the memory of a re-keying.
func (p *Plan) tableDef(name string) *Def {
	for _, d := range p.typed.Tables {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// defOfTopic is the source or table that reads an outer topic.
func (p *Plan) defOfTopic(topic string) *Def {
	for _, d := range p.typed.Order {
		if t := d.topic(); t.Set && t.Value == topic {
			return d
		}
	}
	panic(fmt.Sprintf("pipeline: nobody reads %s", topic))
}

// sub describes a sub-topology. Its fingerprint is that of what it reads,
// keeps, and sends.
func (d *Description) sub(s *SubPlan) SubDescription {
	out := SubDescription{Name: s.Name, Outputs: s.Outputs, Inputs: []string{}, Tables: []string{}}
	lines := []string{"sub-topology " + s.Name}
	for _, in := range s.Inputs {
		out.Inputs = append(out.Inputs, in.Topic)
		lines = append(lines, fmt.Sprintf("reads %s %s", in.Kind, in.Topic))
	}
	slices.Sort(out.Inputs)
	for _, t := range s.Tables {
		out.Tables = append(out.Tables, t.Name)
		lines = append(lines, "keeps "+t.Name)
	}
	sends := make(map[string]bool)
	for _, in := range s.Inputs {
		eachStep(in.Steps, func(step *Step) {
			if step.Kind == SinkStep {
				sends[step.Def.Name] = true
			}
		})
		if in.Output != "" {
			lines = append(lines, "copies into "+in.Output)
		}
		for _, topic := range in.Copies {
			lines = append(lines, "copies all into "+topic)
		}
	}
	for _, x := range d.Sinks {
		if sends[x.Name] {
			lines = append(lines, "sink "+x.Name+" "+x.Fingerprint)
		}
	}
	for _, x := range d.Repartitions {
		if slices.Contains(s.Outputs, x.Topic) || slices.Contains(out.Inputs, x.Topic) {
			lines = append(lines, "repartition "+x.Topic+" "+x.Fingerprint)
		}
	}
	for _, x := range d.Tables {
		if slices.ContainsFunc(out.Tables, func(state string) bool { return state == x.Name || TableOf(state) == x.Name }) {
			lines = append(lines, "table "+x.Name+" "+x.Fingerprint)
		}
	}
	slices.Sort(lines)
	out.Fingerprint = fingerprint(lines)
	return out
}

// String names the kind in canonical texts.
func (k InputKind) String() string {
	return [...]string{"source", "table", "changelog", "rekey", "repartition", "subscriptions", "answers"}[k]
}

// whole is the fingerprint of the plan.
func (d *Description) whole(p *Plan) string {
	lines := []string{"pipeline " + d.Pipeline, d.Guarantee}
	for _, s := range d.Subs {
		lines = append(lines, s.Name+" "+s.Fingerprint)
	}
	for _, t := range d.InternalTopics {
		lines = append(lines, fmt.Sprintf("topic %s like %s", t.Name, strings.Join(t.PartitionsLike, ", ")))
	}
	for _, def := range p.typed.Order {
		if def.OnError != Fail {
			lines = append(lines, fmt.Sprintf("%s %s: on error %s", def.Kind, def.Name, def.OnError))
		}
		if def.OnGap != operators.GapFail {
			lines = append(lines, fmt.Sprintf("%s %s: on gap %s", def.Kind, def.Name, def.OnGap))
		}
	}
	slices.Sort(lines)
	return fingerprint(lines)
}

// Fingerprint identifies what the plan means: plans with equal ones can run
// side by side and take over each other's state.
func (p *Plan) Fingerprint() string { return p.Describe().Fingerprint }
