package simulate

import (
	"fmt"
	"slices"
	"strings"

	"streamctl/internal/memlog"
	"streamctl/internal/record"
	"streamctl/internal/testkit"
)

const (
	profiles = 6
	viewers  = 9 // those beyond the profiles have none
)

// input is what the topics get, batch by batch.
type input struct {
	s        *simulation
	data     *testkit.Data
	left     int // batches
	views    int // produced so far
	versions map[int]int
	clockMs  int64 // event time of edits
	// profiles are the versions of each member's profile by the viewer's key, nil =
	// none; the first is that before the first edit.
	profiles map[string][][]byte
	all      []testkit.Message // the edits in their order
	// certain says for the views from an offset of a partition on which version
	// of each profile had been processed when they were produced.
	certain map[int32][]certain
}

// certain says that views from offset on see at least these versions.
type certain struct {
	offset   int64
	versions map[string]int
}

func newInput(s *simulation) *input {
	return &input{s: s, left: s.plan.batches, versions: make(map[int]int), clockMs: 1_000_000,
		data:     testkit.NewData(testkit.DataConfig{Seed: s.seed, Profiles: profiles, Viewers: viewers, PerSec: 5}),
		profiles: make(map[string][][]byte), certain: make(map[int32][]certain)}
}

// begin makes the topics and what is there before the first process.
func (in *input) begin() {
	for _, topic := range []string{"views", "profiles", "out"} {
		configs := map[string]string{}
		if topic == "profiles" {
			configs["cleanup.policy"] = "compact"
		}
		if err := in.s.log.CreateTopic("p-"+topic, in.s.plan.partitions, configs); err != nil {
			in.s.fail("%v", err)
		}
	}
	for v := 1; v <= viewers; v++ {
		in.profiles[fmt.Sprint(v)] = [][]byte{nil}
	}
	for member := 1; member <= profiles; member++ {
		in.edit(member)
	}
	in.settled()
	in.produce()
}

// settled says that all edits up to now have been processed.
func (in *input) settled() {
	versions := make(map[string]int)
	for member, list := range in.profiles {
		versions[member] = len(list) - 1
	}
	views, _ := in.s.log.Ends("p-views")
	for p, end := range views {
		in.certain[int32(p)] = append(in.certain[int32(p)], certain{end, versions})
	}
}

// least is the oldest version of its viewer's profile that a view may meet.
func (in *input) least(part int32, offset int64, viewer string) int {
	version := 0
	for _, c := range in.certain[part] {
		if c.offset <= offset {
			version = c.versions[viewer]
		}
	}
	return version
}

// edit changes a profile, or deletes it.
func (in *input) edit(member int) {
	version := in.versions[member]
	in.versions[member]++
	m := testkit.ProfileEdit(member, version, in.clockMs)
	if version%4 == 3 {
		m = testkit.Tombstone(member, in.clockMs)
	}
	in.clockMs += 1000
	viewer := fmt.Sprint(member)
	in.profiles[viewer] = append(in.profiles[viewer], m.Value)
	in.all = append(in.all, m)
	in.s.log.Produce("p-profiles", -1, m.Key, m.Value, m.Time)
}

// produce gives one batch to the topics, all at once.
func (in *input) produce() {
	if in.left == 0 {
		return
	}
	in.left--
	n := in.s.plan.views / in.s.plan.batches
	in.s.note("a batch of %d views", n)
	if in.left < in.s.plan.batches-1 && in.s.work.edits {
		for range in.s.rand.IntN(4) {
			in.edit(1 + in.s.rand.IntN(profiles))
		}
	}
	for range n {
		v := in.view()
		in.s.log.Produce("p-views", -1, v.Key, v.Value, v.Time)
	}
}

// within writes some views in a transaction of somebody else.
func (in *input) within(tx *memlog.Tx) {
	for range 1 + in.s.rand.IntN(3) {
		v := in.view()
		tx.Produce("p-views", -1, v.Key, v.Value, v.Time)
	}
	in.s.note("views in a foreign transaction")
}

func (in *input) view() testkit.Message {
	v := in.data.View()
	if in.s.work.moved {
		v.Key = fmt.Appendf(nil, "session-%d", in.views%7)
	}
	in.views++
	return v
}

// drained says that all that is in the topics has been processed and committed.
func (s *simulation) drained() bool { return s.lagging() == "" }

// lagging says what has not been processed, "" = nothing.
func (s *simulation) lagging() string {
	topics := s.log.Topics()
	for _, topic := range s.work.inputs {
		if !slices.Contains(topics, topic) {
			return topic + " does not exist yet"
		}
		if lag := s.lagOf(topic); lag != "" {
			return lag
		}
	}
	return ""
}

// lagOf says what of a topic has not been processed; of one that is not read, nothing.
func (s *simulation) lagOf(topic string) string {
	if !slices.Contains(s.work.inputs, topic) {
		return ""
	}
	committed := s.log.Committed("p")
	high, stable := s.log.Ends(topic)
	for p := range high {
		tp := record.TopicPartition{Topic: topic, Partition: int32(p)}
		if stable[p] < high[p] || committed[tp] != high[p] {
			return fmt.Sprintf("%s/%d is committed up to %d, stable up to %d, ends at %d; %d processes run",
				topic, p, committed[tp], stable[p], high[p], len(s.processes))
		}
	}
	return ""
}

// stable says that no transaction is open in what the pipeline reads of others.
func (s *simulation) stable() bool {
	for _, topic := range s.work.inputs {
		if strings.HasPrefix(topic, "p.") {
			continue // the pipeline's own
		}
		if high, stable := s.log.Ends(topic); !slices.Equal(high, stable) {
			return false
		}
	}
	return true
}
