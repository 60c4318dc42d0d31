package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
)

const (
	partitions = 4
	// patience is how long a run may take that has to come to its own end.
	patience = 60 * time.Second
)

// shared is what all tests of the package use: one broker, one binary.
type shared struct {
	broker kafkatest.Shared
	binary testkit.Binary
}

var all shared

func TestMain(m *testing.M) {
	code := m.Run()
	all.broker.Close()
	all.binary.Close()
	os.Exit(code)
}

// build makes the binary once.
func (s *shared) build(t *testing.T) string {
	t.Helper()
	path, err := s.binary.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// harness is one pipeline that is killed again and again.
type harness struct {
	t       *testing.T
	rand    *rand.Rand
	cluster *testkit.Cluster
	binary  string
	name    string
	file    string
	dataDir string

	kills     int
	readyRuns int
	settled   bool // the state directory holds every task's state: no full restore may happen
}

// newHarness makes topics, pipeline and client. Names carry the test's.
func newHarness(t *testing.T, name, pipeline string) *harness {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STREAMCTL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("STREAMCTL_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("STREAMCTL_SEED=%d", seed)
	broker := all.broker.Broker(t)
	cluster, err := testkit.Connect(broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	dir := t.TempDir()
	h := &harness{
		t: t, rand: rand.New(rand.NewPCG(seed, 0)), cluster: cluster, binary: all.build(t), name: name,
		file: filepath.Join(dir, name+".yaml"), dataDir: filepath.Join(dir, "data"),
	}
	if err := os.WriteFile(h.file, fmt.Appendf(nil, pipeline, name), 0o600); err != nil {
		t.Fatal(err)
	}
	for topic, cleanup := range map[string]string{"views": "delete", "profiles": "compact", "out": "delete"} {
		if err := cluster.CreateTopic(t.Context(), h.topic(topic), partitions, cleanup); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *harness) topic(suffix string) string { return h.name + "-" + suffix }

func (h *harness) args(more ...string) []string {
	return append([]string{"run", h.file, "--brokers", h.cluster.Addr, "--data-dir", h.dataDir}, more...)
}

// finish runs to the end of what there is. It must succeed.
func (h *harness) finish() {
	h.t.Helper()
	c := launch(h.t, h.binary, "", h.args("--until-end")...)
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c.await(ctx, "run --until-end")
	if c.err != nil {
		h.t.Fatalf("run --until-end: %v; it said:\n%s", c.err, c.said(100))
	}
	h.checkRestores(c)
}

// settle says that from now on the state directory must be enough for a start.
func (h *harness) settle() {
	h.finish()
	h.settled = true
}

// loseState deletes the state directory: the next run restores all of it, and
// until it has, full restores are in order.
func (h *harness) loseState() {
	h.t.Helper()
	if err := os.RemoveAll(h.dataDir); err != nil {
		h.t.Fatal(err)
	}
	h.settled = false
}

// checkRestores refuses a full restore where the state had survived.
func (h *harness) checkRestores(c *child) {
	h.t.Helper()
	if full := c.fullRestores(); h.settled && len(full) > 0 {
		h.t.Errorf("the state directory had survived, but: %v", full)
	}
}

// killRandomly starts the pipeline and kills it at a random moment: half of
// the time in its first instants, else after it has become ready.
func (h *harness) killRandomly() {
	h.t.Helper()
	c := launch(h.t, h.binary, "", h.args()...)
	early := h.rand.IntN(3) == 0
	wait := time.Duration(h.rand.IntN(400)) * time.Millisecond
	if !early {
		select {
		case <-c.ready:
		case <-c.done:
			h.t.Fatalf("it ended by itself: %v; it said:\n%s", c.err, c.said(100))
		case <-time.After(patience):
			h.t.Fatalf("it does not become ready; it said:\n%s", c.said(100))
		}
	}
	select {
	case <-time.After(wait):
	case <-c.done:
		h.t.Fatalf("it ended by itself: %v; it said:\n%s", c.err, c.said(100))
	}
	c.kill()
	h.ended(c)
}

// killAt lets the pipeline kill itself at a named step of a commit.
func (h *harness) killAt(point string) {
	h.t.Helper()
	count := 1 + h.rand.IntN(3)
	if point == engine.CrashAfterRestore { // it comes once in a life
		count = 1
	}
	c := launch(h.t, h.binary, fmt.Sprintf("%s:%d", point, count), h.args()...)
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c.await(ctx, "run that should die at "+point)
	if !c.killed() {
		h.t.Fatalf("it did not die at %s but ended: %v; it said:\n%s", point, c.err, c.said(100))
	}
	h.ended(c)
}

// ended takes stock of a run that was killed.
func (h *harness) ended(c *child) {
	h.kills++
	if c.becameReady() {
		h.readyRuns++
	}
	h.checkRestores(c)
}

// soak is how long to go on killing beyond the short form.
func soak(t *testing.T) time.Duration {
	s := os.Getenv("STREAMCTL_SOAK")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("STREAMCTL_SOAK: %v", err)
	}
	return d
}

// produce sends n messages and returns when they are acknowledged.
func (h *harness) produce(topic string, n int, next func() testkit.Message) {
	h.t.Helper()
	_, err := h.cluster.Produce(h.t.Context(), topic, func() (testkit.Message, bool) {
		if n--; n < 0 {
			return testkit.Message{}, false
		}
		return next(), true
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// feed produces from next, a batch every few milliseconds, until stop is
// called; stop returns when everything is acknowledged.
func (h *harness) feed(topic string, batch int, next func() testkit.Message) (stop func()) {
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-tick.C:
			}
			messages := make([]testkit.Message, batch)
			for i := range messages {
				messages[i] = next()
			}
			if err := h.cluster.ProduceAll(context.Background(), topic, messages); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() {
		close(quit)
		if err := <-done; err != nil {
			h.t.Errorf("feed: %v", err)
		}
	}
}

// compare compares every record of every partition with what the model makes
// of the input.
func (h *harness) compare(model func(view testkit.Message) (testkit.Output, error)) {
	h.t.Helper()
	want, got := h.wantAndGot(model)
	if diff := testkit.Diff(want, got); diff != "" {
		h.t.Errorf("output differs from the model after %d kills: %s", h.kills, diff)
	}
	h.tell(got)
}

// compareRepeating allows the output to go back and come again.
func (h *harness) compareRepeating(model func(view testkit.Message) (testkit.Output, error)) {
	h.t.Helper()
	want, got := h.wantAndGot(model)
	for place, outputs := range want {
		if problem, _ := testkit.Repeats(outputs, got[place]); problem != "" {
			h.t.Errorf("%s after %d kills: %s", place, h.kills, problem)
		}
	}
	h.tell(got)
}

// wantAndGot reads input and output as committed, by partition.
func (h *harness) wantAndGot(model func(view testkit.Message) (testkit.Output, error)) (want, got testkit.Sequences) {
	h.t.Helper()
	want, got = make(testkit.Sequences), make(testkit.Sequences)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.cluster.Read(ctx, h.topic("views"), func(m testkit.Message) {
		o, err := model(m)
		if err != nil {
			h.t.Error(err)
		}
		place := fmt.Sprint("partition ", m.Partition)
		want[place] = append(want[place], o)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	err = h.cluster.Read(ctx, h.topic("out"), func(m testkit.Message) {
		place := fmt.Sprint("partition ", m.Partition)
		got[place] = append(got[place], testkit.Output{Key: string(m.Key), Value: string(m.Value)})
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return want, got
}

// tell says how much this run showed, and fails it when that is too little.
func (h *harness) tell(got testkit.Sequences) {
	h.t.Helper()
	h.t.Logf("%d kills, %d of them of a process that was ready, %d records compared", h.kills, h.readyRuns, got.Len())
	if h.readyRuns < h.kills/2 {
		h.t.Errorf("only %d of %d runs became ready: this shows too little", h.readyRuns, h.kills)
	}
}
