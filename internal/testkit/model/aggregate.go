package model

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// groupState is a group: all rows that are in it, in the order they came.
type groupState struct {
	key     any
	parts   []any // components of the key
	members []member
	time    int64 // the greatest of all that had to do with it
	at      place
	window  object // start and end, of a windowed table
}

// member is a row in a group.
type member struct {
	of   string // of a table: the row's key
	env  env
	time int64
}

func isAggregate(name string) bool {
	return slices.Contains([]string{"count", "count_rows", "sum", "avg", "min", "max", "first", "last",
		"count_distinct", "collect_list", "collect_set", "top_k", "histogram", "percentile", "stddev"}, name)
}

// isFunction says that with several arguments it is a function of one record.
func isFunction(name string) bool {
	return slices.Contains([]string{"count", "sum", "min", "max"}, name)
}

// aggregate brings a row into its group and takes the one it replaces out.
func (m *Model) aggregate(d *definition, f flow) {
	if f.null {
		m.drop(d, "null-value")
		return
	}
	var from, to []any
	null, wasNull := true, true
	var err error
	if f.before != nil {
		from, wasNull, err = d.groupOf(f.before)
	}
	if err == nil && f.now != nil {
		if to, null, err = d.groupOf(f.now); null && err == nil {
			m.drop(d, "null-key")
		}
	}
	if err != nil {
		m.refuse(d, f.change, "expression", err)
		return
	}
	id := canon(f.key)
	leave := func(g *groupState) {
		g.members = slices.DeleteFunc(g.members, func(o member) bool { return o.of == id })
	}
	join := func(g *groupState) {
		if f.isChange {
			leave(g)
		}
		g.members = append(g.members, member{of: id, env: f.now, time: f.time})
	}
	if !wasNull && (null || canon(from) != canon(to)) {
		m.toGroup(d, f, from, leave)
	}
	if !null {
		m.toGroup(d, f, to, join)
	}
}

// toGroup has a group changed where it is kept.
func (m *Model) toGroup(d *definition, f flow, parts []any, alter func(*groupState)) {
	m.hop(Hop(d.name, ""), f.change, joined(parts), func(c change) {
		f.change = c
		if d.window != nil {
			m.toWindows(d, parts, f)
			return
		}
		m.regroup(d, parts, f, alter)
	})
}

// groupOf evaluates group_by.
func (d *definition) groupOf(e env) (parts []any, null bool, err error) {
	for _, g := range d.groups {
		v, err := (&scope{env: e}).plain(g.expr.node)
		if err != nil {
			return nil, false, err
		}
		parts = append(parts, v)
		null = null || v == nil
	}
	return parts, null, nil
}

// regroup changes the members of a group and computes its row anew.
func (m *Model) regroup(d *definition, parts []any, f flow, alter func(*groupState)) {
	t := m.tables[d]
	id := canon(parts)
	old := t.groups[id]
	g := &groupState{key: joined(parts), parts: parts, time: f.time, at: f.at}
	if old != nil {
		g.members, g.time = slices.Clone(old.members), max(old.time, f.time)
	}
	alter(g)
	row, err := d.rowOf(g)
	if err != nil {
		m.refuse(d, f.change, "expression", err)
		return
	}
	t.groups[id] = g
	if len(g.members) == 0 && row == nil {
		delete(t.groups, id) // nobody is in it and having leaves it out: it is forgotten
	}
	if d.ttl > 0 && g.time+d.ttl <= m.timeAt(d, f.at) {
		m.drop(d, "expired")
		row = nil
		delete(t.groups, id)
	}
	m.set(d, f, g.key, row, g.time)
}

// rowOf computes the row of a group from all its members; nil = having leaves it out.
func (d *definition) rowOf(g *groupState) (any, error) {
	s := &scope{named: map[string]any{}, texts: map[string]any{}, aggregate: g.compute}
	for i, part := range d.groups {
		s.texts[strings.ReplaceAll(part.expr.node.String(), " ", "")] = g.parts[i]
		if part.name != "" {
			s.named[part.name] = g.parts[i]
		}
	}
	if g.window != nil {
		s.named["window"] = g.window
	}
	out := object{}
	for _, c := range d.columns {
		if c.expr == nil {
			for name, v := range s.named {
				if name == "window" {
					continue
				}
				out[name] = v
			}
			continue
		}
		v, err := s.plain(c.expr.node)
		if err != nil {
			return nil, err
		}
		out[c.name] = v
	}
	if d.having != nil {
		holds, err := d.having.holds(env{"": {value: out, key: g.key}})
		if err != nil || !holds {
			return nil, err
		}
	}
	return out, nil
}

// compute is one aggregate over the members.
func (g *groupState) compute(name string, args []ast.Node) (any, error) {
	if len(args) == 0 {
		return int64(len(g.members)), nil
	}
	var values []sample
	for _, row := range g.members {
		s := sample{time: row.time}
		var err error
		if s.value, err = (&scope{env: row.env}).plain(args[0]); err != nil {
			return nil, err
		}
		if s.by = s.value; name == "top_k" && len(args) == 3 {
			if s.by, err = (&scope{env: row.env}).plain(args[2]); err != nil {
				return nil, err
			}
		}
		if s.value != nil && s.by != nil {
			values = append(values, s)
		}
	}
	var option any
	if len(args) > 1 {
		var err error
		if option, err = (&scope{}).plain(args[1]); err != nil {
			return nil, err
		}
	}
	return summary(name, values, option)
}

// sample is what an aggregate sees of a member: never null.
type sample struct {
	value, by any
	time      int64
}

// summary is an aggregate of values in the order in which they came.
func summary(name string, values []sample, option any) (any, error) {
	var plain []any
	different := map[string]any{}
	for _, s := range values {
		plain = append(plain, s.value)
		different[canon(s.value)] = s.value
	}
	switch name {
	case "count":
		return int64(len(values)), nil
	case "count_distinct":
		return int64(len(different)), nil
	case "collect_list":
		return limited(append([]any{}, plain...), option)
	case "collect_set":
		set := slices.SortedFunc(maps.Values(different), compareValues)
		return limited(append([]any{}, set...), option)
	case "histogram":
		return histogram(plain, option), nil
	case "top_k":
		slices.SortStableFunc(values, func(a, b sample) int {
			if sign := compareValues(b.by, a.by); sign != 0 {
				return sign
			}
			return compareValues(b.value, a.value)
		})
		out := []any{}
		for _, s := range values[:min(len(values), int(option.(int64)))] {
			out = append(out, s.value)
		}
		return out, nil
	}
	if len(values) == 0 {
		return nil, nil
	}
	switch name {
	case "sum", "avg":
		return total(name, plain)
	case "min", "max":
		return extreme(name, plain)
	case "first":
		return slices.MinFunc(values, func(a, b sample) int { return cmp.Compare(a.time, b.time) }).value, nil
	case "last":
		slices.Reverse(values)
		return slices.MaxFunc(values, func(a, b sample) int { return cmp.Compare(a.time, b.time) }).value, nil
	case "stddev":
		return deviation(plain), nil
	case "percentile":
		return percentile(plain, option), nil
	}
	return nil, fmt.Errorf("the model does not know %s", name)
}

func limited(list []any, limit any) (any, error) {
	if n, ok := limit.(int64); ok && len(list) > int(n) {
		return nil, fmt.Errorf("more than %d values", n)
	}
	return list, nil
}

func histogram(values []any, bounds any) any {
	list, ok := bounds.([]any)
	if !ok {
		out := object{}
		for _, v := range values {
			n, _ := out[keyText(v)].(int64)
			out[keyText(v)] = n + 1
		}
		return out
	}
	counts := make([]any, len(list)+1)
	for i := range counts {
		n := int64(0)
		for _, v := range values {
			above := i == 0 || compareValues(v, list[i-1]) >= 0
			if below := i == len(list) || compareValues(v, list[i]) < 0; above && below {
				n++
			}
		}
		counts[i] = n
	}
	return counts
}

// percentile is that of few numbers: between two of them in a straight line.
func percentile(values []any, fraction any) any {
	var list []float64
	for _, v := range values {
		f, _ := number(v)
		list = append(list, f)
	}
	slices.Sort(list)
	f, _ := number(fraction)
	at := f * float64(len(list)-1)
	low := int(at)
	high := min(low+1, len(list)-1)
	return list[low] + (list[high]-list[low])*(at-float64(low))
}

// deviation is the standard deviation of a sample: the root of the sum of the squares
// of what lies between the numbers and their mean, divided by one less than there are.
func deviation(values []any) any {
	if len(values) < 2 {
		return nil
	}
	mean, n := new(big.Rat), big.NewRat(int64(len(values)), 1)
	var list []*big.Rat
	for _, v := range values {
		f, _ := number(v)
		list = append(list, new(big.Rat).SetFloat64(f))
		mean.Add(mean, list[len(list)-1])
	}
	mean.Quo(mean, n)
	sum := new(big.Rat)
	for _, r := range list {
		off := new(big.Rat).Sub(r, mean)
		sum.Add(sum, off.Mul(off, off))
	}
	sum.Quo(sum, n.Sub(n, big.NewRat(1, 1)))
	root := new(big.Float).SetPrec(200).SetRat(sum)
	f, _ := root.Sqrt(root).Float64()
	return f
}

func total(name string, values []any) (any, error) {
	sum := values[0]
	if _, ok := number(sum); !ok {
		return nil, fmt.Errorf("%s of %s", name, canon(sum))
	}
	for _, v := range values[1:] {
		var err error
		if sum, err = arithmetic("+", sum, v); err != nil {
			return nil, err
		}
	}
	if name == "avg" {
		return arithmetic("/", sum, int64(len(values)))
	}
	return sum, nil
}
