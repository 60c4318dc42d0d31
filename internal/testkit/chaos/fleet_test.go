package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/broker"
	"streamctl/internal/crashpoint"
	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
)

const (
	// patience is how long anything may take that must happen.
	patience = 90 * time.Second
	// look is how often it is looked whether it has.
	look = 20 * time.Millisecond
	// batch is how many views a job is fed every 10 ms.
	batch = 5
)

// fleetOptions of a story; zero values mean the defaults named.
type fleetOptions struct {
	Members  int    // processes; default 3
	Jobs     []kind // default both
	Embedded bool   // on the embedded broker instead of Kafka
	// Brokers are what the members are told; default those of the cluster. The
	// story's own client never goes that way: put a proxy here.
	Brokers []string
	// Session is the members' session timeout; default sessionTimeout.
	Session time.Duration
	// Settings are lines added to every pipeline, Kafka lines of its section kafka
	// (without indent).
	Settings string
	Kafka    string
	// SoakShare is the story's part of STREAMCTL_SOAK; default a quarter. Those
	// that may not run beside others share it.
	SoakShare float64
}

// sessionTimeout is short, so that many members can be lost in little time.
const sessionTimeout = 2 * time.Second

// fleet is some processes that run the same pipelines.
type fleet struct {
	t       *testing.T
	rand    *rand.Rand
	cluster *testkit.Cluster   // a client that goes to the brokers directly
	kafka   *kafkatest.Cluster // nil on the embedded broker
	brokers string             // what the members are told
	session time.Duration
	share   float64 // of the soak
	// calmTime is how long it took to serve all keys when nothing happened.
	calmTime time.Duration
	binary   string
	name     string
	dir      string
	begun    time.Time
	jobs     []*job
	members  []*member
	faults   []*fault
}

// member is one place in the fleet: a data directory in which processes live one
// after the other.
type member struct {
	index   int
	dataDir string
	now     *testkit.Process // nil: none runs
	paused  bool
	lives   []life
}

// life is one process of a member.
type life struct {
	*testkit.Process
	ended string // by what we did, "" = by itself, or not
}

// fault is something that was done to the fleet.
type fault struct {
	kind  string
	at    time.Time
	after map[*job][]int64 // views that had been fed
}

// newFleet makes brokers' topics, pipelines and places, and starts nothing.
func newFleet(t *testing.T, o fleetOptions) *fleet {
	t.Helper()
	seed, err := testkit.Seed()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("STREAMCTL_SEED=%d", seed)
	f := &fleet{t: t, rand: rand.New(rand.NewPCG(seed, 0)), binary: all.build(t), begun: time.Now(), session: o.Session,
		name: fmt.Sprintf("%s-%04x", strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(t.Name(), "/", "-"), "Test")), rand.IntN(1<<16))}
	if f.session == 0 {
		f.session = sessionTimeout
	}
	if f.share = o.SoakShare; f.share == 0 {
		f.share = 0.25
	}
	f.dir = t.TempDir()
	direct := f.connect(o.Embedded)
	f.brokers = direct
	if f.kafka != nil {
		f.brokers = strings.Join(f.kafka.Addrs(), ",")
	}
	if len(o.Brokers) > 0 {
		f.brokers = strings.Join(o.Brokers, ",")
	}
	if f.cluster, err = testkit.Connect(direct); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.cluster.Close)
	if len(o.Jobs) == 0 {
		o.Jobs = []kind{running, join}
	}
	for _, k := range o.Jobs {
		f.jobs = append(f.jobs, newJob(t, k, f.name+"-"+string(k), f.dir, f.settings(o), f.rand.Uint64(), f.cluster))
	}
	if o.Members == 0 {
		o.Members = 3
	}
	for i := range o.Members {
		f.members = append(f.members, &member{index: i, dataDir: filepath.Join(f.dir, fmt.Sprint("member-", i))})
	}
	t.Cleanup(f.end)
	return f
}

// connect finds or starts the brokers and gives their true addresses.
func (f *fleet) connect(embedded bool) string {
	f.t.Helper()
	if !embedded {
		f.kafka = all.kafka.Cluster(f.t)
		return strings.Join(f.kafka.InternalAddrs(), ",")
	}
	b, err := broker.Start(broker.Config{Dir: filepath.Join(f.dir, "broker")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			f.t.Error(err)
		}
	})
	return b.Addr()
}

// settings are the lines that the fleet adds to a pipeline.
func (f *fleet) settings(o fleetOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka:\n  brokers: [%q]\n  session_timeout: %s\n", f.brokers, f.session)
	for line := range strings.Lines(o.Kafka) {
		b.WriteString("  " + line)
	}
	return strings.TrimSuffix(b.String(), "\n") + "\n" + o.Settings
}

// end kills what runs, and prints what was said when the story has failed.
func (f *fleet) end() {
	for _, j := range f.jobs {
		j.calm()
	}
	for _, m := range f.members {
		if m.now != nil {
			m.now.Kill()
		}
	}
	if !f.t.Failed() {
		f.tidy()
		return
	}
	for _, x := range f.faults {
		f.t.Logf("%8.3f s: %s", x.at.Sub(f.begun).Seconds(), x.kind)
	}
	for _, m := range f.members {
		for n, l := range m.lives {
			f.t.Logf("member %d, life %d, from %.3f s, %s:\n%s", m.index, n, l.Begun().Sub(f.begun).Seconds(), l.howItEnded(), f.said(l.Process))
		}
	}
	if f.kafka != nil {
		f.t.Logf("brokers said:\n%s", f.kafka.Log())
	}
}

// tidy deletes the topics of a story that went well, so that the brokers do not
// drag them through the restarts of the next ones.
func (f *fleet) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topics, err := f.cluster.TopicsWith(ctx, f.name)
	if err == nil && len(topics) > 0 {
		err = f.cluster.DeleteTopics(ctx, topics...)
	}
	if err != nil {
		f.t.Logf("delete topics of the story: %v", err)
	}
}

func (l life) howItEnded() string {
	switch {
	case l.ended != "":
		return l.ended
	case l.Ended():
		return fmt.Sprintf("ended by itself with code %d", l.ExitCode())
	}
	return "runs"
}

// shownLines of a life are printed from its begin, and as many from its end.
const shownLines = 60

// said is the log of a process with the times of the story.
func (f *fleet) said(p *testkit.Process) string {
	var b strings.Builder
	lines := p.Lines(nil)
	for i, l := range lines {
		if i == shownLines && len(lines) > 2*shownLines {
			fmt.Fprintf(&b, "  ... %d lines\n", len(lines)-2*shownLines)
		}
		if i < shownLines || i >= len(lines)-shownLines {
			fmt.Fprintf(&b, "  %8.3f %s\n", l.At.Sub(f.begun).Seconds(), l.Text)
		}
	}
	return b.String()
}

// fault notes that something is done now. Call it before doing it.
func (f *fleet) fault(kind string) *fault {
	x := f.mark(kind)
	f.faults = append(f.faults, x)
	return x
}

// mark notes a moment at which nothing is done.
func (f *fleet) mark(what string) *fault {
	x := &fault{kind: what, at: time.Now(), after: make(map[*job][]int64)}
	for _, j := range f.jobs {
		x.after[j], _ = j.sent()
	}
	return x
}

// start starts processes at the given places (default: at all that are empty).
func (f *fleet) start(indexes ...int) {
	f.t.Helper()
	for _, i := range f.which(indexes, func(m *member) bool { return m.now == nil }) {
		f.launch(i, nil)
	}
}

// launch starts a process with more environment and arguments.
func (f *fleet) launch(i int, env []string, args ...string) *testkit.Process {
	f.t.Helper()
	m := f.members[i]
	if m.now != nil {
		f.t.Fatalf("member %d runs already", i)
	}
	command := []string{"run"}
	for _, j := range f.jobs {
		command = append(command, j.file)
	}
	command = append(append(command, "--data-dir", m.dataDir, "--http", "127.0.0.1:0"), args...)
	p, err := testkit.Start(testkit.Launch{Binary: f.binary, Args: command, Env: env, Pipelines: len(f.jobs)})
	if err != nil {
		f.t.Fatal(err)
	}
	m.now, m.paused = p, false
	m.lives = append(m.lives, life{Process: p})
	return p
}

// which are the places meant: those given, or all that fit.
func (f *fleet) which(indexes []int, fits func(*member) bool) []int {
	if len(indexes) > 0 {
		return indexes
	}
	for _, m := range f.members {
		if fits(m) {
			indexes = append(indexes, m.index)
		}
	}
	return indexes
}

func runs(m *member) bool { return m.now != nil }

// startAll starts all members and waits until all are ready.
func (f *fleet) startAll() {
	f.t.Helper()
	f.start()
	f.awaitReady()
}

// awaitReady waits until processes (default: all) have said that they are ready.
func (f *fleet) awaitReady(indexes ...int) {
	f.t.Helper()
	for _, i := range f.which(indexes, runs) {
		f.await(fmt.Sprintf("member %d to become ready", i), patience, f.members[i].now.BecameReady)
	}
}

// await looks until done. That a member ends by itself fails the story at once.
func (f *fleet) await(what string, limit time.Duration, done func() bool) {
	f.t.Helper()
	tick := time.NewTicker(look)
	defer tick.Stop()
	late := time.After(limit)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("waited %s in vain for %s; %s", limit, what, f.whereItStands())
		}
		f.checkAlive()
	}
}

// pass lets time go by, while members must live.
func (f *fleet) pass(d time.Duration) {
	f.t.Helper()
	end := time.Now().Add(d)
	f.await("time to pass", patience+d, func() bool { return time.Now().After(end) })
}

func (f *fleet) checkAlive() {
	f.t.Helper()
	for _, m := range f.members {
		if m.now != nil && m.now.Ended() {
			p := m.now
			m.now = nil
			f.t.Fatalf("member %d ended by itself with code %d; it said:\n%s", m.index, p.ExitCode(), p.Said(30))
		}
	}
}

// whereItStands tells how far every job is.
func (f *fleet) whereItStands() string {
	var out []string
	for _, j := range f.jobs {
		sent, _ := j.sent()
		out = append(out, fmt.Sprintf("%s was fed %v views and gave %v outputs", j.name, sent, j.watch.Counts()))
	}
	return strings.Join(out, "; ")
}

// feed lets data flow into all jobs until calm.
func (f *fleet) feed() {
	for _, j := range f.jobs {
		j.feed(batch)
	}
}

// calm ends the feeds.
func (f *fleet) calm() {
	for _, j := range f.jobs {
		j.calm()
	}
}

// awaitDone waits until every view fed so far has its output.
func (f *fleet) awaitDone() {
	f.t.Helper()
	f.await("the outputs of all views", patience, func() bool {
		for _, j := range f.jobs {
			if !j.done() {
				return false
			}
		}
		return true
	})
}

// calmFactor is how many times slower than in calm a machine may be while
// processes start and tables are restored.
const calmFactor = 10

// awaitCalm waits until every partition of every job gives output, and notes how
// long that takes when nothing happens: on a machine with other things to do,
// limits are longer by a multiple of it.
func (f *fleet) awaitCalm() {
	f.t.Helper()
	f.calmTime = f.serving(f.mark("calm"))
}

// awaitServing waits until every partition of every job has given the output of a
// view that was fed after the fault, and fails the story when that takes more
// than limit. Data must flow. It returns, and tallies, how long it took.
func (f *fleet) awaitServing(x *fault, limit time.Duration) time.Duration {
	f.t.Helper()
	limit += calmFactor * f.calmTime
	took := f.serving(x)
	if took > limit {
		f.t.Errorf("after %s at %.3f s it took %s until all keys were served again, more than %s",
			x.kind, x.at.Sub(f.begun).Seconds(), took.Round(time.Millisecond), limit)
	}
	if slices.Contains(f.faults, x) {
		all.tally.add(func(t *tally) { t.serving[x.kind] = append(t.serving[x.kind], took) })
	}
	return took
}

// serving waits for output of what was fed after x and gives the time from x to it.
func (f *fleet) serving(x *fault) time.Duration {
	f.t.Helper()
	var last time.Time
	f.await("output after "+x.kind, patience, func() bool {
		last = x.at
		for _, j := range f.jobs {
			at, ok := j.servedAt(x.after[j])
			if !ok {
				return false
			}
			if at.After(last) {
				last = at
			}
		}
		return true
	})
	return last.Sub(x.at)
}

// kill ends processes with SIGKILL, all at once.
func (f *fleet) kill(indexes ...int) *fault {
	f.t.Helper()
	x := f.fault("SIGKILL")
	for _, i := range indexes {
		f.members[i].now.Signal(syscall.SIGKILL)
	}
	for _, i := range indexes {
		f.gone(i, "killed")
	}
	return x
}

// gone waits for the end of a process to which something was done.
func (f *fleet) gone(i int, how string) *testkit.Process {
	f.t.Helper()
	m := f.members[i]
	p := m.now
	m.now, m.paused = nil, false
	m.lives[len(m.lives)-1].ended = how
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.AwaitEnd(ctx); err != nil {
		f.t.Fatalf("member %d, %s: %v", i, how, err)
	}
	return p
}

// stop ends processes with TERM, as an operator does. They must succeed.
func (f *fleet) stop(indexes ...int) *fault {
	f.t.Helper()
	x := f.fault("SIGTERM")
	f.terminate(indexes)
	return x
}

func (f *fleet) terminate(indexes []int) {
	f.t.Helper()
	for _, i := range indexes {
		f.members[i].now.Signal(syscall.SIGTERM)
	}
	for _, i := range indexes {
		if p := f.gone(i, "told to stop"); p.ExitCode() != 0 {
			f.t.Errorf("member %d, told to stop, ended with code %d; it said:\n%s", i, p.ExitCode(), p.Said(30))
		}
	}
}

// pause stops a process with SIGSTOP, resume lets it go on.
func (f *fleet) pause(i int) *fault {
	f.t.Helper()
	x := f.fault("SIGSTOP")
	f.members[i].now.Signal(syscall.SIGSTOP)
	f.members[i].paused = true
	return x
}

func (f *fleet) resume(i int) {
	f.t.Helper()
	f.members[i].now.Signal(syscall.SIGCONT)
	f.members[i].paused = false
}

// crashAt starts a process that kills itself at the count-th time it comes by a
// named step, and waits until it has.
func (f *fleet) crashAt(i int, point string, count int) *fault {
	f.t.Helper()
	p := f.launch(i, []string{fmt.Sprintf("%s=%s:%d", crashpoint.Env, point, count)})
	m := f.members[i]
	m.now = nil // it may end
	m.lives[len(m.lives)-1].ended = "crashed at " + point
	f.await(fmt.Sprintf("member %d to crash at %s", i, point), patience, p.Ended)
	x := f.fault("crash point")
	if !p.Killed() {
		f.t.Fatalf("member %d did not die at %s but ended with code %d; it said:\n%s", i, point, p.ExitCode(), p.Said(50))
	}
	return x
}

// loseState deletes the state of a member that does not run.
func (f *fleet) loseState(i int) {
	f.t.Helper()
	if f.members[i].now != nil {
		f.t.Fatalf("member %d runs", i)
	}
	if err := os.RemoveAll(f.members[i].dataDir); err != nil {
		f.t.Fatal(err)
	}
}

// soak is how long to go on beyond the short form.
func (f *fleet) soak() time.Duration {
	f.t.Helper()
	d, err := testkit.Soak()
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// longRounds is how often a story of the long form strikes at least, however
// long that takes.
const longRounds = 20

// rounds calls do with 0, 1, ... n times, and on for the story's share of the soak.
func (f *fleet) rounds(n int, do func(round int)) {
	f.t.Helper()
	soak := f.soak()
	if soak > 0 {
		n = max(n, longRounds)
	}
	end := time.Now().Add(time.Duration(f.share * float64(soak)))
	for round := 0; round < n || time.Now().Before(end); round++ {
		do(round)
		if f.t.Failed() {
			return
		}
	}
}
