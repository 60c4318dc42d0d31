package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/operators"
	"streamctl/state"
)

// Removal of duplicates. `dedup` stands behind the joins: the first record of
// each key goes on. It sees records as they come, so that a union costs nothing; all ways
// of the definition share what has been seen, and so lie in one part.

// codeDedup: what a dedup asks for cannot be done.
const (
	codeDedup diag.Code = "dedup"
)

// dedupStep stands for a join's number where a topic leads to a dedup; see topStep.
const dedupStep = -6

// dedup reads dedup:, a mapping.
func (p *parser) dedup(n *syntax.Node) *Dedup {
	if n.Kind != syntax.Mapping {
		p.list.Errorf(codeWrongType, n.Span, "dedup: expected a mapping, got %s", n.Describe()).
			Help = "write by what and for how long: `dedup: {by: x.id, within: 10m}`"
		return nil
	}
	d := &Dedup{Span: n.Span}
	at := n.Span
	if len(n.Entries) > 0 {
		at = n.Entries[0].Key.Span
	}
	p.mapping(n, "dedup", at, []key{
		{name: "by", read: p.expression(&d.By), required: "by: EXPRESSION"},
		{name: "within", read: func(n *syntax.Node) { d.Within = p.text(n, "a duration") }, required: "within: DURATION"},
	}, hints{
		"key":    "did you mean \"by\"?",
		"on":     "did you mean \"by\"?",
		"window": "did you mean \"within\"?",
		"ttl":    "did you mean \"within\"?",
		"for":    "did you mean \"within\"?",
	})
	return d
}

// dedupWithin resolves how long a definition remembers what it has seen.
func (r *resolver) dedupWithin(d *Def) {
	if d.Query == nil || d.Query.Dedup == nil {
		return
	}
	d.DedupWithin = r.duration(d.Query.Dedup.Within, 0, 0, maxDuration)
}

// typedDedup is what the checks found out about a dedup.
type typedDedup struct {
	keys []joinKeys    // by branch
	kept []keptBinding // what travels where it repartitions
}

// defineDedup checks the dedup of a branch.
func (c *compiler) defineDedup(d *Def, view []*binding) {
	td, q := c.typed[d], d.Query.Dedup
	if q == nil {
		return
	}
	if td.changes {
		if td.dedup == nil {
			c.diags.Add(diag.Errorf(codeDedup, q.Span, "%q holds a table's changes: a change is never the duplicate of another one", d.From[0].Def.Name).
				WithNote(d.From[0].Def.Decl.Span, "it is defined here").
				WithHelp("%s", d.From[0].Def.orFacts(td.final, "leave dedup out: a table has one row per key")))
		}
		td.dedup = &typedDedup{}
		return
	}
	if td.dedup == nil {
		td.dedup = &typedDedup{}
	}
	keys := c.dedupKeys(d, view)
	for _, k := range keys {
		if _, constant := k.Const(); constant {
			c.diags.Errorf(codeDedup, q.By.Span, "%s is the same for every record: only the first would go on", k.Text()).
				Help = "name what makes two records the same, as in `by: x.id`"
		}
		if !k.Pure() {
			c.diags.Errorf(codeDedup, q.By.Span, "what makes two records the same cannot depend on the clock")
		}
	}
	td.dedup.keys = append(td.dedup.keys, joinKeysOf(keys))
	td.dedup.kept = uniteKept(td.dedup.kept, view)
}

// dedupKeys compiles what makes two records the same.
func (c *compiler) dedupKeys(d *Def, view []*binding) []*expr.Program {
	return components(c.program(d.Query.Dedup.By, scopeOf(view...), expr.Want{}))
}

// DedupState is the name of the state in which a definition remembers what it has seen.
func DedupState(d *Def) string { return d.Name + ".dedup" }

// dedup brings the ways of a definition into one part, where each passes by what has
// been seen.
func (p *planner) dedup(d *Def, flows []*flow) []*flow {
	var ids []string
	for _, keys := range p.typed.defs[d].dedup.keys {
		ids = append(ids, joinIdentity(keys.identities))
	}
	home := p.homeOf(sidesOf(flows, ids))
	var out []*flow
	for _, f := range flows {
		if f.partitionedBy(ids) && agree(home, f.part) {
			unitePart(home, f.part)
			f.input.Placed = true
		} else if f = p.cross(f, &Step{Def: d, Join: dedupStep}, home, ids); f == nil {
			continue // it goes on in one that is planned already
		}
		out = append(out, f)
	}
	addAll(out, DedupStep, d)
	root := home.root()
	name := DedupState(d)
	root.tables = append(root.tables, state.TableSpec{Name: name, Changelog: p.ownTopic(name+".changelog", root, compacted())})
	return out
}

// dedup makes a dedup and what is behind it.
func (b *binder) dedup(s *Step, at cursor) []*operators.Node {
	d := s.Def
	if b.seen == nil {
		b.seen = map[*Def]*operators.DedupState{}
	}
	if b.seen[d] == nil {
		b.seen[d] = &operators.DedupState{Name: DedupState(d), Within: d.DedupWithin.Milliseconds()}
	}
	spec := &operators.Dedup{Policy: b.c.policy(d), State: b.seen[d], Keys: b.c.dedupKeys(d, at.view)}
	return one(spec, b.nodes(s.Next, at))
}

// carriedKept is what comes out of the repartition topic in front of a dedup.
func (b *binder) carriedKept(kept []keptBinding) []*binding {
	var view []*binding
	for _, k := range kept {
		v := b.c.layout.newDocument(k.alias, k.value, k.key, k.components)
		v.plain = k.plain
		if !k.keyed {
			v.key = nil
		}
		view = append(view, v)
	}
	return view
}

// walk follows the way of a branch of d, d's own filters and joins included.
func (k *canon) walk(d *Def, branch int) walked {
	x := k.walkOn(d, branch)
	if d.lateOf != nil {
		return k.walkLate(d, x)
	}
	if d.Query == nil || d.Query.Dedup == nil {
		return x
	}
	keys := k.exprs(k.c.dedupKeys(d, x.view))
	x.steps = append(x.steps, walkedStep{
		text:   fmt.Sprintf("first by %s within %s", strings.Join(keys, ", "), formatDuration(d.DedupWithin)),
		policy: policyText(d), join: len(d.Joins) + 1,
	})
	return x
}

// seenState describes what a dedup remembers.
func (k *canon) seenState(d *Def) TableDescription {
	return *k.state(DedupState(d), func(t *TableDescription) {
		var blocks [][]string
		for b := range k.typed.defs[d].dedup.keys {
			x := k.walkOn(d, b)
			keys := k.exprs(k.c.dedupKeys(d, x.view))
			blocks = append(blocks, append([]string{"first by " + strings.Join(keys, ", ")}, x.lines(keys)...))
			t.Inputs = sortedUnion(t.Inputs, x.topics)
			if b == 0 {
				t.Key = append(keys, "within "+formatDuration(d.DedupWithin))
			}
		}
		t.Definition = append(sortedBlocks(blocks), "within "+formatDuration(d.DedupWithin),
			"partitions follow keys as "+k.plan.keeper(t.Name).KeyFormat.String())
	})
}

// seenStates describes what the dedups of a sub-topology remember.
func (k *canon) seenStates(s *SubPlan) []TableDescription {
	var out []TableDescription
	var seen []*Def
	for _, in := range s.Inputs {
		eachStep(in.Steps, func(step *Step) {
			if step.Kind == DedupStep && !slices.Contains(seen, step.Def) {
				seen = append(seen, step.Def)
				t := k.seenState(step.Def)
				t.Sub = s.Name
				out = append(out, t)
			}
		})
	}
	return out
}

// dedupTopic describes the repartition topic in front of a dedup.
func (k *canon) dedupTopic(in *InputPlan) RepartitionDescription {
	d := in.Def
	r := RepartitionDescription{Topic: in.Topic, Of: d.Name}
	var blocks [][]string
	for b := range k.typed.defs[d].dedup.keys {
		x := k.walkOn(d, b)
		blocks = append(blocks, append(k.keptLines("records", x, x.view, k.c.dedupKeys(d, x.view)), "as "+strings.Join(aliases(x.view), ", ")))
		r.Several = r.Several || len(x.view) > 1
	}
	r.Definition = append(sortedBlocks(blocks), "partitions follow keys as "+k.plan.readerOf(in.Topic).KeyFormat.String())
	r.Fingerprint = fingerprint(r.Definition)
	return r
}
