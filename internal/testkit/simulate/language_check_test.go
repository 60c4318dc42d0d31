package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"streamctl/internal/memlog"
)

// What the workloads of the language must give, and the comparison with it.

// view is what the checks need of a view.
type view struct {
	Viewer    int    `json:"viewerId"`
	Viewed    int    `json:"viewedProfileId"`
	Timestamp int64  `json:"timestamp"`
	Seq       int    `json:"seq"`
	Tracking  string `json:"trackingKey"`

	partition int32
	offset    int64
}

func (v view) time() int64 { return v.Timestamp * 1000 }

// committedViews are the views of each partition.
func (s *simulation) committedViews() ([][]view, error) {
	var out [][]view
	for p, records := range s.log.ReadCommitted("p-views") {
		var views []view
		for _, r := range records {
			v := view{partition: int32(p), offset: r.Offset}
			if err := json.Unmarshal(r.Value, &v); err != nil {
				return nil, err
			}
			views = append(views, v)
		}
		out = append(out, views)
	}
	return out, nil
}

// rows are the rows of the output by key, in their order; "" is a tombstone.
func (s *simulation) rows() map[string][]string {
	out := make(map[string][]string)
	for _, records := range s.log.ReadCommitted("p-out") {
		for _, r := range records {
			out[string(r.Key)] = append(out[string(r.Key)], string(r.Value))
		}
	}
	return out
}

// perViewer compares the output with what a rule makes of the views of each
// viewer in their order; last is the time of the last view in their partition.
func (s *simulation) perViewer(rule func(views []view, last int64) []string) error {
	parts, err := s.committedViews()
	if err != nil {
		return err
	}
	want := make(map[string][]string)
	for _, views := range parts {
		by := make(map[int][]view)
		for _, v := range views {
			by[v.Viewer] = append(by[v.Viewer], v)
		}
		for viewer, of := range by {
			if rows := rule(of, views[len(views)-1].time()); len(rows) > 0 {
				want[fmt.Sprint(viewer)] = rows
			}
		}
	}
	return sameRows(want, s.rows())
}

func sameRows(want, got map[string][]string) error {
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Equal(want[key], got[key]) {
			return fmt.Errorf("key %s:\n%s\nwant\n%s", key, strings.Join(got[key], "\n"), strings.Join(want[key], "\n"))
		}
	}
	return nil
}

func checkDedup(s *simulation) error {
	return s.perViewer(func(views []view, _ int64) (rows []string) {
		var passed int64
		for _, v := range views {
			if rows == nil || v.time()-passed > 2000 {
				rows, passed = append(rows, fmt.Sprintf(`{"viewerId":%d,"seq":%d}`, v.Viewer, v.Seq)), v.time()
			}
		}
		return rows
	})
}

// group is a window.
type group struct {
	start, end   int64
	views, total int
}

func (g group) row(viewer int) string {
	return fmt.Sprintf(`{"viewerId":%d,"start":%d,"views":%d,"total":%d}`, viewer, g.start, g.views, g.total)
}

func checkTumbling(s *simulation) error {
	return s.perViewer(func(views []view, last int64) []string {
		return closed(views, last, func(_ *group, v view) (start, end int64) {
			start = v.time() / 3000 * 3000
			return start, start + 3000
		})
	})
}

// checkSessions: a session takes views up to its gap behind the last one, that included.
func checkSessions(s *simulation) error {
	return s.perViewer(func(views []view, last int64) []string {
		return closed(views, last, func(g *group, v view) (start, end int64) {
			if g != nil && v.time() < g.end {
				return g.start, v.time() + 1001
			}
			return v.time(), v.time() + 1001
		})
	})
}

// closed are the windows that have closed, with a grace of 1 s.
func closed(views []view, last int64, window func(*group, view) (start, end int64)) (rows []string) {
	var groups []*group
	for _, v := range views {
		var g *group
		if len(groups) > 0 {
			g = groups[len(groups)-1]
		}
		start, end := window(g, v)
		if g == nil || g.start != start {
			g = &group{start: start}
			groups = append(groups, g)
		}
		g.end = end
		g.views++
		g.total += v.Viewed
	}
	for _, g := range groups {
		if g.end+1000 <= last {
			rows = append(rows, g.row(views[0].Viewer))
		}
	}
	return rows
}

func pair(viewer int, left, right string) string {
	return fmt.Sprintf(`{"viewerId":%d,"left":%s,"right":%s}`, viewer, left, right)
}

// checkStreams wants every pair once.
func checkStreams(s *simulation) error {
	return s.perViewer(func(views []view, _ int64) (rows []string) {
		for i, b := range views {
			for _, a := range views[:i] {
				if a.time() >= b.time()-1000 {
					rows = append(rows, pair(a.Viewer, fmt.Sprint(a.Seq), fmt.Sprint(b.Seq)))
				}
			}
		}
		return rows
	})
}

// checkStreamsOuter wants every pair and every view without a partner once, the
// latter if time has passed by far enough.
func checkStreamsOuter(s *simulation) error {
	parts, err := s.committedViews()
	if err != nil {
		return err
	}
	want := make(map[string][]string)
	for _, views := range parts {
		for i, a := range views {
			matched := false
			for j, b := range views {
				near := a.Viewer == b.Viewer && a.time()-b.time() <= 1000 && b.time()-a.time() <= 1000
				if !near || a.Seq%2 == b.Seq%2 {
					continue
				}
				matched = true
				if j < i {
					left, right := a, b
					if a.Seq%2 == 1 {
						left, right = b, a
					}
					want[fmt.Sprint(a.Viewer)] = append(want[fmt.Sprint(a.Viewer)], pair(a.Viewer, fmt.Sprint(left.Seq), fmt.Sprint(right.Seq)))
				}
			}
			if !matched && a.time()+2000 < views[len(views)-1].time() {
				row := pair(a.Viewer, fmt.Sprint(a.Seq), "null")
				if a.Seq%2 == 1 {
					row = pair(a.Viewer, "null", fmt.Sprint(a.Seq))
				}
				want[fmt.Sprint(a.Viewer)] = append(want[fmt.Sprint(a.Viewer)], row)
			}
		}
	}
	got := s.rows()
	for _, rows := range []map[string][]string{want, got} {
		for _, list := range rows {
			slices.Sort(list)
		}
	}
	return sameRows(want, got)
}

// lastRows wants these rows to be what the output holds in the end.
func (s *simulation) lastRows(want map[string]string) error {
	got := make(map[string]string)
	for key, rows := range s.rows() {
		if last := rows[len(rows)-1]; last != "" {
			got[key] = last
		}
	}
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if want[key] != got[key] {
			return fmt.Errorf("key %s is %q in the end, want %q; its rows:\n%s", key, got[key], want[key], strings.Join(s.rows()[key], "\n"))
		}
	}
	return nil
}

// profile is what the checks need of one.
type profile struct {
	Profile struct {
		Location  string
		Positions []struct{ Company string }
	}
}

// readProfile is nil where there is none.
func readProfile(value []byte) *profile {
	if value == nil {
		return nil
	}
	p := &profile{}
	_ = json.Unmarshal(value, p)
	return p
}

func (p *profile) company() string {
	if p == nil {
		return "null"
	}
	return fmt.Sprintf("%q", p.Profile.Positions[0].Company)
}

// lastProfiles are those of the end, by member.
func (s *simulation) lastProfiles() map[string]*profile {
	out := make(map[string]*profile)
	for member, versions := range s.input.profiles {
		if p := readProfile(versions[len(versions)-1]); p != nil {
			out[member] = p
		}
	}
	return out
}

// counts are the views of each viewer, "null" where there are none.
func (s *simulation) counts() (map[string]int, func(string) string, error) {
	parts, err := s.committedViews()
	by := make(map[string]int)
	for _, views := range parts {
		for _, v := range views {
			by[fmt.Sprint(v.Viewer)]++
		}
	}
	return by, func(viewer string) string {
		if n := by[viewer]; n > 0 {
			return fmt.Sprint(n)
		}
		return "null"
	}, err
}

func checkTables(s *simulation) error {
	counts, text, err := s.counts()
	if err != nil {
		return err
	}
	want := make(map[string]string)
	profiles := s.lastProfiles()
	for n := range viewers {
		member := fmt.Sprint(n + 1)
		p := profiles[member]
		if p != nil && p.Profile.Location == "Berlin, Germany" {
			p = nil
		}
		if p != nil || counts[member] > 0 {
			want[member] = fmt.Sprintf(`{"views":%s,"company":%s}`, text(member), p.company())
		}
	}
	return s.lastRows(want)
}

func checkForeign(s *simulation) error {
	_, text, err := s.counts()
	if err != nil {
		return err
	}
	want := make(map[string]string)
	for member, p := range s.lastProfiles() {
		want[member] = fmt.Sprintf(`{"company":%s,"views":%s}`, p.company(), text(fmt.Sprint(len(p.Profile.Location)%9+1)))
	}
	return s.lastRows(want)
}

func checkTop(s *simulation) error {
	counts, text, err := s.counts()
	if err != nil {
		return err
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b) // one digit
	})
	want := make(map[string]string)
	rank := 0
	for i, name := range names[:min(3, len(names))] {
		if i == 0 || counts[name] != counts[names[i-1]] {
			rank = i + 1
		}
		want[name] = fmt.Sprintf(`{"viewerId":%s,"views":%s,"rank":%d}`, name, text(name), rank)
	}
	return s.lastRows(want)
}

// eachViewOnce wants one row per view, of which fits says what it may be.
func (s *simulation) eachViewOnce(fits func(v view, row memlog.Rec) error) error {
	parts, err := s.committedViews()
	if err != nil {
		return err
	}
	open := make(map[string]view)
	for _, views := range parts {
		for _, v := range views {
			open[fmt.Sprint(v.Seq)] = v
		}
	}
	for _, records := range s.log.ReadCommitted("p-out") {
		for _, r := range records {
			v, there := open[string(r.Key)]
			if !there {
				return fmt.Errorf("row %s comes twice, or of nowhere", r.Value)
			}
			delete(open, string(r.Key))
			if err := fits(v, r); err != nil {
				return err
			}
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d views have no row: %v", len(open), slices.Sorted(maps.Keys(open)))
	}
	return nil
}

// checkReplicated wants each view with a version of the profile that it may have met.
func checkReplicated(s *simulation) error {
	return s.eachViewOnce(func(v view, r memlog.Rec) error {
		viewer := fmt.Sprint(v.Viewer)
		from := s.input.least(v.partition, v.offset, viewer)
		for _, version := range s.input.profiles[viewer][from:] {
			if string(r.Value) == fmt.Sprintf(`{"seq":%d,"company":%s}`, v.Seq, readProfile(version).company()) {
				return nil
			}
		}
		return fmt.Errorf("row %s has met none of the profiles from version %d on", r.Value, from)
	})
}

// checkMatch wants each view with the queries that satisfied it, each in a version that
// it may have met.
func checkMatch(s *simulation) error {
	return s.eachViewOnce(func(v view, r memlog.Rec) error {
		var row struct {
			Seq   int
			Found []int
		}
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return err
		}
		for n := range viewers {
			member := fmt.Sprint(n + 1)
			from := s.input.least(v.partition, v.offset, member)
			found := slices.Contains(row.Found, n+1)
			if !slices.ContainsFunc(s.input.profiles[member][from:], func(version []byte) bool { return satisfies(v, readProfile(version)) == found }) {
				return fmt.Errorf("row %s: query %s, from version %d on, says otherwise of %q", r.Value, member, from, v.Tracking)
			}
		}
		return nil
	})
}

func satisfies(v view, p *profile) bool {
	switch {
	case p == nil:
		return false
	case p.Profile.Location == "Berlin, Germany":
		return v.Tracking == "search" || v.Tracking == "people-you-may-know"
	}
	return v.Tracking == "google" || v.Tracking == "homepage"
}
