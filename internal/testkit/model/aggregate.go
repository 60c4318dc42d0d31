package model

import (
	"fmt"
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
}

// member is a row in a group.
type member struct {
	of   string // of a table: the row's key
	env  env
	time int64
}

func isAggregate(name string) bool {
	return slices.Contains([]string{"count", "count_rows", "sum", "avg", "min", "max", "first", "last"}, name)
}

// aggregate brings a row into its group and takes the one it replaces out.
func (m *Model) aggregate(d *definition, f flow) {
	if f.null {
		m.drop(d, "null-value")
		return
	}
	if f.isChange {
		fail("%s: group_by over a table is not known to the model", d.name)
	}
	parts, null, err := d.groupOf(f.now)
	switch {
	case err != nil:
		m.refuse(d, "expression", err)
		return
	case null:
		m.drop(d, "null-key")
		return
	}
	m.hop(Hop(d.name, ""), f.at, joined(parts), f.time, func(at place) {
		m.regroup(d, at, parts, f.time, func(g *groupState) {
			g.members = append(g.members, member{env: f.now, time: f.time})
		})
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
func (m *Model) regroup(d *definition, at place, parts []any, time int64, alter func(*groupState)) {
	t := m.tables[d]
	id := canon(parts)
	old := t.groups[id]
	g := &groupState{key: joined(parts), parts: parts, time: time}
	if old != nil {
		g.members, g.time = slices.Clone(old.members), max(old.time, time)
	}
	alter(g)
	row, err := d.rowOf(g)
	if err != nil {
		m.refuse(d, "expression", err)
		return
	}
	t.groups[id] = g
	m.set(d, at, g.key, row, g.time)
}

// rowOf computes the row of a group from all its members.
func (d *definition) rowOf(g *groupState) (any, error) {
	s := &scope{named: map[string]any{}, texts: map[string]any{}, aggregate: g.compute}
	for i, part := range d.groups {
		s.texts[strings.ReplaceAll(part.expr.node.String(), " ", "")] = g.parts[i]
		if part.name != "" {
			s.named[part.name] = g.parts[i]
		}
	}
	out := object{}
	for _, c := range d.columns {
		if c.expr == nil {
			for name, v := range s.named {
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
	return out, nil
}

// compute is one aggregate over the members.
func (g *groupState) compute(name string, args []ast.Node) (any, error) {
	if len(args) == 0 {
		return int64(len(g.members)), nil
	}
	var values []any
	for _, row := range g.members {
		v, err := (&scope{env: row.env}).plain(args[0])
		if err != nil {
			return nil, err
		}
		if v != nil {
			values = append(values, v)
		}
	}
	if name == "count" {
		return int64(len(values)), nil
	}
	if len(values) == 0 {
		return nil, nil
	}
	switch name {
	case "sum", "avg":
		return total(name, values)
	case "min", "max":
		return extreme(name, values)
	case "first":
		return values[0], nil
	case "last":
		return values[len(values)-1], nil
	}
	return nil, fmt.Errorf("the model does not know %s", name)
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
