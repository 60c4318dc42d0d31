package reliability

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
)

// upgradePatience bounds one step of the story: a group takes a session (10 s)
// to give up who was killed.
const upgradePatience = 60 * time.Second

// versions are two builds of the product that differ in what they call themselves.
type versions struct{ before, after string }

func buildVersions(t *testing.T) versions {
	t.Helper()
	dir := t.TempDir()
	build := func(version string) string {
		path := filepath.Join(dir, version)
		cmd := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", path, "streamctl/cmd/streamctl")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", version, err, out)
		}
		return path
	}
	return versions{build("v0.9.0"), build("v1.0.0")}
}

// TestR30Upgrade: a running pipeline is changed, or the program is. What fits
// goes on with the state it has; what does not is refused before any write.
func TestR30Upgrade(t *testing.T) {
	v := buildVersions(t)
	t.Run("one process on the embedded broker", func(t *testing.T) { upgradeEmbedded(t, v) })
	broker := kafkatest.Start(t, kafkatest.Options{HeapMB: 384})
	kafka, err := testkit.Connect(broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	t.Run("rolling to another version and back", func(t *testing.T) { newUpgrade(t, v, kafka, "rolling").roll() })
	t.Run("a plan that does not fit", func(t *testing.T) { newUpgrade(t, v, kafka, "misfit").misfit() })
	t.Run("a plan that fits waits for its turn", func(t *testing.T) { newUpgrade(t, v, kafka, "turn").takeTurns() })
	t.Run("two plans at once", func(t *testing.T) { newUpgrade(t, v, kafka, "both").both() })
	t.Run("a disk that has missed a change", func(t *testing.T) { newUpgrade(t, v, kafka, "missed").missed() })
}

// upgradeEmbedded: run, upgrade, roll back, each time with more input; nothing
// is restored, and every record counts once.
func upgradeEmbedded(t *testing.T, v versions) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, testkit.RunningPipeline, "up"), 0o600); err != nil {
		t.Fatal(err)
	}
	views := filepath.Join(dir, "views.jsonl")
	var lines strings.Builder
	for i := range 50 {
		fmt.Fprintf(&lines, `{"key":"%d","value":{"viewerId":%d,"viewedProfileId":1,"timestamp":1413215518}}`+"\n", i%5, i%5)
	}
	if err := os.WriteFile(views, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(binary string, args ...string) string {
		t.Helper()
		cmd := exec.Command(binary, append(args, "--data-dir", filepath.Join(dir, "data"))...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for round, binary := range []string{v.before, v.after, v.after, v.before, v.after} {
		do(binary, "produce", "up-views", "--from", views)
		var sum struct{ Processed, Restored int }
		if err := json.Unmarshal([]byte(do(binary, "run", file, "--until-end", "-o", "json")), &sum); err != nil {
			t.Fatal(err)
		}
		if sum.Processed != 50 || sum.Restored != 0 {
			t.Errorf("round %d: %+v, want 50 records processed and none restored", round, sum)
		}
		if said := do(binary, "plan", file); !strings.Contains(said, "Nothing has changed.") {
			t.Errorf("round %d: %s", round, said)
		}
	}
	out := do(v.after, "consume", "up-out", "--until-end")
	for viewer := range 5 {
		want := fmt.Sprintf(`{"viewerId":%d,"views":50,"total":50,"lowest":1,"highest":1}`, viewer)
		if n := strings.Count(out, want); n != 1 {
			t.Errorf("%s is there %d times", want, n)
		}
	}
}

// upgrade is one story on real Kafka: a pipeline of four partitions that is
// fed while its processes come and go.
type upgrade struct {
	t     *testing.T
	v     versions
	kafka *testkit.Cluster
	name  string
	dir   string
	ctx   context.Context
	plan  string // the file of the plan it begins with
	feed  func() error
}

func newUpgrade(t *testing.T, v versions, kafka *testkit.Cluster, name string) *upgrade {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	u := &upgrade{t: t, v: v, kafka: kafka, name: name, dir: t.TempDir(), ctx: ctx}
	for topic, cleanup := range map[string]string{"-views": "delete", "-out": "delete", "-raw": "delete"} {
		if err := kafka.CreateTopic(ctx, name+topic, 4, cleanup); err != nil {
			t.Fatal(err)
		}
	}
	u.plan = u.file("plan.yaml")
	data := testkit.NewData(testkit.DataConfig{Seed: 30, Profiles: 50})
	u.feed = kafka.Feed(name+"-views", 5, data.View, nil)
	return u
}

// file writes the pipeline with something replaced.
func (u *upgrade) file(file string, replace ...string) string {
	u.t.Helper()
	text := strings.NewReplacer(replace...).Replace(fmt.Sprintf(testkit.RunningPipeline, u.name))
	path := filepath.Join(u.dir, file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// start begins a life of a member, whose disk is its own. At its end it hands
// its tasks over, unless it is told otherwise.
func (u *upgrade) start(binary, member, file string, more ...string) *testkit.Process {
	u.t.Helper()
	p, err := testkit.Start(testkit.Launch{Binary: binary, Args: append([]string{
		"run", file, "--brokers", u.kafka.Addr, "--data-dir", filepath.Join(u.dir, member), "--instance", u.name + "-" + member, "--workers", "1", "--on-stop", "hand-over",
	}, more...)})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		if !p.Ended() {
			p.Kill()
		}
	})
	return p
}

func (u *upgrade) awaitReady(p *testkit.Process) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.ctx, upgradePatience)
	defer cancel()
	if err := p.AwaitReady(ctx); err != nil {
		u.t.Fatal(err)
	}
}

// end waits for the end of a process with an exit code.
func (u *upgrade) end(p *testkit.Process, code int) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.ctx, upgradePatience)
	defer cancel()
	if err := p.AwaitEnd(ctx); err != nil {
		u.t.Fatal(err)
	}
	if got := p.ExitCode(); got != code {
		u.t.Fatalf("it ended with %d, want %d, and said:\n%s", got, code, p.Said(30))
	}
}

func (u *upgrade) stop(p *testkit.Process) {
	u.t.Helper()
	p.Signal(syscall.SIGTERM)
	u.end(p, 0)
}

// awaitLine waits until a process has said something.
func (u *upgrade) awaitLine(p *testkit.Process, text string) {
	u.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(upgradePatience)
	for len(saying(p, text)) == 0 {
		select {
		case <-tick.C:
		case <-p.Done():
			u.t.Fatalf("it ended without saying %q:\n%s", text, p.Said(30))
		case <-deadline:
			u.t.Fatalf("it does not say %q:\n%s", text, p.Said(30))
		}
	}
}

func saying(p *testkit.Process, text string) []testkit.LogLine {
	return p.Lines(func(line string) bool { return strings.Contains(line, text) })
}

const (
	saysWaiting = "waiting: the plan has changed"
	saysForeign = "belongs to another form of the pipeline"
)

// verify ends the feed, processes what is left with a plan, and compares
// everything with the model.
func (u *upgrade) verify(file string) {
	u.t.Helper()
	if err := u.feed(); err != nil {
		u.t.Fatal(err)
	}
	u.end(u.start(u.v.after, "a", file, "--until-end"), 0)
	want, got, err := u.kafka.WantAndGot(u.ctx, u.name+"-views", u.name+"-out", testkit.NewRunningModel().View)
	if err != nil {
		u.t.Fatal(err)
	}
	if diff := testkit.Diff(want, got); diff != "" {
		u.t.Error(diff)
	}
	if want.Len() == 0 {
		u.t.Error("there was no input")
	}
	u.t.Logf("%d records, each counted once", want.Len())
}

// roll replaces one process after the other by another version, and back. Their
// places are kept for them meanwhile, so that no task moves and nothing is restored.
func (u *upgrade) roll() {
	members := []string{"a", "b"}
	running := make(map[string]*testkit.Process)
	for _, m := range members {
		running[m] = u.start(u.v.before, m, u.plan, "--on-stop", "keep-place")
		u.awaitReady(running[m])
	}
	for _, binary := range []string{u.v.after, u.v.before} {
		for _, m := range members {
			u.stop(running[m])
			running[m] = u.start(binary, m, u.plan, "--on-stop", "keep-place")
			u.awaitReady(running[m])
			for _, restored := range running[m].FullRestores() {
				u.t.Errorf("%s restores what lies on its disk: %s", m, restored.Text)
			}
			for _, text := range []string{saysWaiting, saysForeign} {
				if said := saying(running[m], text); len(said) > 0 {
					u.t.Errorf("%s says %s", m, said[0].Text)
				}
			}
		}
	}
	for _, m := range members {
		u.stop(running[m])
	}
	u.awaitEmpty()
	u.verify(u.plan)
}

// awaitEmpty returns when the group keeps no place any more.
func (u *upgrade) awaitEmpty() {
	u.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		group, err := u.kafka.Group(u.ctx, u.name)
		if err != nil {
			u.t.Fatal(err)
		}
		if len(group.Members) == 0 {
			return
		}
		<-tick.C
	}
}

// misfit: another definition over existing rows is refused, and the process that
// runs does not even notice.
func (u *upgrade) misfit() {
	first := u.start(u.v.before, "a", u.plan)
	u.awaitReady(first)
	topics := func() []string {
		names, err := u.kafka.TopicsWith(u.ctx, u.name)
		if err != nil {
			u.t.Fatal(err)
		}
		return names
	}
	before, said := topics(), len(first.Lines(nil))
	for _, replace := range [][]string{
		{"max(v.viewedProfileId)", "sum(v.viewedProfileId)"},
		{"group_by: v.viewerId", "group_by: v.viewedProfileId", "viewerId: v.viewerId", "viewerId: v.viewedProfileId"},
	} {
		second := u.start(u.v.after, "b", u.file("misfit.yaml", replace...))
		u.end(second, 5)
		if len(saying(second, "the plan has changed in a way that its state does not fit")) == 0 {
			u.t.Errorf("it says:\n%s", second.Said(30))
		}
	}
	if after := topics(); !slices.Equal(before, after) {
		u.t.Errorf("topics were %v, are %v", before, after)
	}
	if first.Ended() || len(first.Lines(nil)) != said {
		u.t.Errorf("the process that runs was disturbed:\n%s", first.Said(20))
	}
	u.stop(first)
	u.verify(u.plan)
}

// takeTurns: one more sink fits the state. Its process waits, not ready, until
// no process runs the recorded plan; and so does the way back.
func (u *upgrade) takeTurns() {
	more := u.file("more.yaml", "sinks:\n", "sinks:\n  raw: {from: page_views, topic: "+u.name+"-raw}\n")
	old := u.start(u.v.before, "a", u.plan)
	u.awaitReady(old)
	younger := u.start(u.v.after, "b", more)
	u.awaitLine(younger, saysWaiting)
	if younger.BecameReady() {
		u.t.Error("two plans run side by side")
	}
	u.stop(old)
	u.awaitReady(younger)
	back := u.start(u.v.before, "a", u.plan)
	u.awaitLine(back, saysWaiting)
	if back.BecameReady() {
		u.t.Error("two plans run side by side")
	}
	u.stop(younger)
	u.awaitReady(back)
	if said := saying(back, saysForeign); len(said) > 0 {
		u.t.Errorf("it says %s", said[0].Text)
	}
	u.stop(back)
	u.verify(u.plan)
}

// both: two plans start at the same time where none is recorded. One of them
// runs, whichever the group took in first; the other one waits for its turn.
func (u *upgrade) both() {
	more := u.file("more.yaml", "sinks:\n", "sinks:\n  raw: {from: page_views, topic: "+u.name+"-raw}\n")
	first, second := u.start(u.v.after, "a", u.plan), u.start(u.v.after, "b", more)
	select {
	case <-first.Ready():
	case <-second.Ready():
		first, second = second, first
	case <-time.After(upgradePatience):
		u.t.Fatalf("none is ready:\n%s\n\n%s", first.Said(20), second.Said(20))
	}
	u.awaitLine(second, saysWaiting)
	if second.BecameReady() {
		u.t.Error("two plans run side by side")
	}
	u.stop(first)
	u.awaitReady(second)
	u.stop(second)
	u.verify(u.plan)
}

// missed: while one process is away the table begins anew, by choice. The rows
// on its disk are those of another table now.
func (u *upgrade) missed() {
	away := u.start(u.v.before, "a", u.plan)
	u.awaitReady(away)
	u.awaitOutput()
	u.stop(away)
	sums := u.file("sums.yaml", "max(v.viewedProfileId)", "sum(v.viewedProfileId)")
	other := u.start(u.v.after, "b", sums, "--accept-changes", "activity=empty")
	u.awaitReady(other)
	u.stop(other)
	again := u.start(u.v.after, "a", sums)
	u.awaitReady(again)
	if len(saying(again, saysForeign)) == 0 {
		u.t.Errorf("it has taken the rows for its own:\n%s", again.Said(30))
	}
	u.stop(again)
	if err := u.feed(); err != nil {
		u.t.Fatal(err)
	}
	u.end(u.start(u.v.after, "a", sums, "--until-end"), 0)
	// What was there before the change has counted for the first table only: the
	// last row of a viewer has those of its views that came behind.
	last, first, total := make(map[string]int), make(map[string]int), make(map[string]int)
	if err := u.kafka.Read(u.ctx, u.name+"-out", func(m testkit.Message) {
		var row struct{ Views int }
		if err := json.Unmarshal(m.Value, &row); err != nil {
			u.t.Fatal(err)
		}
		key := string(m.Key)
		if row.Views == 1 {
			first[key] += last[key] // it begins anew
		}
		last[key] = row.Views
	}); err != nil {
		u.t.Fatal(err)
	}
	if err := u.kafka.Read(u.ctx, u.name+"-views", func(m testkit.Message) { total[string(m.Key)]++ }); err != nil {
		u.t.Fatal(err)
	}
	anew := 0
	for viewer, n := range total {
		if first[viewer]+last[viewer] != n {
			u.t.Errorf("viewer %s: %d views counted before, %d after the change, of %d", viewer, first[viewer], last[viewer], n)
		}
		if first[viewer] > 0 {
			anew++
		}
	}
	if anew == 0 {
		u.t.Error("no row has begun anew")
	}
}

// awaitOutput returns when the pipeline has given something.
func (u *upgrade) awaitOutput() {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.ctx, upgradePatience)
	defer cancel()
	if err := u.kafka.AwaitRecord(ctx, u.name+"-out"); err != nil {
		u.t.Fatal(err)
	}
}
