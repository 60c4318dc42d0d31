package pipeline

// A definition with group_by and top is two tables: the groups, which have the
// name that the user wrote, and behind them the first of each. So a top that is added to
// a table of groups, or taken away, leaves these as they are.

// splitTop makes the table of the first rows out of a definition that groups
// and orders; nil when d does not do both. Who names the definition means it.
func (r *resolver) splitTop(d *Def) *Def {
	q := d.Query
	if q == nil || q.Top == nil || len(q.GroupBy) == 0 {
		return nil
	}
	groups := *q
	groups.Top = nil
	d.Query = &groups
	top := &Def{Kind: DerivedTableDef, Table: d.Table, Name: d.topName(), Decl: d.Decl, OnError: d.OnError, MaxAhead: d.MaxAhead, OnGap: d.OnGap}
	top.Query = &Query{Top: q.Top, OnError: q.OnError}
	top.From = []ResolvedInput{{Def: d, Span: d.Decl.Name.Span}}
	d.UsedBy = append(d.UsedBy, top)
	if r.byName[d.Name] == d { // else the name is another one's, which has been told
		r.byName[d.Name] = top
	}
	return top
}

// topName is the name of the table that splitTop makes.
func (d *Def) topName() string { return d.Name + ".top" }

// split says that d are the groups of a definition with a top.
func (d *Def) split() bool {
	return len(d.UsedBy) == 1 && d.UsedBy[0].Name == d.topName()
}
