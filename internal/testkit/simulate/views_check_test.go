package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"streamctl/internal/memlog"
)

// What must come of each view by itself.

// eachViewOnce wants one row per view, at least once one or more, of which fits says what it may be.
func (s *simulation) eachViewOnce(fits func(v view, row memlog.Rec) error) error {
	parts, err := s.committedViews()
	if err != nil {
		return err
	}
	open, done := make(map[string]view), make(map[string]view)
	for _, views := range parts {
		for _, v := range views {
			open[fmt.Sprint(v.Seq)] = v
		}
	}
	for _, records := range s.log.ReadCommitted("p-out") {
		for _, r := range records {
			v, there := open[string(r.Key)]
			if !there && !s.work.exactly {
				v, there = done[string(r.Key)]
			}
			if !there {
				return fmt.Errorf("row %s comes twice, or of nowhere", r.Value)
			}
			delete(open, string(r.Key))
			done[string(r.Key)] = v
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
