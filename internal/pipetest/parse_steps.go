package pipetest

import (
	"encoding/base64"
	"math"

	"streamctl/internal/syntax"
)

// steps reads what a test does: a list of mappings, each entry a step of its own.
func (p *parser) steps(n *syntax.Node) []step {
	if !p.wants(n, syntax.Sequence, "steps") {
		return nil
	}
	var out []step
	for _, item := range n.Items {
		if !p.wants(item, syntax.Mapping, "a step") {
			continue
		}
		for _, e := range item.Entries {
			out = append(out, step{e.Key.Span, p.action(e.Key.Value, e.Value)})
		}
	}
	return out
}

// words are the steps that are not the name of a source or table.
func words() []string {
	return []string{"expect", "expect_table", "expect_dropped", "expect_error", "advance", "restart", "stop", "start"}
}

func (p *parser) action(word string, n *syntax.Node) action {
	switch word {
	case "expect":
		return p.expect(n)
	case "expect_table":
		return p.expectTable(n)
	case "expect_dropped":
		return p.expectDropped(n)
	case "expect_error":
		return p.expectError(n)
	case "advance":
		return &advance{p.duration(n, "advance")}
	case "restart":
		return p.restart(n)
	case "stop":
		return &stop{p.which(n, word)}
	case "start":
		return &start{p.which(n, word)}
	}
	return &send{name: word, records: p.sentRecords(n, word)}
}

// which reads the pipeline that a step is about: nothing, {}, or {pipeline: NAME},
// and what else the step knows.
func (p *parser) which(n *syntax.Node, word string, more ...key) which {
	var out which
	if n.IsNull() {
		return out
	}
	p.mapping(n, word, append([]key{{"pipeline", func(n *syntax.Node) {
		if p.wants(n, syntax.Scalar, "pipeline") {
			out = which{n.Value, n.Span}
		}
	}}}, more...))
	return out
}

func (p *parser) restart(n *syntax.Node) action {
	out := &restart{}
	out.which = p.which(n, "restart", key{"lose", func(n *syntax.Node) {
		if out.loseState = n.Value == "state"; !out.loseState {
			p.faults.Errorf(codeBadValue, n.Span, "restart cannot lose %s", n.Describe()).Help = "write `restart: {lose: state}`"
		}
	}})
	return out
}

// sentRecords reads one record or a list of them.
func (p *parser) sentRecords(n *syntax.Node, name string) []*sentRecord {
	items := []*syntax.Node{n}
	if n.Kind == syntax.Sequence {
		items = n.Items
	}
	var out []*sentRecord
	for _, item := range items {
		r := &sentRecord{span: item.At(0, 0), partition: -1}
		ok := p.mapping(item, "a record for "+name, []key{
			{"key", p.field(&r.key, "key")},
			{"key_base64", p.base64(&r.key, "key_base64")},
			{"value", p.field(&r.value, "value")},
			{"value_text", p.text(&r.value)},
			{"value_base64", p.base64(&r.value, "value_base64")},
			{"at", func(n *syntax.Node) { r.at = p.moment(n, "at") }},
			{"headers", func(n *syntax.Node) { r.headers = p.headers(n) }},
			{"partition", func(n *syntax.Node) { r.partition = int32(p.number(n, "partition", 0, maxPartitions-1)) }},
		})
		if ok {
			out = append(out, r)
		}
	}
	return out
}

// once takes one of several forms of a key or value.
func (p *parser) once(f *field, name string, n *syntax.Node) {
	if f.given {
		p.faults.Errorf(codeBadValue, n.Span, "both %s and %s are given", f.name, name).Help = "write one of them"
	}
	f.given, f.name, f.node = true, name, n
}

func (p *parser) field(f *field, name string) func(*syntax.Node) {
	return func(n *syntax.Node) { p.once(f, name, n) }
}

// text reads a value that is written as it stands: what is not JSON, for instance.
func (p *parser) text(f *field) func(*syntax.Node) {
	return func(n *syntax.Node) {
		p.once(f, "value_text", n)
		if p.wants(n, syntax.Scalar, "value_text") {
			f.raw, f.bytes = true, []byte(n.Value)
		}
	}
}

func (p *parser) base64(f *field, name string) func(*syntax.Node) {
	return func(n *syntax.Node) {
		p.once(f, name, n)
		if !p.wants(n, syntax.Scalar, name) {
			return
		}
		b, err := base64.StdEncoding.DecodeString(n.Value)
		if err != nil {
			p.faults.Errorf(codeBadValue, n.Span, "%s: %s is not base64", name, n.Describe())
		}
		f.raw, f.bytes = true, b
	}
}

func (p *parser) headers(n *syntax.Node) []header {
	if !p.wants(n, syntax.Mapping, "headers") {
		return nil
	}
	var out []header
	for _, e := range n.Entries {
		if p.wants(e.Value, syntax.Scalar, "headers") {
			out = append(out, header{e.Key.Value, e.Value.Value})
		}
	}
	return out
}

// expect reads what sinks have got.
func (p *parser) expect(n *syntax.Node) action {
	out := &expect{}
	if !p.wants(n, syntax.Mapping, "expect") {
		return out
	}
	for _, e := range n.Entries {
		s := &expectSink{name: e.Key.Value, span: e.Key.Span}
		out.sinks = append(out.sinks, s)
		records := e.Value
		if records.Kind == syntax.Mapping {
			p.mapping(records, "the records of "+s.name, []key{{"any_order", func(n *syntax.Node) { records, s.anyOrder = n, true }}})
		}
		if records.Kind == syntax.Mapping {
			continue
		}
		if p.wants(records, syntax.Sequence, "the records of "+s.name) {
			for _, item := range records.Items {
				if w := p.wanted(item, s.name); w != nil {
					s.records = append(s.records, w)
				}
			}
		}
	}
	return out
}

func (p *parser) wanted(n *syntax.Node, sink string) *wanted {
	if isRest(n) {
		return &wanted{span: n.Span, further: true}
	}
	w := &wanted{span: n.At(0, 0)}
	part := func(name string, to **pattern) key {
		return key{name, func(n *syntax.Node) { *to = patternOf(n, &p.faults) }}
	}
	keys := []key{
		{"key", p.wantedField(&w.key, p.field, "key")},
		{"key_base64", p.wantedField(&w.key, p.base64, "key_base64")},
		{"value", p.wantedField(&w.value, p.field, "value")},
		{"value_text", p.wantedField(&w.value, func(f *field, _ string) func(*syntax.Node) { return p.text(f) }, "value_text")},
		{"value_base64", p.wantedField(&w.value, p.base64, "value_base64")},
		{"at", func(n *syntax.Node) {
			if pat := new(pattern); n.Kind == syntax.Scalar && pat.matcher(n, &p.faults) {
				w.anyTime = pat
				return
			}
			w.at = p.moment(n, "at")
		}},
		part("headers", &w.headers),
		part("partition", &w.partition),
	}
	if namesLetters(sink) {
		for _, name := range letterFields() {
			keys = append(keys, key{name, func(n *syntax.Node) {
				w.about = append(w.about, fieldPattern{name, patternOf(n, &p.faults)})
			}})
		}
	}
	if !p.mapping(n, "an expected record of "+sink, keys) {
		return nil
	}
	return w
}

// wantedField reads an expected key or value in one of its forms.
func (p *parser) wantedField(to **wantedField, read func(*field, string) func(*syntax.Node), name string) func(*syntax.Node) {
	return func(n *syntax.Node) {
		if *to == nil {
			*to = &wantedField{}
		}
		read(&(*to).field, name)(n)
		if !(*to).raw {
			(*to).pattern = patternOf(n, &p.faults)
			if n.IsNull() {
				(*to).pattern.span = n.Span
			}
		}
	}
}

// expectTable reads the rows of tables: by key, or as a list of key and value.
func (p *parser) expectTable(n *syntax.Node) action {
	out := &expectTable{}
	if !p.wants(n, syntax.Mapping, "expect_table") {
		return out
	}
	for _, e := range n.Entries {
		rows := &expectRows{name: e.Key.Value, span: e.Key.Span}
		out.tables = append(out.tables, rows)
		switch e.Value.Kind {
		case syntax.Mapping:
			for _, row := range e.Value.Entries {
				if isRest(row.Key) {
					rows.open = true
					continue
				}
				rows.rows = append(rows.rows, &wantedRow{row.Key.Span, patternOf(row.Key, &p.faults), patternOf(row.Value, &p.faults)})
			}
		case syntax.Sequence:
			for _, item := range e.Value.Items {
				if isRest(item) {
					rows.open = true
				} else if row := p.wantedRow(item, rows.name); row != nil {
					rows.rows = append(rows.rows, row)
				}
			}
		default:
			p.wants(e.Value, syntax.Mapping, "the rows of "+rows.name)
		}
	}
	return out
}

func (p *parser) wantedRow(n *syntax.Node, table string) *wantedRow {
	row := &wantedRow{span: n.At(0, 0)}
	ok := p.mapping(n, "a row of "+table, []key{
		{"key", func(n *syntax.Node) { row.key = patternOf(n, &p.faults) }},
		{"value", func(n *syntax.Node) { row.value = patternOf(n, &p.faults) }},
	})
	if ok && (row.key == nil || row.value == nil) {
		p.faults.Errorf(codeMissingField, row.span, "a row of %s has a key and a value", table).
			Help = "write {key: KEY, value: ROW}"
		return nil
	}
	if !ok {
		return nil
	}
	return row
}

// expectDropped reads counts by operator and reason.
func (p *parser) expectDropped(n *syntax.Node) action {
	out := &expectDropped{span: n.Span}
	if !p.wants(n, syntax.Mapping, "expect_dropped") {
		return out
	}
	for _, e := range n.Entries {
		if isRest(e.Key) {
			out.open = true
			continue
		}
		by := &droppedBy{name: e.Key.Value, span: e.Key.Span}
		out.operators = append(out.operators, by)
		if !p.wants(e.Value, syntax.Mapping, "what "+by.name+" has dropped") {
			continue
		}
		for _, r := range e.Value.Entries {
			if isRest(r.Key) {
				by.open = true
				continue
			}
			by.reasons = append(by.reasons, dropped{r.Key.Value, p.number(r.Value, r.Key.Value, 0, math.MaxInt64), r.Key.Span})
		}
	}
	return out
}

// expectError reads a text that the error contains, or a mapping of its parts.
func (p *parser) expectError(n *syntax.Node) action {
	out := &expectError{}
	if n.Kind == syntax.Scalar {
		out.message = patternOf(n, &p.faults)
		return out
	}
	part := func(name string, to **pattern) key {
		return key{name, func(n *syntax.Node) { *to = patternOf(n, &p.faults) }}
	}
	p.mapping(n, "expect_error", []key{
		part("message", &out.message), part("operator", &out.operator), part("topic", &out.topic), part("offset", &out.offset),
	})
	return out
}
