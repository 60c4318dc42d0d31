package differential

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"streamctl/internal/testkit/model"
	"streamctl/operators"
	"streamctl/pipeline"
)

// settings are the circumstances under which a case runs: none of them may
// change what comes out.
type settings struct {
	Partitions  int32         `json:"partitions"`
	Processes   int           `json:"processes"`
	Workers     int           `json:"workers"`
	Commit      time.Duration `json:"commit"`
	Cache       int64         `json:"cache"` // bytes
	Fetch       int           `json:"fetch"` // records
	AtLeastOnce bool          `json:"at_least_once,omitempty"`
	Stops       int           `json:"stops,omitempty"`   // one in so many steps is followed by a restart, 0 = none
	Kills       int           `json:"kills,omitempty"`   // of the restarts, one in so many is a kill, 0 = none
	Crashes     int           `json:"crashes,omitempty"` // in one of so many steps a process dies in the middle of a commit, 0 = in none
	Mixed       bool          `json:"mixed,omitempty"`   // records of several topics come together, and are merged by time
	Losses      int           `json:"losses,omitempty"`  // of the restarts, one in so many has lost its disk, 0 = none
	Idle        bool          `json:"idle,omitempty"`    // in the end time goes on without records
}

func drawSettings(r *rand.Rand) settings {
	s := settings{Partitions: 1, Processes: 1, Workers: 1 + r.IntN(2), Commit: time.Millisecond, Cache: 1 << 20, Fetch: 500}
	if r.IntN(3) == 0 {
		s.Partitions = int32(2 + r.IntN(2))
	}
	if r.IntN(6) == 0 {
		s.Processes = 2
	}
	if r.IntN(4) == 0 {
		s.Commit = time.Duration(5+r.IntN(20)) * time.Millisecond
	}
	if r.IntN(3) == 0 {
		s.Cache = 1 << 10
	}
	if r.IntN(3) == 0 {
		s.Fetch = 1 + r.IntN(3)
	}
	s.Stops = []int{0, 0, 3, 8, 20}[r.IntN(5)]
	s.Kills, s.Losses = r.IntN(3), []int{0, 0, 4}[r.IntN(3)]
	s.Mixed = r.IntN(2) == 0
	s.AtLeastOnce = r.IntN(5) == 0
	s.Crashes = []int{0, 0, 5}[r.IntN(3)]
	s.Idle = r.IntN(3) == 0
	return s
}

// stepKind is what happens in a step of a script.
type stepKind int

const (
	stepRecords stepKind = iota // records come, and are processed to the end
	stepStart
	stepStop
	stepKill
	stepLose // the disks are gone
	stepIdle // the processes start anew, and take it that nothing comes any more
)

type step struct {
	kind    stepKind
	records []model.Record
	percent int   // of stepKill: what is kept of what was not synced
	crash   int32 // of stepRecords: at which commit a process dies, 0 = none does
}

// testCase is a pipeline, its input and the circumstances.
type testCase struct {
	seed     uint64
	pipe     *pipe // nil: it was not drawn but read
	text     string
	records  []model.Record
	settings settings
	anew     int // so many pipelines were drawn before, in which nothing is defined
}

// script cuts the input into steps, whose order is the order of the records:
// a step has records of one partition of one topic only, so that nothing else
// can come between them. Where all is one task, records of several topics may
// also come while nothing runs: their order is then that of the merge by time.
func (c *testCase) script(pipe *compiled) []step {
	r := rand.New(rand.NewPCG(c.seed, 2))
	steps := []step{{kind: stepStart}}
	for at := 0; at < len(c.records); {
		end := at + 1
		if c.settings.Mixed && at > 0 && pipe.oneTask(c.settings.Partitions) && !strings.Contains(c.text, "timestamp:") && r.IntN(3) == 0 {
			end = min(at+2+r.IntN(12), len(c.records))
			steps = append(steps, step{kind: stepStop}, step{kind: stepRecords, records: pipe.merge(c.records[at:end])}, step{kind: stepStart})
			at = end
			continue
		}
		longest := 1 + r.IntN(4)
		if c.settings.Partitions > 1 || pipe.async() || pipe.hearsTwice() {
			longest = 1 // behind a repartition they may meet again, or time that has not been told yet
		}
		for end < len(c.records) && end-at < longest && c.records[end].Topic == c.records[at].Topic && c.records[end].Partition == c.records[at].Partition {
			end++
		}
		s := step{kind: stepRecords, records: c.records[at:end]}
		if c.settings.Crashes > 0 && r.IntN(c.settings.Crashes) == 0 {
			s.crash = 1 + r.Int32N(3)
		}
		steps = append(steps, s)
		at = end
		if c.settings.Stops == 0 || r.IntN(c.settings.Stops) > 0 {
			continue
		}
		if c.settings.Kills > 0 && r.IntN(c.settings.Kills) == 0 {
			steps = append(steps, step{kind: stepKill, percent: r.IntN(101)})
		} else {
			steps = append(steps, step{kind: stepStop})
		}
		if c.settings.Losses > 0 && r.IntN(c.settings.Losses) == 0 {
			steps = append(steps, step{kind: stepLose})
		}
		steps = append(steps, step{kind: stepStart})
	}
	if c.settings.Idle && pipe.waits() {
		steps = append(steps, step{kind: stepStop}, step{kind: stepIdle})
	}
	return steps
}

// waits says that something is kept back until time has moved. Where tasks ask and
// answer each other, it is not defined which of them takes it first that nothing comes any
// more: no other waits for those that it talks with in both directions.
func (c *compiled) waits() bool {
	return !c.async() && slices.ContainsFunc(c.topology.Subs, func(sub *operators.SubTopology) bool { return sub.Timely })
}

// waitsApart lists the topics of sinks of unions whose ways wait for rows of their time
// in different states: each has its own order (docs/language.md).
func (c *compiled) waitsApart() map[string]bool {
	ways, topics := map[string]int{}, map[string]bool{}
	c.eachStep(func(s *pipeline.Step, _ []string) {
		if s.Kind != pipeline.DelayStep || len(s.Next) == 0 {
			return
		}
		ways[s.Def.Name]++
		for _, topic := range sinksBehind(s) {
			topics[topic] = topics[topic] || ways[s.Def.Name] > 1
		}
	})
	return topics
}

// flow lists the sub-topologies, each before those that read what it writes.
func (c *compiled) flow() (names []string) {
	subs := slices.Clone(c.topology.Subs)
	slices.SortStableFunc(subs, func(a, b *operators.SubTopology) int { // fewer are behind what is further on
		return len(c.behind(b, nil)) - len(c.behind(a, nil))
	})
	for _, sub := range subs {
		names = append(names, sub.Name)
	}
	return names
}

// oneTask says that one task does all of the pipeline.
func (c *compiled) oneTask(partitions int32) bool {
	return partitions == 1 && len(c.topology.Subs) == 1 && !c.repartitions()
}

// merge puts records in the order in which a task takes what has come while it did
// not run: of the first ones of its topics that with the least event time, of
// equal times that of a table.
func (c *compiled) merge(records []model.Record) []model.Record {
	var topics []string
	for _, in := range c.result.Plan.Subs[0].Inputs { // tables are first there
		topics = append(topics, in.Topic)
	}
	queues := map[string][]model.Record{}
	for _, rec := range records {
		queues[rec.Topic] = append(queues[rec.Topic], rec)
	}
	var out []model.Record
	for {
		best := ""
		for _, topic := range topics {
			if q := queues[topic]; len(q) > 0 && (best == "" || q[0].Time < queues[best][0].Time) {
				best = topic
			}
		}
		if best == "" {
			return out
		}
		out = append(out, queues[best][0])
		queues[best] = queues[best][1:]
	}
}
