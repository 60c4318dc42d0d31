package operators_test

import (
	"testing"

	"streamctl/state"
)

const perTeam = `
pipeline: p
tables:
  players: {topic: players}
  teams:
    from: players p
    group_by: {team: p.team}
    select:
      - team: team
      - n: count()
      - named: count(p.name)
      - points: sum(p.points)
      - mean: avg(p.points)
      - least: min(p.points)
      - most: max(p.points)
      - names: collect_set(p.name)
      - different: count_distinct(p.name)
      - best: top_k(p.name, 2, p.points)
      - bands: histogram(p.points, [10])
      - spread: stddev(p.points)
    on_error: skip
sinks:
  out: {from: teams, topic: out}
`

// A change takes the old row out of its group and puts the new one into its own.
func TestGroupsOfATable(t *testing.T) {
	r := newRig(t, perTeam, map[string]int{"players": 2, "out": 2})
	step := func(key, value string) {
		r.produce("players", key, value, 1)
		r.mustRun()
		r.reopen()
	}
	step("1", `{"team":"red","name":"ann","points":0.1}`)
	step("2", `{"team":"red","name":"bob","points":0.2}`)
	step("1", `{"team":"red","name":"ann","points":30}`)
	step("2", `{"team":"blue","name":"bob","points":0.2}`)
	step("1", `-`)
	step("2", `{"team":"blue"}`)
	step("2", `{"team":null}`)
	step("2", `{"team":"blue","points":"many"}`)
	step("2", `{"team":"blue","points":5}`)
	expect(t, "outputs", r.values("out"),
		`blue {"team":"blue","n":1,"named":1,"points":0.2,"mean":0.2,"least":0.2,"most":0.2,"names":["bob"],"different":1,"best":["bob"],"bands":[1,0],"spread":null}`,
		`blue {"team":"blue","n":1,"named":0,"points":null,"mean":null,"least":null,"most":null,"names":[],"different":0,"best":[],"bands":[0,0],"spread":null}`,
		`blue {"team":"blue","n":0,"named":0,"points":null,"mean":null,"least":null,"most":null,"names":[],"different":0,"best":[],"bands":[0,0],"spread":null}`,
		`blue {"team":"blue","n":1,"named":0,"points":5,"mean":5,"least":5,"most":5,"names":[],"different":0,"best":[],"bands":[1,0],"spread":null}`,
		`red {"team":"red","n":1,"named":1,"points":0.1,"mean":0.1,"least":0.1,"most":0.1,"names":["ann"],"different":1,"best":["ann"],"bands":[1,0],"spread":null}`,
		`red {"team":"red","n":2,"named":2,"points":0.30000000000000004,"mean":0.15000000000000002,"least":0.1,"most":0.2,"names":["ann","bob"],"different":2,"best":["bob","ann"],"bands":[2,0],"spread":0.07071067811865477}`,
		`red {"team":"red","n":2,"named":2,"points":30.2,"mean":15.1,"least":0.2,"most":30,"names":["ann","bob"],"different":2,"best":["ann","bob"],"bands":[1,1],"spread":21.071782079359117}`,
		`red {"team":"red","n":1,"named":1,"points":30,"mean":30,"least":30,"most":30,"names":["ann"],"different":1,"best":["ann"],"bands":[0,1],"spread":null}`,
		`red {"team":"red","n":0,"named":0,"points":null,"mean":null,"least":null,"most":null,"names":[],"different":0,"best":[],"bands":[0,0],"spread":null}`)
	expect(t, "drops", r.drops(), "teams expression 1", "teams null-key 1")
}

// Changes that come through a filter and a computed column have the rows as they
// were: what leaves the filter leaves its group.
func TestGroupsOfFilteredChanges(t *testing.T) {
	r := everyRestart(t, `
pipeline: p
tables:
  players: {topic: players, fields: {team: string, points: int}}
  teams:
    from: scored s
    group_by: {team: s.side, high: s.twice > 10}
    select: [{n: count()}, {points: sum(s.twice)}]
streams:
  scored:
    from: players p
    where: p.points > 0
    select: [{side: upper(p.team)}, {twice: 2 * p.points}]
sinks:
  out: {from: teams, topic: out}
`, map[string]int{"players": 2, "out": 1}, []input{
		{"players", "1", `{"team":"red","points":1}`, 1},
		{"players", "2", `{"team":"red","points":2}`, 2},
		{"players", "1", `{"team":"red","points":0}`, 3},
		{"players", "2", `{"team":"red","points":20}`, 4},
		{"players", "1", `{"team":"Red","points":3}`, 5},
		{"players", "2", `-`, 6},
		{"players", "2", `-`, 7},
	}, "out")
	expect(t, "outputs", r.show("out"),
		`0 ["RED",false] {"n":1,"points":2} @1`,
		`0 ["RED",false] {"n":2,"points":6} @2`,
		`0 ["RED",false] {"n":1,"points":4} @3`,
		`0 ["RED",false] {"n":0,"points":null} @4`,
		`0 ["RED",true] {"n":1,"points":40} @4`,
		`0 ["RED",false] {"n":1,"points":6} @5`,
		`0 ["RED",true] {"n":0,"points":null} @6`)
}

// A table of groups can be grouped again.
func TestGroupsOfGroups(t *testing.T) {
	r := everyRestart(t, `
pipeline: p
sources:
  views: {topic: views, fields: {page: string, site: string}}
tables:
  pages:
    from: views v
    group_by: {site: v.site, page: v.page}
    select: [{site: site}, {n: count()}]
  sites:
    from: pages p
    group_by: p.site
    select: [{pages: count()}, {views: sum(p.n)}, {most: max(p.n)}]
sinks:
  out: {from: sites, topic: out}
`, map[string]int{"views": 1, "out": 1}, []input{
		{"views", "1", `{"site":"s","page":"a"}`, 1},
		{"views", "1", `{"site":"s","page":"b"}`, 2},
		{"views", "1", `{"site":"s","page":"a"}`, 3},
		{"views", "1", `{"site":"t","page":"a"}`, 4},
		{"views", "1", `{"site":"s","page":"a"}`, 3},
	}, "out")
	expect(t, "outputs", r.show("out"),
		`0 s {"pages":1,"views":1,"most":1} @1`,
		`0 s {"pages":2,"views":2,"most":1} @2`,
		`0 s {"pages":2,"views":3,"most":2} @3`,
		`0 t {"pages":1,"views":1,"most":1} @4`,
		`0 s {"pages":2,"views":4,"most":3} @3`)
}

const popular = `
pipeline: p
sources:
  views: {topic: views, fields: {page: string, delta: int}}
tables:
  pages:
    from: views v
    group_by: {page: v.page}
    select:
      - page: page
      - n: sum(v.delta)
      - seen: count()
    having: n > 2 && page != "admin" && count() < 100
sinks:
  out: {from: pages, topic: out}
`

// A row that never qualified says nothing; one that stops to is taken back.
func TestHaving(t *testing.T) {
	r := everyRestart(t, popular, map[string]int{"views": 1, "out": 1}, []input{
		{"views", "1", `{"page":"a","delta":1}`, 1},
		{"views", "1", `{"page":"a","delta":2}`, 2},
		{"views", "1", `{"page":"a","delta":1}`, 3},
		{"views", "1", `{"page":"a","delta":-3}`, 4},
		{"views", "1", `{"page":"a","delta":-3}`, 5},
		{"views", "1", `{"page":"a","delta":9}`, 6},
		{"views", "1", `{"page":"admin","delta":9}`, 7},
		{"views", "1", `{"page":"b","delta":null}`, 8},
	}, "out")
	expect(t, "outputs", r.show("out"),
		`0 a {"page":"a","n":3,"seen":2} @2`,
		`0 a {"page":"a","n":4,"seen":3} @3`,
		`0 a - @4`,
		`0 a {"page":"a","n":7,"seen":6} @6`)
}

// Who looks rows up does not see those that having refuses.
func TestHavingHidesRowsFromJoins(t *testing.T) {
	run := func(kind string) *rig {
		r := newRig(t, replaced(popular, "sources:\n", "sources:\n  questions: {topic: questions, fields: {page: string}}\n")+`
  joined: {from: asked, topic: joined}
streams:
  asked:
    from: questions q
    join: [{`+kind+`: pages p, on: q.page == p.key}]
    select: [{page: q.page}, {n: p.n}]
`, map[string]int{"views": 1, "out": 1, "joined": 1, "questions": 1})
		for i, delta := range []string{"1", "4", "-4"} {
			r.produce("views", "1", `{"page":"a","delta":`+delta+`}`, int64(i))
			r.mustRun()
			r.produce("questions", "1", `{"page":"a"}`, int64(i))
			r.mustRun()
			r.reopen()
		}
		return r
	}
	r := run("left")
	expect(t, "left join", r.values("joined"), `1 {"page":"a","n":null}`, `1 {"page":"a","n":5}`, `1 {"page":"a","n":null}`)
	r = run("inner")
	expect(t, "inner join", r.values("joined"), `1 {"page":"a","n":5}`)
	expect(t, "drops", r.drops(), "asked no-match 2")
}

// A group over a table that nobody is to see and that no row belongs to is forgotten.
func TestGroupsWithoutRows(t *testing.T) {
	src := `
pipeline: p
tables:
  players: {topic: players}
  teams:
    from: players p
    group_by: p.team
    select: [{points: sum(p.points)}]
HAVING
sinks:
  out: {from: teams, topic: out}
`
	script := []input{
		{"players", "1", `{"team":"red","points":1}`, 1},
		{"players", "2", `{"team":"red","points":2}`, 2},
		{"players", "1", `-`, 3},
		{"players", "2", `{"team":"blue","points":2}`, 4},
		{"players", "2", `-`, 5},
	}
	parts := map[string]int{"players": 1, "out": 1}
	r := everyRestart(t, replaced(src, "HAVING", "    having: points > 0"), parts, script, "out")
	expect(t, "outputs", r.show("out"),
		`0 red {"points":1} @1`, `0 red {"points":3} @2`, `0 red {"points":2} @3`,
		`0 red - @4`, `0 blue {"points":2} @4`, `0 blue - @5`)
	if rows := groupsOf(t, r, "teams"); rows != 0 {
		t.Errorf("%d groups are remembered", rows)
	}
	r = everyRestart(t, replaced(src, "HAVING", ""), parts, script, "out")
	expect(t, "outputs", r.show("out"),
		`0 red {"points":1} @1`, `0 red {"points":3} @2`, `0 red {"points":2} @3`,
		`0 red {"points":null} @4`, `0 blue {"points":2} @4`, `0 blue {"points":null} @5`)
	if rows := groupsOf(t, r, "teams"); rows != 2 {
		t.Errorf("%d groups are there", rows)
	}
}

// A sum that has no right value any more takes its row away, and gives it back.
func TestGroupWhoseSumOverflows(t *testing.T) {
	r := everyRestart(t, `
pipeline: p
tables:
  accounts: {topic: accounts, fields: {owner: string, balance: int}}
  owners:
    from: accounts a
    group_by: a.owner
    select: [{balance: sum(a.balance)}]
    on_error: skip
sinks:
  out: {from: owners, topic: out}
`, map[string]int{"accounts": 1, "out": 1}, []input{
		{"accounts", "1", `{"owner":"x","balance":9223372036854775807}`, 1},
		{"accounts", "2", `{"owner":"x","balance":1}`, 2},
		{"accounts", "3", `{"owner":"x","balance":1}`, 3},
		{"accounts", "1", `{"owner":"x","balance":5}`, 4},
	}, "out")
	expect(t, "outputs", r.show("out"),
		`0 x {"balance":9223372036854775807} @1`,
		`0 x - @2`,
		`0 x {"balance":7} @4`)
	expect(t, "drops", r.drops(), "owners expression 2")
}

// groupsOf counts the rows of a table in all tasks.
func groupsOf(t *testing.T, r *rig, table string) int {
	t.Helper()
	n := 0
	for _, task := range r.tasks {
		if table := task.tc.Tables[table]; table != nil {
			if err := table.Scan(nil, nil, func([]byte, *state.Row) (bool, error) { n++; return true, nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}
