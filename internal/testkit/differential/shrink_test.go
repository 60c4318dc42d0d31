package differential

import (
	"slices"
	"strings"
	"time"
)

// shrinkTime bounds how long a failing case is made smaller.
const shrinkTime = 20 * time.Second

// shrink makes a failing case smaller as long as it still fails in the same
// way: circumstances that do not matter, definitions, clauses, records.
func shrink(c *testCase, v verdict) (*testCase, verdict) {
	until := time.Now().Add(shrinkTime)
	for again := true; again; {
		again = false
		for _, smaller := range candidates(c) {
			if time.Now().After(until) {
				return c, v
			}
			if w := try(smaller); w.problem != "" && kindOf(w) == kindOf(v) {
				c, v, again = smaller, w, true
				break
			}
		}
	}
	return c, v
}

// kindOf tells failures apart that have nothing to do with each other.
func kindOf(v verdict) string {
	kind, _, _ := strings.Cut(v.problem, ":")
	kind, _, _ = strings.Cut(kind, " ")
	return kind
}

// candidates are cases that are one step smaller, the boldest first.
func candidates(c *testCase) (list []*testCase) {
	with := func(change func(*testCase)) {
		d := *c
		change(&d)
		list = append(list, &d)
	}
	if s := calm(c.settings); s != c.settings {
		with(func(d *testCase) { d.settings = s })
	}
	for i := len(c.pipe.defs) - 1; i >= 0; i-- {
		if p := c.pipe.without(c.pipe.defs[i].name); len(p.defs) > 0 && len(p.defs) < len(c.pipe.defs) {
			with(func(d *testCase) { d.pipe, d.text = p, p.text() })
		}
	}
	for size := len(c.records) / 2; size > 0; size /= 2 {
		for at := 0; at < len(c.records); at += size {
			with(func(d *testCase) {
				d.records = slices.Concat(c.records[:at], c.records[min(at+size, len(c.records)):])
			})
		}
	}
	for i, d := range c.pipe.defs {
		for n, cl := range d.clauses {
			if !cl.required {
				with(func(e *testCase) {
					e.pipe = c.pipe.withoutClause(i, n)
					e.text = e.pipe.text()
				})
			}
		}
	}
	return list
}

// calm are the circumstances under which nothing special happens.
func calm(s settings) settings {
	s.Processes, s.Workers, s.Stops, s.Kills, s.Crashes, s.Losses = 1, 1, 0, 0, 0, 0
	s.Cache, s.Fetch, s.Mixed, s.Idle = 1<<20, 500, false, false
	return s
}

// without leaves out a definition, those that read it, and what only it needs.
func (p *pipe) without(name string) *pipe {
	gone := map[string]bool{name: true}
	out := &pipe{functions: p.functions, onError: p.onError, wide: p.wide}
	for _, d := range p.defs {
		if gone[d.name] || slices.ContainsFunc(d.reads, func(r string) bool { return gone[r] }) {
			gone[d.name] = true
			continue
		}
		out.defs = append(out.defs, d)
	}
	if !slices.ContainsFunc(out.defs, func(d *def) bool { return d.section == "sinks" }) {
		return &pipe{}
	}
	out.prune()
	return out
}

func (p *pipe) withoutClause(def, clause int) *pipe {
	out := &pipe{functions: p.functions, defs: slices.Clone(p.defs), onError: p.onError, wide: p.wide}
	d := *p.defs[def]
	d.clauses = slices.Delete(slices.Clone(d.clauses), clause, clause+1)
	out.defs[def] = &d
	return out
}
