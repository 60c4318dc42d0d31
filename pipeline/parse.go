package pipeline

import (
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// ParseOptions are what the command line adds to a file.
type ParseOptions struct {
	// Set holds overrides "path=value", applied to the YAML tree before it is
	// understood: an override is checked like what it replaces.
	Set []string
}

// Parse reads a pipeline file: the first stage. It checks the shape (which
// keys may stand where, what kind of value each has, names, choices) and
// resolves nothing. The File is never nil; it holds what could be read, so that
// Resolve can look for further faults.
func Parse(name string, src []byte, opts ParseOptions) (*File, diag.List) {
	tree, list := syntax.Parse(name, src)
	file := &File{Syntax: tree}
	if tree.Root == nil && list.HasErrors() {
		file.faulty = true
		return file, list
	}
	overridden, more := tree.Override(opts.Set, mayCreate)
	list.Append(more)
	file.Syntax = overridden
	p := &parser{file: file, list: list}
	p.top(overridden.Root)
	p.list.Sort()
	file.faulty = p.list.HasErrors()
	return file, p.list
}

// mayCreate says which mappings an override may bring into being: the
// deployment section, and nothing of the logic, where a new name is a typo.
func mayCreate(path []string) bool { return path[0] == "kafka" }

// What copies of state may be asked for: more than ten cost more than they save.
const (
	maxStandbys      = 10
	maxAcceptableLag = 1_000_000_000
)

// parser turns the YAML tree into a File. Every method goes on after a fault,
// so that one run reports them all.
type parser struct {
	file *File
	list diag.List
}

// top reads the whole file.
func (p *parser) top(root *syntax.Node) {
	f := p.file
	if root == nil || root.IsNull() {
		p.list.Errorf(codeMissingField, diag.Span{File: f.Syntax.Name}, "the file is empty").
			Help = "begin with `pipeline: NAME`, then sources, streams and sinks"
		return
	}
	if root.Kind != syntax.Mapping {
		p.list.Errorf(codeWrongType, root.Span, "the pipeline file: expected a mapping, got %s", root.Describe()).
			Help = "begin with `pipeline: NAME`, without a dash, then sources, streams and sinks"
		return
	}
	for _, e := range root.Entries { // a misspelt section takes its names with it
		switch e.Key.Value {
		case "pipeline", "kafka", "functions", "sources", "tables", "streams", "sinks":
		default:
			f.namesLost = f.namesLost || e.Value.Kind == syntax.Mapping
		}
	}
	p.mapping(root, "the pipeline file", root.At(0, 0), []key{
		{name: "pipeline", read: func(n *syntax.Node) { f.Name = p.pipelineName(n) }, required: "pipeline: NAME", noun: "name"},
		{name: "kafka", read: func(n *syntax.Node) { f.Kafka = p.kafka(n) }},
		{name: "guarantee", read: func(n *syntax.Node) { f.Settings.Guarantee = p.choice(n, "guarantee", guarantees(), nil) }},
		{name: "commit_interval", read: func(n *syntax.Node) { f.Settings.CommitInterval = p.text(n, "a duration") }},
		{name: "max_ahead", read: func(n *syntax.Node) { f.Settings.MaxAhead = p.text(n, "a duration") }},
		{name: "on_error", read: p.onError(&f.Settings.OnError)},
		{name: "on_gap", read: p.onGap(&f.Settings.OnGap, gapPolicies())},
		{name: "standbys", read: func(n *syntax.Node) { f.Settings.Standbys = p.number(n, "standbys", 0, maxStandbys) }},
		{name: "acceptable_lag", read: func(n *syntax.Node) { f.Settings.AcceptableLag = p.count(n, "acceptable_lag", maxAcceptableLag) }},
		{name: "idle_timeout", read: func(n *syntax.Node) { f.Settings.IdleTimeout = p.text(n, "a duration, or never") }},
		{name: "functions", read: func(n *syntax.Node) { p.definitions(n, "function", p.function) }},
		{name: "sources", read: func(n *syntax.Node) { p.definitions(n, "source", p.source) }},
		{name: "tables", read: func(n *syntax.Node) { p.definitions(n, "table", p.table) }},
		{name: "streams", read: func(n *syntax.Node) { p.definitions(n, "stream", p.stream) }},
		{name: "sinks", read: func(n *syntax.Node) { p.definitions(n, "sink", p.sink) }},
	}, hints{
		"settings":     "settings are top-level keys: guarantee, commit_interval, max_ahead, idle_timeout, on_error, on_gap, standbys, acceptable_lag",
		"replicas":     "write `standbys: 1`",
		"name":         "did you mean \"pipeline\"?",
		"brokers":      "brokers belong under kafka:",
		"exactly_once": "write `guarantee: exactly_once`",
	}, "fuse", "metrics", "http", "state")
}

// definitions reads one section: name -> definition.
func (p *parser) definitions(n *syntax.Node, kind string, read func(Declared, *syntax.Node)) {
	if n.IsNull() {
		p.list.Errorf(codeWrongType, n.Span, "%ss: expected a mapping of names, got nothing", kind).
			Help = "add a definition below, or remove the key"
		return
	}
	if n.Kind != syntax.Mapping {
		p.list.Errorf(codeWrongType, n.Span, "%ss: expected a mapping of names, got %s", kind, n.Describe()).
			Help = "write each as `NAME:`, without a dash, and its fields below it"
		p.file.namesLost = true
		return
	}
	for _, e := range n.Entries {
		decl := Declared{Name: p.definitionName(e.Key, kind), Span: e.Key.Span}
		if e.Value.IsNull() {
			p.list.Errorf(codeWrongType, e.Key.Span, "%s %q is empty", kind, e.Key.Value).
				Help = "write its fields below the name, or remove it"
			p.file.namesLost = true
			continue
		}
		if e.Value.Kind != syntax.Mapping {
			p.list.Errorf(codeWrongType, e.Value.Span, "%s %q: expected a mapping, got %s", kind, e.Key.Value, e.Value.Describe()).
				Help = "write its fields below the name, each as `FIELD: VALUE`"
			p.file.namesLost = true
			continue
		}
		read(decl, e.Value)
	}
}

func (p *parser) source(decl Declared, n *syntax.Node) {
	s := &Source{Declared: decl}
	p.file.Sources = append(p.file.Sources, s)
	p.mapping(n, "source "+quote(decl.Name.Value), decl.Span, []key{
		{name: "topic", read: p.topic(&s.Topic), required: "topic: TOPIC"},
		{name: "format", read: p.format(&s.Format)},
		{name: "key_format", read: p.format(&s.KeyFormat)},
		{name: "timestamp", read: p.expression(&s.Timestamp)},
		{name: "partitioned_by", read: p.expression(&s.PartitionedBy)},
		{name: "fields", read: func(n *syntax.Node) { s.Fields = p.fieldDecls(n) }},
		{name: "on_error", read: p.onError(&s.OnError)},
		{name: "on_gap", read: p.onGap(&s.OnGap, gapPolicies())},
		{name: "max_ahead", read: func(n *syntax.Node) { s.MaxAhead = p.text(n, "a duration") }},
	}, hints{
		"key":    "a source is a stream of facts; a primary key makes it a table: move it under tables:",
		"value":  "a value expression belongs to tables; a stream computes its fields in select:",
		"where":  "filter in a definition under streams:",
		"id_was": "a source keeps no state: give it any name",
		"from":   "a source reads a topic; what reads another definition belongs under streams:",
	}, laterInputs()...)
}

func (p *parser) table(decl Declared, n *syntax.Node) {
	t := &Table{Declared: decl}
	p.file.Tables = append(p.file.Tables, t)
	what := "table " + quote(decl.Name.Value)
	if from := n.Get("from"); from != nil {
		if topic := n.Get("topic"); topic != nil {
			p.list.Add(diag.Errorf(codeConflict, topic.Span, "%s has both topic and from", what).
				WithNote(from.Span, "from is given here").
				WithHelp("a table is read from a topic, or computed from a stream"))
		}
		t.Derived = &Query{}
		p.mapping(n, what, decl.Span, append(p.queryKeys(t.Derived),
			key{name: "top", read: p.topClause(t.Derived)},
			key{name: "ttl", read: func(n *syntax.Node) { t.Derived.TTL = p.text(n, "a duration") }},
			key{name: "group_by", read: func(n *syntax.Node) { t.Derived.GroupBy = p.groupBy(n) }},
			key{name: "window", read: p.window(t.Derived)},
			key{name: "having", read: p.expression(&t.Derived.Having)},
			key{name: "emit", read: p.emitClause(t.Derived)},
			key{name: "topic", read: func(*syntax.Node) {}, silent: true},
		), hints{
			"key":   "the key of a computed table is what it is grouped by",
			"late":  "late belongs into window: `window: {tumbling: 5m, late: dead_letter}`",
			"grace": "grace belongs into window: `window: {tumbling: 5m, grace: 1m}`",
			"value": "the fields of a computed table come from select:",
			"match": "match documents in a definition under streams:, and let the table read that",
		})
		return
	}
	p.mapping(n, what, decl.Span, []key{
		{name: "topic", read: p.topic(&t.Topic), required: "topic: TOPIC, or from: STREAM"},
		{name: "key", read: p.expression(&t.Key)},
		{name: "value", read: p.expression(&t.Value)},
		{name: "format", read: p.format(&t.Format)},
		{name: "key_format", read: p.format(&t.KeyFormat)},
		{name: "timestamp", read: p.expression(&t.Timestamp)},
		{name: "envelope", read: func(n *syntax.Node) { t.Envelope = p.choice(n, "envelope", envelopes(), nil) }},
		{name: "partitioned_by", read: p.expression(&t.PartitionedBy)},
		{name: "versioned", read: func(n *syntax.Node) { t.Versioned = p.text(n, "a duration") }},
		{name: "replicate", read: func(n *syntax.Node) { t.Replicate = p.choice(n, "replicate", []string{"true", "false"}, nil) }},
		{name: "ttl", read: func(n *syntax.Node) { t.TTL = p.text(n, "a duration") }},
		p.idWas(&t.IDWas),
		{name: "fields", read: func(n *syntax.Node) { t.Fields = p.fieldDecls(n) }},
		{name: "on_error", read: p.onError(&t.OnError)},
		{name: "on_gap", read: p.onGap(&t.OnGap, gapPolicies()[:2])}, // a table without its records is no table
		{name: "from", silent: true}, {name: "group_by", silent: true},
	}, hints{
		"select": "a table from a topic takes its rows from value: EXPRESSION",
		"where":  "a table from a topic holds every row of it; filter in the stream that joins it",
	}, laterInputs()...)
}

func (p *parser) stream(decl Declared, n *syntax.Node) {
	s := &Stream{Declared: decl}
	p.file.Streams = append(p.file.Streams, s)
	p.mapping(n, "stream "+quote(decl.Name.Value), decl.Span, append(p.queryKeys(&s.Query),
		key{name: "match", read: func(n *syntax.Node) { s.Match = p.match(n) }},
	), hints{
		"topic":    "a topic is read under sources: and written under sinks:",
		"group_by": "group_by makes a table: move this definition under tables:",
		"window":   "a window cuts the groups of a table: move this definition under tables: and add group_by",
		"filter":   "did you mean \"where\"?",
		"having":   "having is decided on the groups of a table: use where",
		"emit":     "emit says when a table with group_by sends its groups; a stream sends every record",
		"ttl":      "a stream keeps no rows: ttl belongs to tables",
		"top":      "the first rows of each group are a table: move this definition under tables:",
		"key":      "the key of an output record is given by the sink",
	})
}

func (p *parser) sink(decl Declared, n *syntax.Node) {
	s := &Sink{Declared: decl}
	p.file.Sinks = append(p.file.Sinks, s)
	p.mapping(n, "sink "+quote(decl.Name.Value), decl.Span, []key{
		{name: "from", read: func(n *syntax.Node) { s.From = p.sinkFrom(n) }, required: "from: STREAM"},
		{name: "topic", read: p.topic(&s.Topic), required: "topic: TOPIC"},
		{name: "key", read: p.expression(&s.Key)},
		{name: "key_format", read: p.format(&s.KeyFormat)},
		{name: "format", read: p.format(&s.Format)},
		{name: "on_error", read: p.onError(&s.OnError)},
		{name: "partitions", read: func(n *syntax.Node) { s.Partitions = p.count(n, "partitions", maxPartitions) }},
	}, hints{
		"to":     "did you mean \"topic\"?",
		"id_was": "a sink keeps no state: give it any name",
		"where":  "filter in a definition under streams:, and let the sink read that",
		"select": "choose the fields in a definition under streams:, and let the sink read that",
		"value":  "choose the fields in a definition under streams:, and let the sink read that",
	}, append(laterOutputs(), "emit", "headers", "timestamp", "replication", "config")...)
}

// sinkFrom reads the one name that a sink writes.
func (p *parser) sinkFrom(n *syntax.Node) Text {
	if n.Kind == syntax.Sequence {
		p.list.Errorf(codeWrongType, n.Span, "a sink writes one stream or table, got a list").
			Help = "unite them in a definition under streams: with from: [a, b], and let the sink read that"
		return Text{}
	}
	t := p.text(n, "the name of a stream or table")
	if words := strings.Fields(t.Value); len(words) > 1 {
		p.list.Errorf(codeBadName, t.Span, "a sink takes a name without an alias").
			Help = "write `from: " + words[0] + "`; the fields are bare in key:"
		t.Value = words[0]
	}
	return t
}

// topic reads the name of a Kafka topic.
func (p *parser) topic(into *Text) func(*syntax.Node) {
	return func(n *syntax.Node) {
		t := p.text(n, "the name of a topic")
		*into = t
		if !t.Set {
			return
		}
		if i := badTopicByte(t.Value); i >= 0 {
			p.list.Errorf(codeBadTopic, n.At(i, i+len(runeAt(t.Value, i))), "a topic's name cannot contain %q", runeAt(t.Value, i)).
				Help = "Kafka allows letters, digits, \".\", \"_\" and \"-\""
			return
		}
		switch {
		case t.Value == "":
			p.list.Errorf(codeBadTopic, t.Span, "a topic's name cannot be empty").
				Help = "write `topic: TOPIC`"
		case t.Value == "." || t.Value == "..":
			p.list.Errorf(codeBadTopic, t.Span, "a topic cannot be called %q", t.Value).
				Help = "Kafka keeps this name for itself; choose another"
		case len(t.Value) > maxTopicLength:
			p.list.Errorf(codeBadTopic, t.Span, "the topic's name has %d characters; Kafka allows %d", len(t.Value), maxTopicLength).
				Help = "shorten it"
		case strings.HasPrefix(t.Value, "__"):
			p.list.Errorf(codeBadTopic, t.Span, "topic %q belongs to the brokers themselves", t.Value).
				Help = "topics that begin with \"__\" are Kafka's own"
		}
	}
}

const (
	maxTopicLength = 249     // Kafka's own limit
	maxPartitions  = 100_000 // beyond is a slip of the hand
)

func badTopicByte(name string) int {
	return strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
}

func runeAt(s string, i int) string {
	for _, r := range s[i:] {
		return string(r)
	}
	return ""
}

func guarantees() []string  { return []string{"exactly_once", "at_least_once"} }
func envelopes() []string   { return []string{"old_new", "debezium"} }
func gapPolicies() []string { return []string{"fail", "earliest", "latest"} }
func onErrors() []string    { return []string{"fail", "skip", "dead_letter"} }
func formats() []string     { return []string{"json", "string", "bytes", "int", "long", "double"} }

// What the language has in mind and this version does not do yet: named, so
// that it is told from a typo.
func laterFormats() []string {
	return []string{"avro", "protobuf", "json_schema", "json-schema", "csv", "parquet"}
}

func laterInputs() []string {
	return []string{"file", "stdin", "http", "postgres", "lookup", "generate", "schema", "registry", "delimiter"}
}

func laterOutputs() []string {
	return []string{"file", "stdout", "http", "postgres", "schema", "registry"}
}
