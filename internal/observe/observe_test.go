package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/pipeline"
	"streamctl/state"
)

const counting = `
pipeline: counting
on_error: skip
sources:
  views:
    topic: views
    fields: {viewer: int}
    partitioned_by: viewer
tables:
  per_viewer:
    from: views v
    group_by: {viewer: v.viewer}
    select:
      - viewer: v.viewer
      - views: count()
sinks:
  out: {from: per_viewer, topic: out}
`

// looked is a pipeline that runs on a log in memory while it is looked at.
type looked struct {
	t      *testing.T
	log    *memlog.Log
	target *Target
	server *httptest.Server
	end    context.CancelFunc
	ended  chan error

	mu    sync.Mutex
	down  error // what the broker answers to a ping
	pings int
	now   time.Time // of the target
}

// look compiles the pipeline, fills its input, and serves its probes; start lets it run.
func newLooked(t *testing.T, views int) *looked {
	t.Helper()
	return newLookedOn(t, views, memlog.Config{Clock: engine.SystemClock{}})
}

// newLookedOn is newLooked on a log of the test's own making.
func newLookedOn(t *testing.T, views int, cfg memlog.Config) *looked {
	t.Helper()
	l := &looked{t: t, log: memlog.New(cfg), ended: make(chan error, 1), now: time.Unix(1_800_000_000, 0)}
	for _, topic := range []string{"views", "out"} {
		if err := l.log.CreateTopic(topic, 2, nil); err != nil {
			t.Fatal(err)
		}
	}
	l.feed(views)
	l.target = NewTarget("counting", func() time.Time {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.now
	})
	l.server = httptest.NewServer(Handler(Options{Version: "1.2.3", Targets: []*Target{l.target}, Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(l.server.Close)
	return l
}

func (l *looked) feed(views int) {
	for i := range views {
		viewer := fmt.Sprint(i % 7)
		l.log.Produce("views", -1, []byte(viewer), []byte(`{"viewer": `+viewer+`}`), time.Now().UnixMilli())
	}
}

// start runs the pipeline until stop, or the end of the test.
func (l *looked) start() {
	l.t.Helper()
	r, list := pipeline.Compile("counting.yaml", []byte(counting), pipeline.ParseOptions{})
	if list.HasErrors() {
		l.t.Fatalf("compile: %v", list)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.end = cancel
	transport := l.log.Transport(memlog.TransportConfig{Group: "counting"})
	l.target.Connect(func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pings++
		return l.down
	})
	dir := state.Directory{Options: state.Options{Dir: filepath.Join(l.t.TempDir(), "state")}}
	go func() {
		_, err := engine.Supervise(ctx, dir, engine.Options{
			Topology: r.Topology, Transport: transport, Workers: 2, Instance: "one", ExactlyOnce: true,
			CommitInterval: 5 * time.Millisecond, Monitor: l.target.Monitor(), Clock: l.log.Clock(),
		})
		l.ended <- err
	}()
	l.t.Cleanup(l.stop)
}

func (l *looked) stop() {
	if l.end == nil {
		return
	}
	l.end()
	l.end = nil
	if err := <-l.ended; err != nil {
		l.t.Errorf("run: %v", err)
	}
}

// broker lets the broker answer err from now on, after the last answer has grown old.
func (l *looked) broker(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
	l.now = l.now.Add(pingLife)
}

func (l *looked) get(path string) (int, string) {
	l.t.Helper()
	resp, err := http.Get(l.server.URL + path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// await asks until the answer has the code and holds text.
func (l *looked) await(path string, code int, text string) string {
	l.t.Helper()
	return l.awaitThat(path, code, text, func(string) bool { return true })
}

// awaitThat is await for an answer that pleases, too.
func (l *looked) awaitThat(path string, code int, text string, pleases func(body string) bool) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := l.get(path)
		if got == code && strings.Contains(body, text) && pleases(body) {
			return body
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.t.Fatalf("%s answers %d, want %d with %q:\n%s", path, got, code, text, body)
		}
	}
}

func TestReadinessFollowsTheRun(t *testing.T) {
	l := newLooked(t, 100)
	l.await("/readyz", 503, "[-]counting/run failed: starting\n")
	l.await("/livez", 200, "livez check passed")
	l.start()
	body := l.await("/readyz", 200, "readyz check passed")
	for _, line := range []string{"[+]counting/run ok\n", "[+]counting/tasks ok: 2 of 2 run\n", "[+]counting/state ok\n", "[+]counting/broker ok\n"} {
		if !strings.Contains(body, line) {
			t.Errorf("readyz lacks %q:\n%s", line, body)
		}
	}
	l.broker(errors.New("connection\nrefused"))
	l.await("/readyz", 503, "[-]counting/broker failed: connection refused\n")
	l.broker(nil)
	l.await("/readyz", 200, "")
	l.await("/livez", 200, "[+]counting/worker 1 ok\n")
	l.target.Stop()
	l.await("/readyz", 503, "[-]counting/run failed: stopping\n")
	l.stop()
	l.await("/livez", 200, "[+]counting/process ok: stopped\n")
}

// Whoever takes part with nothing to do is ready.
func TestReadyWithoutTasks(t *testing.T) {
	checks := newLooked(t, 0).target.ready(t.Context(), engine.Snapshot{Phase: engine.PhaseRunning, Joined: true}, func(context.Context) error { return nil }, false)
	if !allOK(checks) {
		t.Errorf("not ready: %v", checks)
	}
}

func TestNotReady(t *testing.T) {
	fine := engine.Snapshot{Phase: engine.PhaseRunning, Joined: true, Owned: 2}
	fine.Stats.Tasks, fine.Stats.Running = 2, 2
	for name, c := range map[string]struct {
		change func(*engine.Snapshot)
		want   string
	}{
		"membership lost": {func(s *engine.Snapshot) { s.Joined, s.Owned = false, 0 }, "[-]counting/group failed: not a member"},
		"a task restores": {func(s *engine.Snapshot) {
			s.Stats.Running = 1
			s.Workers = make([]engine.WorkerView, 1)
			s.Workers[0].Stats.Restores = []engine.RestoreStats{{From: 100, Position: 150, Target: 300}}
		}, "[-]counting/tasks failed: 1 of 2 run; /0 restores, 25 %, 150 records left"},
		"a task is missing":   {func(s *engine.Snapshot) { s.Stats.Tasks, s.Stats.Running = 1, 1 }, "[-]counting/tasks failed: 1 of 2 run"},
		"the disk is full":    {func(s *engine.Snapshot) { s.StateErr = state.ErrDiskFull }, "[-]counting/state failed: "},
		"between two lives":   {func(s *engine.Snapshot) { s.Phase, s.Stats.Suspended = engine.PhaseSuspended, "no space" }, "[-]counting/run failed: suspended: no space"},
		"the run has stopped": {func(s *engine.Snapshot) { s.Phase = engine.PhaseStopped }, "[-]counting/run failed: stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			snap := fine
			c.change(&snap)
			target := NewTarget("counting", time.Now)
			answers := func(context.Context) error { return nil }
			if checks := target.ready(t.Context(), fine, answers, false); !allOK(checks) {
				t.Fatalf("not ready before: %v", checks)
			}
			checks := target.ready(t.Context(), snap, answers, false)
			if allOK(checks) || !strings.Contains(fmt.Sprint(checks), c.want) {
				t.Errorf("checks: %v, want %s", checks, c.want)
			}
		})
	}
}

// A question to the broker is asked once for everybody who asks within a second.
func TestBrokerIsAskedOncePerSecond(t *testing.T) {
	l := newLooked(t, 10)
	l.start()
	l.await("/readyz", 200, "")
	for range 20 {
		l.get("/readyz")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pings != 1 {
		t.Errorf("the broker was asked %d times in one moment", l.pings)
	}
}

// value finds a sample in a scrape.
func value(t *testing.T, scrape, sample string) string {
	t.Helper()
	for line := range strings.Lines(scrape) {
		if rest, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Errorf("the scrape lacks %s", sample)
	return ""
}

func TestMetricsTellWhatWasDone(t *testing.T) {
	l := newLooked(t, 700)
	l.log.Produce("views", 0, []byte("0"), []byte(`not json`), 1000)
	l.start()
	// What was processed is told before the commit that ends it.
	const unsampled = "streamctl_latency_seconds_count{pipeline=\"counting\"} 0\n"
	scrape := l.awaitThat("/metrics", 200, `streamctl_records_processed_total{pipeline="counting"} 700`, func(body string) bool {
		return !strings.Contains(body, unsampled) && strings.Count(body, `pipeline="counting",topic="views"} 0`) == 4 // lag, twice, of two partitions
	})
	for sample, want := range map[string]string{
		`streamctl_ready{pipeline="counting"}`:                                                         "1",
		`streamctl_group_joined{pipeline="counting"}`:                                                  "1",
		`streamctl_suspended{pipeline="counting"}`:                                                     "0",
		`streamctl_tasks{pipeline="counting",state="running"}`:                                         "2",
		`streamctl_tasks{pipeline="counting",state="standby"}`:                                         "0",
		`streamctl_tasks_assigned{pipeline="counting"}`:                                                "2",
		`streamctl_records_read_total{pipeline="counting",topic="views"}`:                              "701",
		`streamctl_records_emitted_total{pipeline="counting"}`:                                         "700",
		`streamctl_records_sent_total{pipeline="counting",topic="out"}`:                                "700",
		`streamctl_records_dropped_total{operator="views",pipeline="counting",reason="invalid-value"}`: "1",
		`streamctl_dead_letters_total{pipeline="counting"}`:                                            "0",
		`streamctl_restores_in_progress{pipeline="counting"}`:                                          "0",
		`streamctl_commits_aborted_total{pipeline="counting"}`:                                         "0",
		`streamctl_incidents_total{incident="state_disk_full",pipeline="counting"}`:                    "0",
		`streamctl_lag_seconds{partition="0",pipeline="counting",topic="views"}`:                       "0",
		`streamctl_latency_seconds_bucket{pipeline="counting",le="+Inf"}`:                              value(t, scrape, `streamctl_latency_seconds_count{pipeline="counting"}`),
		`streamctl_commit_duration_seconds_count{pipeline="counting"}`:                                 value(t, scrape, `streamctl_commits_total{pipeline="counting"}`),
	} {
		if got := value(t, scrape, sample); got != want {
			t.Errorf("%s is %s, want %s", sample, got, want)
		}
	}
	for _, sample := range []string{
		`streamctl_commits_total{pipeline="counting"}`, `streamctl_state_cache_bytes{pipeline="counting"}`, `streamctl_state_bytes{pipeline="counting"}`,
		`streamctl_state_cache_hits_total{pipeline="counting"}`, `streamctl_read_bytes_total{pipeline="counting",topic="views"}`,
		`streamctl_latency_seconds_count{pipeline="counting"}`, `go_goroutines`, `process_resident_memory_bytes`,
	} {
		if got := value(t, scrape, sample); got == "0" {
			t.Errorf("%s is 0", sample)
		}
	}
	if !strings.Contains(scrape, `streamctl_build_info{goversion="go`) || !strings.Contains(scrape, `version="1.2.3"} 1`) {
		t.Error("the scrape lacks the version")
	}
}

func TestManyScrapesAtOnce(t *testing.T) {
	l := newLooked(t, 2000)
	l.start()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 5 {
				for _, path := range []string{"/metrics", "/readyz", "/livez"} {
					resp, err := http.Get(l.server.URL + path)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if path == "/metrics" && resp.StatusCode != 200 {
						t.Errorf("%s answers %d", path, resp.StatusCode)
					}
				}
			}
		})
	}
	l.feed(2000)
	all.Wait()
	l.await("/metrics", 200, `streamctl_records_processed_total{pipeline="counting"} 4000`)
}

// The server answers three paths to GET and HEAD, and nothing else.
func TestNothingElseIsServed(t *testing.T) {
	l := newLooked(t, 0)
	for _, path := range []string{"/", "/debug/pprof/", "/debug/vars", "/metrics/x", "/livez/../etc"} {
		if code, _ := l.get(path); code != http.StatusNotFound {
			t.Errorf("GET %s answers %d", path, code)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		resp, err := http.Post(l.server.URL+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s answers %d", path, resp.StatusCode)
		}
	}
}

func TestAddress(t *testing.T) {
	for given, want := range map[string]string{
		"9090": "127.0.0.1:9090", ":9090": "127.0.0.1:9090", "0.0.0.0:9090": "0.0.0.0:9090", "[::1]:0": "[::1]:0", "host:http": "host:http",
	} {
		if got, err := Address(given); got != want || err != nil {
			t.Errorf("Address(%q) = %q, %v; want %q", given, got, err, want)
		}
	}
	for _, given := range []string{"", "host", "host:", "host:99999", "::1", "a:b:c"} {
		if got, err := Address(given); err == nil {
			t.Errorf("Address(%q) = %q", given, got)
		}
	}
}

// Beyond the loopback the server says that anybody can read.
func TestWarnsBeyondLoopback(t *testing.T) {
	for address, warned := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true} {
		var said strings.Builder
		s, err := Listen(Options{Address: address, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		s.Serve()
		if resp, err := http.Get("http://" + strings.Replace(s.Addr(), "[::]", "127.0.0.1", 1) + "/livez"); err != nil {
			t.Error(err)
		} else {
			resp.Body.Close()
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(said.String(), "without a login"); got != warned {
			t.Errorf("%s: warned = %v: %s", address, got, &said)
		}
	}
}

// A worker whose loop does not turn is found, and one that puts a large table
// on disk is not taken for it.
func TestLivenessFindsAStuckWorker(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	w := engine.WorkerView{Alive: true, Turned: now.Add(-90 * time.Second), Due: now.Add(-30 * time.Second)}
	if got := w.Stuck(now); got != 30*time.Second {
		t.Errorf("overdue by %s, want 30s", got)
	}
	w.Due = now.Add(time.Second)
	if got := w.Stuck(now); got != 0 {
		t.Errorf("overdue by %s before its time", got)
	}
	w.Alive, w.Due = false, time.Time{}
	if got := w.Stuck(now); got != 0 {
		t.Errorf("a worker that has ended is overdue by %s", got)
	}
}

// A process whose workers hang is told from one that has nothing to do.
func TestLivenessOfARunThatHangs(t *testing.T) {
	clock := memlog.NewClock(time.Unix(1_800_000_000, 0))
	var hang atomic.Bool
	release := make(chan struct{})
	l := newLookedOn(t, 0, memlog.Config{Clock: clock, Faults: func(op memlog.Op) memlog.Fault {
		if op.Kind == memlog.OpFetch && hang.Load() {
			<-release
		}
		return memlog.Fault{}
	}})
	// Time goes on while the run comes up and while it ends.
	flow := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var pump sync.WaitGroup
		pump.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					clock.Advance(10 * time.Millisecond)
				case <-ctx.Done():
					return
				}
			}
		})
		return func() { cancel(); pump.Wait() }
	}
	stop := flow()
	l.start()
	l.await("/readyz", 200, "")
	l.await("/livez", 200, "[+]counting/worker 0 ok\n")
	stop()

	hang.Store(true)
	l.feed(14) // for every worker
	clock.Advance(time.Second)
	l.await("/livez", 200, "livez check passed")
	clock.Advance(3 * time.Minute)
	l.await("/livez", 503, "failed: its loop has not turned for 3m")

	hang.Store(false)
	close(release)
	l.await("/livez", 200, "livez check passed")
	stop = flow()
	l.stop()
	stop()
}

// Changes of readiness are logged, with reasons, and the way back.
func TestWatchLogsChanges(t *testing.T) {
	l := newLooked(t, 10)
	l.start()
	l.await("/readyz", 200, "")
	var said strings.Builder
	w := watcher{target: l.target, log: slog.New(slog.NewTextHandler(&said, nil))}
	at := time.Unix(1_800_000_000, 0)
	w.look(t.Context(), at)
	w.look(t.Context(), at)
	if said.Len() > 0 {
		t.Errorf("said of a run that came to be ready: %s", &said)
	}
	l.broker(errors.New("refused"))
	w.look(t.Context(), at.Add(time.Second))
	w.look(t.Context(), at.Add(2*time.Second))
	if got := said.String(); strings.Count(got, "not ready") != 1 || !strings.Contains(got, "counting/broker: refused") {
		t.Errorf("said: %s", got)
	}
	said.Reset()
	l.broker(nil)
	w.look(t.Context(), at.Add(4*time.Second))
	if got := said.String(); !strings.Contains(got, `msg="ready again" after=3s`) {
		t.Errorf("said: %s", got)
	}
}
