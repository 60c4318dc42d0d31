package operators_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
)

// repeating is a rig without transactions: a task that dies begins anew where it
// was committed, and what it had sent since stays, save what had not arrived.
type repeating struct {
	*rig
	committed [][]int64 // positions by task
	deaf      map[string]bool
}

// lossy drops what a task sends to partitions that cannot be reached.
type lossy struct {
	task *rigTask
	deaf map[string]bool
}

func unreachable(task *rigTask, topic string, partition int32) string {
	return fmt.Sprint(task.sub.Name, " ", task.tc.Partition, " ", topic, " ", partition)
}

// Emit implements operators.Emitter.
func (l *lossy) Emit(out int, partition int32, rec record.Record) {
	if !l.deaf[unreachable(l.task, l.task.sub.Outputs[out].Topic, partition)] {
		l.task.Emit(out, partition, rec)
	}
}

// attach puts the network between a task and its topics.
func (r *repeating) attach(task *rigTask) {
	task.tc.Emitter = &lossy{task, r.deaf}
	var err error
	if task.inputs, err = task.sub.Build(task.tc); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits all tasks.
func (r *repeating) commit() {
	r.reopen()
	r.committed = nil
	for _, task := range r.tasks {
		r.attach(task)
		r.committed = append(r.committed, slices.Clone(task.position))
	}
}

// crash kills a task and opens it anew.
func (r *repeating) crash(at int) {
	r.t.Helper()
	task := r.tasks[at]
	task.store.Abandon()
	r.openTask(task.sub, task.tc.Partition)
	last := len(r.tasks) - 1
	r.tasks[at], r.tasks = r.tasks[last], r.tasks[:last]
	r.tasks[at].position = slices.Clone(r.committed[at])
	r.attach(r.tasks[at])
	prefix := fmt.Sprint(task.sub.Name, " ", task.tc.Partition, " ")
	maps.DeleteFunc(r.deaf, func(way string, _ bool) bool { return strings.HasPrefix(way, prefix) })
}

// crashDeaf kills the tasks that could not reach a partition: they cannot commit.
func (r *repeating) crashDeaf() {
	for at, task := range r.tasks {
		prefix := fmt.Sprint(task.sub.Name, " ", task.tc.Partition, " ")
		for way := range r.deaf {
			if strings.HasPrefix(way, prefix) {
				r.crash(at)
				break
			}
		}
	}
}

// stir lets tasks go on in any order, lose what they send, die and commit.
func (r *repeating) stir(rnd *rand.Rand, steps int) {
	r.t.Helper()
	for range steps {
		at := rnd.IntN(len(r.tasks))
		task := r.tasks[at]
		switch n := rnd.IntN(40); {
		case n == 0:
			r.crash(at)
		case n == 1:
			r.crashDeaf()
			r.commit()
		case n == 2 && task.sub.Name != "hits.match": // what a sink loses is another story
			out := task.sub.Outputs[rnd.IntN(len(task.sub.Outputs))].Topic
			r.deaf[unreachable(task, out, int32(rnd.IntN(len(r.topics[out]))))] = true
		default:
			if _, err := task.step(false); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// searchModel is what queries there were, and what documents: each phase begins
// with the queries of the one before, some of them edited or deleted.
type searchModel struct {
	phases []map[string]string // the word that a query seeks, by key
	texts  []string            // by id of the document
	since  []int               // by id: the phase in which the document was sent
}

// matches are the queries of one partition that a document satisfies in a phase.
func (m *searchModel) matches(r *rig, id, phase int, partition int32) []string {
	found := []string{}
	for key, word := range m.phases[phase] {
		if r.partitionOf("queries", key) == partition && slices.Contains(strings.Fields(m.texts[id]), word) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	return found
}

// check wants every document to have come out, those of a partition for the first time in
// their order, and each result to be that of queries which there were since.
func (m *searchModel) check(r *rig, queryPartitions int32) {
	r.t.Helper()
	next := map[string]int{} // by key: how many documents of it were seen
	seen := map[int]bool{}
	for _, line := range r.values("out") {
		key, text, _ := strings.Cut(line, " ")
		var got struct {
			ID      int      `json:"id"`
			Matches []string `json:"matches"`
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			r.t.Fatal(err)
		}
		if !seen[got.ID] {
			if got.ID/2 != next[key] {
				r.t.Fatalf("document %d of %s comes before number %d", got.ID/2, key, next[key])
			}
			seen[got.ID] = true
			next[key]++
		}
		for p := range queryPartitions {
			mine := []string{}
			for _, k := range got.Matches {
				if r.partitionOf("queries", k) == p {
					mine = append(mine, k)
				}
			}
			right := false
			for phase := m.since[got.ID]; phase < len(m.phases); phase++ {
				right = right || slices.Equal(mine, m.matches(r, got.ID, phase, p))
			}
			if !right {
				r.t.Fatalf("document %d (%s), sent in phase %d, matches %v in partition %d; the queries were %v",
					got.ID, m.texts[got.ID], m.since[got.ID], mine, p, m.phases)
			}
		}
	}
	if len(seen) != len(m.texts) {
		r.t.Fatalf("%d of %d documents came out", len(seen), len(m.texts))
	}
}

// Without transactions, tasks of all steps die anywhere, and copies and parts come twice
// or not at all, while queries are edited and deleted: every document comes out, matched by queries
// that there were, and nothing is left waiting.
func TestMatchAtLeastOnce(t *testing.T) {
	const queryPartitions = 3
	repeats := 0
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		r := &repeating{rig: newRig(t, searching, map[string]int{"documents": 2, "queries": queryPartitions, "out": 1}), deaf: map[string]bool{}}
		r.commit()
		m := &searchModel{}
		queries, now := map[string]string{}, int64(0)
		keys := [2]string{"a", "b"} // of one partition of the documents each
		for r.partitionOf("documents", keys[1]) == r.partitionOf("documents", keys[0]) {
			keys[1] += "b"
		}
		send := func(of int) {
			id := 2*(len(m.texts)/2) + of
			m.texts = append(m.texts, fmt.Sprintf("w%d w%d w%d", rnd.IntN(5), rnd.IntN(5), rnd.IntN(5)))
			m.since = append(m.since, len(m.phases)-1)
			now++
			r.produce("documents", keys[of], fmt.Sprintf(`{"id":%d,"f":%q}`, id, m.texts[id]), now)
		}
		for range 5 {
			now++
			for range 4 {
				key := fmt.Sprint("q", rnd.IntN(8))
				if delete(queries, key); rnd.IntN(4) == 0 {
					r.produce("queries", key, "-", now)
					continue
				}
				queries[key] = fmt.Sprint("w", rnd.IntN(5))
				r.produce("queries", key, fmt.Sprintf(`{"query":%q}`, queries[key]), now)
			}
			m.phases = append(m.phases, maps.Clone(queries))
			for i := range 12 {
				send(i % 2)
			}
			r.stir(rnd, 300)
		}
		r.crashDeaf()
		r.mustRun()
		for of := range keys { // the next document of a sender shows what of it waits in vain
			r.commit()
			send(of)
			r.mustRun()
		}
		m.check(r.rig, queryPartitions)
		repeats += len(r.values("out")) - len(m.texts)
		if n := r.waitingParts(); n != 0 {
			t.Errorf("seed %d: %d documents wait for parts that will not come", seed, n)
		}
	}
	if repeats == 0 {
		t.Error("no document came out twice: nothing was shown")
	}
}

// waitingParts counts the documents of which parts are kept.
func (r *rig) waitingParts() (n int) {
	for _, task := range r.tasks {
		if table := task.tc.Tables["hits.match"]; table != nil {
			n += countRows(r.t, table)
		}
	}
	return n
}

var _ operators.Emitter = (*lossy)(nil)
