package operators_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// rowOfPlayer is a row of the table that is grouped.
type rowOfPlayer struct {
	Team   *string `json:"team"`
	Points *int    `json:"points"`
	Name   string  `json:"name"`
}

// After any changes, with restarts between them, each group is what its rows
// make, computed anew.
func TestRandomGroupsOfATable(t *testing.T) {
	for seed := range uint64(30) {
		r := newRig(t, `
pipeline: p
tables:
  players: {topic: players, fields: {team: string, points: int, name: string}}
  teams:
    from: players p
    where: p.name != "nobody"
    group_by: p.team
    select:
      - n: count()
      - points: sum(p.points)
      - least: min(p.points)
      - best: top_k(p.points, 2)
      - names: collect_set(p.name)
    having: n > 0
sinks:
  out: {from: teams, topic: out}
`, map[string]int{"players": 3, "out": 2})
		random := rand.New(rand.NewPCG(seed, 9))
		rows := map[string]rowOfPlayer{}
		for i := range 150 {
			key := fmt.Sprint(random.IntN(8))
			if random.IntN(6) == 0 {
				delete(rows, key)
				r.produce("players", key, "-", int64(i))
			} else {
				row := rowOfPlayer{Name: []string{"ann", "bob", "nobody"}[random.IntN(3)]}
				if team := []string{"red", "blue", "green"}[random.IntN(3)]; random.IntN(8) > 0 {
					row.Team = &team
				}
				if points := random.IntN(20) - 5; random.IntN(5) > 0 {
					row.Points = &points
				}
				rows[key] = row
				text, err := json.Marshal(row)
				if err != nil {
					t.Fatal(err)
				}
				r.produce("players", key, string(text), int64(i))
			}
			r.mustRun()
			if random.IntN(8) == 0 {
				r.reopen()
			}
		}
		got := map[string]string{}
		for _, log := range r.topics["out"] {
			for _, rec := range log {
				if got[string(rec.Key)] = string(rec.Value); rec.Value == nil {
					delete(got, string(rec.Key))
				}
			}
		}
		if want := teamsOf(rows); !maps.Equal(got, want) {
			t.Fatalf("seed %d:\n got  %v\n want %v", seed, got, want)
		}
		if groups := groupsOf(t, r, "teams"); groups != len(got) {
			t.Errorf("seed %d: %d groups are remembered, %d are there", seed, groups, len(got))
		}
	}
}

// teamsOf groups rows.
func teamsOf(rows map[string]rowOfPlayer) map[string]string {
	type team struct {
		N      int      `json:"n"`
		Points *int     `json:"points"`
		Least  *int     `json:"least"`
		Best   []int    `json:"best"`
		Names  []string `json:"names"`
	}
	teams := map[string]*team{}
	for _, row := range rows {
		if row.Team == nil || row.Name == "nobody" {
			continue
		}
		g := teams[*row.Team]
		if g == nil {
			g = &team{Best: []int{}}
			teams[*row.Team] = g
		}
		g.N++
		g.Names = append(g.Names, row.Name)
		if row.Points != nil {
			sum, least := *row.Points, *row.Points
			if g.Points != nil {
				sum, least = sum+*g.Points, min(least, *g.Least)
			}
			g.Points, g.Least = &sum, &least
			g.Best = append(g.Best, *row.Points)
		}
	}
	out := map[string]string{}
	for name, g := range teams {
		slices.Sort(g.Names)
		g.Names = slices.Compact(g.Names)
		slices.SortFunc(g.Best, func(a, b int) int { return b - a })
		g.Best = g.Best[:min(2, len(g.Best))]
		text, _ := json.Marshal(g)
		out[name] = string(text)
	}
	return out
}

// Every aggregate of a stream gives the same whichever records lie between two
// restarts.
func TestAllAggregatesSurviveRestartsAnywhere(t *testing.T) {
	var script []input
	for i, v := range []string{
		`"ms":10.5,"who":7,"tag":{"b":1,"a":2}`, `"ms":3,"who":7,"tag":"x"`, `"ms":null,"who":8,"tag":[1, 2]`, `"who":9`,
		`"ms":1e3,"who":-1,"tag":true`, `"ms":0.1,"who":7,"tag":"x"`, `"ms":3.0,"who":9007199254740993,"tag":12.50`,
	} {
		script = append(script, input{"views", "1", `{"page":"p",` + v + `}`, int64(100 - i%3)})
	}
	r := everyRestart(t, `
pipeline: p
sources:
  views: {topic: views}
tables:
  pages:
    from: views v
    group_by: v.page
    select:
      - n: count()
      - timed: count(v.ms)
      - total: sum(v.ms)
      - mean: avg(v.ms)
      - least: min(v.ms)
      - most: max(v.ms)
      - one: first(v.tag)
      - other: last(v.tag)
      - people: count_distinct(v.who)
      - about: count_distinct(v.who, "approx")
      - list: collect_list(v.tag)
      - set: collect_set(v.tag, 10)
      - slow: top_k(v.who, 2, v.ms)
      - texts: histogram(v.who)
      - bands: histogram(v.ms, [1, 10])
      - spread: stddev(v.ms)
      - p50: percentile(v.ms, 0.5)
sinks:
  out: {from: pages, topic: out}
`, map[string]int{"views": 1, "out": 1}, script, "out")
	last := r.show("out")[len(script)-1]
	want := `0 p {"n":7,"timed":5,"total":1016.6,"mean":203.32,"least":0.1,"most":1e3,"one":[1, 2],"other":12.50,"people":5,"about":5,` +
		`"list":[{"b":1,"a":2},"x",[1, 2],true,"x",12.50],"set":[true,12.50,"x",[1, 2],{"b":1,"a":2}],"slow":[-1,7],` +
		`"texts":{"-1":1,"7":3,"8":1,"9":1,"9007199254740993":1},"bands":[1,2,2],"spread":445.37432234020855,"p50":3} @100`
	if last != want {
		t.Errorf("in the end it is\n     %s\nwant %s", last, want)
	}
}
