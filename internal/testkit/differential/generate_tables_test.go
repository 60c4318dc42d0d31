package differential

import (
	"fmt"
	"slices"
	"strings"
)

// lookedUp says that rows of d can be found by its key.
func lookedUp(d *def) bool { return d.isTable() && !d.strewn && !d.windowed && !d.versioned }

// replicated makes a table that every task has all of.
func (g *generator) replicated() *def {
	d := g.topicTable()
	d.versioned = true
	d.clauses = slices.DeleteFunc(d.clauses, func(c clause) bool { return strings.HasPrefix(c.lines[0], "ttl:") })
	d.add(false, "replicate: true")
	return d
}

// ofTable draws a table, or a stream of a table's changes.
func (g *generator) ofTable() *def {
	if d := g.among(func(d *def) bool { return d.changes && !d.versioned }); d != nil && !g.one(4) {
		return d
	}
	return g.topicTable()
}

// aggregates draws the select list of a table by group_by; undo: over a table's
// changes not all aggregates are possible.
func (g *generator) aggregates(d *def, s scope, undo bool) {
	lines := []string{"select:"}
	for _, f := range d.fields {
		lines = append(lines, fmt.Sprintf("  - %s: %s", f.name, f.name))
	}
	for i := range 1 + g.r.IntN(4) {
		name := fmt.Sprint("c", i)
		call, k := g.aggregate(s, undo)
		d.fields = append(d.fields, field{name, k})
		lines = append(lines, fmt.Sprintf("  - %s: %s", name, quote(call)))
	}
	d.add(true, lines...)
}

func (g *generator) aggregate(s scope, undo bool) (string, kind) {
	k := pick(g.r, aText, anInt, anInt)
	p := g.path(s, k)
	if p == "" || g.one(6) {
		return pick(g.r, "count()", "count() * 10"), anInt
	}
	if g.one(3) && k == anInt {
		p = g.expression(s, anInt, 1)
	}
	if k == anInt && g.one(10) {
		x := pick(g.r, p, g.leaf(s, aFloat))
		if undo || g.one(2) {
			return "stddev(" + x + ")", aFloat
		}
		return fmt.Sprintf("percentile(%s, %s)", x, pick(g.r, "0.5", "0", "1", "0.9")), aFloat
	}
	if !undo && g.one(12) {
		return "count_distinct(" + p + ", \"approx\")", anInt
	}
	switch g.r.IntN(13) {
	case 0:
		return "count(" + p + ")", anInt
	case 1:
		return "min(" + p + ")", k
	case 2:
		return "max(" + p + ")", k
	case 3:
		return "count_distinct(" + p + ")", anInt
	case 4:
		return "collect_set(" + p + ")", aList
	case 5:
		return fmt.Sprintf("top_k(%s, %d)", p, 1+g.r.IntN(3)), aList
	case 6:
		return "histogram(" + p + ")", anObject
	}
	if k == anInt {
		switch g.r.IntN(6) {
		case 0:
			return "avg(" + p + ")", aFloat
		case 1:
			return fmt.Sprintf("sum(%s) * 2 + count()", p), anInt
		case 2:
			if x := g.path(s, aFloat); x != "" {
				return "sum(" + x + ")", aFloat
			}
		case 3:
			return fmt.Sprintf("histogram(%s, [0, 2])", p), aList
		}
		return "sum(" + p + ")", anInt
	}
	switch call := pick(g.r, "first", "last", "collect_list"); {
	case undo:
		return "collect_set(" + p + ", 50)", aList
	case call == "collect_list":
		return "collect_list(" + p + ")", aList
	default:
		return call + "(" + p + ")", k
	}
}

// materialised is a table of another one's changes.
func (g *generator) materialised() *def {
	of := g.ofTable()
	if of.windowed {
		of = g.topicTable() // rows of windows would be kept for ever
	}
	d := &def{section: "tables", name: g.name("m"), reads: []string{of.name}, keys: of.keys, changes: true}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	s := scopeOf("v", of)
	if g.one(2) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	g.selectList(d, false, s)
	g.pipe.defs = append(g.pipe.defs, d)
	return d
}

// joiningTables joins tables by their keys, as a stream of changes or a table.
func (g *generator) joiningTables() {
	of := g.table()
	if len(of.keys) != 1 {
		return
	}
	d := &def{section: pick(g.r, "tables", "streams"), name: g.name("tj"), reads: []string{of.name}, keys: of.keys, changes: true}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	scopes := []scope{scopeOf("v", of)}
	lines := []string{"join:"}
	outer, foreign := false, false
	for i := range 1 + g.r.IntN(2) {
		alias := fmt.Sprint("t", i)
		if t := g.among(lookedUp); t != nil && g.one(3) && len(t.keys) == 1 && !outer {
			if ours := g.path(scopes[0], t.keys[0]); ours != "" {
				lines = append(lines, fmt.Sprintf("  - %s: %s %s", pick(g.r, "inner", "left"), t.name, alias), fmt.Sprintf("    on: %s == %s.key", ours, alias))
				d.reads = append(d.reads, t.name)
				scopes = append(scopes, scopeOf(alias, t))
				foreign = true
				continue
			}
		}
		t := g.among(func(t *def) bool {
			return lookedUp(t) && t != of && slices.Equal(t.keys, of.keys) && !slices.Contains(d.reads, t.name)
		})
		if t == nil {
			if len(of.keys) != 1 || of.keys[0] != aText {
				break
			}
			t = g.topicTable()
			if !slices.Equal(t.keys, of.keys) {
				break
			}
		}
		how := pick(g.r, "inner", "left", "outer")
		if foreign && how == "outer" {
			how = "left" // no table keeps the rows in front of it
		}
		outer = outer || how == "outer"
		lines = append(lines, fmt.Sprintf("  - %s: %s %s", how, t.name, alias), fmt.Sprintf("    on: v.key == %s.key", alias))
		d.reads = append(d.reads, t.name)
		scopes = append(scopes, scopeOf(alias, t))
		if outer {
			break // behind it v.key may be null
		}
	}
	if len(lines) == 1 {
		return
	}
	if g.one(3) {
		d.add(false, "where: "+g.quoted(scopes[g.r.IntN(len(scopes))], aBool))
	}
	d.add(true, lines...)
	g.selectList(d, true, scopes...)
	g.pipe.defs = append(g.pipe.defs, d)
}

// havingAndTTL draws what a table by group_by may have besides.
func (g *generator) havingAndTTL(d, of *def) {
	if g.one(4) {
		d.add(false, "having: "+g.quoted(scopeOf("", d), aBool))
	}
	if g.one(8) && !of.changes {
		d.add(false, "ttl: "+g.size())
	}
}

// topOfGroups orders the groups of the table that d is.
func (g *generator) topOfGroups(d, of *def) {
	by := ""
	for _, f := range d.fields {
		if f.kind == anInt && strings.HasPrefix(f.name, "c") {
			by = f.name
		}
	}
	if by == "" {
		return
	}
	line := fmt.Sprintf("top: {n: %d, by: %s, order: %s", 1+g.r.IntN(3), by, pick(g.r, "asc", "desc"))
	switch g.r.IntN(4) {
	case 0:
		line += ", list: rows, per: '\"all\"'"
		d.fields, d.keys = []field{{"rows", aList}}, []kind{aText}
	case 1:
		line += fmt.Sprintf(", per: %s", pick(g.r, "'key[0]'", "by0"))
		if len(d.keys) == 1 {
			return
		}
		d.strewn = true
		d.fields = append(d.fields, field{"rank", anInt})
	default:
		d.strewn = true
		d.fields = append(d.fields, field{"rank", anInt})
	}
	d.regroups, d.scatters = true, of.changes
	d.clauses = slices.DeleteFunc(d.clauses, func(c clause) bool { return strings.HasPrefix(c.lines[0], "ttl:") })
	d.add(false, line+"}")
}

// top is the first rows of each group of a table.
func (g *generator) top() {
	of := g.ofTable()
	if of.windowed {
		of = g.topicTable()
	}
	by := g.path(scopeOf("", of), anInt)
	if by == "" || len(of.keys) != 1 {
		return
	}
	d := &def{section: "tables", name: g.name("top"), reads: []string{of.name}, changes: true, strewn: true, regroups: true}
	d.add(true, fmt.Sprintf("from: %s", of.name))
	if g.one(3) {
		d.add(false, "where: "+g.quoted(scopeOf("", of), aBool))
	}
	line := fmt.Sprintf("top: {n: %d, by: %s, order: %s", 1+g.r.IntN(3), by, pick(g.r, "asc", "desc"))
	k := pick(g.r, aText, anInt)
	if per := g.path(scopeOf("", of), k); per != "" && !strings.HasPrefix(per, "by") && !g.one(4) { // by the key it would be a part of the key already
		line += ", per: " + per
		d.keys = append(d.keys, k)
	}
	if len(d.keys) > 0 && g.one(3) {
		d.strewn, d.fields = false, []field{{"rows", aList}}
		d.add(true, line+", list: rows}")
		g.pipe.defs = append(g.pipe.defs, d)
		return
	}
	if slices.ContainsFunc(of.fields, func(f field) bool { return f.name == "rank" }) {
		return // one of the two would be lost: the compiler refuses that
	}
	d.keys = append(d.keys, of.keys...)
	d.add(true, line+"}")
	d.fields = append(slices.Clone(of.fields), field{"rank", anInt})
	g.pipe.defs = append(g.pipe.defs, d)
}
