package kafka

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// The group's protocol type is Kafka's own "consumer", and topics and
// partitions are filled in as a consumer would, so that the usual tools show
// members, partitions and lag; what we need beyond that lies in the user data.
// The protocol name is ours: a plain consumer cannot join by mistake.
const (
	protocolType = "consumer"
	protocolName = "streamctl-1"
	dataVersion  = 1
)

// memberData is what a member tells the leader.
type memberData struct {
	Version int             `json:"v"`
	Tasks   string          `json:"tasks"` // hash of all tasks: who has another one runs another pipeline
	Owned   []engine.TaskID `json:"owned,omitempty"`
	Name    string          `json:"name"`
	Host    string          `json:"host"`
}

// assignmentData is what the leader tells a member.
type assignmentData struct {
	Version int             `json:"v"`
	Tasks   string          `json:"tasks"`
	Owned   []engine.TaskID `json:"owned,omitempty"`
	Refused string          `json:"refused,omitempty"`
}

// tasksHash names a set of tasks and their inputs, whatever their order.
func tasksHash(tasks []engine.TaskInfo) string {
	tasks = slices.Clone(tasks)
	slices.SortFunc(tasks, func(a, b engine.TaskInfo) int { return compareTasks(a.ID, b.ID) })
	h := fnv.New64a()
	for _, t := range tasks {
		fmt.Fprintf(h, "%q/%d", t.ID.Sub, t.ID.Partition)
		for _, in := range t.Inputs {
			fmt.Fprintf(h, " %q/%d", in.Topic, in.Partition)
		}
		fmt.Fprintf(h, " %v\n", t.State)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// subscription wraps a member's data as a consumer's subscription.
func subscription(data memberData, tasks []engine.TaskInfo) (*sarama.ConsumerGroupMemberMetadata, error) {
	user, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode membership: %w", err)
	}
	var topics []string
	for _, t := range tasks {
		for _, in := range t.Inputs {
			if !slices.Contains(topics, in.Topic) {
				topics = append(topics, in.Topic)
			}
		}
	}
	slices.Sort(topics)
	return &sarama.ConsumerGroupMemberMetadata{Version: 0, Topics: topics, UserData: user}, nil
}

// distribute is the leader's part: who gets what, by member id.
func distribute(hash string, tasks []engine.TaskInfo, members map[string]sarama.ConsumerGroupMemberMetadata) (map[string]*sarama.ConsumerGroupMemberAssignment, error) {
	var joined []candidate
	refused := make(map[string]string)
	for id, meta := range members {
		var data memberData
		if err := json.Unmarshal(meta.UserData, &data); err != nil {
			refused[id] = fmt.Sprintf("its membership data cannot be read: %v", err)
			continue
		}
		switch {
		case data.Version != dataVersion:
			refused[id] = fmt.Sprintf("its membership data has version %d, the leader knows %d", data.Version, dataVersion)
		case data.Tasks != hash:
			refused[id] = "it runs another version of the pipeline, or sees other partitions, than the leader of the group"
		default:
			joined = append(joined, candidate{name: data.Name, id: id, owned: data.Owned})
		}
	}
	given := withhold(assign(joined, tasks), joined)
	inputs := make(map[engine.TaskID]engine.TaskInfo, len(tasks))
	for _, t := range tasks {
		inputs[t.ID] = t
	}
	out := make(map[string]*sarama.ConsumerGroupMemberAssignment, len(members))
	for id := range members {
		user, err := json.Marshal(assignmentData{Version: dataVersion, Tasks: hash, Owned: given[id], Refused: refused[id]})
		if err != nil {
			return nil, fmt.Errorf("encode assignment: %w", err)
		}
		a := &sarama.ConsumerGroupMemberAssignment{Version: 0, Topics: make(map[string][]int32), UserData: user}
		for _, task := range given[id] {
			for _, in := range inputs[task].Inputs {
				if !slices.Contains(a.Topics[in.Topic], in.Partition) {
					a.Topics[in.Topic] = append(a.Topics[in.Topic], in.Partition)
				}
			}
		}
		out[id] = a
	}
	return out, nil
}
