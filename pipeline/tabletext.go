package pipeline

import "strings"

// tableJoin writes what a change of one of the joined tables finds.
func (w *textWriter) tableJoin(s *Step, depth int) {
	d := s.Def
	changed := d.From[0]
	if s.Join >= 0 {
		changed = d.Joins[s.Join].ResolvedInput
	}
	w.linef(depth, "%s %s: a change of %s joins tables by their key", d.Kind, d.Name, strings.TrimSpace(changed.Def.Name+" "+changed.Alias))
	w.onError(depth+1, d)
	w.linef(depth+1, "from %s %s", d.From[0].Def.Name, d.From[0].Alias)
	for _, j := range d.Joins[:w.plan.typed.defs[d].keyed] {
		w.linef(depth+1, "%s join %s %s on %s", j.kind(), j.Def.Name, j.Alias, oneLine(j.Join.On.Value))
	}
}
