package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"streamctl/internal/crashpoint"
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
	seed, err := testkit.Seed()
	if err != nil {
		t.Fatal(err)
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

// launch starts the binary; point is a crash point or "".
func (h *harness) launch(point string, more ...string) *testkit.Process {
	h.t.Helper()
	args := append([]string{"run", h.file, "--brokers", h.cluster.Addr, "--data-dir", h.dataDir}, more...)
	p, err := testkit.Start(testkit.Launch{Binary: h.binary, Args: args, Env: []string{crashpoint.Env + "=" + point}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(p.Kill)
	return p
}

// await waits for its end.
func (h *harness) await(p *testkit.Process, what string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := p.AwaitEnd(ctx); err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

// finish runs to the end of what there is. It must succeed.
func (h *harness) finish() {
	h.t.Helper()
	p := h.launch("", "--until-end")
	h.await(p, "run --until-end")
	if code := p.ExitCode(); code != 0 {
		h.t.Fatalf("run --until-end: exit code %d; it said:\n%s", code, p.Said(100))
	}
	h.checkRestores(p)
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
func (h *harness) checkRestores(p *testkit.Process) {
	h.t.Helper()
	if full := p.FullRestores(); h.settled && len(full) > 0 {
		h.t.Errorf("the state directory had survived, but: %v", full)
	}
}

// killRandomly starts the pipeline and kills it at a random moment: half of
// the time in its first instants, else after it has become ready.
func (h *harness) killRandomly() {
	h.t.Helper()
	p := h.launch("")
	early := h.rand.IntN(3) == 0
	wait := time.Duration(h.rand.IntN(400)) * time.Millisecond
	if !early {
		ctx, cancel := context.WithTimeout(h.t.Context(), patience)
		defer cancel()
		if err := p.AwaitReady(ctx); err != nil {
			h.t.Fatal(err)
		}
	}
	select {
	case <-time.After(wait):
	case <-p.Done():
		h.t.Fatalf("it ended by itself; it said:\n%s", p.Said(100))
	}
	p.Kill()
	h.ended(p)
}

// killAt lets the pipeline kill itself at a named step of a commit.
func (h *harness) killAt(point string) {
	h.t.Helper()
	count := 1 + h.rand.IntN(3)
	if point == engine.CrashAfterRestore { // it comes once in a life
		count = 1
	}
	p := h.launch(fmt.Sprintf("%s:%d", point, count))
	h.await(p, "run that should die at "+point)
	if !p.Killed() {
		h.t.Fatalf("it did not die at %s but ended; it said:\n%s", point, p.Said(100))
	}
	h.ended(p)
}

// ended takes stock of a run that was killed.
func (h *harness) ended(p *testkit.Process) {
	h.kills++
	if p.BecameReady() {
		h.readyRuns++
	}
	h.checkRestores(p)
}

// soak is how long to go on killing beyond the short form.
func soak(t *testing.T) time.Duration {
	t.Helper()
	d, err := testkit.Soak()
	if err != nil {
		t.Fatal(err)
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

// feed produces until stop is called.
func (h *harness) feed(topic string, batch int, next func() testkit.Message) (stop func()) {
	end := h.cluster.Feed(topic, batch, next, nil)
	return func() {
		if err := end(); err != nil {
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want, got, err := h.cluster.WantAndGot(ctx, h.topic("views"), h.topic("out"), model)
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
