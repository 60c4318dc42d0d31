package differential

import (
	"fmt"
	"slices"
	"strings"
)

// joiningStreams joins streams within a span of time.
func (g *generator) joiningStreams() {
	of := g.facts()
	d := &def{section: "streams", name: g.name("sj"), reads: []string{of.name}, keys: of.keys, held: of.held}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	scopes := []scope{scopeOf("v", of)}
	lines := []string{"join:"}
	for i := range 1 + g.r.IntN(2) {
		right := g.source()
		if g.one(3) {
			right = g.facts()
		}
		k := pick(g.r, aText, anInt)
		alias, how := fmt.Sprint("t", i), pick(g.r, "inner", "left", "outer")
		ours, theirs := g.path(scopes[0], k), g.path(scopeOf(alias, right), k)
		if g.one(3) && len(of.keys) == 1 && len(right.keys) == 1 && of.keys[0] == right.keys[0] {
			ours, theirs = "v.key", alias+".key"
		}
		if ours == "" || theirs == "" {
			break
		}
		lines = append(lines, fmt.Sprintf("  - %s: %s %s", how, right.name, alias), fmt.Sprintf("    on: %s == %s", ours, theirs))
		if g.one(2) {
			lines = append(lines, "    within: "+g.span())
		} else {
			lines = append(lines, "    before: "+g.span(), "    after: "+g.span())
		}
		if g.one(2) {
			lines = append(lines, "    grace: "+g.span())
		}
		d.reads = append(d.reads, right.name)
		d.held = d.held || right.held || how != "inner"
		scopes = append(scopes, scopeOf(alias, right))
		if how == "outer" {
			d.keys = nil // that of the left record, which may not be there
		}
		if g.one(2) || how == "outer" {
			break
		}
	}
	if len(lines) == 1 {
		g.selecting()
		return
	}
	if g.one(3) {
		d.add(false, "where: "+g.quoted(scopes[g.r.IntN(len(scopes))], aBool))
	}
	d.add(true, lines...)
	g.selectList(d, true, scopes...)
	g.pipe.defs = append(g.pipe.defs, d)
}

// span is a duration of the size of the steps that time takes.
func (g *generator) span() string {
	return pick(g.r, "0ms", "2ms", "15ms", "1s", "5s", "1m", "10m", "2h")
}

// windowing is a table by group_by and windows over a stream.
func (g *generator) windowing() {
	of := g.facts()
	d := &def{section: "tables", name: g.name("w"), reads: []string{of.name}, changes: true, windowed: true}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	s := scopeOf("v", of)
	if g.one(3) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	d.add(true, g.groupBy(d, of, s))
	window := "window: {"
	if g.one(4) {
		window += g.calendar()
		g.pipe.wide = true
	} else {
		window += g.plainWindow()
	}
	if g.one(2) {
		window += ", grace: " + g.span()
	}
	if window += g.late(d, of); g.one(3) {
		d.add(false, "emit: final")
	} else if g.one(6) {
		d.add(false, everySoOften)
	}
	d.add(true, window+"}")
	g.aggregates(d, s, false)
	last := &d.clauses[len(d.clauses)-1]
	last.lines = append(last.lines, "  - since: window.start", "  - until: window.end")
	d.fields = append(d.fields, field{"since", aTime}, field{"until", aTime})
	d.keys = append(d.keys, anInt)
	g.pipe.defs = append(g.pipe.defs, d)
	if g.stragglers != nil {
		g.pipe.defs = append(g.pipe.defs, g.stragglers)
		g.stragglers = nil
	}
}

// everySoOften is for tables that need not send each change.
const everySoOften = "emit: {every: 10ms}"

// late draws what becomes of late records; a stream of them is a definition of its own.
func (g *generator) late(d, of *def) string {
	switch g.r.IntN(6) {
	case 0:
		return ", late: dead_letter"
	case 1:
		name := g.name("late")
		l := &def{section: "late", name: name, reads: []string{d.name}, fields: of.fields, keys: of.keys, held: of.held}
		g.stragglers = l
		return ", late: " + name
	}
	return ""
}

// calendar draws a window that follows the clock on the wall.
func (g *generator) calendar() string {
	window := pick(g.r, "tumbling: 1d", "hopping: 2d, every: 1d", "tumbling: 6h", "tumbling: 1h", "tumbling: 15m", "tumbling: 3h", "tumbling: 12h", "tumbling: 7d", "tumbling: 14d", "tumbling: 1month", "hopping: 2month, every: 1month", "tumbling: 3d",
		"hopping: 1d, every: 6h", "hopping: 7h, every: 3h", "hopping: 36h, every: 1d")
	zone := pick(g.r, "America/Santiago", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Australia/Lord_Howe")
	if strings.Contains(window, "7d") || strings.Contains(window, "14d") {
		window += ", align: " + pick(g.r, "monday", "sunday", "wednesday")
		if g.one(3) {
			return window
		}
	}
	window += ", timezone: " + zone
	if g.one(3) && !strings.Contains(window, "15m") {
		window += ", offset: " + pick(g.r, "5m", "30m")
	}
	return window
}

// plainWindow draws one that counts time from the epoch, or from record to record.
func (g *generator) plainWindow() (window string) {
	switch size := g.size(); g.r.IntN(4) {
	case 0:
		window += "tumbling: " + size
	case 1:
		window += fmt.Sprintf("hopping: %s, every: %s", size, map[string]string{"4ms": "2ms", "20ms": "5ms", "3s": "1s", "10s": "3s", "2m": "1m", "30m": "20m"}[size])
	case 2:
		window += "session: " + size
	case 3:
		window += "sliding: " + size
	}
	return window
}

// size is that of a window.
func (g *generator) size() string { return pick(g.r, "4ms", "20ms", "3s", "10s", "2m", "30m") }

// unnesting makes records of the elements of a list.
func (g *generator) unnesting() {
	of := g.among(func(d *def) bool { return !d.changes && slices.Contains(d.fields, field{"l", aList}) })
	if of == nil {
		return
	}
	d := &def{section: "streams", name: g.name("n"), reads: []string{of.name}, keys: of.keys, held: of.held}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	d.add(true, "unnest: v.l as item")
	scopes := []scope{scopeOf("v", of), scopeOf("item", &def{fields: []field{{"a", anInt}, {"c", aText}}})}
	if g.one(2) {
		d.add(false, "where: "+g.quoted(scopes[g.r.IntN(2)], aBool))
	}
	g.selectList(d, true, scopes[0])
	last := &d.clauses[len(d.clauses)-1]
	last.lines = append(last.lines, "  - place: item_index", "  - a: item.a", "  - c: item.c")
	d.fields = slices.DeleteFunc(d.fields, func(f field) bool { return f.name == "l" })
	last.lines = append(last.lines, "  - l: '[]'")
	d.fields = append(d.fields, field{"place", anInt}, field{"a", anInt}, field{"c", aText})
	g.pipe.defs = append(g.pipe.defs, d)
}

// lookingBack joins a stream with a table as it was.
func (g *generator) lookingBack() {
	of := g.facts()
	if of.held {
		return // its records come when the table's history may be over
	}
	t := &def{section: "tables", name: g.name("v"), fields: rowFields(), keys: []kind{aText}, changes: true, versioned: true}
	t.topic = "in-" + t.name
	t.add(true, "topic: "+t.topic)
	t.add(true, t.declared())
	t.add(true, "versioned: "+pick(g.r, "30m", "1d")) // a deletion that is history is forgotten: no row comes as late
	ours := g.path(scopeOf("v", of), aText)
	if ours == "" {
		return
	}
	g.pipe.defs = append(g.pipe.defs, t)
	d := &def{section: "streams", name: g.name("b"), reads: []string{of.name, t.name}, keys: of.keys, held: of.held}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	lines := []string{"join:", fmt.Sprintf("  - %s: %s t0", pick(g.r, "inner", "left"), t.name), fmt.Sprintf("    on: %s == t0.key", ours), "    as_of: true"}
	if g.one(2) {
		lines = append(lines, "    grace: "+pick(g.r, "2ms", "1s", "3s"))
		d.held = true
	}
	scopes := []scope{scopeOf("v", of), scopeOf("t0", t)}
	d.add(true, lines...)
	g.selectList(d, true, scopes...)
	g.pipe.defs = append(g.pipe.defs, d)
}
