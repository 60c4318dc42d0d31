package kafka

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/IBM/sarama"

	"streamctl/internal/assign"
	"streamctl/internal/engine"
)

// The group's protocol type is Kafka's own "consumer", and topics and
// partitions are filled in as a consumer would, so that the usual tools show
// members, partitions and lag; what we need beyond that lies in the user data.
// The protocol names are ours: a plain consumer cannot join by mistake.
//
// A member offers both protocols, the newer first, and the broker takes the
// newest that all members offer. So a group goes on while it is upgraded: as
// long as one member knows only the first, all speak that one.
const (
	protocolType = "consumer"
	protocolOne  = "streamctl-1" // data in JSON: tasks move at once, nobody keeps copies
	protocolTwo  = "streamctl-2"
	dataVersion  = 2 // of protocolTwo's data
)

func compareTasks(a, b engine.TaskID) int { return assign.CompareTasks(a, b) }

// work is what the members of a group have in common.
type work struct {
	Tasks uint64 // hash of all tasks and their inputs
	Plan  string // the plan's fingerprint, "" = not known
}

// same says whether two members run the same.
func (k work) same(other work) bool {
	return k.Tasks == other.Tasks && (k.Plan == other.Plan || k.Plan == "" || other.Plan == "")
}

// tasksHash names a set of tasks and their inputs, whatever their order.
func tasksHash(tasks []engine.TaskInfo) uint64 {
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
	return h.Sum64()
}

// oneMember is what a member tells the leader in the first protocol.
type oneMember struct {
	Version int             `json:"v"`
	Tasks   string          `json:"tasks"`
	Plan    string          `json:"plan,omitempty"` // the first members did not know it
	Owned   []engine.TaskID `json:"owned,omitempty"`
	Name    string          `json:"name"`
	Host    string          `json:"host"`
}

// oneAssignment is what the leader tells a member in the first protocol.
type oneAssignment struct {
	Version int             `json:"v"`
	Tasks   string          `json:"tasks"`
	Plan    string          `json:"plan,omitempty"` // the first members did not know it
	Owned   []engine.TaskID `json:"owned,omitempty"`
	Refused string          `json:"refused,omitempty"`
}

func hashText(h uint64) string { return fmt.Sprintf("%016x", h) }

// marshal is the JSON of data of the first protocol; all of it can be encoded.
func marshal(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return out
}

func encodeMember(protocol string, d memberData) []byte {
	if protocol == protocolOne {
		return marshal(oneMember{Version: 1, Tasks: hashText(d.Work.Tasks), Plan: d.Work.Plan, Owned: d.Owned, Name: d.Name, Host: d.Host})
	}
	return d.encode()
}

func readMember(protocol string, data []byte) (memberData, error) {
	if protocol != protocolOne {
		return decodeMember(data)
	}
	var one oneMember
	if err := json.Unmarshal(data, &one); err != nil {
		return memberData{}, fmt.Errorf("read membership data: %w", err)
	}
	d := memberData{Work: work{Plan: one.Plan}, Name: one.Name, Host: one.Host, Owned: one.Owned}
	_, err := fmt.Sscanf(one.Tasks, "%x", &d.Work.Tasks)
	if err != nil || one.Version != 1 {
		return memberData{}, fmt.Errorf("read membership data: version %d, tasks %q", one.Version, one.Tasks)
	}
	return d, nil
}

func encodeAssignment(protocol string, d assignmentData) []byte {
	if protocol == protocolOne {
		return marshal(oneAssignment{Version: 1, Tasks: hashText(d.Work.Tasks), Plan: d.Work.Plan, Owned: d.Owned, Refused: d.Refused})
	}
	return d.encode()
}

// readAssignment reads what the leader sent. Of a leader that did not know of
// us there is nothing, as if it were for other work.
func readAssignment(protocol string, resp *sarama.SyncGroupResponse) (assignmentData, error) {
	a, err := resp.GetMemberAssignment()
	if err != nil {
		return assignmentData{}, fmt.Errorf("read assignment: %w", err)
	}
	if a == nil || len(a.UserData) == 0 {
		return assignmentData{}, nil
	}
	if protocol != protocolOne {
		return decodeAssignment(a.UserData)
	}
	var one oneAssignment
	if err := json.Unmarshal(a.UserData, &one); err != nil {
		return assignmentData{}, fmt.Errorf("read assignment: %w", err)
	}
	d := assignmentData{Work: work{Plan: one.Plan}, Owned: one.Owned, Refused: one.Refused, Settled: true}
	if _, err := fmt.Sscanf(one.Tasks, "%x", &d.Work.Tasks); err != nil {
		return assignmentData{}, fmt.Errorf("read assignment: tasks %q: %w", one.Tasks, err)
	}
	return d, nil
}

// subscription wraps a member's data as a consumer's subscription.
func subscription(user []byte, tasks []engine.TaskInfo) *sarama.ConsumerGroupMemberMetadata {
	topics := make(map[string]bool)
	var names []string
	for _, t := range tasks {
		for _, in := range t.Inputs {
			if !topics[in.Topic] {
				topics[in.Topic] = true
				names = append(names, in.Topic)
			}
		}
	}
	slices.Sort(names)
	return &sarama.ConsumerGroupMemberMetadata{Version: 0, Topics: names, UserData: user}
}
