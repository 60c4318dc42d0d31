package simulate

import (
	"fmt"
	"slices"
)

// What joins of streams must give: rows of which each comes once, in any order.

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

// checkStreamsMoved wants every pair once, although the views of a viewer lie in several
// partitions: none of them is late in its own.
func checkStreamsMoved(s *simulation) error {
	parts, err := s.committedViews()
	if err != nil {
		return err
	}
	views := slices.Concat(parts...)
	want := make(map[string][]string)
	for _, a := range views {
		for _, b := range views {
			if a.Viewer == b.Viewer && a.Seq < b.Seq && max(a.time()-b.time(), b.time()-a.time()) <= 1000 {
				want[fmt.Sprint(a.Viewer)] = append(want[fmt.Sprint(a.Viewer)], pair(a.Viewer, fmt.Sprint(a.Seq), fmt.Sprint(b.Seq)))
			}
		}
	}
	return s.sameSets(want, s.rows())
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
	return s.sameSets(want, s.rows())
}

// sameSets is sameRows where the order does not count.
func (s *simulation) sameSets(want, got map[string][]string) error {
	for _, rows := range []map[string][]string{want, got} {
		for _, list := range rows {
			slices.Sort(list)
		}
	}
	return s.sameRows(want, got)
}
