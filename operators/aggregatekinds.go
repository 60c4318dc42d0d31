package operators

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/expr"
)

// AggregateDoc describes one aggregate to people: the reference is made of it.
type AggregateDoc struct {
	Name  string
	Forms []string // how it is written
	Type  string   // of the result
	Empty string   // the result where all is null, or nothing is left
	Text  string
	// Table says what holds over a table's changes; Refused, when set, why it is
	// not possible there, and Instead what to write.
	Table, Refused, Instead string
}

// defaultLimit is how much collect_list, collect_set and histogram collect.
const defaultLimit = 1000

// maxLimit bounds what may be asked for.
const maxLimit = 100_000

// aggregateKinds are the aggregates by AggregateKind. It is not changed.
var aggregateKinds = [...]AggregateDoc{
	Count: {Name: "count", Forms: []string{"count()", "count(x)"}, Type: "int", Empty: "0",
		Text:  "How many records the group has; with `x`, those where it is not null.",
		Table: "rows"},
	Sum: {Name: "sum", Forms: []string{"sum(x)"}, Type: "int of ints, else float", Empty: "null",
		Text:  "The sum of numbers. Ints have 64 bits, overflow is an error. Floats are added without rounding and rounded once, so that their order does not matter.",
		Table: "exact: what goes leaves nothing behind"},
	Avg: {Name: "avg", Forms: []string{"avg(x)"}, Type: "float", Empty: "null",
		Text:  "The exact sum divided by the count.",
		Table: "exact"},
	Min: {Name: "min", Forms: []string{"min(x)"}, Type: "that of x", Empty: "null",
		Text:  "The least number or string; the two cannot be compared with each other.",
		Table: "keeps all values of the group"},
	Max: {Name: "max", Forms: []string{"max(x)"}, Type: "that of x", Empty: "null",
		Text:  "The greatest number or string.",
		Table: "keeps all values of the group"},
	First: {Name: "first", Forms: []string{"first(x)"}, Type: "that of x", Empty: "null",
		Text:    "The value of the record with the least event time; of equal times, of the one that came first.",
		Refused: "which row was the first is not known any more when that row goes",
		Instead: "use min(x), or top_k(x, 1, y) for the x with the greatest y"},
	Last: {Name: "last", Forms: []string{"last(x)"}, Type: "that of x", Empty: "null",
		Text:    "The value of the record with the greatest event time; of equal times, of the one that came last.",
		Refused: "which row was the last is not known any more when that row goes",
		Instead: "use max(x), or top_k(x, 1, y) for the x with the greatest y"},
	CountDistinct: {Name: "count_distinct", Forms: []string{"count_distinct(x)", `count_distinct(x, "approx")`}, Type: "int", Empty: "0",
		Text: "How many different values. It keeps them all, up to 1 MiB of text per group; more is an error. " +
			`With "approx", up to 1024 are counted exactly and more by HyperLogLog, with a standard error of 0.8 % in 16 KiB.`,
		Table: `exact only`},
	CollectList: {Name: "collect_list", Forms: []string{"collect_list(x)", "collect_list(x, limit)"}, Type: "list", Empty: "an empty list",
		Text:    "The values in the order in which they came. More than `limit` (default 1000) is an error of the record, as is more than 1 MiB.",
		Refused: "rows of a table have no order in which they came",
		Instead: "use collect_set(x), which is ordered by value"},
	CollectSet: {Name: "collect_set", Forms: []string{"collect_set(x)", "collect_set(x, limit)"}, Type: "list", Empty: "an empty list",
		Text:  "The different values, ascending: numbers before strings before lists and objects. More than `limit` (default 1000) is an error of the record, as is more than 1 MiB.",
		Table: "counts how often each is there"},
	TopK: {Name: "top_k", Forms: []string{"top_k(x, k)", "top_k(x, k, y)"}, Type: "list", Empty: "an empty list",
		Text:  "The k greatest x, from the greatest down; with `y`, the x with the k greatest y. Equal ones are listed as often as they are there.",
		Table: "keeps all values of the group"},
	Histogram: {Name: "histogram", Forms: []string{"histogram(x)", "histogram(x, [b1, b2, ...])"}, Type: "object, or list of int", Empty: "{}, or zeros",
		Text: "How often each value is there, as an object of texts and counts; more than 1000 different ones is an error of the record. " +
			"With bounds, a list: how many numbers lie below b1, from b1 to below b2, ..., from the last bound on.",
		Table: "exact"},
	Stddev: {Name: "stddev", Forms: []string{"stddev(x)"}, Type: "float", Empty: "null, as for one number",
		Text:  "The standard deviation of a sample (n - 1), from exact sums of the numbers and of their squares.",
		Table: "exact"},
	Percentile: {Name: "percentile", Forms: []string{"percentile(x, fraction)"}, Type: "float", Empty: "null",
		Text:    "The number below which that fraction (0 to 1) of the numbers lies. Up to 100 numbers it is exact, between two of them in a straight line; of more it is estimated by a t-digest of compression 100.",
		Refused: "a t-digest cannot forget a number",
		Instead: "use histogram(x, [bounds]), or aggregate the stream that the table comes from"},
}

// AggregateDocs lists the aggregates in the order of the reference.
func AggregateDocs() []AggregateDoc { return slices.Clone(aggregateKinds[:]) }

// AggregateFault is why a call of an aggregate is refused.
type AggregateFault struct{ Text, Help string }

// NewAggregation makes the aggregation that a call asks for, and says of what
// type its result is. undo says that the input is a table's changes.
func NewAggregation(name string, args []*expr.Program, undo bool) (Aggregation, expr.Type, *AggregateFault) {
	a := Aggregation{Args: args, Undo: undo}
	kind := slices.IndexFunc(aggregateKinds[:], func(d AggregateDoc) bool { return d.Name == name })
	if kind < 0 {
		return a, expr.Type{}, &AggregateFault{Text: fmt.Sprintf("there is no aggregate %s", name)}
	}
	a.Kind = AggregateKind(kind)
	fault := a.options()
	if fault == nil {
		fault = a.overTable()
	}
	if fault != nil {
		return a, expr.Type{}, fault
	}
	typ, fault := a.typed()
	return a, typ, fault
}

// overTable refuses what a table's changes cannot be aggregated by.
func (a *Aggregation) overTable() *AggregateFault {
	if !a.Undo {
		return nil
	}
	if doc := aggregateKinds[a.Kind]; doc.Refused != "" {
		return &AggregateFault{Text: fmt.Sprintf("%s over a table's changes is not possible: %s", doc.Name, doc.Refused), Help: doc.Instead}
	}
	if a.Approx {
		return &AggregateFault{
			Text: "count_distinct by approximation is not possible over a table's changes: HyperLogLog cannot forget a value",
			Help: "use count_distinct(x), which is exact",
		}
	}
	for _, p := range a.Args {
		if !p.Pure() {
			return &AggregateFault{
				Text: fmt.Sprintf("%s depends on the clock: when the row changes, it could not be taken back", p.Text()),
				Help: "let a source write the time into its records, and use that",
			}
		}
	}
	return nil
}

// options takes the arguments that say how to aggregate off those that say what.
func (a *Aggregation) options() *AggregateFault {
	doc := &aggregateKinds[a.Kind]
	least, most := 1, 1
	switch a.Kind {
	case Count:
		least = 0
	case CountDistinct, CollectList, CollectSet, Histogram:
		most = 2
	case Percentile:
		least, most = 2, 2
	case TopK:
		least, most = 2, 3
	}
	if n := len(a.Args); n < least || n > most {
		return &AggregateFault{
			Text: fmt.Sprintf("%s does not take %s", doc.Name, pluralOf(n, "argument")),
			Help: "write " + strings.Join(doc.Forms, " or "),
		}
	}
	var option *expr.Program
	if len(a.Args) > 1 {
		option = a.Args[1]
		a.Args = append(slices.Clone(a.Args[:1]), a.Args[2:]...)
	}
	switch a.Kind {
	case CountDistinct:
		return a.approx(option)
	case CollectList, CollectSet, TopK:
		return a.limit(option)
	case Histogram:
		return a.bounds(option)
	case Percentile:
		return a.fraction(option)
	}
	return nil
}

func pluralOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (a *Aggregation) approx(option *expr.Program) *AggregateFault {
	if option == nil {
		return nil
	}
	if v, ok := option.Const(); !ok || v.Text != "approx" {
		return &AggregateFault{Text: fmt.Sprintf("count_distinct does not know %s", option.Text()),
			Help: `write count_distinct(x), or count_distinct(x, "approx")`}
	}
	a.Approx = true
	return nil
}

func (a *Aggregation) limit(option *expr.Program) *AggregateFault {
	if a.Limit = defaultLimit; option == nil {
		return nil
	}
	v, ok := option.Const()
	n, whole := v.ToInt()
	if !ok || !whole || n < 1 || n > maxLimit {
		return &AggregateFault{Text: fmt.Sprintf("how many %s gives is a whole number from 1 to %d, not %s", a.Kind, maxLimit, option.Text()),
			Help: "write " + strings.Join(aggregateKinds[a.Kind].Forms, " or ")}
	}
	a.Limit = int(n)
	return nil
}

func (a *Aggregation) bounds(option *expr.Program) *AggregateFault {
	if option == nil {
		a.Limit = defaultLimit
		return nil
	}
	fault := &AggregateFault{Text: fmt.Sprintf("the bounds of a histogram are a list of ascending numbers, not %s", option.Text()),
		Help: "write histogram(x, [10, 20, 50])"}
	list, ok := option.Const()
	if list = list.Expand(); !ok || !list.IsList() || len(list.Tree.Items) == 0 || len(list.Tree.Items) > maxBounds {
		return fault
	}
	for _, item := range list.Tree.Items {
		f, ok := item.ToFloat()
		if n := len(a.Bounds); !ok || n > 0 && a.Bounds[n-1] >= f {
			return fault
		}
		a.Bounds = append(a.Bounds, f)
	}
	return nil
}

// maxBounds is how many bounds a histogram may have.
const maxBounds = 1000

func (a *Aggregation) fraction(option *expr.Program) *AggregateFault {
	v, ok := option.Const()
	f, number := v.ToFloat()
	if !ok || !number || f < 0 || f > 1 {
		return &AggregateFault{Text: fmt.Sprintf("the fraction of a percentile is a number from 0 to 1, not %s", option.Text()),
			Help: "write percentile(x, 0.95)"}
	}
	a.Fraction, a.digests = f, newDigests()
	return nil
}

// typed checks the types of the arguments and gives that of the result.
func (a *Aggregation) typed() (expr.Type, *AggregateFault) {
	if a.Kind == Count {
		return expr.Type{Kind: expr.Int}, nil
	}
	t := a.Args[0].Type()
	is := func(t expr.Type, kinds ...expr.TypeKind) bool {
		return t.Kind == expr.Any || t.Kind == expr.Null || slices.Contains(kinds, t.Kind)
	}
	needs := func(what string, t expr.Type) (expr.Type, *AggregateFault) {
		return expr.Type{}, &AggregateFault{Text: fmt.Sprintf("%s needs %s, not %s", a.Kind, what, t)}
	}
	switch a.Kind {
	case Sum, Avg, Stddev, Percentile:
		if !is(t, expr.Int, expr.Float) {
			return needs("numbers", t)
		}
	case Min, Max, TopK:
		if by := a.Args[len(a.Args)-1].Type(); !is(by, expr.Int, expr.Float, expr.String) {
			return needs("numbers or strings", by)
		}
	case Histogram:
		if a.Bounds != nil && !is(t, expr.Int, expr.Float) {
			return needs("numbers", t)
		}
	}
	a.exact = t.Kind != expr.Int
	return a.resultType(t), nil
}

// resultType is the type of the aggregate of values of type t.
func (a *Aggregation) resultType(t expr.Type) expr.Type {
	switch a.Kind {
	case CountDistinct:
		return expr.Type{Kind: expr.Int}
	case Avg, Stddev, Percentile:
		return expr.Type{Kind: expr.Float}
	case CollectList, CollectSet, TopK:
		if t.Kind == expr.Any {
			return expr.Type{Kind: expr.List}
		}
		return expr.Type{Kind: expr.List, Elem: &t}
	case Histogram:
		if a.Bounds == nil {
			return expr.Type{Kind: expr.Object, Open: true}
		}
		return expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.Int}}
	case Sum, Min, Max:
		return expr.Type{Kind: t.Kind}
	}
	return t
}
