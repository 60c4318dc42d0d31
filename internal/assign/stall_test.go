package assign

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestAWarmUpThatStandsStillDisturbsNobody: as long as nothing catches up, what
// can be moved is moved once, and then no round takes a task from anybody. A task
// that is on its way must not change places with one of its kind for ever.
func TestAWarmUpThatStandsStillDisturbsNobody(t *testing.T) {
	for _, seed := range seeds(t, 2000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var tasks []engine.TaskInfo
		partitions := 1 + rnd.IntN(4)
		for sub := range 1 + rnd.IntN(3) {
			for p := range partitions {
				id := engine.TaskID{Sub: fmt.Sprint("sub-", sub), Partition: int32(p)}
				tasks = append(tasks, engine.TaskInfo{ID: id, State: sub%2 == 0, Inputs: make([]record.TopicPartition, 1+(sub+1)%2)})
			}
		}
		members := make([]Member, 1+rnd.IntN(4))
		for i := range members {
			members[i] = Member{Name: fmt.Sprint(i), ID: fmt.Sprint(i), Workers: 1 + rnd.IntN(2)}
		}
		for _, task := range tasks { // all runs on the first one, or two
			m := &members[rnd.IntN(min(2, len(members)))]
			m.Active, m.Generation = append(m.Active, task.ID), 1
			if task.State {
				m.Held = append(m.Held, engine.Held{Task: task.ID})
			}
		}
		var before map[string][]engine.TaskID
		for round := range 20 {
			r := Assign(tasks, members, Settings{})
			if round == 19 && !reflect.DeepEqual(before, r.Active) {
				t.Fatalf("seed %d: the last round but one gave %v, the last one %v", seed, before, r.Active)
			}
			before = maps.Clone(r.Active)
			for i := range members {
				members[i].Active, members[i].Standby, members[i].Generation = slices.Clone(r.Active[members[i].ID]), r.Standby[members[i].ID], int32(round+2)
			}
		}
	}
}
