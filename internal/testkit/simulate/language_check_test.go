package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What windows and dedup must give, viewer by viewer, and the comparison with it.

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
	return s.sameRows(want, s.rows())
}

// sameRows wants these rows of each key in this order; at least once, only none but these.
func (s *simulation) sameRows(want, got map[string][]string) error {
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !s.work.exactly && slices.Equal(once(want[key]), once(got[key])) {
			continue
		}
		if !slices.Equal(want[key], got[key]) {
			return fmt.Errorf("key %s:\n%s\nwant\n%s", key, strings.Join(got[key], "\n"), strings.Join(want[key], "\n"))
		}
	}
	return nil
}

// once is each of the rows once.
func once(rows []string) []string { return slices.Compact(slices.Sorted(slices.Values(rows))) }

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
