package upgrade

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"streamctl/internal/engine"
)

// clusterOf is what there is of a plan's topics: three partitions each, with
// the settings that they must have.
func clusterOf(t *testing.T) map[string]engine.TopicInfo {
	t.Helper()
	d := describe(t, base)
	found := make(map[string]engine.TopicInfo)
	for topic, n := range situation(d).Counts {
		found[topic] = engine.TopicInfo{Name: topic, Partitions: n, Configs: map[string]string{}}
	}
	for _, own := range d.InternalTopics {
		found[own.Name] = engine.TopicInfo{Name: own.Name, Partitions: 3, Configs: own.Configs}
	}
	found["people"].Configs["cleanup.policy"] = "compact"
	return found
}

func TestTopicsOfTheCluster(t *testing.T) {
	with := func(topic string, partitions int32, policy string) func(map[string]engine.TopicInfo) {
		return func(found map[string]engine.TopicInfo) {
			found[topic] = engine.TopicInfo{Name: topic, Partitions: partitions, Configs: map[string]string{"cleanup.policy": policy}}
		}
	}
	without := func(topics ...string) func(map[string]engine.TopicInfo) {
		return func(found map[string]engine.TopicInfo) {
			for _, topic := range topics {
				delete(found, topic)
			}
		}
	}
	for _, x := range []struct {
		name string
		edit func(map[string]engine.TopicInfo)
		want []Finding
	}{
		{"all is well", func(map[string]engine.TopicInfo) {}, nil},
		{"an outer topic is missing", without("out"), []Finding{{"out", true, "does not exist"}}},
		{"an own topic is missing", without("p.per_page.changelog"), []Finding{{"p.per_page.changelog", false, "will be created with 3 partition(s)"}}},
		{"with what it follows", without("p.per_page.changelog", "p.per_page.repartition", "views"), []Finding{
			{"p.per_page.changelog", false, "will be created, with the partitions of views"},
			{"p.per_page.repartition", false, "will be created, with the partitions of views"},
			{"views", true, "does not exist"},
		}},
		{"an own topic is too narrow", with("p.articles.rekey.changelog", 2, "compact"), []Finding{{"p.articles.rekey.changelog", true, "has 2 partitions, must have 3 like articles"}}},
		{"a changelog that forgets", with("p.per_page.changelog", 3, "delete"), []Finding{{"p.per_page.changelog", true, "its cleanup.policy is delete, must be compact"}}},
		{"a table's topic that forgets", with("people", 3, "delete"), []Finding{{"people", true, "table people is restored from it, but its cleanup.policy is delete; it must be compact"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			found := clusterOf(t)
			x.edit(found)
			if diff := cmp.Diff(x.want, CheckTopics(describe(t, base), found)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	found := clusterOf(t)
	with("people", 2, "compact")(found)
	lined := false
	for _, f := range CheckTopics(describe(t, base), found) {
		lined = lined || f.Fault
	}
	if !lined {
		t.Error("topics that do not line up are not told of")
	}
}
