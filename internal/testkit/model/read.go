package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"streamctl/internal/syntax"
)

// definition is an entry of sources, tables, streams or sinks.
type definition struct {
	name string
	kind string // source | table | stream | sink
	rank int    // above all it depends on

	topic              string
	key, value, timeOf *expression
	envelope           string
	onError            string
	keyFromValue       bool // the key expression reads the value
	from               []input
	inputs             []*definition // of from
	where              *expression
	whereLate          bool // it names what is joined
	joins              []*join
	groups             []group
	columns            []column
	having             *expression
	top                *top
	ttl                int64 // ms, 0 = rows stay
	dedup              *dedup
	match              *match
	queries            *match // of the table that holds them
	unnest             *unnest
	versioned          int64 // ms of history, 0 = the last row only
	window             *window
	lateOf             *definition // the table for which its records were late
	readers            []reader    // who reads it, those of lower rank first
	node               *syntax.Node
}

// derived says that it is computed from other definitions.
func (d *definition) derived() bool { return len(d.from) > 0 && d.kind != "sink" }

// isTable says that it holds rows, which can be looked up.
func (d *definition) isTable() bool { return d.kind == "table" }

// joinsTables says that its joins are of tables: all sides trigger.
func (d *definition) joinsTables() bool {
	return len(d.joins) > 0 && d.inputs[0].isTable() && d.joins[0].table.isTable()
}

// top is `top:`.
type top struct {
	n       int
	by, per *expression
	list    string
	asc     bool
	grouped bool // the group is a part of the key
}

type input struct{ name, alias string }

// reader is an input of a definition.
type reader struct {
	def *definition
	of  int // index in from; of the right side of a join of streams -1 - its index
}

type join struct {
	kind  string // inner | left | outer
	input input
	table *definition
	on    []condition
	// bounds, of a join of two streams: how far before and behind the left record
	// the right one may lie, and how late records may come, ms.
	bounds *bounds
	// asOf looks rows up as they were, when stream time is so much later, ms.
	asOf bool
	wait int64
}

// condition is one equality of on.
type condition struct {
	theirs *expression // of the joined side
	ours   *expression
}

// unnest is `unnest: LIST as ALIAS`.
type unnest struct {
	list  *expression
	alias string
}

type bounds struct{ before, after, grace int64 }

type group struct {
	name string
	expr *expression
}

type column struct {
	spread string // alias of alias.*, "*" for everything
	except []string
	name   string
	expr   *expression
}

// fault carries what is wrong with a pipeline out of the reader.
type fault struct{ error }

func fail(format string, args ...any) { panic(fault{fmt.Errorf(format, args...)}) }

// read turns a pipeline's text into definitions in the order of their dependence.
func read(text string) (m *Model, err error) {
	defer func() {
		if f, ok := recover().(fault); ok {
			m, err = nil, f.error
		}
	}()
	file, diags := syntax.Parse("pipeline.yaml", []byte(text))
	if diags.HasErrors() || file.Root == nil {
		return nil, fmt.Errorf("read pipeline: %v", diags)
	}
	m = &Model{defs: map[string]*definition{}, onError: textOf(file.Root.Get("on_error"))}
	for _, section := range []string{"sources", "tables", "streams", "sinks"} {
		n := file.Root.Get(section)
		if n == nil {
			continue
		}
		for _, e := range n.Entries {
			m.add(&definition{name: e.Key.Value, kind: strings.TrimSuffix(section, "s"), node: e.Value})
		}
	}
	functions := readFunctions(file.Root.Get("functions"))
	for _, d := range m.order {
		m.readDefinition(d)
		for _, x := range d.expressions() {
			if x != nil {
				x.inline(functions)
			}
		}
	}
	m.declareLate()
	m.partTops()
	m.connect()
	return m, nil
}

func (m *Model) add(d *definition) {
	name := d.name
	if d.kind == "sink" {
		name = "sink " + name // sinks have names of their own
	}
	m.defs[name] = d
	m.order = append(m.order, d)
}

func textOf(n *syntax.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}

func parsed(n *syntax.Node) *expression {
	if n.IsNull() {
		return nil
	}
	return mustParse(n.Value)
}

func mustParse(text string) *expression {
	x, err := parseExpression(text)
	if err != nil {
		fail("%w", err)
	}
	return x
}

func (m *Model) readDefinition(d *definition) {
	n := d.node
	d.topic, d.envelope, d.onError = textOf(n.Get("topic")), textOf(n.Get("envelope")), textOf(n.Get("on_error"))
	if d.onError == "" {
		d.onError = m.onError
	}
	if key := n.Get("key"); key != nil {
		d.key = mustParse(key.Value)
		for name := range d.key.names() {
			d.keyFromValue = d.keyFromValue || name != "key"
		}
	}
	d.versioned = duration(textOf(n.Get("versioned")))
	d.ttl = duration(textOf(n.Get("ttl")))
	d.value, d.timeOf = parsed(n.Get("value")), parsed(n.Get("timestamp"))
	if from := n.Get("from"); from != nil {
		d.readQuery(from)
	}
}

func (d *definition) readQuery(from *syntax.Node) {
	n := d.node
	if from.Kind == syntax.Sequence {
		for _, item := range from.Items {
			d.from = append(d.from, inputOf(item.Value))
		}
	} else {
		d.from = []input{inputOf(from.Value)}
	}
	d.where = parsed(n.Get("where"))
	if u := textOf(n.Get("unnest")); u != "" {
		list, alias, _ := strings.Cut(u, " as ")
		d.unnest = &unnest{mustParse(list), strings.TrimSpace(alias)}
	}
	if joins := n.Get("join"); joins != nil {
		for _, item := range joins.Items {
			d.joins = append(d.joins, readJoin(item))
		}
	}
	if d.where != nil {
		names := d.where.names()
		for _, j := range d.joins {
			d.whereLate = d.whereLate || names[j.input.alias]
		}
	}
	d.groups = readGroups(n.Get("group_by"))
	d.having = parsed(n.Get("having"))
	d.window = readWindow(n.Get("window"), n.Get("emit"))
	if dd := n.Get("dedup"); dd != nil {
		d.dedup = &dedup{by: mustParse(textOf(dd.Get("by"))), within: duration(textOf(dd.Get("within")))}
	}
	if mm := n.Get("match"); mm != nil {
		d.match = &match{queries: inputOf(textOf(mm.Get("queries"))), text: mustParse(textOf(mm.Get("text"))), field: "query"}
	}
	d.top = readTop(n.Get("top"))
	if columns := n.Get("select"); columns != nil {
		for _, item := range columns.Items {
			d.columns = append(d.columns, readColumns(item)...)
		}
	} else {
		d.columns = []column{{spread: "*"}}
	}
}

func inputOf(text string) input {
	words := strings.Fields(text)
	if len(words) == 1 {
		return input{name: words[0]}
	}
	return input{words[0], words[1]}
}

func readTop(n *syntax.Node) *top {
	if n == nil {
		return nil
	}
	t := &top{by: parsed(n.Get("by")), per: parsed(n.Get("per")), list: textOf(n.Get("list")), asc: textOf(n.Get("order")) == "asc"}
	t.n, _ = strconv.Atoi(textOf(n.Get("n")))
	if t.per != nil {
		for name := range t.per.names() {
			t.grouped = t.grouped || name != "key"
		}
	}
	return t
}

// equalities takes a && b && c apart.
func equalities(n ast.Node) []*ast.BinaryNode {
	b, ok := n.(*ast.BinaryNode)
	switch {
	case ok && (b.Operator == "&&" || b.Operator == "and"):
		return append(equalities(b.Left), equalities(b.Right)...)
	case ok && b.Operator == "==":
		return []*ast.BinaryNode{b}
	}
	fail("on: %s is no equality", n)
	return nil
}

func readGroups(n *syntax.Node) []group {
	switch {
	case n == nil:
		return nil
	case n.Kind == syntax.Mapping:
		var groups []group
		for _, e := range n.Entries {
			groups = append(groups, group{e.Key.Value, mustParse(e.Value.Value)})
		}
		return groups
	}
	x := mustParse(n.Value)
	if list, ok := x.node.(*ast.ArrayNode); ok {
		var groups []group
		for _, item := range list.Nodes {
			groups = append(groups, group{expr: &expression{text: item.String(), node: item}})
		}
		return groups
	}
	g := group{expr: x}
	if _, ok := x.node.(*ast.MemberNode); ok {
		g.name = x.text[strings.LastIndexByte(x.text, '.')+1:]
	} else if _, ok := x.node.(*ast.IdentifierNode); ok {
		g.name = x.text
	}
	return []group{g}
}

func readColumns(n *syntax.Node) []column {
	if n.Kind == syntax.Scalar {
		head, rest, _ := strings.Cut(n.Value, " except ")
		c := column{spread: strings.TrimSuffix(strings.TrimSpace(head), ".*")}
		c.except = strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune("[], ", r) })
		return []column{c}
	}
	var columns []column
	for _, e := range n.Entries {
		columns = append(columns, column{name: e.Key.Value, expr: mustParse(e.Value.Value)})
	}
	return columns
}

// declareLate makes the streams of records that are late for windows.
func (m *Model) declareLate() {
	for _, d := range m.order {
		if d.window == nil || slices.Contains([]string{"", "drop", "dead_letter"}, d.window.latePolicy) {
			continue
		}
		m.add(&definition{name: d.window.latePolicy, kind: "stream", onError: d.onError, from: d.from, lateOf: d})
	}
}

// partTops makes two definitions of a table with group_by and top: the groups, and
// their first rows.
func (m *Model) partTops() {
	for _, d := range m.order {
		if d.top == nil || len(d.groups) == 0 {
			continue
		}
		groups, top := *d, *d.top
		groups.top, d.top = nil, &top
		if id, ok := nodeOf(top.per).(*ast.IdentifierNode); ok && top.grouped { // a component of the key under its name
			d.top.grouped = !slices.ContainsFunc(d.groups, func(g group) bool { return g.name == id.Value })
		}
		m.defs[d.name+".groups"] = &groups
		m.order = append(m.order, &groups)
		d.from, d.joins, d.groups, d.where, d.having, d.window, d.ttl = []input{{name: d.name + ".groups"}}, nil, nil, nil, nil, nil, 0
		d.columns, d.unnest, d.dedup = []column{{spread: "*"}}, nil, nil
	}
}

func nodeOf(x *expression) ast.Node {
	if x == nil {
		return nil
	}
	return x.node
}

// connect finds what definitions read, and puts those first on which others depend.
func (m *Model) connect() {
	var sorted []*definition
	var visit func(d *definition)
	visit = func(d *definition) {
		if slices.Contains(sorted, d) {
			return
		}
		for _, in := range d.from {
			d.inputs = append(d.inputs, m.find(in.name))
			visit(m.find(in.name))
		}
		for _, j := range d.joins {
			j.table = m.find(j.input.name)
			visit(j.table)
		}
		if d.match != nil {
			d.match.table = m.find(d.match.queries.name)
			d.match.table.queries = d.match
			visit(d.match.table)
		}
		if d.lateOf != nil {
			visit(d.lateOf)
		}
		d.rank = len(sorted)
		sorted = append(sorted, d)
	}
	for _, d := range m.order {
		visit(d)
	}
	m.order = sorted
	for _, d := range sorted {
		for i, of := range d.inputs {
			if d.lateOf != nil {
				continue // its table gives it what it gets
			}
			of.readers = append(of.readers, reader{d, i})
		}
		for i, j := range d.joins {
			if j.bounds != nil {
				j.table.readers = append(j.table.readers, reader{d, -1 - i})
			}
		}
		if !d.joinsTables() {
			continue
		}
		d.whereLate = true // of an outer join it is to see the rows of all sides
		for _, j := range d.joins {
			if !slices.ContainsFunc(j.table.readers, func(r reader) bool { return r.def == d }) {
				j.table.readers = append(j.table.readers, reader{d, 0})
			}
		}
	}
}

func (m *Model) find(name string) *definition {
	d := m.defs[name]
	if d == nil {
		fail("%q is not defined", name)
	}
	return d
}

// duration reads 1d2h3m4s5ms as milliseconds.
func duration(text string) int64 {
	days, rest, found := strings.Cut(text, "d")
	total := int64(0)
	if found {
		d, err := time.ParseDuration(days + "h")
		if err != nil {
			fail("duration %q: %w", text, err)
		}
		total, text = 24*d.Milliseconds(), rest
	}
	if text == "" {
		return total
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		fail("duration %q: %w", text, err)
	}
	return total + d.Milliseconds()
}
