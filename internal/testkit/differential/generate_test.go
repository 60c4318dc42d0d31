package differential

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// generator draws a pipeline.
type generator struct {
	r     *rand.Rand
	pipe  *pipe
	named map[string]int
	// stragglers is the stream of the late records of the table that is being drawn.
	stragglers *def
}

func generate(r *rand.Rand) *pipe {
	g := &generator{r: r, pipe: &pipe{onError: "skip"}, named: map[string]int{}}
	if g.one(4) {
		g.pipe.onError = "dead_letter"
	}
	for range r.IntN(6) - 3 {
		g.function()
	}
	for range 1 + r.IntN(2) {
		g.source()
	}
	for range 1 + r.IntN(6) {
		g.derived()
	}
	g.sinks()
	g.pipe.prune()
	if g.pipe.timed() { // rows that come to a task through a replica move its time
		for _, d := range g.pipe.defs {
			d.clauses = slices.DeleteFunc(d.clauses, func(c clause) bool { return c.lines[0] == "replicate: true" })
		}
	}
	return g.pipe
}

// function adds a function of the pipeline's own.
func (g *generator) function() {
	d := &def{section: "functions", name: g.name("f"), keys: []kind{pick(g.r, anInt, aText, aBool)}}
	d.fields = []field{{"p", anInt}, {"q", aText}}[:1+g.r.IntN(2)]
	if g.one(2) {
		d.fields[0].kind = aFloat
	}
	var params []string
	for _, f := range d.fields {
		params = append(params, fmt.Sprintf("%s: %s", f.name, f.kind))
	}
	d.add(true, "params: {"+strings.Join(params, ", ")+"}", "returns: "+string(d.keys[0]))
	d.add(true, "expr: "+g.quoted(scopeOf("", d), d.keys[0]))
	g.pipe.functions = append(g.pipe.functions, d)
}

// call is one of a function of the pipeline's own that gives a kind; "" = there is none.
func (g *generator) call(s scope, k kind, depth int) string {
	at := slices.IndexFunc(g.pipe.functions, func(d *def) bool { return d.keys[0] == k })
	if at < 0 {
		return ""
	}
	f := g.pipe.functions[at]
	var args []string
	for _, p := range f.fields {
		args = append(args, g.expression(s, p.kind, depth-1))
	}
	return f.name + "(" + strings.Join(args, ", ") + ")"
}

func (g *generator) one(of int) bool { return g.r.IntN(of) == 0 }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func (g *generator) name(prefix string) string {
	g.named[prefix]++
	return fmt.Sprintf("%s%d", prefix, g.named[prefix])
}

// rowFields are those of every record of an input.
func rowFields() []field {
	return []field{{"k", aText}, {"g", anInt}, {"n", anInt}, {"m", anInt}, {"x", aFloat}, {"s", aText}, {"b", aBool}, {"l", aList}}
}

func (d *def) declared() string {
	var parts []string
	if d.byField {
		parts = append(parts, "at: int")
	}
	for _, f := range d.fields {
		if f.kind == aList {
			parts = append(parts, f.name+": [{a: int, c: string}]")
			continue
		}
		parts = append(parts, f.name+": "+string(f.kind))
	}
	return "fields: {" + strings.Join(parts, ", ") + "}"
}

func (g *generator) source() *def {
	d := &def{section: "sources", name: g.name("s"), fields: rowFields(), keys: []kind{aText}}
	d.topic = "in-" + d.name
	d.add(true, "topic: "+d.topic)
	if g.one(8) {
		d.byField = true
		d.add(false, "timestamp: at")
	}
	if !g.one(3) {
		d.add(true, d.declared())
	}
	g.pipe.defs = append(g.pipe.defs, d)
	return d
}

func (g *generator) topicTable() *def {
	d := &def{section: "tables", name: g.name("t"), fields: rowFields(), keys: []kind{aText}, changes: true}
	d.topic = "in-" + d.name
	d.add(true, "topic: "+d.topic)
	if g.one(8) {
		d.byField = true
		d.add(false, "timestamp: at")
	}
	switch g.r.IntN(5) {
	case 0:
		d.add(true, "key: value.g")
		d.keys = []kind{anInt}
	case 1:
		d.add(true, "key: '[value.k, value.g]'")
		d.keys = []kind{aText, anInt}
	case 2:
		d.add(true, "key: upper(key)")
	}
	if g.one(4) {
		d.add(true, "envelope: old_new")
	}
	if !g.one(3) {
		d.add(true, d.declared())
	}
	if g.one(8) {
		d.add(false, "ttl: "+g.size())
	}
	g.pipe.defs = append(g.pipe.defs, d)
	return d
}

// among draws one of the definitions for which ok holds; nil = there is none.
func (g *generator) among(ok func(*def) bool) *def {
	var fit []*def
	for _, d := range g.pipe.defs {
		if ok(d) {
			fit = append(fit, d)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[g.r.IntN(len(fit))]
}

func (g *generator) facts() *def { return g.among(func(d *def) bool { return !d.changes }) }

// table draws one, or makes one.
func (g *generator) table() *def {
	if d := g.among(lookedUp); d != nil && !g.one(3) {
		return d
	}
	return g.topicTable()
}

// derived adds a definition.
func (g *generator) derived() {
	switch g.r.IntN(23) {
	case 0, 1:
		g.selecting()
	case 2:
		g.union()
	case 3, 4:
		g.joining()
	case 5, 6:
		g.grouping(g.facts())
	case 7:
		g.changesOf()
	case 8, 9:
		g.grouping(g.ofTable())
	case 10:
		g.materialised()
	case 11, 12:
		g.joiningTables()
	case 13:
		g.top()
	case 14, 15, 16:
		g.joiningStreams()
	case 17, 18, 19:
		g.windowing()
	case 20:
		g.unnesting()
	case 21:
		g.lookingBack()
	case 22:
		g.matching()
	}
}

// selecting is where and select over a stream.
func (g *generator) selecting() *def {
	of := g.facts()
	d := &def{section: "streams", name: g.name("d"), reads: []string{of.name}, keys: of.keys}
	alias := "v"
	if g.one(4) {
		alias = ""
	}
	d.add(true, strings.TrimSpace("from: "+of.name+" "+alias))
	s := scopeOf(alias, of)
	if g.one(2) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	if by := g.path(s, aText); by != "" && g.one(4) && alias != "" {
		d.add(false, fmt.Sprintf("dedup: {by: %s, within: %s}", by, g.size()))
	}
	g.selectList(d, false, s)
	g.pipe.defs = append(g.pipe.defs, d)
	return d
}

// union joins several streams of one shape.
func (g *generator) union() {
	a, b := g.facts(), g.facts()
	if a == b || !sameKinds(a, b) || a.held || b.held {
		g.selecting()
		return
	}
	d := &def{section: "streams", name: g.name("u"), reads: []string{a.name, b.name}, keys: a.keys}
	d.add(true, fmt.Sprintf("from: [%s v, %s v]", a.name, b.name))
	common := &def{fields: intersect(a.fields, b.fields), keys: a.keys}
	if len(common.fields) == 0 {
		g.selecting()
		return
	}
	s := scopeOf("v", common)
	if g.one(2) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	g.selectList(d, true, s)
	g.pipe.defs = append(g.pipe.defs, d)
}

func sameKinds(a, b *def) bool { return slices.Equal(a.keys, b.keys) }

func intersect(a, b []field) []field {
	var out []field
	for _, f := range a {
		if slices.Contains(b, f) {
			out = append(out, f)
		}
	}
	return out
}

// joining is a chain of joins of a stream with tables.
func (g *generator) joining() {
	of := g.facts()
	d := &def{section: "streams", name: g.name("j"), reads: []string{of.name}, keys: of.keys}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	scopes := []scope{scopeOf("v", of)}
	lines := g.joins(d, of, &scopes)
	if len(lines) == 0 {
		g.selecting()
		return
	}
	if g.one(3) {
		d.add(false, "where: "+g.quoted(scopes[g.r.IntN(len(scopes))], aBool))
	}
	d.add(true, append([]string{"join:"}, lines...)...)
	g.selectList(d, true, scopes...)
	g.pipe.defs = append(g.pipe.defs, d)
}

// joins draws join: entries.
func (g *generator) joins(d, of *def, scopes *[]scope) (lines []string) {
	for i := range 1 + g.r.IntN(2) {
		t := g.table()
		if g.one(5) {
			t = g.replicated()
		}
		var on []string
		alias := fmt.Sprint("t", i)
		for n, k := range t.keys {
			theirs := alias + ".key"
			if len(t.keys) > 1 {
				theirs = fmt.Sprintf("%s.key[%d]", alias, n)
			}
			ours := "v.key"
			if len(of.keys) != 1 || of.keys[0] != k || !g.one(2) {
				ours = g.path((*scopes)[0], k)
			}
			if ours == "" {
				return append(lines, g.joinByKey(d, of, scopes, alias)...)
			}
			on = append(on, ours+" == "+theirs)
		}
		d.reads = append(d.reads, t.name)
		lines = append(lines, fmt.Sprintf("  - %s: %s %s", pick(g.r, "inner", "left", "left"), t.name, alias), "    on: "+strings.Join(on, " && "))
		*scopes = append(*scopes, scopeOf(alias, t))
		if g.one(2) {
			break
		}
	}
	return lines
}

// joinByKey joins a table that has the key of the record key's type.
func (g *generator) joinByKey(d, of *def, scopes *[]scope, alias string) []string {
	if len(of.keys) != 1 {
		return nil
	}
	t := g.among(func(t *def) bool { return lookedUp(t) && slices.Equal(t.keys, of.keys) && len(t.keys) == 1 })
	ours := "v.key"
	if t == nil {
		t = g.topicTable()
		t.keys, t.clauses = []kind{aText}, t.clauses[:1]
		if of.keys[0] != aText {
			ours = "string(v.key)"
		}
	}
	d.reads = append(d.reads, t.name)
	*scopes = append(*scopes, scopeOf(alias, t))
	return []string{fmt.Sprintf("  - left: %s %s", t.name, alias), fmt.Sprintf("    on: %s == %s.key", ours, alias)}
}

// grouping is a table by group_by over a stream, or over the changes of a table.
func (g *generator) grouping(of *def) {
	d := &def{section: "tables", name: g.name("a"), reads: []string{of.name}, changes: true, regroups: of.changes}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	s := scopeOf("v", of)
	if g.one(3) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	by := g.groupBy(d, of, s)
	d.add(true, by)
	g.aggregates(d, s, of.changes)
	g.havingAndTTL(d, of)
	switch g.r.IntN(6) {
	case 0:
		g.topOfGroups(d, of)
	case 1:
		if !strings.Contains(d.text(), "ttl:") { // what is to be sent yet must not go
			d.add(false, everySoOften)
		}
	}
	g.pipe.defs = append(g.pipe.defs, d)
}

// groupBy draws the groups; the table's fields begin with their names.
func (g *generator) groupBy(d, of *def, s scope) string {
	var parts []string
	for i := range 1 + g.r.IntN(2) {
		k := pick(g.r, aText, anInt)
		path := g.path(s, k)
		if len(of.keys) == 1 && (path == "" || g.one(3)) {
			path, k = "v.key", of.keys[0]
		} else if path == "" {
			path, k = s.path(of.fields[0].name), of.fields[0].kind
		}
		if k == anInt && g.one(4) {
			path += " % 2"
		}
		name := fmt.Sprint("by", i)
		parts = append(parts, name+": "+path)
		d.fields = append(d.fields, field{name, k})
		d.keys = append(d.keys, k)
	}
	return "group_by: {" + strings.Join(parts, ", ") + "}"
}

// changesOf is a stream of a table's changes.
func (g *generator) changesOf() {
	t := g.among(func(d *def) bool { return d.changes && !d.versioned })
	if t == nil {
		t = g.topicTable()
	}
	d := &def{section: "streams", name: g.name("c"), reads: []string{t.name}, keys: t.keys, changes: true, windowed: t.windowed}
	d.add(true, fmt.Sprintf("from: %s v", t.name))
	s := scopeOf("v", t)
	if !g.one(3) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	g.selectList(d, false, s)
	g.pipe.defs = append(g.pipe.defs, d)
}

// selectList draws select over what the scopes have; mustSelect: it cannot be left out.
func (g *generator) selectList(d *def, mustSelect bool, scopes ...scope) {
	if !mustSelect && g.one(3) {
		d.fields = scopes[0].def.fields
		return
	}
	lines := []string{"select:"}
	set := func(f field) {
		d.fields = slices.DeleteFunc(slices.Clone(d.fields), func(o field) bool { return o.name == f.name })
		d.fields = append(d.fields, f)
	}
	for _, s := range scopes {
		if g.one(3) && len(scopes) > 1 {
			continue
		}
		entry, except := s.spread(), []string{}
		if g.one(4) {
			entry += " except [" + s.def.fields[0].name + "]"
			except = append(except, s.def.fields[0].name)
		}
		lines = append(lines, "  - "+quote(entry))
		for _, f := range s.def.fields {
			if !slices.Contains(except, f.name) {
				set(f)
			}
		}
	}
	for i := range g.r.IntN(3) + 1 {
		k := pick(g.r, anInt, aText, aBool)
		s := scopes[g.r.IntN(len(scopes))]
		name := fmt.Sprint("e", i)
		if g.one(4) {
			name = pick(g.r, "n", "s", "b") // in place of another one
			k = map[string]kind{"n": anInt, "s": aText, "b": aBool}[name]
		}
		lines = append(lines, fmt.Sprintf("  - %s: %s", name, g.quoted(s, k)))
		set(field{name, k})
	}
	d.add(mustSelect, lines...)
}

// sinks writes what nobody reads, and some of the rest.
func (g *generator) sinks() {
	for _, d := range slices.Clone(g.pipe.defs) {
		read := slices.ContainsFunc(g.pipe.defs, func(o *def) bool { return slices.Contains(o.reads, d.name) })
		outer := d.topic != ""
		if read && (outer || !g.one(2)) || outer && d.section == "sources" || d.versioned {
			continue
		}
		s := &def{section: "sinks", name: "out_" + d.name, topic: "out-" + d.name, reads: []string{d.name}}
		s.add(true, "from: "+d.name)
		s.add(true, "topic: "+s.topic)
		if p := g.path(scopeOf("", d), aText); p != "" && !d.changes && g.one(2) {
			s.add(false, "key: "+p)
		}
		g.pipe.defs = append(g.pipe.defs, s)
	}
}
