package differential

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/memlog"
	"streamctl/internal/testkit"
	"streamctl/internal/testkit/model"
	"streamctl/operators"
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
		if s.kind != stepIdle {
			continue
		}
		if err := m.Idle(time.Now().UnixMilli()); err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
	}
	return m, nil
}

// compare says how what the engine wrote differs from what the model says, ""
// = not at all.
func compare(m *model.Model, pipe *compiled, c *testCase, out outcome) string {
	var problems []string
	again := c.settings.AtLeastOnce && out.drops == nil
	promised, joined := pipe.promised(c.settings, again), pipe.joinedTables()
	for sink, topic := range m.Sinks() {
		want, got := written(m, pipe, sink, out.records[topic])
		switch {
		case promised[topic] == nothing:
			continue
		case promised[topic] == thinned:
			problems = append(problems, fewer(sink, want, got)...)
			continue
		case promised[topic] == contents:
			want, got = lasting(want), lasting(got)
		case promised[topic] == inAnyOrder:
			sortAll(want)
			sortAll(got)
		case c.settings.Partitions > 1: // records without a key lie in several, which have no order among them
			sortOutputs(want["-"])
			sortOutputs(got["-"])
		}
		switch {
		case !c.settings.AtLeastOnce || !joined[topic] || promised[topic] == contents:
		case promised[topic] == inAnyOrder:
			got = besides(want, got)
		default:
			got = needed(got)
		}
		if again && promised[topic] != contents {
			problems = append(problems, atLeastOnce(sink, want, got)...)
			continue
		}
		if diff := testkit.Diff(want, got); diff != "" {
			problems = append(problems, fmt.Sprintf("sink %s: %s", sink, diff))
		}
	}
	slices.Sort(problems)
	if pipe.ambiguous() { // what is dropped and refused on the way is not defined either
		return strings.Join(problems, "\n")
	}
	if out.drops != nil {
		problems = append(problems, compareDrops(m, pipe, out.drops)...)
	}
	problems = append(problems, compareLetters(m, pipe, out)...)
	return strings.Join(problems, "\n")
}

// written is what there must be in the topic of a sink, and what there is.
func written(m *model.Model, pipe *compiled, sink string, records [][]memlog.Rec) (want, got testkit.Sequences) {
	shown := func(value string, time int64) string {
		if strings.Contains(pipe.text, "stddev(") {
			value = roundings.ReplaceAllStringFunc(value, rounded)
		}
		return fmt.Sprintf("%s @%d", value, time-firstTime)
	}
	want, got = testkit.Sequences{}, testkit.Sequences{}
	for _, o := range m.Outputs(sink) {
		want.Add(testkit.Output{Key: o.Key, Value: shown(o.Value, o.Time)})
	}
	for _, part := range records {
		for _, rec := range part {
			o := testkit.Output{Key: "-", Value: "-"}
			if rec.Key != nil {
				o.Key = string(rec.Key)
			}
			if rec.Value != nil {
				o.Value = model.Canonical(rec.Value)
			}
			o.Value = shown(o.Value, rec.Time)
			got.Add(o)
		}
	}
	return want, got
}

// reached says that all that is sent every so often has been sent.
func reached(m *model.Model, pipe *compiled, c *testCase, log *memlog.Log) bool {
	promised := pipe.promised(c.settings, false)
	for sink, topic := range m.Sinks() {
		if promised[topic] != thinned && promised[topic] != contents {
			continue
		}
		want, got := written(m, pipe, sink, log.ReadCommitted(topic))
		if testkit.Diff(lasting(want), lasting(got)) != "" {
			return false
		}
	}
	return true
}

// roundings are numbers that show all digits there are.
var roundings = regexp.MustCompile(`-?[0-9]+\.[0-9]{8,}(e[-+]?[0-9]+)?`)

// rounded leaves out the last digits of a deviation: it is the root of a quotient, which
// is rounded as well, so that the last one or two differ from the exact root's.
func rounded(number string) string {
	f, _ := strconv.ParseFloat(number, 64)
	return strconv.FormatFloat(f, 'g', 13, 64)
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

func sortAll(all testkit.Sequences) {
	for _, list := range all {
		sortOutputs(list)
	}
}

func sortOutputs(list []testkit.Output) {
	slices.SortFunc(list, func(a, b testkit.Output) int { return strings.Compare(a.Value, b.Value) })
}

// compareLetters compares dead letters: which record of a topic, whose it is, and why. What lies
// behind a repartition knows the record as it came through there.
func compareLetters(m *model.Model, pipe *compiled, out outcome) (problems []string) {
	want, got, vague := map[string]int{}, map[string]int{}, pipe.behindClock()
	whole := !pipe.repartitions()
	tell := func(l model.Letter) string {
		if !whole {
			l.Value, l.Time = "", 0
		}
		return fmt.Sprintf("%+v", l)
	}
	for _, l := range m.Letters() {
		if !vague[l.Operator] {
			want[tell(l)]++
		}
	}
	for _, part := range out.records[pipe.result.Plan.DeadLetterTopic()] {
		for _, rec := range part {
			if l := letterOf(rec); !vague[l.Operator] {
				got[tell(l)]++
			}
		}
	}
	for _, k := range keysOf(want, got) {
		if want[k] != got[k] && (out.drops != nil || want[k] > got[k]) {
			problems = append(problems, fmt.Sprintf("dead letters %s: want %d, got %d", k, want[k], got[k]))
		}
	}
	return problems
}

func letterOf(rec memlog.Rec) model.Letter {
	l := model.Letter{Key: "-", Value: "-", Time: rec.Time}
	if rec.Key != nil {
		l.Key = string(rec.Key)
	}
	if rec.Value != nil {
		l.Value = string(rec.Value)
	}
	for _, h := range rec.Headers {
		n, _ := strconv.ParseInt(string(h.Value), 10, 64)
		switch h.Key {
		case operators.HeaderReason:
			l.Reason = string(h.Value)
		case operators.HeaderOperator:
			l.Operator = string(h.Value)
		case operators.HeaderTopic:
			l.Topic = string(h.Value)
		case operators.HeaderPartition:
			l.Partition = int32(n)
		case operators.HeaderOffset:
			l.Offset = n
		}
	}
	return l
}

func compareDrops(m *model.Model, pipe *compiled, got map[string]int) (problems []string) {
	want, vague := m.Drops(), pipe.behindClock()
	for _, k := range keysOf(want, got) {
		definition, _, _ := strings.Cut(k, " ")
		if want[k] != got[k] && !vague[definition] && !m.CountedLater(k) {
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
