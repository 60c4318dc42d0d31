package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/engine"
	"streamctl/pipeline"
)

// Finding is what is to be said of a topic of a plan.
type Finding struct {
	Topic string `json:"topic"`
	// Fault: the pipeline will not run like this. Otherwise the topic will be created.
	Fault bool   `json:"fault"`
	Text  string `json:"text"`
}

// CheckTopics compares the topics of a plan with those of the cluster: what is
// missing, what does not line up, what has other settings than it must have.
func CheckTopics(d *pipeline.Description, found map[string]engine.TopicInfo) []Finding {
	var out []Finding
	counts := make(map[string]int32)
	for name, info := range found {
		counts[name] = info.Partitions
	}
	own := make(map[string]bool)
	want := Partitions(d, counts)
	for _, t := range d.InternalTopics {
		own[t.Name] = true
		out = append(out, checkOwn(t, want[t.Name], found)...)
	}
	for _, s := range d.Subs {
		out = append(out, checkSub(s, own, found)...)
	}
	for _, t := range d.Tables {
		policy := found[t.Topic].Configs["cleanup.policy"]
		if t.Kind == pipeline.TopicTable && policy != "" && !strings.Contains(policy, "compact") {
			out = append(out, Finding{t.Topic, true, fmt.Sprintf("table %s is restored from it, but its cleanup.policy is %s; it must be compact", t.Name, policy)})
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return strings.Compare(a.Topic, b.Topic) })
	return slices.Compact(out)
}

// checkOwn says what is to be said of one of the pipeline's own topics.
func checkOwn(t pipeline.InternalTopicDescription, want int32, found map[string]engine.TopicInfo) []Finding {
	info, exists := found[t.Name]
	switch {
	case !exists && want == 0:
		return []Finding{{t.Name, false, "will be created, with the partitions of " + strings.Join(t.PartitionsLike, ", ")}}
	case !exists:
		return []Finding{{t.Name, false, fmt.Sprintf("will be created with %d partition(s)", want)}}
	case want > 0 && info.Partitions != want:
		return []Finding{{t.Name, true, fmt.Sprintf("has %d partitions, must have %d like %s", info.Partitions, want, strings.Join(t.PartitionsLike, ", "))}}
	}
	must, is := t.Configs["cleanup.policy"], info.Configs["cleanup.policy"]
	if must != "" && is != "" && must != is {
		return []Finding{{t.Name, true, fmt.Sprintf("its cleanup.policy is %s, must be %s", is, must)}}
	}
	return nil
}

// checkSub says which topics of a sub-topology are missing or do not line up.
func checkSub(s pipeline.SubDescription, own map[string]bool, found map[string]engine.TopicInfo) []Finding {
	var out []Finding
	for _, topic := range slices.Concat(s.Inputs, s.Outputs) {
		if _, exists := found[topic]; !exists && !own[topic] {
			out = append(out, Finding{topic, true, "does not exist"})
		}
	}
	for _, topic := range s.Inputs[min(1, len(s.Inputs)):] {
		a, b := found[s.Inputs[0]].Partitions, found[topic].Partitions
		if a > 0 && b > 0 && a != b {
			out = append(out, Finding{topic, true, fmt.Sprintf("has %d partitions, but is read together with %s, which has %d", b, s.Inputs[0], a)})
		}
	}
	return out
}
