package kafka

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/IBM/sarama"

	"streamctl/internal/assign"
	"streamctl/internal/engine"
)

// distribution is the leader's part: who gets what, by member id.
type distribution struct {
	protocol string
	work     work
	tasks    []engine.TaskInfo
	members  map[string]memberData
	refused  map[string]string
	result   assign.Result
	set      assign.Settings
}

// distribute deals tasks over the members that the broker has collected.
func distribute(protocol string, work work, tasks []engine.TaskInfo, joined map[string]sarama.ConsumerGroupMemberMetadata) *distribution {
	d := &distribution{
		protocol: protocol, work: work, tasks: tasks,
		members: make(map[string]memberData), refused: make(map[string]string),
		set: assign.Settings{WithoutWarmups: protocol == protocolOne},
	}
	var dealt []assign.Member
	for id, meta := range joined {
		data, err := readMember(protocol, meta.UserData)
		switch {
		case err != nil:
			d.refused[id] = "the leader of the group cannot " + err.Error()
			continue
		case !data.Work.same(work):
			d.refused[id] = "it runs another version of the pipeline, or sees other partitions, than the leader of the group"
			continue
		}
		// Members that are configured differently agree on the most careful of them.
		if d.set.AcceptableLag = min(d.set.AcceptableLag, data.Acceptable); len(d.members) == 0 {
			d.set.AcceptableLag = data.Acceptable
		}
		d.set.Standbys = max(d.set.Standbys, data.Standbys)
		d.members[id] = data
		dealt = append(dealt, assign.Member{
			Name: data.Name, ID: id, Rack: data.Rack, Workers: data.Self.Workers,
			Active: data.Owned, Standby: data.Standby, Generation: data.Generation, Held: data.Held,
		})
	}
	d.result = assign.Assign(tasks, dealt, d.set)
	return d
}

// assignments is what goes to the broker, for every member that has joined.
func (d *distribution) assignments() map[string]*sarama.ConsumerGroupMemberAssignment {
	inputs := make(map[engine.TaskID]engine.TaskInfo, len(d.tasks))
	for _, t := range d.tasks {
		inputs[t.ID] = t
	}
	all := d.everybody()
	out := make(map[string]*sarama.ConsumerGroupMemberAssignment, len(d.members)+len(d.refused))
	for id, why := range d.refused {
		user := encodeAssignment(d.protocol, assignmentData{Work: d.work, Refused: why})
		out[id] = &sarama.ConsumerGroupMemberAssignment{Version: 0, UserData: user}
	}
	for id, m := range d.members {
		owned := d.result.Active[id]
		user := encodeAssignment(d.protocol, assignmentData{
			Work: d.work, Owned: owned, Standby: d.result.Standby[id], Awaited: d.result.Awaited[id],
			Settled: d.result.Settled, Rejoin: losesAny(m.Owned, owned), Acceptable: d.set.AcceptableLag,
			Facts: m.facts(), Members: all,
		})
		a := &sarama.ConsumerGroupMemberAssignment{Version: 0, Topics: make(map[string][]int32), UserData: user}
		for _, task := range owned {
			for _, in := range inputs[task].Inputs {
				if !slices.Contains(a.Topics[in.Topic], in.Partition) {
					a.Topics[in.Topic] = append(a.Topics[in.Topic], in.Partition)
				}
			}
		}
		out[id] = a
	}
	return out
}

// everybody lists the members in a fixed order.
func (d *distribution) everybody() []engine.Member {
	ids := make([]string, 0, len(d.members))
	for id := range d.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]engine.Member, len(ids))
	for i, id := range ids {
		out[i] = d.members[id].Self
	}
	return out
}

// losesAny says whether some of had are not in has.
func losesAny(had, has []engine.TaskID) bool {
	kept := make(map[engine.TaskID]bool, len(has))
	for _, id := range has {
		kept[id] = true
	}
	return slices.ContainsFunc(had, func(id engine.TaskID) bool { return !kept[id] })
}

// log says what the assignment sets in motion.
func (d *distribution) log(log *slog.Logger, group string, generation int32) {
	steps := make(map[assign.Step]int)
	for _, m := range d.result.Moves {
		steps[m.Step]++
		log.Debug("task on its way", "group", group, "task", fmt.Sprintf("%s/%d", m.Task.Sub, m.Task.Partition), "step", m.Step.String(), "from", m.From, "to", m.To)
	}
	args := []any{"group", group, "generation", generation, "members", len(d.members), "tasks", len(d.tasks), "settled", d.result.Settled}
	for step := assign.StepWaiting; step <= assign.StepReplicated; step++ {
		if steps[step] > 0 {
			args = append(args, step.String(), steps[step])
		}
	}
	log.Info("tasks dealt", args...)
	for id, why := range d.refused {
		log.Warn("member refused", "group", group, "member", id, "cause", why)
	}
}
