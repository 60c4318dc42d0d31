package model

import "streamctl/internal/syntax"

func readJoin(n *syntax.Node) *join {
	j := &join{}
	for _, kind := range []string{"inner", "left", "outer"} {
		if v := n.Get(kind); v != nil {
			j.kind, j.input = kind, inputOf(v.Value)
		}
	}
	within, before, after := textOf(n.Get("within")), textOf(n.Get("before")), textOf(n.Get("after"))
	if within+before+after != "" {
		j.bounds = &bounds{before: duration(within + before), after: duration(within + after), grace: duration(textOf(n.Get("grace")))}
	}
	if j.asOf = textOf(n.Get("as_of")) == "true"; j.asOf {
		j.wait = duration(textOf(n.Get("grace")))
	}
	for _, c := range equalities(mustParse(textOf(n.Get("on"))).node) {
		theirs, ours := &expression{node: c.Left}, &expression{node: c.Right}
		if !theirs.names()[j.input.alias] {
			theirs, ours = ours, theirs
		}
		j.on = append(j.on, condition{theirs, ours})
	}
	return j
}
