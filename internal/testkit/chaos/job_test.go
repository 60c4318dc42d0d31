package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/testkit"
)

// partitions of every topic, and so tasks of every sub-topology.
const partitions = 4

// Of the join: members with a profile, those that look, and those whose
// profile is edited all the time.
const (
	profiles = 1000
	viewers  = 1100
	edited   = 50
)

// job is a pipeline with what feeds and what watches it. Each view gives exactly
// one output, in the same partition and order: the n-th output of a partition is
// that of its n-th view.
type job struct {
	t       *testing.T
	name    string
	file    string
	cluster *testkit.Cluster
	view    func() testkit.Message
	model   func(testkit.Message) (testkit.Output, error)
	live    *testkit.LiveJoin // nil: it is not the join
	watch   *testkit.Watch
	fed     [partitions]atomic.Int64 // views that are acknowledged
	stop    []func() error           // of the feeds
}

// kind of a job.
type kind string

const (
	running kind = "running" // min, max, sum and count per viewer
	join    kind = "join"    // views with profiles that are edited meanwhile; re-keyed on the way
)

// newJob makes topics, file and watcher. settings are lines that are added to the file.
func newJob(t *testing.T, k kind, name, dir, settings string, seed uint64, cluster *testkit.Cluster) *job {
	t.Helper()
	j := &job{t: t, name: name, file: filepath.Join(dir, name+".yaml"), cluster: cluster}
	text := testkit.RunningPipeline
	if k == join {
		text = testkit.JoinPipeline
	}
	text = fmt.Sprintf(text, name)
	if strings.Contains(settings, "commit_interval:") {
		text = strings.Replace(text, "commit_interval: 20ms\n", "", 1)
	}
	if err := os.WriteFile(j.file, []byte(text+settings), 0o600); err != nil {
		t.Fatal(err)
	}
	for topic, cleanup := range map[string]string{"views": "delete", "profiles": "compact", "out": "delete"} {
		if err := cluster.CreateTopic(t.Context(), j.topic(topic), partitions, cleanup); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if j.watch, err = cluster.Watch(j.topic("out"), partitions); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.watch.Close(); err != nil {
			t.Logf("watch of %s: %v", name, err)
		}
	})
	config := testkit.DataConfig{Seed: seed, Profiles: 200}
	if k == join {
		config = testkit.DataConfig{Seed: seed, Profiles: profiles, Viewers: viewers}
		j.live = testkit.NewLiveJoin(profiles, edited)
		j.model = j.live.View
		edits, err := j.live.Profiles()
		if err == nil {
			err = cluster.ProduceAll(t.Context(), j.topic("profiles"), edits)
		}
		if err != nil {
			t.Fatal(err)
		}
	} else {
		j.model = testkit.NewRunningModel().View
	}
	j.view = testkit.NewData(config).View
	return j
}

func (j *job) topic(suffix string) string { return j.name + "-" + suffix }

// count one view that went to a partition.
func (j *job) count(partition int32) { j.fed[partition].Add(1) }

// send produces views and waits until they are acknowledged.
func (j *job) send(views ...testkit.Message) {
	j.t.Helper()
	i := 0
	_, err := j.cluster.ProduceCounted(j.t.Context(), j.topic("views"), func() (testkit.Message, bool) {
		i++
		if i > len(views) {
			return testkit.Message{}, false
		}
		return views[i-1], true
	}, j.count)
	if err != nil {
		j.t.Fatal(err)
	}
}

// feed lets views, and edits of the join's profiles, flow until calm.
func (j *job) feed(batch int) {
	j.stop = append(j.stop, j.cluster.Feed(j.topic("views"), batch, j.view, j.count))
	if j.live != nil {
		j.stop = append(j.stop, j.cluster.Feed(j.topic("profiles"), 1, j.live.Edit, nil))
	}
}

// calm ends the feeds.
func (j *job) calm() {
	for _, stop := range j.stop {
		if err := stop(); err != nil {
			j.t.Errorf("feed of %s: %v", j.name, err)
		}
	}
	j.stop = nil
}

// sent is how many views each partition has been given, and their sum.
func (j *job) sent() (each []int64, sum int64) {
	each = make([]int64, partitions)
	for p := range each {
		each[p] = j.fed[p].Load()
		sum += each[p]
	}
	return each, sum
}

// done says whether every view up to now has its output.
func (j *job) done() bool {
	want, _ := j.sent()
	for p, n := range j.watch.Counts() {
		if n < want[p] {
			return false
		}
	}
	return true
}

// servedAt is when every partition had given the output of a view that was fed
// after the given ones; false = not yet.
func (j *job) servedAt(after []int64) (last time.Time, ok bool) {
	for p, n := range after {
		at, ok := j.watch.Arrival(p, n)
		if !ok {
			return time.Time{}, false
		}
		if at.After(last) {
			last = at
		}
	}
	return last, true
}
