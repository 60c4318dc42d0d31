package pipetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/codec"
	"streamctl/internal/diag"
	"streamctl/internal/value"
)

func textValue(s string) value.Value { return value.OfString(s) }

func numberOrText(s string, number bool) value.Value {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && number {
		return value.OfInt(n)
	}
	return value.OfString(s)
}

// read decodes what a topic holds; bytes that are not of its format stay bytes.
func read(f codec.Format, data []byte, key bool) value.Value {
	decode := codec.Decode
	if key {
		decode = codec.DecodeKey
	}
	if v, err := decode(f, data); err == nil && f != codec.FormatBytes {
		return v
	}
	if data == nil {
		return value.NullV()
	}
	return value.OfBytes(data)
}

// letterValue reads the key or value of a dead letter: it is as it was in a topic of
// any format, so JSON where it is some, else the bytes.
func letterValue(data []byte, key bool) value.Value {
	if v, err := codec.Decode(codec.FormatJSON, data); err == nil && !key {
		return v
	}
	return read(codec.FormatBytes, data, key)
}

// keyOf and valueOf decode a record that came.
func (p *port) keyOf(a arrival) value.Value {
	if p.letters {
		return letterValue(a.Key, true)
	}
	return read(p.keyFormat, a.Key, true)
}

func (p *port) valueOf(a arrival) value.Value {
	if p.letters {
		return letterValue(a.Value, false)
	}
	return read(p.format, a.Value, false)
}

// expectSink compares what has come to a sink since the last look at it.
func (r *runner) expectSink(s *expectSink) {
	came := r.world.take(s.port.topic)
	put := align
	if s.anyOrder {
		put = assign
	}
	further := func(i int) bool { return s.records[i].further }
	pairs := put(len(s.records), len(came), further, func(i, j int) []difference { return r.compare(s.port, s.records[i], came[j]) })
	if !slices.ContainsFunc(pairs, func(p pair) bool { return !p.matched() }) {
		return
	}
	wants := 0
	for i := range s.records {
		if !further(i) {
			wants++
		}
	}
	at := s.span
	for _, p := range pairs {
		if p.matched() || p.want < 0 {
			continue
		}
		at = s.records[p.want].span
		if len(p.differ) > 0 && p.differ[0].span != (diag.Span{}) {
			at = p.differ[0].span
		}
		break
	}
	message := fmt.Sprintf("sink %q: what came is not what was expected", s.name)
	if wants != len(came) && wants == len(s.records) {
		message = fmt.Sprintf("sink %q: %s expected, %d came", s.name, count(wants, "record"), len(came))
	}
	r.fail(at, message, lines(pairs,
		func(i int) string { return s.records[i].String() },
		func(j int) string { return r.describe(s.port, came[j], s.records) },
		func(i int) int { return s.records[i].span.Start.Line })...)
}

// compare gives the differences between an expected record and one that came.
func (r *runner) compare(p *port, w *wanted, got arrival) []difference {
	var out []difference
	if w.key != nil {
		out = append(out, w.key.compare(p.keyOf(got), got.Key, "key")...)
	}
	if w.value != nil {
		out = append(out, w.value.compare(p.valueOf(got), got.Value, "value")...)
	}
	switch {
	case w.anyTime != nil:
		out = append(out, w.anyTime.compare(value.OfInt(got.Time), "at")...)
	case w.at != nil && w.at.from(r.test.clock) != got.Time:
		out = append(out, difference{"at", r.when(w.at.from(r.test.clock), w.at.relative), r.when(got.Time, w.at.relative), w.at.span})
	}
	if w.headers != nil {
		out = append(out, w.headers.compare(headersOf(p, got), "headers")...)
	}
	if w.partition != nil {
		out = append(out, w.partition.compare(value.OfInt(int64(got.Partition)), "partition")...)
	}
	for _, f := range w.about {
		text, found := headerOf(got, letterHeader(f.name))
		v := value.Value{}
		if found {
			v = numberOrText(text, f.name == "offset")
		}
		if f.name == "error" && f.kind == exactly && f.value.Kind == value.String && strings.Contains(text, f.value.Text) {
			continue // a text is looked for in it, as in expect_error
		}
		out = append(out, f.compare(v, f.name)...)
	}
	return out
}

// compare compares a key or value: as a value, or byte for byte.
func (f *wantedField) compare(v value.Value, data []byte, path string) []difference {
	if !f.raw {
		return f.pattern.compare(v, path)
	}
	if data != nil && string(data) == string(f.bytes) {
		return nil
	}
	span := diag.Span{}
	if f.node != nil {
		span = f.node.Span
	}
	return []difference{{path, show(value.OfString(string(f.bytes))), show(v), span}}
}

func headerOf(a arrival, name string) (string, bool) {
	for _, h := range a.Headers {
		if h.Key == name {
			return string(h.Value), true
		}
	}
	return "", false
}

// headersOf gives the headers of a record as an object, without those by which a
// dead letter says what it is. Of equal names the last counts.
func headersOf(p *port, a arrival) value.Value {
	var keys []string
	texts := make(map[string]string)
	for _, h := range a.Headers {
		if p.letters && strings.HasPrefix(h.Key, letterHeader("")) {
			continue
		}
		if _, seen := texts[h.Key]; !seen {
			keys = append(keys, h.Key)
		}
		texts[h.Key] = string(h.Value)
	}
	items := make([]value.Value, len(keys))
	for i, k := range keys {
		items[i] = value.OfString(texts[k])
	}
	return value.OfMap(keys, items)
}

// when writes a time as tests.yaml does.
func (r *runner) when(ms int64, relative bool) string {
	t := time.UnixMilli(ms).UTC()
	if !relative {
		return t.Format("2006-01-02T15:04:05.999Z07:00")
	}
	return t.Sub(r.test.clock).String()
}

// String is the record as it is shown: the parts that are given.
func (w *wanted) String() string {
	if w.further {
		return rest
	}
	var parts []string
	add := func(name, text string) { parts = append(parts, name+" "+text) }
	for _, f := range []struct {
		name  string
		field *wantedField
	}{{"key", w.key}, {"value", w.value}} {
		switch {
		case f.field == nil:
		case f.field.raw:
			add(f.name, show(value.OfString(string(f.field.bytes))))
		default:
			add(f.name, f.field.pattern.String())
		}
	}
	if w.at != nil && w.at.relative {
		add("at", w.at.offset.String())
	} else if w.at != nil {
		add("at", time.UnixMilli(w.at.ms).UTC().Format(time.RFC3339Nano))
	}
	if w.headers != nil {
		add("headers", w.headers.String())
	}
	if w.partition != nil {
		add("partition", w.partition.String())
	}
	for _, f := range w.about {
		add(f.name, f.String())
	}
	if len(parts) == 0 {
		return "{}"
	}
	return strings.Join(parts, ", ")
}

// describe writes a record that came: key and value, and what else is asked for
// of any of the records expected here.
func (r *runner) describe(p *port, a arrival, asked []*wanted) string {
	out := "key " + show(p.keyOf(a)) + ", value " + show(p.valueOf(a))
	has := func(what func(*wanted) bool) bool { return slices.ContainsFunc(asked, what) }
	if has(func(w *wanted) bool { return w.at != nil }) {
		out += ", at " + r.when(a.Time, has(func(w *wanted) bool { return w.at != nil && w.at.relative }))
	}
	if has(func(w *wanted) bool { return w.headers != nil }) {
		out += ", headers " + show(headersOf(p, a))
	}
	if has(func(w *wanted) bool { return w.partition != nil }) {
		out += fmt.Sprintf(", partition %d", a.Partition)
	}
	if p.letters {
		for _, name := range []string{"reason", "operator", "error"} {
			text, _ := headerOf(a, letterHeader(name))
			out += ", " + name + " " + text
		}
	}
	return out
}

// tableView is a table as those see it who follow its changes.
type tableView struct{ rows map[string]tableRow }

type tableRow struct{ key, value value.Value }

// follow takes the changes of a table since the last look at it.
func (r *runner) follow(p *port) *tableView {
	view := r.rows[p.topic]
	if view == nil {
		view = &tableView{rows: make(map[string]tableRow)}
		r.rows[p.topic] = view
	}
	for _, a := range r.world.take(p.topic) {
		if a.Value == nil {
			delete(view.rows, string(a.Key))
			continue
		}
		view.rows[string(a.Key)] = tableRow{p.keyOf(a), p.valueOf(a)}
	}
	return view
}

// expectRows compares the rows of a table.
func (r *runner) expectRows(e *expectRows) {
	view := r.follow(e.port)
	names := slices.Sorted(maps.Keys(view.rows))
	rowOf := func(j int) tableRow { return view.rows[names[j]] }
	// The row of a key is compared with what is expected of that key.
	var pairs []pair
	taken := make(map[int]bool)
	for i, want := range e.rows {
		found := -1
		for j := range names {
			if !taken[j] && want.key.matchesKey(rowOf(j).key) {
				found = j
				break
			}
		}
		if found < 0 {
			pairs = append(pairs, pair{i, -1, nil})
			continue
		}
		taken[found] = true
		pairs = append(pairs, pair{i, found, want.value.compare(rowOf(found).value, "value")})
	}
	for j := range names {
		if !taken[j] && !e.open {
			pairs = append(pairs, pair{-1, j, nil})
		}
	}
	at := e.span
	i := slices.IndexFunc(pairs, func(p pair) bool { return !p.matched() })
	if i < 0 {
		return
	}
	if p := pairs[i]; p.want >= 0 {
		at = e.rows[p.want].span
		if len(p.differ) > 0 {
			at = p.differ[0].span
		}
	}
	r.fail(at, fmt.Sprintf("table %q: its rows are not what was expected", e.name), lines(pairs,
		func(i int) string { return e.rows[i].key.String() + ": " + e.rows[i].value.String() },
		func(j int) string { return show(rowOf(j).key) + ": " + show(rowOf(j).value) },
		func(i int) int { return e.rows[i].span.Start.Line })...)
}

// matchesKey is matches for the key of a row, which YAML may have made a text of
// although it is a number, or the reverse.
func (p *pattern) matchesKey(v value.Value) bool {
	return p.matches(v) || p.kind == exactly && string(value.AppendText(nil, p.value)) == string(value.AppendText(nil, v))
}
