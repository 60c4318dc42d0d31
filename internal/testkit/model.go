package testkit

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The models are meant to be too simple to be wrong: one record after the
// other, whole documents decoded by the standard library, maps in memory.

// Output is one record that a pipeline must write.
type Output struct {
	Key   string
	Value string
}

// JoinModel is JoinPipeline: the left join of page views with profiles on the
// viewer's number.
type JoinModel struct {
	profiles map[int64]position
}

type position struct {
	Title   string `json:"job_title"`
	Company string `json:"company"`
}

// NewJoinModel starts with no profiles.
func NewJoinModel() *JoinModel { return &JoinModel{profiles: make(map[int64]position)} }

// Edit takes a profile edit or a tombstone into the table.
func (m *JoinModel) Edit(edit Message) error {
	parts := strings.Split(string(edit.Key), ":")
	member, err := strconv.ParseInt(parts[len(parts)-1], 10, 64)
	if err != nil {
		return fmt.Errorf("read key %q: %w", edit.Key, err)
	}
	if edit.Value == nil {
		delete(m.profiles, member)
		return nil
	}
	var doc struct {
		Profile struct {
			Positions []position `json:"positions"`
		} `json:"profile"`
	}
	if err := json.Unmarshal(edit.Value, &doc); err != nil {
		return fmt.Errorf("read profile edit %q: %w", edit.Key, err)
	}
	m.profiles[member] = doc.Profile.Positions[0]
	return nil
}

// View gives the output for one view.
func (m *JoinModel) View(view Message) (Output, error) {
	var doc struct {
		Viewer int64 `json:"viewerId"`
	}
	if err := json.Unmarshal(view.Value, &doc); err != nil {
		return Output{}, fmt.Errorf("read view: %w", err)
	}
	title, company := "null", "null"
	if p, ok := m.profiles[doc.Viewer]; ok {
		title, company = strconv.Quote(p.Title), strconv.Quote(p.Company)
	}
	return Output{
		Key:   strconv.FormatInt(doc.Viewer, 10),
		Value: strings.TrimSuffix(string(view.Value), "}") + `,"jobTitle":` + title + `,"company":` + company + "}",
	}, nil
}

// RunningModel is RunningPipeline: count, sum, min and max of viewedProfileId
// per viewer, with an output for every view.
type RunningModel struct {
	rows map[int64]*running
}

type running struct{ views, total, lowest, highest int64 }

// NewRunningModel starts with no rows.
func NewRunningModel() *RunningModel { return &RunningModel{rows: make(map[int64]*running)} }

// View gives the output for one view.
func (m *RunningModel) View(view Message) (Output, error) {
	var doc struct {
		Viewer int64 `json:"viewerId"`
		Viewed int64 `json:"viewedProfileId"`
	}
	if err := json.Unmarshal(view.Value, &doc); err != nil {
		return Output{}, fmt.Errorf("read view: %w", err)
	}
	r := m.rows[doc.Viewer]
	if r == nil {
		r = &running{lowest: math.MaxInt64, highest: math.MinInt64}
		m.rows[doc.Viewer] = r
	}
	r.views++
	r.total += doc.Viewed
	r.lowest = min(r.lowest, doc.Viewed)
	r.highest = max(r.highest, doc.Viewed)
	return Output{
		Key: strconv.FormatInt(doc.Viewer, 10),
		Value: fmt.Sprintf(`{"viewerId":%d,"views":%d,"total":%d,"lowest":%d,"highest":%d}`,
			doc.Viewer, r.views, r.total, r.lowest, r.highest),
	}, nil
}
