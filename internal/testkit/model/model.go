// Package model says what a pipeline means: an interpreter of the pipeline
// language that takes one record after the other, keeps everything in maps and
// lists, and computes every result anew from all it has seen. It is slow and
// meant to be too simple to be wrong.
//
// It owns the meaning of the clauses as the documents have it (language.md,
// operators.md), and no more: it must not know the compiler, the operators or
// the engine, because they are compared with it. Of the plan it is told two
// facts that can be seen from outside: where records are repartitioned, and
// which inputs one task reads (Layout), since stream time is a task's.
//
// It knows only the part of the language that the generator of random
// pipelines writes; New refuses everything else.
//
// The tour: read.go turns the text into definitions; model.go takes records in
// and lets time pass; query.go sends a row through from, where, join and select;
// table.go and aggregate.go keep tables, window.go those cut by time, tablejoin.go
// and streamjoin.go join what triggers on both sides, top.go ranks; expr.go and functions.go evaluate expressions over
// expr-lang's syntax trees, data.go is about values.
package model

import (
	"fmt"
	"slices"
)

// Record is one record of an input topic.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte // nil = null
	Value     []byte // nil = null
	Time      int64  // ms
}

// Output is one record of a sink.
type Output struct {
	Key   string // "-" = null
	Value string // canonical JSON; "-" = null
	Time  int64  // ms
}

// Letter is a dead letter: which record of a topic, and why.
type Letter struct {
	Reason, Operator string
	Topic            string
	Partition        int32
	Offset           int64
	Key, Value       string // as in the topic; "-" = null
	Time             int64  // ms, of the record
}

// Row is a row of a table.
type Row struct{ Key, Value string } // canonical JSON

// Layout says where things run.
type Layout struct {
	// Sub is the sub-topology that reads a source, or keeps a table of a topic.
	Sub map[string]string
	// Hops are the repartitions, by Hop's names: the sub-topology behind each.
	Hops map[string]string
	// Writers are the sub-topologies that write what one reads, and so tell it of time.
	Writers map[string][]string
	// Flow are the sub-topologies, each before those that read what it writes.
	Flow []string
	// Partitions is how many tasks each has; 0 = one.
	Partitions int32
	// Partition is where a key lies behind a hop; nil = all in partition 0.
	Partition func(hop string, key []byte) int32
}

// Hop names the repartition before the join of a definition with an alias, or
// with "" before its group_by.
func Hop(definition, alias string) string { return definition + "/" + alias }

// RightHop names the repartition of the joined side of a join of two streams.
func RightHop(definition, alias string) string { return Hop(definition, alias) + " right" }

// Model is a pipeline that runs.
type Model struct {
	defs    map[string]*definition
	order   []*definition // each behind all it depends on
	onError string
	layout  Layout

	tables  map[*definition]*table
	sides   map[*definition]sides // of joins of tables
	tasks   map[place]*task
	outputs map[string][]Output
	drops   map[string]int
	letters []Letter
	offsets map[string]int64         // by topic and partition: of the next record
	waiting []*waiting               // records in joins of streams
	delayed []*delayed               // records that wait for the rows of their time
	seen    map[*definition][]passed // what a dedup has handed on

	// agenda is what is still to be done with the record in hand, in its task;
	// arrivals are records that have gone to another task.
	agenda   []todo
	arrivals []arrival
	err      error
}

// place is a task.
type place struct {
	sub       string
	partition int32
}

// todo is a definition that has a change to take.
type todo struct {
	rank int
	do   func()
}

// arrival is a record that comes to a task.
type arrival struct {
	at   place
	time int64
	do   func()

	from    place // the task that sent it, and what that promised
	promise int64
}

// change is what goes from one definition to the next: a fact of a stream, or
// a change of a table (isChange), of which a row may have been and may be there.
type change struct {
	at       place
	time     int64
	key      any
	origin   source
	isChange bool
	now      any
	before   any
	has, had bool // of a table: whether there is a row now, and was before
	// lag is how much later than the task's time runs where this is: behind
	// operators that hold records back, time is as much later as they do at most.
	lag int64
	// null says that the record came without a value: it stays one behind a select,
	// so that joins and groups drop it.
	null bool
}

// source is the record of a topic that a change comes from.
type source struct {
	Record
	offset int64
}

// New reads a pipeline. It must be one that the compiler takes.
func New(text string, layout Layout) (*Model, error) {
	m, err := read(text)
	if err != nil {
		return nil, err
	}
	m.layout = layout
	m.sides, m.seen = map[*definition]sides{}, map[*definition][]passed{}
	m.tables, m.tasks = map[*definition]*table{}, map[place]*task{}
	m.outputs, m.drops, m.offsets = map[string][]Output{}, map[string]int{}, map[string]int64{}
	for _, d := range m.order {
		if d.isTable() {
			m.tables[d] = newTable()
		}
	}
	return m, nil
}

// Take processes one record to its end: everything that follows from it has
// happened before the next one comes.
func (m *Model) Take(r Record) error {
	part := fmt.Sprint(r.Topic, "/", r.Partition)
	from := source{r, m.offsets[part]}
	m.offsets[part]++
	for _, d := range m.order {
		if d.topic == r.Topic && len(d.from) == 0 {
			m.takeInto(d, from)
		}
	}
	m.serve()
	m.announce()
	return m.err
}

// serve has the tasks take what has come to them.
func (m *Model) serve() {
	for len(m.arrivals) > 0 && m.err == nil {
		a := m.arrivals[0]
		m.arrivals = m.arrivals[1:]
		m.arrive(a)
	}
}

// arrive has a task take a record, after what is due by the time that comes with it.
func (m *Model) arrive(a arrival) {
	t := m.task(a.at)
	switch {
	case m.hears(a.at, a.from.sub):
		t.hear(a.from, a.promise)
	default:
		t.own = max(t.own, a.time)
	}
	m.advance(a.at, t.reached())
	a.do()
	m.finish()
}

// due is something that happens when a task's stream time has come to at.
type due struct {
	at   int64
	rank int
	do   func()
}

// firstDue finds what happens first in a task; nil = nothing waits.
func (m *Model) firstDue(at place) *due {
	var first *due
	for _, source := range []func(place) []due{m.dueJoins, m.dueWindows, m.dueRows, m.dueDelayed} {
		for _, d := range source(at) {
			if first == nil || d.at < first.at || d.at == first.at && d.rank < first.rank {
				first = &d
			}
		}
	}
	return first
}

// now is the stream time at a change's place, as those see it who stand there.
func (m *Model) now(c change) int64 { return m.task(c.at).streamTime - c.lag }

// finish does what is on the agenda, tables before those who read them.
func (m *Model) finish() {
	for len(m.agenda) > 0 && m.err == nil {
		first := 0
		for i, t := range m.agenda {
			if t.rank < m.agenda[first].rank {
				first = i
			}
		}
		t := m.agenda[first]
		m.agenda = slices.Delete(m.agenda, first, first+1)
		t.do()
	}
}

// hop sends a record on to the task behind a repartition, if there is one.
func (m *Model) hop(name string, from change, key any, then func(change)) {
	sub, ok := m.layout.Hops[name]
	if !ok {
		then(from)
		return
	}
	at := place{sub: sub}
	if m.layout.Partition != nil {
		at.partition = m.layout.Partition(name, []byte(keyText(key)))
		if nullKey(key) {
			at.partition = from.origin.Partition // as good as any
		}
	}
	sender := from.at
	from.at = at
	m.arrivals = append(m.arrivals, arrival{at: at, time: from.time, do: func() { then(from) }, from: sender, promise: m.task(sender).promise})
}

// publish gives what a definition has made to those who read it.
func (m *Model) publish(d *definition, c change) {
	for _, r := range d.readers {
		m.agenda = append(m.agenda, todo{r.def.rank, func() {
			if r.def.kind == "sink" {
				m.write(r.def, c)
				return
			}
			if r.of < 0 {
				m.joinRight(r.def, -1-r.of, c)
				return
			}
			if r.def.joinsTables() {
				m.joinTables(r.def, d, c)
				return
			}
			m.query(r.def, r.of, c)
		}})
	}
}

// refuse is a record that cannot be processed.
func (m *Model) refuse(d *definition, c change, reason string, cause error) {
	switch d.onError {
	case "skip":
	case "dead_letter":
		m.letter(d, reason, c)
	default:
		m.err = fmt.Errorf("%s: %s: %w", d.name, reason, cause)
		return
	}
	m.drop(d, reason)
}

// letter sends the record that a change comes from to the dead letters.
func (m *Model) letter(d *definition, reason string, c change) {
	text := func(b []byte) string {
		if b == nil {
			return "-"
		}
		return string(b)
	}
	o := c.origin
	m.letters = append(m.letters, Letter{reason, d.name, o.Topic, o.Partition, o.offset, text(o.Key), text(o.Value), o.Time})
}

// Letters are the dead letters in the order in which they were sent.
func (m *Model) Letters() []Letter { return m.letters }

func (m *Model) drop(d *definition, reason string) { m.drops[d.name+" "+reason]++ }

// Outputs are the records of a sink in the order they were written.
func (m *Model) Outputs(sink string) []Output { return m.outputs[sink] }

// Sinks names the sinks and the topics they write.
func (m *Model) Sinks() map[string]string {
	out := map[string]string{}
	for _, d := range m.order {
		if d.kind == "sink" {
			out[d.name] = d.topic
		}
	}
	return out
}

// Drops are the records that were dropped, as "definition reason".
func (m *Model) Drops() map[string]int { return m.drops }

// CountedLater says that drops are counted at a time that nothing promises: an
// unmatched record of a join of streams, when it is deleted from the state.
func (m *Model) CountedLater(key string) bool {
	for _, d := range m.order {
		for _, j := range d.joins {
			if j.bounds != nil && key == d.name+" no-match" {
				return true
			}
		}
	}
	return false
}

// write is a sink.
func (m *Model) write(d *definition, c change) {
	row, there := c.now, c.has
	if !c.isChange {
		there = c.now != nil
	}
	key := c.key
	if d.key != nil {
		if !there {
			row = c.before
		}
		var err error
		if key, err = d.key.eval(env{"": {value: row, key: c.key}}); err != nil {
			m.refuse(d, c, "expression", err)
			return
		}
	}
	out := Output{Key: "-", Value: "-", Time: c.time}
	if key != nil {
		out.Key = keyText(key)
	}
	if there {
		out.Value = canon(c.now)
	}
	m.outputs[d.name] = append(m.outputs[d.name], out)
}
