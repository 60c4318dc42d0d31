package pipeline

import (
	"fmt"
	"slices"

	"streamctl/expr"
	"streamctl/operators"
)

// Stored queries of a replicated table. Every task has all of them, so documents are
// matched where they are: no topic is between them and their result, and what stands
// behind sees them as they came, by branch. Memory has its price: the index is there as
// often as there are tasks (ADR 0176).

// searches says that d matches documents with the queries of a replicated table.
func (d *Def) searches() bool { return d.Match != nil && d.Match.Def.replicated() }

// searched checks what is searched, and gives what d sees behind it.
func (c *compiler) searched(d *Def, view []*binding) []*binding {
	c.matchText(d, view)
	return c.found(d, view)
}

// found adds the list of keys to a view.
func (c *compiler) found(d *Def, view []*binding) []*binding {
	keys := c.layout.newDocument(operators.MatchedKeys, c.matchedType(d), expr.Type{}, nil)
	keys.key = nil
	c.layout.nameKept(keys, numbered("found", d.inFront(func(in *Def) int { return count(in.searches()) })))
	return append(slices.Clip(view), keys)
}

// search plans the matching of documents in the parts that flows run in.
func (p *planner) search(d *Def, flows []*flow) []*flow {
	p.copies(d.Match.Def, d.Name+"-"+d.Match.Def.Name, flows, func(f *flow, rows *InputPlan) {
		p.indexed(d, rows)
		from := p.replicas[d.Match.Def]
		if !slices.ContainsFunc(from.Queries, func(other *Def) bool { return other.queryIdentity() == d.queryIdentity() }) {
			from.Queries = append(from.Queries, d)
		}
		f.add(&Step{Kind: SearchStep, Def: d, Branch: f.branches[0], Table: rows.Table})
	})
	return flows
}

// search makes the operator and what is behind it.
func (b *binder) search(s *Step, at cursor) []*operators.Node {
	text := b.c.matchText(s.Def, at.view)
	at.view = b.c.found(s.Def, at.view)
	keys := at.view[len(at.view)-1]
	doc := keys.space.(*document)
	spec := &operators.Search{
		Policy: b.c.policy(s.Def), Text: text, Index: b.index(s.Def, s.Table),
		Keys: operators.ElementRow{Shape: doc.shape, Row: doc.row, Used: func() bool { return keys.used }},
	}
	return one(spec, b.nodes(s.Next, at))
}

// walkSearch is walk for a definition that searches.
func (k *canon) walkSearch(d *Def, branch int) walked {
	x := k.walkFront(d, branch)
	queries := k.table(d.Match.Def)
	text := fmt.Sprintf("match %s with queries %s (%s): %s", k.expr(k.c.matchText(d, x.view)), d.Match.Def.Name, queries.Fingerprint,
		k.expr(k.c.matchQuery(d, k.c.table(d.Match.Def, "").binding)))
	x.steps = append(slices.Clip(x.steps), walkedStep{text: text, policy: policyText(d), join: len(d.Joins)})
	x.view = k.c.found(d, x.view)
	return x
}
