// Package pipeline is the compiler: parse -> resolve -> typecheck -> plan ->
// bind, each stage a function from one type to the next and a list of
// diagnostics. compile.go shows all of it on one screen. Checking touches no
// environment; binding makes operators; nothing here starts a goroutine or
// talks to a broker.
package pipeline

import (
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// File is a parsed pipeline file: the shape of the YAML is right, nothing is resolved yet.
type File struct {
	Name     Text   // pipeline:
	Kafka    *Kafka // nil = the embedded broker
	Settings Settings
	Sources  []*Source
	Tables   []*Table  // from a topic, or derived (Derived != nil)
	Streams  []*Stream // derived
	Sinks    []*Sink
	// Functions are the user's own scalar functions.
	Functions []*Function

	Syntax *syntax.File // the source text and tree, for the printer and for further reading

	faulty    bool // parse found errors: what seems unused may only be misspelt where it is used
	namesLost bool // definitions could not be read: an unknown name may be one of them
}

// Text is a scalar with its place; Set is false when it was left out.
type Text struct {
	Value string
	Set   bool
	Span  diag.Span
	// Node gives the place of any byte range inside the scalar.
	Node *syntax.Node
}

// Settings are the pipeline-wide knobs, written as top-level keys of the file.
// Durations are kept as text here; Resolve parses them.
type Settings struct {
	Guarantee      Text // exactly_once (default) | at_least_once
	CommitInterval Text // duration, default 100ms exactly_once, 1s at_least_once
	MaxAhead       Text // duration, default 24h: how far event time may lie past the wall clock
	OnError        Text // fail (default) | skip | dead_letter
	OnGap          Text // fail (default) | earliest | latest
	Standbys       Text // whole number, default 0: copies of every task's state beside the one that runs
	AcceptableLag  Text // records, default 10,000: who lags no more takes a task over without a warm-up
	IdleTimeout    Text // duration, default 30s: how long inputs may be silent before stream time follows the wall clock
}

// Declared is what every definition has.
type Declared struct {
	Name Text
	Span diag.Span
}

// FieldDecl is one entry of fields:. Type is int, float, bool, string, any,
// object or list. A mapping is written for an object whose fields are known
// (Type "object", Sub its fields), a list of one for a list whose elements are
// known (Type "list", Sub one FieldDecl without a name).
type FieldDecl struct {
	Name Text
	Type Text
	Sub  []FieldDecl
}

// Source is an entry of sources:.
type Source struct {
	Declared
	Topic         Text
	Format        Text // json | string | bytes | int | long | double
	KeyFormat     Text
	Timestamp     Text // expression
	PartitionedBy Text // expression
	Fields        []FieldDecl
	OnError       Text
	OnGap         Text
	MaxAhead      Text // duration
}

// Table is an entry of tables:, from a topic or derived by from/group_by.
type Table struct {
	Declared
	Topic         Text
	Format        Text
	KeyFormat     Text
	Key           Text // expression
	Value         Text // expression
	Timestamp     Text // expression
	Envelope      Text // old_new | debezium
	PartitionedBy Text
	Fields        []FieldDecl
	OnError       Text
	OnGap         Text // fail | earliest
	Versioned     Text // duration: how much of its history is kept, for as_of
	Replicate     Text // true: every task has all of it
	TTL           Text // duration
	IDWas         Text // the name that its state had before
	Derived       *Query
}

// Stream is an entry of streams:.
type Stream struct {
	Declared
	Query
}

// Query is what a derived stream or table does, in the order it is done.
//
// OnError of a stream and of a derived table is here.
type Query struct {
	From    []Input
	Unnest  *Unnest
	Where   Text // decided behind the joins where it names what they join
	Joins   []Join
	Match   *Match
	Dedup   *Dedup
	GroupBy []Group
	Window  *Window
	Select  []Column
	Having  Text
	Top     *Top
	Emit    *Emit
	TTL     Text // duration
	IDWas   Text // the name that its state had before
	OnError Text
}

// Unnest is `unnest: items as item`: one record per element of a list.
type Unnest struct {
	List  Text // expression
	Alias Text
	Span  diag.Span
}

// Match tests documents against stored queries.
type Match struct {
	Queries Input
	Text    Text // expression: what is searched
	Field   Text // of the table's rows: the query; default "query"
	Span    diag.Span
}

// Dedup lets the first record of each key through.
type Dedup struct {
	By     Text // expression
	Within Text // duration of event time
	Span   diag.Span
}

// Window cuts the groups of a derived table by event time. One of Tumbling,
// Hopping, Sliding and Session is set: a duration.
type Window struct {
	Tumbling, Hopping, Sliding, Session Text

	Every    Text // duration: of hopping windows, from start to start
	Grace    Text // duration, default 0: how far records may come behind stream time
	Late     Text // drop (default) | dead_letter | the name of a stream that takes them
	Align    Text // a day of the week, or month
	Timezone Text // name of the IANA database
	Offset   Text // duration
	Span     diag.Span
}

// Top keeps the first rows of each group of a table.
type Top struct {
	N     Text // whole number
	By    Text // expression
	Order Text // desc (default) | asc
	Per   Text // expression; unset = over all rows
	List  Text // the name of a field: one row per group, with the first rows as a list
	Span  diag.Span
}

// Emit says when a derived table sends its changes.
type Emit struct {
	Mode  Text // changes (default) | final
	Every Text // duration, instead of Mode
	Span  diag.Span
}

// Function is an entry of functions:, an expression over its parameters or an
// export of a WebAssembly module.
type Function struct {
	Declared
	Params  []FieldDecl
	Returns Text
	Expr    Text // expression, or
	Wasm    Text // the module's file
	Export  Text // default: the function's name
	Memory  Text // bytes the module may use
	Timeout Text // duration of one call
}

// Input is "name alias".
type Input struct {
	Text                Text
	Name                string
	Alias               string // "" when none was given
	NameSpan, AliasSpan diag.Span
}

// Join is one entry of join:.
type Join struct {
	Kind  Text // inner | left | outer
	Input Input
	On    Text
	// Of two streams: how far their records may lie apart, durations.
	Within, Before, After Text
	Grace                 Text // duration: how late records may come
	AsOf                  Text // true: the row as it was at the record's time
	Span                  diag.Span
}

// Column is one entry of select:.
type Column struct {
	Span   diag.Span
	Spread string // alias of "alias.*", "*" for all
	Except []Text
	Name   Text // named column
	Expr   Text
}

// Group is one grouping expression, named or not.
type Group struct {
	Name Text
	Expr Text
}

// Sink is an entry of sinks:.
type Sink struct {
	Declared
	From       Text
	Topic      Text
	Key        Text // expression; default the stream's key
	KeyFormat  Text
	Format     Text
	OnError    Text
	Partitions Text // for a topic that does not exist yet
}
