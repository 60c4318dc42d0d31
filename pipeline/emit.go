package pipeline

import (
	"time"

	"streamctl/internal/syntax"
)

// emitClause reads `emit:`, a word or {every: DURATION}.
func (p *parser) emitClause(q *Query) func(*syntax.Node) {
	return func(n *syntax.Node) {
		e := &Emit{Span: n.Span}
		q.Emit = e
		if n.Kind != syntax.Mapping {
			e.Mode = p.choice(n, "emit", []string{"changes", "final"}, nil)
			return
		}
		p.mapping(n, "emit", n.Span, []key{
			{name: "every", read: func(n *syntax.Node) { e.Every = p.text(n, "a duration") }, required: "every: 1s"},
		}, hints{"interval": "did you mean \"every\"?"})
	}
}

// Bounds of emit: {every: ...}.
const (
	minEmitEvery = 10 * time.Millisecond
	maxEmitEvery = 24 * time.Hour
)

// emit resolves how often a derived table sends its changes.
func (r *resolver) emit(d *Def) {
	if e := d.Query.Emit; e != nil {
		d.emitEvery = r.duration(e.Every, 0, minEmitEvery, maxEmitEvery)
	}
}
