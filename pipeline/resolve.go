package pipeline

import (
	"time"

	"streamctl/internal/diag"
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
	IdleTimeout    time.Duration
	OnError        OnError
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
	Name string
	Decl *Declared

	Source *Source
	Table  *Table
	Stream *Stream
	Sink   *Sink
	Query  *Query // StreamDef, DerivedTableDef

	From  []ResolvedInput // StreamDef, DerivedTableDef; one for SinkDef
	Joins []ResolvedJoin  // StreamDef, DerivedTableDef

	OnError  OnError       // own, else the pipeline's
	MaxAhead time.Duration // SourceDef and TopicTableDef: own, else the pipeline's
	UsedBy   []*Def        // definitions that read this one, in Order
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
	Join *Join
}
