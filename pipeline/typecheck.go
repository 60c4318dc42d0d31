package pipeline

import (
	"fmt"

	"streamctl/expr"
	"streamctl/internal/codec"
	"streamctl/internal/diag"
)

// Typed is a pipeline whose every expression has been checked against what is
// known of the data. It is not changed after Typecheck.
type Typed struct {
	*Pipeline
	defs map[*Def]*typedDef
}

// typedDef is what the checks found out about a definition.
type typedDef struct {
	// functions are the user's own, the same for all definitions.
	functions map[string]*expr.Function

	format, keyFormat codec.Format
	raw               expr.Type   // of what lies in the topic, behind the envelope
	value             expr.Type   // of what others read
	key               expr.Type   // of the key that others read
	components        []expr.Type // of a composite key
	// changes: its records are changes of a table, so that it can delete.
	changes bool
	// passing: its rows are those of windows, or made of them. Nobody takes them away again.
	passing bool
	// tableJoin: it joins tables with each other.
	tableJoin bool
	// keyed is how many of its joins, from the first, compare primary keys of tables.
	keyed int
	// branches is the number of ways from a source or table to here: a union has
	// more than one. Operators exist once per branch until a repartition unites them.
	branches int

	// Of a topic table.
	rekeyed      bool   // its key is not the record key
	keyFromValue bool   // the key depends on the value
	keyIdentity  string // of its key expression
	// keyPaths are, for each component of the key, the path where the row has it too;
	// nil where it does not.
	keyPaths [][]codec.Step

	timed bool // of a table: its rows keep their event time

	// Of a source or topic table.
	recordKey string   // identity of the record key
	keyFact   string   // of a table: identity of its key as readers see it
	placed    []string // identities of the components of partitioned_by

	// Of a query.
	late bool          // where is decided behind the joins
	kept []keptBinding // what a boundary keeps
	top  *typedTop     // of a top table
	// match is of a query with stored queries; branches in front are counted there.
	match *typedMatch
	dedup *typedDedup
	// element is the type of the elements that it unnests.
	element *expr.Type
	// strewn: the rows of the table do not lie by its key.
	strewn bool
	joins  [][]joinKeys // by branch, by join
	// Of one that joins streams: its branches in front of the first such join, and
	// what is known of them, by join.
	front   int
	streams []*typedStreamJoin

	// Of a derived table: the components of its group key, and its aggregates.
	groups     [][]string // by branch: identities
	groupNames []string   // "" = without a name
	groupTexts []string
	groupTypes []expr.Type
	windowed   bool // the last two say which window it is
	// final: what it gives is never changed nor taken back.
	final      bool
	groupView  []*binding // what its expressions see, for their types
	aggregates []aggregate

	sinkKeys []string // of a sink with a key, by branch: its identity
}

// Typecheck is the third stage: types, names of fields, keys of joins and
// aggregates. The Typed is complete when the list holds no error.
func Typecheck(p *Pipeline) (*Typed, diag.List) {
	t := &Typed{Pipeline: p, defs: map[*Def]*typedDef{}}
	c := newCompiler(t.defs)
	c.defineFunctions(p.File)
	for _, d := range p.Order {
		t.defs[d] = &typedDef{branches: 1, functions: c.functions}
	}
	for _, d := range p.Order {
		c.define(d)
	}
	c.unusedFunctions(p.File)
	c.diags.Sort()
	return t, c.diags
}

// define checks one definition; those that it reads have been checked.
func (c *compiler) define(d *Def) {
	switch d.Kind {
	case SourceDef:
		c.defineSource(d)
	case TopicTableDef:
		c.defineTable(d)
		c.checkTTL(d)
		c.noteKey(d)
	case StreamDef:
		c.defineQuery(d)
	case DerivedTableDef:
		c.defineQuery(d)
		c.noteKey(d)
	case SinkDef:
		c.defineSink(d)
	}
}

// formatOr parses the name of a format; one that is unknown has been reported
// by the parser.
func formatOr(t Text, otherwise codec.Format) codec.Format {
	if f, err := codec.ParseFormat(t.Value); t.Set && err == nil {
		return f
	}
	return otherwise
}

// formats fills in what a topic holds.
func (c *compiler) formats(td *typedDef, format, keyFormat Text, fields []FieldDecl) {
	td.format = formatOr(format, codec.FormatJSON)
	td.keyFormat = formatOr(keyFormat, codec.FormatString)
	td.raw = formatType(td.format)
	if len(fields) == 0 {
		return
	}
	if td.format != codec.FormatJSON {
		c.diags.Errorf(codeFieldsFormat, fields[0].Name.Span, "format %s has no fields", td.format).
			Help = "fields: describes the members of a JSON object"
		return
	}
	td.raw = declaredType(fields, &c.diags)
}

func (c *compiler) defineSource(d *Def) {
	td := c.typed[d]
	c.formats(td, d.Source.Format, d.Source.KeyFormat, d.Source.Fields)
	r := c.root(d)
	td.value, td.key = td.raw, formatType(td.keyFormat)
	td.recordKey = refIdentity(expr.Ref{Row: r.in.key.row})
	td.placed = identities(r.placed)
}

func (c *compiler) defineTable(d *Def) {
	td, t := c.typed[d], d.Table
	c.formats(td, t.Format, t.KeyFormat, t.Fields)
	if t.Envelope.Set && td.format != codec.FormatJSON {
		c.diags.Errorf(codeEnvelope, t.Envelope.Span, "envelope %s needs format json, not %s", t.Envelope.Value, td.format)
	}
	td.changes = true
	td.key = formatType(td.keyFormat)
	r := c.root(d)
	td.recordKey = refIdentity(expr.Ref{Row: r.in.key.row})
	td.placed = identities(r.placed)
	if r.key != nil {
		td.key = r.key.Type()
		td.keyIdentity = joinIdentity(identities(components(r.key)))
		ref, ok := r.key.Ref()
		td.rekeyed = !ok || ref != (expr.Ref{Row: r.in.key.row})
		if td.rekeyed {
			for _, item := range itemsOf(r.key) {
				td.components = append(td.components, item.Type())
			}
		}
		for _, ref := range r.key.Refs() {
			td.keyFromValue = td.keyFromValue || ref.Row == r.doc.row
		}
		td.keyPaths = r.keyPaths
		c.checkTableKey(d, r.key)
	}
	td.value = td.raw
	if r.value != nil {
		td.value = r.value.Type()
	}
}

// itemsOf are the components of a composite key, nil for a simple one.
func itemsOf(p *expr.Program) []*expr.Program {
	items, _ := p.Items()
	return items
}

// checkTableKey refuses a key that is the same, or another one, for every record.
func (c *compiler) checkTableKey(d *Def, key *expr.Program) {
	if _, constant := key.Const(); constant {
		c.diags.Errorf(codeTableInput, d.Table.Key.Span, "the key of table %q does not depend on the record", d.Name).
			Help = "without key: the table's key is the record key"
	}
	if !key.Pure() {
		c.diags.Errorf(codeTableInput, d.Table.Key.Span, "the key of table %q depends on the clock", d.Name)
	}
}

// refIdentity names a place of the layout.
func refIdentity(r expr.Ref) string { return fmt.Sprintf("@%d.%d", r.Row, r.Slot) }

// identities names programs so that equal ones compute equal values; "" is
// equal to nothing, for programs that read the clock.
func identities(programs []*expr.Program) []string {
	out := make([]string, len(programs))
	for i, p := range programs {
		if p.Pure() {
			out[i] = p.Identity()
		}
	}
	return out
}

// maxBranches bounds what unions of unions multiply.
const maxBranches = 256

func (c *compiler) defineQuery(d *Def) {
	td := c.typed[d]
	td.branches = 0
	for _, in := range d.From {
		td.branches += c.typed[in.Def].branches
		td.changes = td.changes || c.typed[in.Def].changes
	}
	td.final = c.isFinal(d)
	c.checkWindow(d)
	c.checkInputs(d)
	c.checkUnnest(d)
	if td.branches > maxBranches {
		c.diags.Errorf(codeUnion, d.From[0].Span, "%q unites %d ways from its sources: at most %d are allowed", d.Name, td.branches, maxBranches).
			Help = "a stream that is united with itself gives every record twice"
		td.branches = 1
	}
	var streamed []*binding // behind joins of streams
	if d.streamJoins() {
		streamed = c.defineStreams(d)
	}
	if d.Query.Match != nil {
		streamed = c.defineMatch(d, streamed)
	}
	for b := range td.branches {
		view := streamed
		if view == nil {
			view = c.defineJoins(d, b)
			if d.searches() {
				view = c.searched(d, view)
			}
		}
		if d.Query.Match != nil && b == 0 {
			c.checkMatchedKeys(d, view)
		}
		td.noteElement(d, view)
		c.defineDedup(d, view)
		if d.Kind == DerivedTableDef && !d.materialized() {
			c.defineGroups(d, b, view)
			continue
		}
		out := c.selected(d, view)
		if d.materialized() {
			c.defineMaterialized(d, b, out)
			continue
		}
		c.outs[outKey{d, b}] = out
		if b == 0 {
			td.value, td.key = out.typ, typeOfKey(out)
		} else {
			td.value, td.key = unite(td.value, out.typ), unite(td.key, typeOfKey(out))
		}
	}
	if d.Kind == DerivedTableDef {
		td.branches = 1
		td.changes = true
	}
}

// defineJoins checks the joins of a branch with tables, and gives what the
// definition sees behind them.
func (c *compiler) defineJoins(d *Def, b int) []*binding {
	td := c.typed[d]
	in, branch := d.input(b, c.typed)
	view := c.front(d, c.member(d, in, branch))
	td.joins = append(td.joins, nil)
	if td.tableJoin {
		view = c.defineTableJoin(d)
	} else {
		for i := range d.Joins {
			view = c.defineJoin(d, i, b, view)
		}
	}
	_, td.late = c.where(d, view)
	td.late = td.late || td.tableJoin
	return view
}

func typeOfKey(b *binding) expr.Type {
	if b.key == nil {
		return expr.Type{}
	}
	return b.key.typ
}

// unite is the type of what is one or the other.
func unite(a, b expr.Type) expr.Type {
	if a.Kind != b.Kind {
		if isNumber(a) && isNumber(b) {
			return expr.Type{Kind: expr.Float}
		}
		return expr.Type{}
	}
	if a.Kind != expr.Object {
		return expr.Type{Kind: a.Kind}
	}
	out := expr.Type{Kind: expr.Object, Open: a.Open || b.Open}
	for _, f := range a.Fields {
		t, ok := fieldOf(b, f.Name)
		if ok {
			t = unite(f.Type, t)
		}
		out.Fields = append(out.Fields, expr.Field{Name: f.Name, Type: t})
	}
	for _, f := range b.Fields {
		if _, ok := fieldOf(a, f.Name); !ok {
			out.Fields = append(out.Fields, expr.Field{Name: f.Name})
		}
	}
	return out
}

func isNumber(t expr.Type) bool { return t.Kind == expr.Int || t.Kind == expr.Float }

// checkInputs refuses what a query cannot do with changes of a table.
func (c *compiler) checkInputs(d *Def) {
	td := c.typed[d]
	c.checkGroupClauses(d)
	c.checkReplicated(d)
	c.checkVersioned(d)
	c.checkStrewn(d)
	c.checkTTL(d)
	if !td.changes {
		return
	}
	for _, in := range d.From {
		if !c.typed[in.Def].changes || len(d.From) > 1 {
			c.diags.Errorf(codeUnion, in.Span, "a union with a table's changes is not possible").
				Help = c.changesInUnion(d)
			return
		}
	}
	td.tableJoin = c.joinsTables(d) && c.checkTableJoin(d)
	c.checkPassing(d)
}

// changesInUnion tells what to write instead of a union with tables.
func (c *compiler) changesInUnion(d *Def) string {
	for _, in := range d.From {
		if td := c.typed[in.Def]; td.changes && td.final {
			return in.Def.orFacts(true, "")
		}
	}
	return "a deletion in one says nothing of the row in another: join the tables (`outer:`) for one row per key, or read their topics as sources and unite those"
}

func (c *compiler) defineSink(d *Def) {
	td := c.typed[d]
	if len(d.From) == 0 {
		return
	}
	c.checkReplicated(d)
	c.checkVersioned(d)
	from := c.typed[d.From[0].Def]
	td.branches, td.changes = from.branches, from.changes
	td.value, td.key = from.value, from.key
	td.format = formatOr(d.Sink.Format, codec.FormatJSON)
	td.keyFormat = formatOr(d.Sink.KeyFormat, codec.FormatString)
	var keys []expr.Type
	for b := range td.branches {
		id, in := "", c.out(d.From[0].Def, b)
		key := c.sinkKey(d, in)
		if key != nil {
			id = joinIdentity(identities(components(key)))
			keys = append(keys, key.Type())
		} else if !d.Sink.Key.Set {
			keys = append(keys, c.sinkKeyType(d, in))
		}
		td.sinkKeys = append(td.sinkKeys, id)
	}
	c.checkSinkFormats(d, keys)
}
