package reset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/record"
	"streamctl/operators"
)

// ErrActive: the group has members; a rewind under them would be overwritten
// by their next commit.
var ErrActive = errors.New("the pipeline is running")

// Cluster is what a rewind needs of a broker. Offsets and members are those of
// the pipeline's group.
type Cluster interface {
	// Members names the members that the group has now.
	Members(ctx context.Context) ([]string, error)
	// Partitions gives the partition counts of those topics that exist.
	Partitions(ctx context.Context, topics []string) (map[string]int32, error)
	// Committed gives committed offsets; a partition without one is left out.
	Committed(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error)
	Starts(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error)
	Ends(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error)
	// At gives the first offset whose record is at or after ms; a partition without one is left out.
	At(ctx context.Context, tps []record.TopicPartition, ms int64) (map[record.TopicPartition]int64, error)
	SetCommitted(ctx context.Context, offsets map[record.TopicPartition]int64) error
	DeleteCommitted(ctx context.Context, tps []record.TopicPartition) error
	// Purge deletes the records below the offsets.
	Purge(ctx context.Context, below map[record.TopicPartition]int64) error
	// DeleteTopics returns when the topics are gone.
	DeleteTopics(ctx context.Context, topics []string) error
}

// Request is what the user asks for.
type Request struct {
	Topology *operators.Topology
	Group    string
	// TableTopics are the outer topics that hold tables, each with the table's name.
	TableTopics map[string]string
	// Companions are states that the pipeline keeps beside a table and that say
	// nothing without it, each with the table's name: they stay and go together.
	Companions map[string]string
	To         Target
	Only       []Selection // empty = every topic that is read as a stream
	KeepState  []string    // tables whose rows stay
}

// Plan is what a rewind will do. It is pure data.
type Plan struct {
	Group        string   `json:"group"`
	Offsets      []Change `json:"offsets"`       // by topic and partition
	KeptTables   []string `json:"kept_tables"`   // their rows stay
	LostTables   []string `json:"lost_tables"`   // their rows are built anew
	DeleteTopics []string `json:"delete_topics"` // changelogs
	PurgeTopics  []string `json:"purge_topics"`  // repartition topics
	Warnings     []string `json:"warnings"`

	forget []record.TopicPartition // committed offsets that go without a new one
	// Offsets of repartition topics, put to where they are emptied: kept rows
	// beside a group that has committed nothing would be taken for orphans.
	settle map[record.TopicPartition]int64
	purge  map[record.TopicPartition]int64
}

// Change is what happens to one partition.
type Change struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`  // first offset there
	End       int64  `json:"end"`    // offset after the last
	Before    *int64 `json:"before"` // nil = none committed
	After     *int64 `json:"after"`  // nil = none: read from the start, as at the first run
	Note      string `json:"note,omitempty"`
}

// Make plans a rewind; it changes nothing. Errors: ErrActive, and requests
// that do not fit the pipeline.
func Make(ctx context.Context, c Cluster, r Request) (*Plan, error) {
	if err := checkIdle(ctx, c); err != nil {
		return nil, err
	}
	v, err := look(r)
	if err != nil {
		return nil, err
	}
	p := &Plan{Group: r.Group, KeptTables: v.kept, LostTables: v.lost, settle: make(map[record.TopicPartition]int64)}
	counts, err := c.Partitions(ctx, v.allTopics())
	if err != nil {
		return nil, fmt.Errorf("plan rewind: %w", err)
	}
	if err := p.planStreams(ctx, c, r, v, counts); err != nil {
		return nil, fmt.Errorf("plan rewind: %w", err)
	}
	if err := p.planTables(ctx, c, v, counts); err != nil {
		return nil, fmt.Errorf("plan rewind: %w", err)
	}
	if err := p.planInternal(ctx, c, v, counts); err != nil {
		return nil, fmt.Errorf("plan rewind: %w", err)
	}
	slices.SortFunc(p.Offsets, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	if len(r.KeepState) > 0 && r.To.Kind != Latest {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s: kept rows will see records again that are in them already",
			strings.Join(slices.Sorted(slices.Values(r.KeepState)), ", ")))
	}
	return p, nil
}

func checkIdle(ctx context.Context, c Cluster) error {
	members, err := c.Members(ctx)
	if err != nil {
		return fmt.Errorf("read members of the group: %w", err)
	}
	if len(members) > 0 {
		return fmt.Errorf("rewind: %w: its group has %d member(s): %s", ErrActive, len(members), strings.Join(members, ", "))
	}
	return nil
}

// view is the topology as a rewind sees it.
type view struct {
	streams    []string // outer topics read as streams
	tables     []string // outer topics of tables that are built anew
	keptTables []string // outer topics of kept tables
	changelogs []string // internal topics that hold rows to be built anew
	repartions []string // internal topics that only pass records on
	lost       []string // tables built anew
	kept       []string // tables whose rows stay
}

func (v *view) allTopics() []string {
	return slices.Concat(v.streams, v.tables, v.keptTables, v.changelogs, v.repartions)
}

// look sorts the topics of a topology, and checks the names of the request against it.
func look(r Request) (*view, error) {
	v := new(view)
	names := make(map[string]bool)
	kept := func(table string) bool { return slices.Contains(r.KeepState, cmp.Or(r.Companions[table], table)) }
	add := func(list *[]string, topic string) {
		if !slices.Contains(*list, topic) {
			*list = append(*list, topic)
		}
	}
	holdsRows := make(map[string]string) // internal topic -> table
	for _, sub := range r.Topology.Subs {
		for _, t := range sub.Tables {
			names[t.Name] = true
			if t.Changelog != "" {
				holdsRows[t.Changelog] = t.Name
			}
		}
		for _, in := range sub.Inputs {
			if in.Internal && in.Table != "" && !in.Purge {
				holdsRows[in.Topic] = in.Table
			}
		}
	}
	for _, sub := range r.Topology.Subs {
		for _, in := range sub.Inputs {
			table, isTable := r.TableTopics[in.Topic]
			switch {
			case in.Internal:
			case isTable && kept(table):
				add(&v.keptTables, in.Topic)
			case isTable:
				add(&v.tables, in.Topic)
			default:
				add(&v.streams, in.Topic)
			}
		}
	}
	for _, table := range r.TableTopics {
		names[table] = true
	}
	for _, in := range r.Topology.Internal {
		if table, ok := holdsRows[in.Name]; !ok {
			add(&v.repartions, in.Name)
		} else if !kept(table) {
			add(&v.changelogs, in.Name)
		}
	}
	for name := range names {
		if kept(name) {
			v.kept = append(v.kept, name)
		} else {
			v.lost = append(v.lost, name)
		}
	}
	slices.Sort(v.kept)
	slices.Sort(v.lost)
	return v, checkNames(r, v, names)
}

func checkNames(r Request, v *view, tables map[string]bool) error {
	var faults []error
	unknown := func(what, name string, have []string) {
		err := fmt.Errorf("the pipeline has no %s %q", what, name)
		if near := diag.Nearest(name, have); near != "" {
			err = fmt.Errorf("%w; did you mean %q?", err, near)
		}
		faults = append(faults, err)
	}
	var tableNames []string
	for name := range tables {
		tableNames = append(tableNames, name)
	}
	slices.Sort(tableNames)
	for _, name := range r.KeepState {
		if table, is := r.Companions[name]; is && tables[name] {
			faults = append(faults, fmt.Errorf("%q belongs to table %q and is kept with it: name that", name, table))
		} else if !tables[name] {
			unknown("table", name, tableNames)
		}
	}
	for _, s := range r.Only {
		if _, isTable := r.TableTopics[s.Topic]; isTable {
			faults = append(faults, fmt.Errorf("topic %q holds a table: a table is always read whole", s.Topic))
		} else if !slices.Contains(v.streams, s.Topic) {
			unknown("source with topic", s.Topic, v.streams)
		}
	}
	for tp := range r.To.Files {
		if !slices.Contains(v.streams, tp.Topic) {
			unknown("source with topic", tp.Topic, v.streams)
		}
	}
	return errors.Join(faults...)
}

// chosen lists the partitions that a request moves.
func chosen(r Request, streams []string, counts map[string]int32) ([]record.TopicPartition, error) {
	only := r.Only
	if len(only) == 0 {
		for _, topic := range streams {
			only = append(only, Selection{Topic: topic})
		}
	}
	var tps []record.TopicPartition
	for _, s := range only {
		n, exists := counts[s.Topic]
		if !exists {
			return nil, fmt.Errorf("topic %q does not exist", s.Topic)
		}
		parts := s.Partitions
		if parts == nil {
			for p := range n {
				parts = append(parts, p)
			}
		}
		for _, p := range parts {
			if p >= n {
				return nil, fmt.Errorf("topic %q has %d partitions, no partition %d", s.Topic, n, p)
			}
			tps = append(tps, record.TopicPartition{Topic: s.Topic, Partition: p})
		}
	}
	for tp := range r.To.Files {
		if n := counts[tp.Topic]; tp.Partition >= n {
			return nil, fmt.Errorf("topic %q has %d partitions, no partition %d", tp.Topic, n, tp.Partition)
		}
	}
	return tps, nil
}

// bounds is what the broker says of some partitions.
type bounds struct {
	starts, ends, committed map[record.TopicPartition]int64
}

func readBounds(ctx context.Context, c Cluster, tps []record.TopicPartition) (b bounds, err error) {
	if b.starts, err = c.Starts(ctx, tps); err != nil {
		return b, err
	}
	if b.ends, err = c.Ends(ctx, tps); err != nil {
		return b, err
	}
	b.committed, err = c.Committed(ctx, tps)
	return b, err
}

func (b bounds) change(tp record.TopicPartition) Change {
	ch := Change{Topic: tp.Topic, Partition: tp.Partition, Start: b.starts[tp], End: b.ends[tp]}
	if at, ok := b.committed[tp]; ok {
		ch.Before = &at
	}
	return ch
}

func (p *Plan) planStreams(ctx context.Context, c Cluster, r Request, v *view, counts map[string]int32) error {
	tps, err := chosen(r, v.streams, counts)
	if err != nil {
		return err
	}
	b, err := readBounds(ctx, c, tps)
	if err != nil {
		return err
	}
	var at map[record.TopicPartition]int64
	if r.To.Kind == Timestamp {
		if at, err = c.At(ctx, tps, r.To.N); err != nil {
			return err
		}
	}
	lostRecords := false
	for _, tp := range tps {
		ch := b.change(tp)
		want, note, moves := r.To.at(tp, b, at)
		if !moves {
			continue
		}
		got := min(max(want, ch.Start), ch.End)
		if got != want {
			note = fmt.Sprintf("%d lies outside", want)
		}
		if got == ch.Start && ch.Start > 0 && r.To.Kind != Latest {
			lostRecords = true
			note = strings.TrimPrefix(note+fmt.Sprintf("; %d records before it are gone", ch.Start), "; ")
		}
		ch.After, ch.Note = &got, note
		p.Offsets = append(p.Offsets, ch)
	}
	if err := p.forgetTimes(ctx, c, v, counts); err != nil {
		return err
	}
	if lostRecords {
		p.Warnings = append(p.Warnings, "retention has removed records: the rerun cannot give what they gave")
	}
	return nil
}

// forgetTimes commits offsets that stay once more where they are, unless rows are
// kept: beside them lies the stream time of tasks that also read what is rewound, and
// whose windows would take all of that for late.
func (p *Plan) forgetTimes(ctx context.Context, c Cluster, v *view, counts map[string]int32) error {
	if len(p.KeptTables) > 0 {
		return nil
	}
	moved := make(map[record.TopicPartition]bool)
	for _, ch := range p.Offsets {
		moved[record.TopicPartition{Topic: ch.Topic, Partition: ch.Partition}] = true
	}
	staying := slices.DeleteFunc(partitionsOf(v.streams, counts), func(tp record.TopicPartition) bool { return moved[tp] })
	committed, err := c.Committed(ctx, staying)
	if err != nil {
		return err
	}
	maps.Copy(p.settle, committed)
	return nil
}

// at says where a partition goes; false leaves it as it is.
func (t Target) at(tp record.TopicPartition, b bounds, byTime map[record.TopicPartition]int64) (to int64, note string, moves bool) {
	switch t.Kind {
	case Earliest:
		return b.starts[tp], "", true
	case Latest:
		return b.ends[tp], "", true
	case Offset:
		return t.N, "", true
	case Timestamp:
		if at, ok := byTime[tp]; ok {
			return at, "", true
		}
		return b.ends[tp], "no record at or after that time", true
	case Shift:
		at, ok := b.committed[tp]
		if !ok {
			return 0, "", false
		}
		if t.N > math.MaxInt64-at {
			return math.MaxInt64, "", true // beyond every end
		}
		return at + t.N, "", true
	case File:
		to, moves = t.Files[tp]
		return to, "", moves
	}
	return 0, "", false
}

// planTables makes tables be read whole again, streams waiting for them, as at
// the first run: their topics lose their committed offsets.
func (p *Plan) planTables(ctx context.Context, c Cluster, v *view, counts map[string]int32) error {
	tps := partitionsOf(v.tables, counts)
	b, err := readBounds(ctx, c, tps)
	if err != nil {
		return err
	}
	for _, tp := range tps {
		ch := b.change(tp)
		ch.Note = "table: read whole"
		p.Offsets = append(p.Offsets, ch)
		if ch.Before != nil {
			p.forget = append(p.forget, tp)
		}
	}
	return nil
}

// planInternal empties the pipeline's own topics. A changelog is compacted,
// and brokers refuse to delete records of such: the topic itself goes, and the
// next run creates it.
func (p *Plan) planInternal(ctx context.Context, c Cluster, v *view, counts map[string]int32) error {
	for _, topic := range v.changelogs {
		if _, exists := counts[topic]; exists {
			p.DeleteTopics = append(p.DeleteTopics, topic)
		}
	}
	for _, topic := range v.repartions {
		if _, exists := counts[topic]; exists {
			p.PurgeTopics = append(p.PurgeTopics, topic)
		}
	}
	slices.Sort(p.DeleteTopics)
	slices.Sort(p.PurgeTopics)
	purged := partitionsOf(p.PurgeTopics, counts)
	own := append(slices.Clone(purged), partitionsOf(p.DeleteTopics, counts)...)
	committed, err := c.Committed(ctx, own)
	if err != nil {
		return err
	}
	if p.purge, err = c.Ends(ctx, purged); err != nil {
		return err
	}
	for _, tp := range own {
		if _, ok := committed[tp]; !ok {
			continue
		}
		if end, emptied := p.purge[tp]; emptied && len(p.KeptTables) > 0 {
			p.settle[tp] = end
			continue
		}
		p.forget = append(p.forget, tp)
	}
	return nil
}

func partitionsOf(topics []string, counts map[string]int32) []record.TopicPartition {
	var tps []record.TopicPartition
	for _, topic := range topics {
		for p := range counts[topic] {
			tps = append(tps, record.TopicPartition{Topic: topic, Partition: p})
		}
	}
	return tps
}

// Do carries the plan out. removeState deletes the local state: it is only a
// copy of what kept changelogs hold. State goes before offsets, and each step
// can be done again, so that a rewind that was interrupted is mended by
// planning and doing it once more.
func (p *Plan) Do(ctx context.Context, c Cluster, removeState func() error) error {
	if err := checkIdle(ctx, c); err != nil {
		return err
	}
	if err := removeState(); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	// Before the topics go: of a topic that is gone, no second attempt would know the offsets.
	if len(p.forget) > 0 {
		if err := c.DeleteCommitted(ctx, p.forget); err != nil {
			return fmt.Errorf("rewind: delete committed offsets: %w", err)
		}
	}
	if len(p.DeleteTopics) > 0 {
		if err := c.DeleteTopics(ctx, p.DeleteTopics); err != nil {
			return fmt.Errorf("rewind: delete changelogs: %w", err)
		}
	}
	if len(p.purge) > 0 {
		if err := c.Purge(ctx, p.purge); err != nil {
			return fmt.Errorf("rewind: purge repartition topics: %w", err)
		}
	}
	moved := maps.Clone(p.settle)
	for _, ch := range p.Offsets {
		if ch.After != nil {
			moved[record.TopicPartition{Topic: ch.Topic, Partition: ch.Partition}] = *ch.After
		}
	}
	if len(moved) == 0 {
		return nil
	}
	if err := c.SetCommitted(ctx, moved); err != nil {
		return fmt.Errorf("rewind: commit offsets: %w", err)
	}
	return nil
}
