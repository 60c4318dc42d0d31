package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"streamctl/expr"
	"streamctl/internal/diag"
	"streamctl/operators"
)

// Joins of two streams. Each is a boundary (see boundary.go): the ways of both
// sides come together there, whole rows are kept, and the definition goes on
// behind it with one branch. Both sides are brought to the partitions that the key
// asks for.

const (
	// codeJoinBounds is about how far apart the records of two streams may lie.
	codeJoinBounds diag.Code = "join-bounds"
)

// StreamBounds say how far the records of two joined streams may lie apart.
type StreamBounds struct {
	// The right record lies at most Before before the left one, or After behind it.
	Before, After time.Duration
	Grace         time.Duration // how much longer records may come late
}

// streamBounds reads the bounds of a join of two streams.
func (r *resolver) streamBounds(d *Def, j *Join, right *Def) *StreamBounds {
	b := &StreamBounds{}
	if !j.Within.Set && !j.Before.Set && !j.After.Set {
		if r.joinsToTable(d, j, right) {
			return b
		}
		r.list.Add(diag.Errorf(codeJoinBounds, j.Span, "%s %q joins %q, which is a %s: a join of two streams needs within", d.Kind, d.Name, right.Name, right.Kind).
			WithNote(right.Decl.Span, "the %s is defined here", right.Kind).
			WithHelp("write how far apart the records may lie, as `within: 10m`; to join the last row of each key, define a table"))
		return b
	}
	for _, one := range []Text{j.Before, j.After} {
		if one.Set && j.Within.Set {
			r.list.Add(diag.Errorf(codeJoinBounds, one.Span, "within is given too").
				WithNote(j.Within.Span, "it says both how far before and how far after").
				WithHelp("write either within, or before and after"))
		}
	}
	if r.negativeBounds(j) {
		return b
	}
	within := r.duration(j.Within, 0, 0, maxDuration)
	b.Before = r.duration(j.Before, within, 0, maxDuration)
	b.After = r.duration(j.After, within, 0, maxDuration)
	b.Grace = r.duration(j.Grace, 0, 0, maxDuration)
	if j.AsOf.Set {
		r.list.Errorf(codeJoinBounds, j.AsOf.Span, "as_of looks up the row of a table, and %q is a %s", right.Name, right.Kind).
			Help = "leave it out: the records of two streams are joined by their times already"
	}
	return b
}

// joinsToTable refuses a stream that is joined to a table: asking for within would
// only lead to the next refusal.
func (r *resolver) joinsToTable(d *Def, j *Join, right *Def) bool {
	if len(d.From) != 1 || !d.From[0].Def.IsTable() {
		return false
	}
	table := d.From[0].Def
	final := table.Query != nil && table.Query.Emit != nil && table.Query.Emit.Mode.Value == "final"
	r.list.Add(diag.Errorf(codeJoinInput, j.Input.Text.Span, "%s %q reads table %q, and %q is a %s: only tables can be joined to a table", d.Kind, d.Name, table.Name, right.Name, right.Kind).
		WithNote(right.Decl.Span, "the %s is defined here", right.Kind).
		WithHelp("%s", table.orFacts(final, fmt.Sprintf("let a stream read %s and join the table to it: `{from: %s %s, join: [{left: %s %s, on: ...}]}`; "+
			"or make a table of %s first, with group_by", right.Name, right.Name, shortAlias(right.Name), table.Name, otherAlias(table.Name, right.Name), right.Name))))
	return true
}

// otherAlias proposes an alias that is not the one proposed for another name.
func otherAlias(name, than string) string {
	if a := shortAlias(name); a != shortAlias(than) {
		return a
	}
	return shortAlias(name) + "2"
}

// negativeBounds refuses bounds with a sign.
func (r *resolver) negativeBounds(j *Join) (found bool) {
	for _, t := range []Text{j.Within, j.Before, j.After, j.Grace} {
		if strings.HasPrefix(strings.TrimSpace(t.Value), "-") {
			found = true
			r.list.Errorf(codeJoinBounds, t.Span, "%q is negative", t.Value).
				Help = "before and after are both counted from the left record's time: leave one out where only the other side counts"
		}
	}
	return found
}

// tableBounds refuses in a join with a table what belongs to a join of two streams.
func (r *resolver) tableBounds(j *Join, table *Def) {
	for _, bound := range []struct {
		name string
		text Text
	}{{"within", j.Within}, {"before", j.Before}, {"after", j.After}} {
		if bound.text.Set {
			final := table.Query != nil && table.Query.Emit != nil && table.Query.Emit.Mode.Value == "final"
			r.list.Add(diag.Errorf(codeJoinBounds, bound.text.Span, "%s belongs to a join of two streams, and %q is a table", bound.name, table.Name).
				WithNote(table.Decl.Span, "the table is defined here").
				WithHelp("%s", table.orFacts(final, "leave it out: a stream finds the row that the table has for the key")))
		}
	}
}

// text writes the bounds as in a pipeline file.
func (b *StreamBounds) text() string {
	text := "before " + formatDuration(b.Before) + ", after " + formatDuration(b.After)
	if b.Before == b.After {
		text = "within " + formatDuration(b.Before)
	}
	return text + ", grace " + formatDuration(b.Grace)
}

// streamJoins says that d joins streams with each other.
func (d *Def) streamJoins() bool {
	return slices.ContainsFunc(d.Joins, func(j ResolvedJoin) bool { return j.Bounds != nil })
}

// typedStreamJoin is what the checks found out about a join of two streams.
type typedStreamJoin struct {
	left, right []keptBinding
	rightKeys   []joinKeys // by branch of the right stream
	// behind: identities of the keys of both sides as those behind see them.
	behind [2]string
	// stray: a record may come from the right side alone, here or in a join before.
	stray bool
}

// defineStreams checks the joins of a query that joins streams, and gives what
// it sees behind them.
func (c *compiler) defineStreams(d *Def) []*binding {
	td := c.typed[d]
	td.front, td.streams = td.branches, make([]*typedStreamJoin, len(d.Joins))
	td.joins = make([][]joinKeys, td.front)
	var views, fronts [][]*binding
	for b := range td.front {
		in, branch := d.input(b, c.typed)
		fronts = append(fronts, c.front(d, c.member(d, in, branch)))
	}
	views = slices.Clone(fronts)
	for i, j := range d.Joins {
		if j.Bounds != nil {
			views = [][]*binding{c.defineStreamJoin(d, i, views)}
			continue
		}
		for b := range views {
			views[b] = c.defineJoin(d, i, b, views[b])
		}
	}
	td.branches = 1
	if _, td.late = c.where(d, views[0]); !td.late {
		for _, front := range fronts {
			c.where(d, front)
		}
	}
	return views[0]
}

// defineStreamJoin checks a join of streams. views are what the definition sees
// in front of it, by branch; the result is what it sees behind.
func (c *compiler) defineStreamJoin(d *Def, i int, views [][]*binding) []*binding {
	td, j := c.typed[d], d.Joins[i]
	if c.typed[j.Def].changes {
		c.diags.Add(diag.Errorf(codeJoinInput, j.Span, "%q holds a table's changes: it cannot be joined as a stream", j.Def.Name).
			WithNote(j.Def.Decl.Span, "it is defined here").
			WithHelp("%s", j.Def.orFacts(c.typed[j.Def].final, "join the table itself")))
	}
	sj := &typedStreamJoin{}
	td.streams[i] = sj
	first := c.out(j.Def, 0).as(j.Alias)
	for b, view := range views {
		left, _ := c.streamKeys(d, i, view, first)
		td.joins[b] = append(td.joins[b], joinKeysOf(left))
		sj.left = uniteKept(sj.left, view)
	}
	for b := range c.typed[j.Def].branches {
		right := c.out(j.Def, b).as(j.Alias)
		_, keys := c.streamKeys(d, i, views[0], right)
		sj.rightKeys = append(sj.rightKeys, joinKeysOf(keys))
		sj.right = uniteKept(sj.right, []*binding{right})
	}
	sj.stray = slices.ContainsFunc(d.Joins[:i+1], func(j ResolvedJoin) bool { return j.Bounds != nil && j.kind() == operators.OuterJoin })
	behind := c.streamView(sj)
	last := len(behind) - 1
	left, right := c.streamKeys(d, i, behind[:last], behind[last])
	sj.behind = [2]string{joinIdentity(identities(left)), joinIdentity(identities(right))}
	return behind
}

func joinKeysOf(keys []*expr.Program) joinKeys {
	found := joinKeys{identities: identities(keys)}
	for _, k := range keys {
		found.texts = append(found.texts, k.Text())
	}
	return found
}

// streamKeys compiles the condition of a join of streams: what each side is
// keyed by; nil when something is wrong.
func (c *compiler) streamKeys(d *Def, i int, view []*binding, right *binding) (left, other []*expr.Program) {
	j := d.Joins[i]
	if !j.Join.On.Set {
		return nil, nil
	}
	scope := scopeOf(append(view[:len(view):len(view)], right)...)
	scope.Functions = c.functions
	terms, diags := expr.CompileJoin(sourceOf(j.Join.On), scope, j.Alias)
	c.diags.Append(diags)
	if diags.HasErrors() {
		return nil, nil
	}
	for _, t := range terms {
		left, other = append(left, t.Left), append(other, t.Right)
	}
	return left, other
}

// streamView is what a definition sees behind a join of streams.
func (c *compiler) streamView(sj *typedStreamJoin) []*binding {
	left, right := c.streamSide(sj.left), c.streamSide(sj.right)
	view := sj.view(c.layout, left, right)
	for n, v := range view {
		c.layout.nameKept(v, fmt.Sprintf("joined[%d].", n))
	}
	if own := view[0].record; own != nil {
		c.layout.places[own.row] = place{label: "joined.key", slot: func(int) string { return "joined.key" }}
	}
	return view
}

// view puts the sides together. Where a record may be the right side's alone, its
// key is not that of the first binding.
func (sj *typedStreamJoin) view(l *layout, left, right streamSide) []*binding {
	view := append(slices.Clone(left.view), right.view...)
	if sj.stray {
		view[0].record = &keySpace{row: l.row(), typ: unite(typeOfKey(view[0]), typeOfKey(right.view[0]))}
	}
	return view
}

// nameKept names the rows of a binding behind a boundary.
func (l *layout) nameKept(v *binding, prefix string) {
	if v.key == nil {
		doc := v.space.(*document)
		named := *v
		named.key = &keySpace{row: doc.row}
		v = &named
	}
	l.nameDocument(v, prefix)
}

// streamSide is one side of a join of streams as those behind see it.
type streamSide struct {
	view []*binding
	spec operators.StreamSide
}

// streamSide makes one. A side that is one binding is kept as it is: its key is
// the record's own.
func (c *compiler) streamSide(kept []keptBinding) streamSide {
	l := c.layout
	if len(kept) > 1 {
		b := l.bound(kept)
		return streamSide{view: b.view, spec: operators.StreamSide{Kept: b.read()}}
	}
	v := l.newDocument(kept[0].alias, kept[0].value, kept[0].key, nil)
	doc := v.space.(*document)
	return streamSide{view: []*binding{v}, spec: operators.StreamSide{Single: &operators.SingleDoc{
		Shape: doc.shape, Row: doc.row, KeyRow: v.key.row, KeyUsed: func() bool { return v.key.used },
	}}}
}

// streamViewOf is what d sees behind all of its joins, of which one at least
// joins streams.
func (c *compiler) streamViewOf(d *Def) []*binding {
	var view []*binding
	for i, j := range d.Joins {
		switch {
		case j.Bounds != nil:
			view = c.streamView(c.typed[d].streams[i])
		case view != nil:
			view = append(view, c.joined(d, i).binding)
		}
	}
	return view
}

// boundJoin is a join of streams while it is bound.
type boundJoin struct {
	spec *operators.StreamJoin
	view []*binding
	// origins numbers the outer topics.
	origins map[string]int
}

// streamJoin makes one of the inputs of a join of streams; that of the leading
// step has what is behind the join.
func (b *binder) streamJoin(s *Step, at cursor) []*operators.Node {
	j := b.boundJoin(s)
	view := b.sideView(s, at)
	in := &operators.StreamJoinInput{Join: j.spec, Right: s.Right, Origins: j.origins, Keys: b.sideKeys(s, view)}
	if len(view) == 1 {
		in.Doc = docOfBinding(b.c.layout, view[0])
	} else {
		in.Doc = keepBindings(b.c.layout, view)
	}
	if s == s.Stream.lead {
		at.out, at.view = nil, j.view
		j.spec.Next = b.nodes(s.Next, at)
	}
	return one(in, nil)
}

// boundJoin is the join that a step leads to.
func (b *binder) boundJoin(s *Step) *boundJoin {
	if j := b.streams[s.Stream]; j != nil {
		return j
	}
	d, i := s.Def, s.Join
	r, td := d.Joins[i], b.plan.typed.defs[d]
	left, right := b.c.streamSide(td.streams[i].left), b.c.streamSide(td.streams[i].right)
	left.spec.Keep, right.spec.Keep = r.kind() != operators.InnerJoin, r.kind() == operators.OuterJoin
	j := &boundJoin{view: td.streams[i].view(b.c.layout, left, right), origins: map[string]int{}}
	j.spec = &operators.StreamJoin{
		Policy: b.c.policy(d), Name: s.Stream.State, Left: left.spec, Right: right.spec,
		Before: r.Bounds.Before.Milliseconds(), After: r.Bounds.After.Milliseconds(), Grace: r.Bounds.Grace.Milliseconds(),
	}
	if own := j.view[0].record; own != nil {
		j.spec.OwnRow, j.spec.OwnUsed = own.row, func() bool { return own.used }
	}
	for n, topic := range s.Stream.Origins {
		j.origins[topic] = n
		j.spec.Origins = append(j.spec.Origins, operators.Origin{Topic: topic, KeyFormat: b.plan.keyFormat(topic)})
	}
	if b.streams == nil {
		b.streams = map[*StreamJoinPlan]*boundJoin{}
	}
	b.streams[s.Stream] = j
	return j
}

// sideView is what a side of a join of streams sees of its own records.
func (b *binder) sideView(s *Step, at cursor) []*binding {
	if s.Right && at.view == nil {
		return []*binding{at.out.as(s.Def.Joins[s.Join].Alias)}
	}
	return at.view
}

// sideKeys compiles the key of one side of a join of streams. The other side is
// compiled for the condition's sake only: it is not here.
func (b *binder) sideKeys(s *Step, view []*binding) []*expr.Program {
	c, sj := b.c, b.plan.typed.defs[s.Def].streams[s.Join]
	scratch := newCompiler(b.plan.typed.defs)
	var keys []*expr.Program
	if s.Right {
		_, keys = c.streamKeys(s.Def, s.Join, scratch.streamSide(sj.left).view, view[0])
	} else {
		keys, _ = c.streamKeys(s.Def, s.Join, view, scratch.streamSide(sj.right).view[0])
	}
	c.layout.programs = append(c.layout.programs, keys...)
	return keys
}

// keepsNull says that the side of a join of streams that s repartitions emits
// its records without a partner, those with a null key too.
func (b *binder) keepsNull(s *Step) bool {
	kind := s.Def.Joins[s.Join].kind()
	return kind == operators.OuterJoin || kind == operators.LeftJoin && !s.Right
}

// carriedRight is what comes out of the repartition topic of a right side.
func (b *binder) carriedRight(in *InputPlan) []*binding {
	j := in.Def.Joins[in.Join]
	td := b.plan.typed.defs[j.Def]
	return []*binding{b.c.layout.newDocument(j.Alias, td.value, td.key, nil)}
}
