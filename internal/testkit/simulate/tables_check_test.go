package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What tables must hold in the end.

// wentOn says that a process may have gone on at least once after it had lost its tasks.
func (s *simulation) wentOn() bool {
	return !s.work.exactly && slices.ContainsFunc(s.trace.lines, func(line string) bool { return strings.Contains(line, lostMembership) })
}

// lastRows wants these rows to be what the output holds in the end. At least once, a process
// that went on while others had its tasks already may have written what it still had
// behind theirs; the right rows must be there all the same.
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
		if want[key] != got[key] && !(s.wentOn() && slices.Contains(s.rows()[key], want[key])) {
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
