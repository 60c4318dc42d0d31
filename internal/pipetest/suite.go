package pipetest

import (
	"time"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/pipeline"
)

// Suite is a file of tests: its shape is right, its names mean nothing yet.
type Suite struct {
	Path string // of the file
	// Pipelines are those that run in its tests, side by side if there are several.
	Pipelines []NamedPipeline
	Tests     []*Test

	syntax *syntax.File
	set    []string // path=value, as --set takes them
}

// NamedPipeline is the file of a pipeline, and where the tests name it.
type NamedPipeline struct {
	Path string
	span diag.Span // zero: it is the one that the file's name says
}

// Test is one test of a Suite.
type Test struct {
	Name string
	Span diag.Span // of the name

	clock      time.Time
	partitions map[string]int32 // by the name of a source, table or sink; "" = of all others
	places     map[string]diag.Span
	steps      []step
}

// step is one thing that a test does.
type step struct {
	span   diag.Span // of what names it
	action action
}

// expects says that the step looks at what the pipeline has done.
func (s step) expects() bool {
	switch s.action.(type) {
	case *expect, *expectTable, *expectDropped, *expectError:
		return true
	}
	return false
}

// action is what a step does: one of the types below.
type action interface{}

// send sends records to a source, or to the topic of a table.
type send struct {
	name    string
	records []*sentRecord
	port    *port // set by bind
}

// sentRecord is a record as tests.yaml writes it.
type sentRecord struct {
	span       diag.Span
	key, value field
	at         *moment // nil = the wall clock
	headers    []header
	partition  int32 // -1 = where its key belongs

	keyBytes, valueBytes []byte // set by bind
}

// field is a key or value in one of its forms; the zero field is left out.
type field struct {
	given bool
	name  string // key, key_base64, value, value_text, ...
	node  *syntax.Node
	bytes []byte // of value_text and the base64 forms
	raw   bool   // bytes are what counts, not node
}

type header struct{ name, text string }

// moment is a time: relative to where the clock began, or a date.
type moment struct {
	relative bool
	offset   time.Duration
	ms       int64
	span     diag.Span
}

// from gives the moment in ms, with the clock having begun at begin.
func (m *moment) from(begin time.Time) int64 {
	if m.relative {
		return begin.Add(m.offset).UnixMilli()
	}
	return m.ms
}

// expect says what has come to sinks since they were looked at last.
type expect struct{ sinks []*expectSink }

type expectSink struct {
	name string
	span diag.Span
	// anyOrder: the records may have come in any order.
	anyOrder bool
	records  []*wanted
	port     *port // set by bind
}

// wanted is a record that is expected. What is nil is not looked at.
type wanted struct {
	span       diag.Span
	further    bool // `...`: any number of records
	key, value *wantedField
	at         *moment
	anyTime    *pattern // instead of at
	headers    *pattern
	partition  *pattern
	about      []fieldPattern // dead letters: reason, operator, error, topic, offset
}

// wantedField is an expected key or value: a pattern, or bytes.
type wantedField struct {
	field
	pattern *pattern
}

// expectTable says what rows a table has.
type expectTable struct{ tables []*expectRows }

type expectRows struct {
	name string
	span diag.Span
	open bool // further rows are allowed
	rows []*wantedRow
	port *port // set by bind
}

type wantedRow struct {
	span       diag.Span
	key, value *pattern
}

// expectDropped says what was dropped, by operator and reason, since it was asked last.
type expectDropped struct {
	span      diag.Span
	operators []*droppedBy
	open      bool
}

type droppedBy struct {
	name    string
	span    diag.Span
	open    bool
	reasons []dropped
}

type dropped struct {
	reason string
	count  int64
	span   diag.Span
}

// expectError says that the pipeline has ended with an error.
type expectError struct {
	message  *pattern // of the text; a plain text is looked for in it
	operator *pattern
	topic    *pattern
	offset   *pattern
}

// advance lets the wall clock go on.
type advance struct{ by time.Duration }

// which says of which pipeline a step is; "" = of all.
type which struct {
	pipeline string
	span     diag.Span
}

// restart kills the process and starts another one; loseState: without its disk.
type restart struct {
	which
	loseState bool
}

// stop ends the pipeline in an orderly way, start starts it again.
type (
	stop  struct{ which }
	start struct{ which }
)

// followed gives the names of the tables whose rows are expected.
func (s *Suite) followed() map[string]diag.Span {
	out := make(map[string]diag.Span)
	for _, t := range s.Tests {
		for _, st := range t.steps {
			if e, ok := st.action.(*expectTable); ok {
				for _, rows := range e.tables {
					if _, seen := out[rows.name]; !seen {
						out[rows.name] = rows.span
					}
				}
			}
		}
	}
	return out
}

// Sources gives the texts of the files that diagnostics of the suite point to.
func (s *Suite) Sources() map[string][]byte { return s.syntax.Sources() }

// unit reads a duration as pipelines write it.
func unit(text string) (time.Duration, error) { return pipeline.ParseDuration(text) }
