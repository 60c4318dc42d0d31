package differential

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// matching tests the records of a stream against stored queries.
func (g *generator) matching() {
	of := g.facts()
	q := &def{section: "tables", name: g.name("q"), keys: []kind{aText}, changes: true, versioned: true, fields: []field{{"query", aText}}, queries: true}
	q.topic = "in-" + q.name
	q.add(true, "topic: "+q.topic)
	if g.one(3) {
		q.add(false, "replicate: true")
	}
	d := &def{section: "streams", name: g.name("x"), reads: []string{of.name, q.name}, keys: of.keys, held: of.held, matches: true}
	d.add(true, fmt.Sprintf("from: %s v", of.name))
	s := scopeOf("v", of)
	one, two := g.path(s, aText), g.path(s, aText)
	if one == "" {
		return
	}
	text := fmt.Sprintf(`%s + " " + %s`, one, two)
	if g.one(3) {
		text = fmt.Sprintf("{one: %s, two: %s}", one, two)
	}
	if g.one(3) {
		d.add(false, "where: "+g.quoted(s, aBool))
	}
	d.add(true, fmt.Sprintf("match: {queries: %s q, text: %s}", q.name, quote(text)))
	g.selectList(d, true, s)
	last := &d.clauses[len(d.clauses)-1]
	last.lines = append(last.lines, "  - found: matched_keys")
	d.fields = append(d.fields, field{"found", aList})
	g.pipe.defs = append(g.pipe.defs, q, d)
}

// drawQuery draws a stored query, which now and then is none.
func drawQuery(r *rand.Rand, depth int) string {
	word := func() string { return pick(r, "a", "b", "c", "A", "a*", "true", "aa", "bb*") }
	sub := func() string { return drawQuery(r, depth-1) }
	if depth == 0 {
		return word()
	}
	switch r.IntN(12) {
	case 0, 1:
		return sub() + " AND " + sub()
	case 2, 3:
		return sub() + " OR " + sub()
	case 4:
		return "NOT " + sub()
	case 5:
		return "(" + sub() + ")"
	case 6:
		return fmt.Sprintf("%q", strings.ReplaceAll(word()+" "+word(), "*", ""))
	case 7:
		return sub() + " " + sub()
	case 8:
		return pick(r, "one", "two", "three") + ":" + pick(r, "a", "b")
	case 9:
		return pick(r, "a-b", "b-a")
	case 10:
		return pick(r, "(a", "AND b", "a OR", "", "a NOT", ")")
	}
	return word()
}
