package pipeline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/diag"
	"streamctl/operators"
)

const (
	codeDuplicateName diag.Code = "duplicate-name"
	codeUnknownName   diag.Code = "unknown-name"
	codeAlias         diag.Code = "alias"
	codeCycle         diag.Code = "cycle"
	codeUnused        diag.Code = "unused"
	codeSharedTopic   diag.Code = "shared-topic"
	codeBadDuration   diag.Code = "bad-duration"
)

// Pipeline is a resolved file: every name stands for its definition, every
// duration and choice is parsed, and there are no cycles. It is not changed
// after Resolve.
type Pipeline struct {
	File     *File
	Name     string
	Settings PipelineSettings

	Sources []*Def // in file order
	Tables  []*Def // from topics and derived, in file order
	Streams []*Def
	Sinks   []*Def
	// Order holds every definition: each behind those that it reads, otherwise
	// sources, tables, streams, sinks, each in file order.
	Order []*Def
}

// PipelineSettings are the pipeline-wide knobs with their defaults applied.
type PipelineSettings struct {
	ExactlyOnce    bool
	CommitInterval time.Duration
	MaxAhead       time.Duration
	// IdleTimeout is how long nothing comes before stream time follows the wall clock,
	// negative = it never does.
	IdleTimeout   time.Duration
	OnError       OnError
	OnGap         operators.GapPolicy
	Standbys      int   // copies of every task's state beside the one that runs
	AcceptableLag int64 // records; 0 = the engine's default
}

// OnError is what happens with a record that cannot be processed.
type OnError uint8

const (
	Fail OnError = iota
	Skip
	DeadLetter
)

// String is the word of the language.
func (e OnError) String() string {
	return [...]string{"fail", "skip", "dead_letter"}[e]
}

// DefKind says what a definition is.
type DefKind uint8

const (
	SourceDef       DefKind = iota // sources: a topic as a stream
	TopicTableDef                  // tables: with topic:
	DerivedTableDef                // tables: with from:
	StreamDef                      // streams:
	SinkDef                        // sinks:
)

// String is the singular that diagnostics use.
func (k DefKind) String() string {
	return [...]string{"source", "table", "table", "stream", "sink"}[k]
}

// Def is one definition, resolved. The field of its kind (Source, Table,
// Stream or Sink) is set, and Query for streams and derived tables.
type Def struct {
	Kind DefKind
	Name string // that others call it by; from the plan on, its identity: see rename.go
	Decl *Declared

	Source *Source
	Table  *Table
	Stream *Stream
	Sink   *Sink
	Query  *Query // StreamDef, DerivedTableDef

	From  []ResolvedInput // StreamDef, DerivedTableDef; one for SinkDef
	Joins []ResolvedJoin  // StreamDef, DerivedTableDef
	Match *ResolvedInput  // StreamDef with match: the table of the queries

	OnError  OnError             // own, else the pipeline's
	OnGap    operators.GapPolicy // likewise
	MaxAhead time.Duration       // SourceDef and TopicTableDef: own, else the pipeline's
	// emitEvery is how often a DerivedTableDef sends what has changed, 0 = each change.
	emitEvery time.Duration
	TTL       time.Duration // of a table: how long rows stay that are not updated, 0 = for ever
	History   time.Duration // TopicTableDef: how much of it is kept, 0 = the last row only
	Window    *WindowSpec   // of a table of windows
	lateOf    *Def          // of a stream of late records: the table of windows
	identity  string        // the name of its state, "" = Name
	title     string        // the name in the file, where Name is another
	UsedBy    []*Def        // definitions that read this one, in Order
	// DedupWithin is how near to each other duplicates lie, of one with dedup.
	DedupWithin time.Duration
}

// IsTable reports whether the definition is keyed state rather than a stream.
func (d *Def) IsTable() bool { return d.Kind == TopicTableDef || d.Kind == DerivedTableDef }

// ResolvedInput is an Input with the definition that it names.
type ResolvedInput struct {
	Def   *Def
	Alias string // as written; "" = fields are bare
	Span  diag.Span
}

// ResolvedJoin is a Join with its definition.
type ResolvedJoin struct {
	ResolvedInput
	Left bool // false: inner
	// AsOf: the row is looked up as of the record's time, once stream time has
	// passed that by Wait.
	AsOf   bool
	Wait   time.Duration
	Bounds *StreamBounds // of a join of two streams
	Join   *Join
}

// Resolve gives every name its definition: the second stage. It refuses
// duplicate and unknown names, cycles, ambiguous aliases, streams where tables
// are needed and the reverse; it warns of what nothing uses. The Pipeline is
// never nil, and complete when the list holds no error.
func Resolve(f *File) (*Pipeline, diag.List) {
	r := &resolver{file: f, out: &Pipeline{File: f, Name: f.Name.Value}, byName: map[string]*Def{}}
	r.settings()
	r.declare()
	r.declareLate()
	for _, d := range slices.Concat(r.out.Tables, r.out.Streams, r.out.Sinks) {
		r.inputs(d)
		r.windowOf(d)
	}
	r.order()
	r.identities()
	r.topics()
	if !f.faulty && !r.list.HasErrors() {
		r.unused()
	}
	r.list.Sort()
	return r.out, r.list
}

type resolver struct {
	file   *File
	out    *Pipeline
	byName map[string]*Def
	list   diag.List
}

// Defaults of the settings. The longer interval without transactions only
// widens the window of repeats after a crash.
const (
	defaultCommitExactlyOnce = 100 * time.Millisecond
	defaultCommitAtLeastOnce = time.Second
	defaultMaxAhead          = 24 * time.Hour
	defaultIdleTimeout       = 30 * time.Second
)

func (r *resolver) settings() {
	s := r.file.Settings
	out := &r.out.Settings
	out.ExactlyOnce = s.Guarantee.Value != "at_least_once"
	commit := defaultCommitExactlyOnce
	if !out.ExactlyOnce {
		commit = defaultCommitAtLeastOnce
	}
	out.CommitInterval = r.duration(s.CommitInterval, commit, 10*time.Millisecond, time.Minute)
	out.MaxAhead = r.duration(s.MaxAhead, defaultMaxAhead, time.Second, maxDuration)
	if out.IdleTimeout = -1; s.IdleTimeout.Value != "never" {
		out.IdleTimeout = r.duration(s.IdleTimeout, defaultIdleTimeout, 100*time.Millisecond, maxDuration)
	}
	out.OnError = onErrorOf(s.OnError, Fail)
	out.OnGap = gapPolicyOf(s.OnGap, operators.GapFail)
	out.Standbys, _ = strconv.Atoi(s.Standbys.Value) // the parser has refused what is no number
	out.AcceptableLag, _ = strconv.ParseInt(s.AcceptableLag.Value, 10, 64)
	r.checkInterval()
}

func gapPolicyOf(t Text, otherwise operators.GapPolicy) operators.GapPolicy {
	switch t.Value {
	case "fail":
		return operators.GapFail
	case "earliest":
		return operators.GapEarliest
	case "latest":
		return operators.GapLatest
	}
	return otherwise
}

func onErrorOf(t Text, otherwise OnError) OnError {
	switch t.Value {
	case "fail":
		return Fail
	case "skip":
		return Skip
	case "dead_letter":
		return DeadLetter
	}
	return otherwise
}

// duration parses t, or takes otherwise when it is not set.
func (r *resolver) duration(t Text, otherwise, least, most time.Duration) time.Duration {
	if !t.Set {
		return otherwise
	}
	if d, ok := checkDuration(&r.list, t, t.Value, least, most); ok {
		return d
	}
	return otherwise
}

// declare makes a Def of every definition and refuses a name given twice.
func (r *resolver) declare() {
	f, out, onError := r.file, r.out, r.out.Settings.OnError
	for _, s := range f.Sources {
		d := &Def{Kind: SourceDef, Source: s, OnError: onErrorOf(s.OnError, onError), OnGap: gapPolicyOf(s.OnGap, out.Settings.OnGap)}
		d.MaxAhead = r.duration(s.MaxAhead, out.Settings.MaxAhead, time.Second, maxDuration)
		out.Sources = append(out.Sources, r.add(d, &s.Declared))
	}
	for _, t := range f.Tables {
		d := &Def{Kind: TopicTableDef, Table: t, OnError: onErrorOf(t.OnError, onError), MaxAhead: out.Settings.MaxAhead}
		if d.OnGap = gapPolicyOf(t.OnGap, out.Settings.OnGap); d.OnGap == operators.GapLatest {
			d.OnGap = operators.GapEarliest // what is there belongs to the table
		}
		if t.Derived != nil {
			d.Kind, d.Query, d.OnError = DerivedTableDef, t.Derived, onErrorOf(t.Derived.OnError, onError)
			r.emit(d)
		}
		out.Tables = append(out.Tables, r.add(d, &t.Declared))
		r.history(d)
		if top := r.splitTop(d); top != nil {
			out.Tables = append(out.Tables, top)
		}
		r.lifetime(d)
	}
	for _, s := range f.Streams {
		d := &Def{Kind: StreamDef, Stream: s, Query: &s.Query, OnError: onErrorOf(s.OnError, onError)}
		out.Streams = append(out.Streams, r.add(d, &s.Declared))
	}
	for _, s := range f.Sinks {
		d := &Def{Kind: SinkDef, Sink: s, OnError: onErrorOf(s.OnError, onError)}
		out.Sinks = append(out.Sinks, r.add(d, &s.Declared))
	}
}

func (r *resolver) add(d *Def, decl *Declared) *Def {
	d.Name, d.Decl = decl.Name.Value, decl
	old := r.byName[d.Name]
	if old == nil {
		r.byName[d.Name] = d
		return d
	}
	first, second := old, d
	if second.Decl.Span.Start.Offset < first.Decl.Span.Start.Offset && first.Decl.Span.File == second.Decl.Span.File {
		first, second = second, first
	}
	r.list.Add(diag.Errorf(codeDuplicateName, second.Decl.Span, "the name %q is given twice", d.Name).
		WithNote(first.Decl.Span, "first given to this %s", first.Kind).
		WithHelp("names are shared by sources, tables, streams and sinks: state and topics are called by them"))
	return d
}

// inputs resolves what a definition reads.
func (r *resolver) inputs(d *Def) {
	if d.Kind == SinkDef {
		if t := d.Sink.From; t.Set {
			if in, ok := r.input(d, t.Value, "", t.Span, t.Span); ok {
				d.From = append(d.From, in)
			}
		}
		return
	}
	if d.Query == nil {
		return
	}
	if d.lateOf != nil {
		r.lateInputs(d)
		return
	}
	for i := range d.Query.From {
		in := &d.Query.From[i]
		if resolved, ok := r.input(d, in.Name, in.Alias, in.NameSpan, in.Text.Span); ok {
			d.From = append(d.From, resolved)
		}
	}
	for i := range d.Query.Joins {
		j := &d.Query.Joins[i]
		if resolved, ok := r.input(d, j.Input.Name, j.Input.Alias, j.Input.NameSpan, j.Input.Text.Span); ok {
			join := ResolvedJoin{ResolvedInput: resolved, Left: j.Kind.Value == "left", Join: j}
			if resolved.Def.IsTable() {
				r.tableBounds(j, resolved.Def)
				r.asOf(j, resolved.Def, &join)
			} else {
				join.Bounds = r.streamBounds(d, j, resolved.Def)
			}
			d.Joins = append(d.Joins, join)
		}
	}
	r.matched(d)
	r.dedupWithin(d)
	r.unnested(d)
	r.aliases(d)
}

// input finds the definition called name.
func (r *resolver) input(d *Def, name, alias string, at, whole diag.Span) (ResolvedInput, bool) {
	target := r.byName[name]
	if target != nil && target.Kind != SinkDef {
		target.UsedBy = append(target.UsedBy, d)
		return ResolvedInput{Def: target, Alias: alias, Span: whole}, true
	}
	if target != nil {
		r.list.Add(diag.Errorf(codeUnknownName, at, "%q is a sink; a sink cannot be read", name).
			WithNote(target.Decl.Span, "defined here").
			WithHelp("read what the sink reads: %s", target.Sink.From.Value))
		return ResolvedInput{}, false
	}
	if r.file.namesLost {
		return ResolvedInput{}, false
	}
	dg := r.list.Errorf(codeUnknownName, at, "there is no source, table or stream %q", name)
	if len(r.list) > fullHelpUpTo {
		return ResolvedInput{}, false
	}
	names := r.readable(d)
	if near := diag.Nearest(name, names); near != "" {
		dg.Help = fmt.Sprintf("did you mean %q?", near)
	} else if len(names) > 0 && len(names) <= 20 {
		dg.Help = "defined are: " + strings.Join(names, ", ")
	} else {
		dg.Help = "define it under sources:, tables: or streams:"
	}
	return ResolvedInput{}, false
}

// Limits of explanations: files with thousands of faults need the first few
// explained, and soon.
const (
	fullHelpUpTo = 50 // diagnostics that get "did you mean"
	cycleNotes   = 8  // places shown of one cycle
)

// readable lists the names that d could read, in file order.
func (r *resolver) readable(d *Def) []string {
	var names []string
	for _, other := range slices.Concat(r.out.Sources, r.out.Tables, r.out.Streams) {
		if other != d {
			names = append(names, other.Name)
		}
	}
	return names
}

// aliases checks that every field of a query has one reading.
func (r *resolver) aliases(d *Def) {
	q := d.Query
	if len(q.From) == 0 {
		return
	}
	first := q.From[0]
	for _, in := range q.From[1:] {
		if in.Alias != first.Alias {
			r.list.Add(diag.Errorf(codeAlias, in.Text.Span, "the inputs of one from: must share one alias").
				WithNote(first.Text.Span, "the first input is written here").
				WithHelp("expressions are the same for every input: write [%s x, %s x]", first.Name, in.Name))
			return
		}
	}
	if len(q.Joins) == 0 {
		return
	}
	if first.Alias == "" {
		r.list.Errorf(codeAlias, first.NameSpan, "%q needs an alias, because something is joined to it", first.Name).
			Help = fmt.Sprintf("write `from: %s %s`, and %s.field in expressions", first.Name, shortAlias(first.Name), shortAlias(first.Name))
	}
	seen := map[string]diag.Span{}
	if first.Alias != "" {
		seen[first.Alias] = first.AliasSpan
	}
	for _, j := range q.Joins {
		in := j.Input
		switch old, twice := seen[in.Alias]; {
		case in.Name == "":
		case in.Alias == "":
			r.list.Errorf(codeAlias, in.NameSpan, "%q needs an alias, because it is joined", in.Name).
				Help = fmt.Sprintf("write `%s: %s %s`, and %s.field in expressions", j.Kind.Value, in.Name, shortAlias(in.Name), shortAlias(in.Name))
		case twice:
			r.list.Add(diag.Errorf(codeAlias, in.AliasSpan, "the alias %q is given twice", in.Alias).
				WithNote(old, "first given here").
				WithHelp("give each input of a query an alias of its own"))
		default:
			seen[in.Alias] = in.AliasSpan
		}
	}
}

// shortAlias proposes an alias.
func shortAlias(name string) string {
	for _, c := range strings.ToLower(name) {
		if c >= 'a' && c <= 'z' {
			return string(c)
		}
	}
	return "x"
}

// order sorts the definitions by dependency and reports cycles.
func (r *resolver) order() {
	const (
		unseen = iota
		open
		done
	)
	state := map[*Def]int{}
	var path []*Def
	var visit func(d *Def)
	visit = func(d *Def) {
		switch state[d] {
		case done:
			return
		case open:
			r.cycle(path[slices.Index(path, d):])
			return
		}
		state[d] = open
		path = append(path, d)
		for _, in := range d.From {
			visit(in.Def)
		}
		for _, j := range d.Joins {
			visit(j.Def)
		}
		if d.Match != nil {
			visit(d.Match.Def)
		}
		path = path[:len(path)-1]
		state[d] = done
		r.out.Order = append(r.out.Order, d)
	}
	for _, d := range slices.Concat(r.out.Sources, r.out.Tables, r.out.Streams, r.out.Sinks) {
		visit(d)
	}
	at := make(map[*Def]int, len(r.out.Order))
	for i, d := range r.out.Order {
		at[d] = i
	}
	for _, d := range r.out.Order {
		slices.SortStableFunc(d.UsedBy, func(a, b *Def) int { return at[a] - at[b] })
		d.UsedBy = slices.Compact(d.UsedBy)
	}
}

// cycle reports definitions that read each other.
func (r *resolver) cycle(path []*Def) {
	steps := make([]string, 0, len(path))
	for i, d := range path {
		steps = append(steps, fmt.Sprintf("%s reads %s", d.Name, path[(i+1)%len(path)].Name))
	}
	last := path[len(path)-1]
	at := last.Decl.Span
	if span, ok := last.readsAt(path[0]); ok {
		at = span
	}
	if len(path) == 1 {
		r.list.Errorf(codeCycle, at, "%s %q reads itself", last.Kind, last.Name).
			Help = "read the source or stream that it is made of"
		return
	}
	d := diag.Errorf(codeCycle, at, "definitions read each other in a circle: %s", strings.Join(steps, ", "))
	for i, def := range path[:min(len(path)-1, cycleNotes)] {
		if span, ok := def.readsAt(path[i+1]); ok {
			d = d.WithNote(span, "%s %q reads %q here", def.Kind, def.Name, path[i+1].Name)
		}
	}
	r.list.Add(d.WithHelp("a record cannot pass through its own results: let one of them read something else"))
}

// readsAt is where d names target.
func (d *Def) readsAt(target *Def) (diag.Span, bool) {
	if d.Kind == SinkDef {
		return d.Sink.From.Span, d.Sink.From.Value == target.Name
	}
	if d.Query == nil {
		return diag.Span{}, false
	}
	for _, in := range d.Query.From {
		if in.Name == target.Name {
			return in.NameSpan, true
		}
	}
	for _, j := range d.Query.Joins {
		if j.Input.Name == target.Name {
			return j.Input.NameSpan, true
		}
	}
	if m := d.Query.Match; m != nil && m.Queries.Name == target.Name {
		return m.Queries.NameSpan, true
	}
	return diag.Span{}, false
}

// topics looks at who writes and reads which topic.
func (r *resolver) topics() {
	writers, readers := map[string]*Def{}, map[string]*Def{}
	for _, d := range r.out.Sinks {
		t := d.Sink.Topic
		if first := writers[t.Value]; first != nil && t.Set {
			r.list.Add(diag.Warnf(codeSharedTopic, t.Span, "topic %q is written by two sinks", t.Value).
				WithNote(first.Sink.Topic.Span, "sink %q writes it too", first.Name).
				WithHelp("unite the streams with from: [a, b] in one definition, if their order matters"))
			continue
		}
		writers[t.Value] = d
	}
	for _, d := range slices.Concat(r.out.Sources, r.out.Tables) {
		t := d.topic()
		if !t.Set {
			continue
		}
		if w := writers[t.Value]; w != nil {
			r.list.Add(diag.Errorf(codeSharedTopic, w.Sink.Topic.Span, "topic %q is read by this pipeline and written by it", t.Value).
				WithNote(t.Span, "%s %q reads it", d.Kind, d.Name).
				WithHelp("records would go round in circles; read the stream itself instead of its topic"))
		}
		if first := readers[t.Value]; first != nil {
			r.list.Add(diag.Errorf(codeSharedTopic, t.Span, "topic %q is read by two definitions", t.Value).
				WithNote(first.topic().Span, "%s %q reads it too", first.Kind, first.Name).
				WithHelp("%s", sharedHelp(first, d)))
			continue
		}
		readers[t.Value] = d
	}
}

func sharedHelp(a, b *Def) string {
	if a.Kind == SourceDef && b.Kind == SourceDef {
		return "define it once; several streams may read one source"
	}
	return "define it once: as a table when the last row per key counts, as a source when every record does"
}

// topic is what a definition reads from Kafka.
func (d *Def) topic() Text {
	switch d.Kind {
	case SourceDef:
		return d.Source.Topic
	case TopicTableDef:
		return d.Table.Topic
	}
	return Text{}
}

// unused warns of definitions that no sink can see.
func (r *resolver) unused() {
	if len(r.out.Sinks) == 0 && len(r.out.Order) > 0 {
		r.list.Warnf(codeUnused, r.file.Name.Span, "the pipeline has no sinks: it writes nothing").
			Help = "add a definition under sinks:"
		return
	}
	needed := map[*Def]bool{}
	for i := len(r.out.Order) - 1; i >= 0; i-- {
		d := r.out.Order[i]
		if d.Kind != SinkDef && !slices.ContainsFunc(d.UsedBy, func(u *Def) bool { return needed[u] }) {
			continue
		}
		needed[d] = true
	}
	for _, d := range r.out.Order {
		if needed[d] {
			continue
		}
		if d.split() {
			continue // told of its top
		}
		w := r.list.Warnf(codeUnused, d.Decl.Span, "%s %q is never used", d.Kind, d.Name)
		w.Help = "remove it, or let a sink read it"
		if len(d.UsedBy) > 0 {
			w.Message = fmt.Sprintf("%s %q is used only by what is never used itself", d.Kind, d.Name)
		}
	}
}
