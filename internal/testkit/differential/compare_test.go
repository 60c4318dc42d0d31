package differential

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/testkit"
	"streamctl/internal/testkit/model"
)

// expected runs the interpreter over a case.
func expected(pipe *compiled, c *testCase) (*model.Model, error) {
	m, err := model.New(pipe.text, pipe.layout(c.settings.Partitions))
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	for _, s := range c.script(pipe) {
		for _, rec := range s.records {
			if err := m.Take(rec); err != nil {
				return nil, fmt.Errorf("model: %w", err)
			}
		}
	}
	return m, nil
}

// compare says how what the engine wrote differs from what the model says, ""
// = not at all.
func compare(m *model.Model, pipe *compiled, c *testCase, out outcome) string {
	var problems []string
	unordered := pipe.unordered()
	for sink, topic := range m.Sinks() {
		want, got := testkit.Sequences{}, testkit.Sequences{}
		for _, o := range m.Outputs(sink) {
			want.Add(testkit.Output{Key: o.Key, Value: fmt.Sprintf("%s @%d", o.Value, o.Time-firstTime)})
		}
		for _, part := range out.records[topic] {
			for _, rec := range part {
				o := testkit.Output{Key: "-", Value: "-"}
				if rec.Key != nil {
					o.Key = string(rec.Key)
				}
				if rec.Value != nil {
					o.Value = model.Canonical(rec.Value)
				}
				o.Value = fmt.Sprintf("%s @%d", o.Value, rec.Time-firstTime)
				got.Add(o)
			}
		}
		if unordered[topic] {
			for _, list := range want {
				sortOutputs(list)
			}
			for _, list := range got {
				sortOutputs(list)
			}
		} else if c.settings.Partitions > 1 { // records without a key lie in several, which have no order among them
			sortOutputs(want["-"])
			sortOutputs(got["-"])
		}
		if c.settings.AtLeastOnce && out.drops == nil {
			problems = append(problems, atLeastOnce(sink, want, got)...)
			continue
		}
		if diff := testkit.Diff(want, got); diff != "" {
			problems = append(problems, fmt.Sprintf("sink %s: %s", sink, diff))
		}
	}
	slices.Sort(problems)
	if out.drops != nil {
		problems = append(problems, compareDrops(m, out.drops)...)
	}
	return strings.Join(problems, "\n")
}

// atLeastOnce wants every record there and no other; repetitions are allowed.
func atLeastOnce(sink string, want, got testkit.Sequences) (problems []string) {
	for key, list := range got {
		for _, o := range list {
			if !slices.Contains(want[key], o) {
				problems = append(problems, fmt.Sprintf("sink %s: %v is none of those there must be: %v", sink, o, want[key]))
			}
		}
	}
	for key, list := range want {
		for _, o := range list {
			if !slices.Contains(got[key], o) {
				problems = append(problems, fmt.Sprintf("sink %s: %v is missing: %v", sink, o, got[key]))
			}
		}
	}
	return problems
}

func sortOutputs(list []testkit.Output) {
	slices.SortFunc(list, func(a, b testkit.Output) int { return strings.Compare(a.Value, b.Value) })
}

func compareDrops(m *model.Model, got map[string]int) (problems []string) {
	want := m.Drops()
	for _, k := range keysOf(want, got) {
		if want[k] != got[k] && !m.CountedLater(k) {
			problems = append(problems, fmt.Sprintf("drops of %s: want %d, got %d", k, want[k], got[k]))
		}
	}
	return problems
}

func keysOf(maps ...map[string]int) (keys []string) {
	for _, m := range maps {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
