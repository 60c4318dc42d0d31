package pipeline

import (
	"slices"
	"strings"
	"time"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/operators"
	"streamctl/state"
)

// Plan says how a pipeline runs: which sub-topologies it is cut into, what
// each reads, does, keeps and writes, and which topics of its own it needs. It
// is data; String is its stable text form.
type Plan struct {
	Pipeline string
	Subs     []*SubPlan                // by name
	Topics   []operators.InternalTopic // by name

	typed *Typed
}

// SubPlan is a part of the pipeline that one task runs.
type SubPlan struct {
	Name      string
	KeyFormat codec.Format      // of the keys that partitions follow
	Inputs    []*InputPlan      // by topic
	Tables    []state.TableSpec // by name
	Outputs   []string          // topics, sorted
}

// InputKind is how an input is read.
type InputKind uint8

const (
	SourceInput       InputKind = iota // a source's topic
	TableInput                         // a table's topic, which is its changelog
	ChangelogInput                     // the changelog of a re-keyed table
	RekeyInput                         // the topic of a table that is being re-keyed
	RepartitionInput                   // a repartition topic
	SubscriptionInput                  // what the left side of a foreign-key join asks for
	AnswerInput                        // what the right side answers
)

// InputPlan is one topic that a sub-topology reads, and what is done with its records.
type InputPlan struct {
	Kind  InputKind
	Topic string
	Def   *Def // the source or table; of a repartition topic, the definition whose step it serves
	// Join is the join that a repartition topic leads to, -1 = a group_by.
	Join  int
	Right bool // the topic is that of the right side of the join
	// Lag, of a repartition topic, is how much later than their times records may
	// come, because they were held back before: stream time behind it runs as much behind.
	Lag time.Duration
	// Held, of a table that keeps its history: how much longer that is kept, for joins
	// of records that were held back.
	Held time.Duration
	// Origins are the outer topics that the records come from, sorted.
	Origins []string
	// Placed says that the sub-topology relies on the partitions of an outer topic.
	Placed bool
	Output string // of a RekeyInput: the changelog
	// Copies, of a RekeyInput of a replicated table, are the topics that get every
	// row in every partition.
	Copies []string
	// Queries, of a RekeyInput, are definitions that find stored queries in the copies,
	// one of those that read them alike.
	Queries []*Def
	// Table is the name of the state table that a ChangelogInput fills, where it is not Def's.
	Table string
	Steps []*Step
}

// StepKind is what a step does.
type StepKind uint8

const (
	FromStep          StepKind = iota // a definition begins to read
	WhereStep                         //
	JoinStep                          //
	SelectStep                        //
	GroupStep                         // a derived table is updated and sends its changes
	RepartitionStep                   // ends here; goes on in another sub-topology
	SinkStep                          // ends here
	LateStep                          // records that are too late for the windows beside it go on
	StreamJoinStep                    // a record meets those of another stream; Right: of which side
	UnnestStep                        // a record goes on once for every element of a list
	DedupStep                         // the first record of each key goes on
	TableJoinStep                     // a change of one table finds the rows of the others; Join: of which, -1 = from
	ForeignStep                       // a left row of a foreign-key join asks for what it refers to
	ForeignAnswerStep                 // the right side answers; ends here
	ForeignResultStep                 // an answer changes the result
	DelayStep                         // records wait in front of Join
	MaterializeStep                   // changes of a table are kept as a table of their own
	TopStep                           // rows are kept in order, and the first go on
	MatchStep                         // ends here; documents go on to all partitions of the queries
	SearchStep                        // a document finds the queries of a replicated table
	QueriesStep                       // a row of a table of stored queries has changed
)

// Step is one operator, with those behind it.
type Step struct {
	Kind   StepKind
	Def    *Def
	Branch int    // of Def, the first that comes this way
	Join   int    // of JoinStep and RepartitionStep: index in Def.Joins, -1 = group_by
	Right  bool   // of StreamJoinStep and RepartitionStep: the right side of Join
	Topic  string // of RepartitionStep and SinkStep
	Keep   bool   // of SinkStep: records stay in their partition
	Table  string // of a JoinStep, SearchStep and QueriesStep: the copy of a replicated table; of a DelayStep: its state
	// Origins, of a DelayStep, are the outer topics that the records come from.
	Origins []string
	Stream  *StreamJoinPlan // of StreamJoinStep
	// Aligned, of RepartitionStep: the records lie by the key, in another format.
	Aligned bool
	Next    []*Step
}

// KeysTable is the name of the state in which the re-keying of a table
// remembers keys.
func KeysTable(table string) string { return table + ".rekey" }

// TableOf is the table that a state belongs to: what a definition keeps beside
// its rows is called by its name, a dot, and what it is.
func TableOf(state string) string {
	table, _, _ := strings.Cut(state, ".")
	return table
}

// planner builds a Plan.
type planner struct {
	typed   *Typed
	plan    *Plan
	parts   []*part
	flows   map[*Def][]*flow
	tables  map[*Def]*part
	lates   map[*Def][]lateFlow // of tables of windows
	readers map[*Def]*InputPlan // inputs of topic tables
	topics  map[string]*ownTopic
	repeats map[string]*flow // repartition topics being filled
	// replicas are the steps that copy replicated tables.
	replicas map[*Def]*InputPlan
	diags    diag.List
}

// part is a sub-topology in the making. Parts that turn out to belong together
// are united: all but one then point to that one.
type part struct {
	into      *part
	inputs    []*InputPlan
	tables    []state.TableSpec
	fixed     []string // outer topics whose partitions are taken as they are
	keyFormat codec.Format
	apart     bool   // keyFormat is given, although no outer topic is taken as it is
	rekeyOf   string // the part only re-keys this table
}

func (p *part) root() *part {
	for p.into != nil {
		p = p.into
	}
	return p
}

// flow is a stream at one point of the plan.
type flow struct {
	part  *part
	input *InputPlan
	tail  *[]*Step
	// branches are the branches of the definition at this point that come this
	// way; facts tell, for each of them, by what the records are partitioned.
	branches []int
	facts    []fact
	strewn   bool // of changes: the rows do not lie by the table's key
	// lag is how much later than their times records may come here, because they
	// have been held back on the way.
	lag time.Duration
}

// fact is a key that records are partitioned by: its identity for each branch.
type fact []string

// ownTopic is a topic of the pipeline's own.
type ownTopic struct {
	name    string
	in      *part // whose partitions it has
	configs map[string]string
}

// newPart begins a sub-topology.
func (p *planner) newPart() *part {
	part := &part{keyFormat: codec.FormatString}
	p.parts = append(p.parts, part)
	return part
}

// agree says whether two parts can be one: partitions of outer topics follow
// the encoded key, so the formats of keys must be the same.
func agree(a, b *part) bool {
	a, b = a.root(), b.root()
	return a == b || !a.given() || !b.given() || a.keyFormat == b.keyFormat
}

// given says that the part's keyFormat cannot be changed.
func (p *part) given() bool { return p.apart || len(p.fixed) > 0 }

// unite makes two parts one.
func unitePart(a, b *part) {
	a, b = a.root(), b.root()
	if a == b {
		return
	}
	if !a.given() {
		a.keyFormat = b.keyFormat
	}
	a.apart = a.apart || b.apart
	a.inputs = append(a.inputs, b.inputs...)
	a.tables = append(a.tables, b.tables...)
	a.fixed = append(a.fixed, b.fixed...)
	b.into = a
}

// add appends a step to the flow, which goes on behind it.
func (f *flow) add(s *Step) {
	*f.tail = append(*f.tail, s)
	f.tail = &s.Next
}

// end appends a step to the flow that nothing comes behind.
func (f *flow) end(s *Step) { *f.tail = append(*f.tail, s) }

// partitionedBy says whether the records lie where a key puts them; identities
// has the key's identity for each branch of the definition.
func (f *flow) partitionedBy(identities []string) bool {
	return slices.ContainsFunc(f.facts, func(known fact) bool {
		for i, b := range f.branches {
			if identities[b] == "" || known[i] != identities[b] {
				return false
			}
		}
		return true
	})
}
