package pipetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/kafkatest"
	"streamctl/internal/record"
	"streamctl/internal/testkit"
)

// TestExamplesOnKafka sends what the tests of every example send to the binary on
// a real broker, and holds what comes out to what came out in memory: the same
// records, in the same order, with the same times. Where what was computed on
// two ways meets again, these are as fast as they are, and only the last row of
// each key is held to. Tests that move the wall
// clock or expect errors can be told in memory only; every example must have one
// that can be told here.
func TestExamplesOnKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real Kafka: left out by -short")
	}
	files, err := Find([]string{"../../examples"})
	if err != nil || len(files) == 0 {
		t.Fatalf("find examples: %v, %v", files, err)
	}
	var product testkit.Binary
	defer product.Close()
	var kafka kafkatest.Shared
	defer kafka.Close()
	addr := kafka.Broker(t).Addr()
	binary, err := product.Path()
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := testkit.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	for i, path := range files {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			var f FileResult
			b := load(path, &f, nil)
			if b == nil {
				t.Fatalf("%s: %v", path, f.Faults)
			}
			told := 0
			for n, test := range b.suite.Tests {
				if !tellable(test) {
					continue
				}
				told++
				on := &onKafka{t: t, cluster: cluster, binary: binary, addr: addr, prefix: fmt.Sprintf("e%d-%d-", i, n), bound: b}
				on.tell(test)
			}
			if told == 0 {
				t.Errorf("%s: none of its tests can be told on a real broker", path)
			}
			t.Logf("%d of %d tests told", told, len(b.suite.Tests))
		})
	}
}

// tellable says whether a test needs nothing that only the world in memory has.
func tellable(test *Test) bool {
	for _, s := range test.steps {
		switch a := s.action.(type) {
		case *advance, *expectError:
			return false
		case *send:
			if slices.ContainsFunc(a.records, func(r *sentRecord) bool { return len(r.headers) > 0 || r.partition > 0 }) {
				return false
			}
		}
	}
	return true
}

// onKafka tells one test, under names of its own.
type onKafka struct {
	t            *testing.T
	cluster      *testkit.Cluster
	binary, addr string
	prefix       string
	bound        *bound
	places       []*place
}

// place is where the process of one pipeline runs.
type place struct {
	run  *running // says which pipeline it is
	file string
	data string
	now  *testkit.Process // nil: none runs
}

func (k *onKafka) tell(test *Test) {
	k.t.Helper()
	want := k.inMemory(test)
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	configs := make(map[string]map[string]string)
	for _, c := range k.bound.programs {
		outerTopics(c.Topology, configs)
		k.places = append(k.places, &place{run: &running{program: program{topology: c.Topology}}, file: k.renamed(c), data: k.t.TempDir()})
	}
	for topic, config := range configs {
		if err := k.cluster.CreateTopic(ctx, k.prefix+topic, 1, cmp.Or(config["cleanup.policy"], "delete")); err != nil {
			k.t.Fatal(err)
		}
	}
	defer k.each(which{}, (*place).kill)
	for _, p := range k.places {
		if !(&runner{test: test}).beginsStopped(p.run) {
			k.start(ctx, p)
		}
	}
	for _, s := range test.steps {
		switch a := s.action.(type) {
		case *send:
			for _, m := range messages(test, a) { // one by one: between topics there is no order but that of time
				if err := k.cluster.ProduceAll(ctx, k.prefix+a.port.topic, []testkit.Message{m}); err != nil {
					k.t.Fatal(err)
				}
				k.await(ctx)
			}
		case *stop:
			k.each(a.which, func(p *place) { k.stop(ctx, p) })
		case *start:
			k.each(a.which, func(p *place) { k.start(ctx, p) })
		case *restart:
			k.each(a.which, func(p *place) {
				p.kill()
				if a.loseState {
					p.data = k.t.TempDir()
				}
				k.start(ctx, p)
			})
		}
		k.await(ctx)
	}
	for topic, want := range want {
		var got []string
		if err := k.cluster.Read(ctx, k.prefix+topic, func(m testkit.Message) { got = append(got, line(m.Key, m.Value, m.Time)) }); err != nil {
			k.t.Fatal(err)
		}
		if k.meets() {
			want, got = lastRows(want), lastRows(got)
		}
		if !slices.Equal(got, want) {
			k.t.Errorf("%s: topic %s holds\n%s\nin memory it held\n%s", test.Name, topic, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// meets says whether a task reads two topics that the pipeline itself writes.
func (k *onKafka) meets() bool {
	for _, c := range k.bound.programs {
		for _, sub := range c.Topology.Subs {
			own := 0
			for _, in := range sub.Inputs {
				if in.Internal {
					own++
				}
			}
			if own > 1 {
				return true
			}
		}
	}
	return false
}

// lastRows keeps of each key the line that came last, sorted.
func lastRows(lines []string) []string {
	last := make(map[string]string)
	for _, l := range lines {
		key, _, _ := strings.Cut(l, "\" \"") // as line writes it
		last[key] = l
	}
	return slices.Sorted(maps.Values(last))
}

// each does something at the places of the pipelines that a step is about.
func (k *onKafka) each(w which, do func(*place)) {
	for _, p := range k.places {
		if w.means(p.run) {
			do(p)
		}
	}
}

// start runs the pipeline of a place, unless it runs, under a name that it keeps.
func (k *onKafka) start(ctx context.Context, p *place) {
	k.t.Helper()
	if p.now != nil {
		return
	}
	var err error
	p.now, err = testkit.Start(testkit.Launch{Binary: k.binary, Args: []string{
		"run", p.file, "--brokers", k.addr, "--data-dir", p.data, "--instance", "one",
	}})
	if err != nil {
		k.t.Fatal(err)
	}
	if err := p.now.AwaitReady(ctx); err != nil {
		k.t.Fatalf("%s: %v", p.run.name(), err)
	}
}

func (k *onKafka) stop(ctx context.Context, p *place) {
	k.t.Helper()
	if p.now == nil {
		return
	}
	p.now.Signal(syscall.SIGTERM)
	if err := p.now.AwaitEnd(ctx); err != nil {
		k.t.Fatal(err)
	}
	p.now = nil
}

func (p *place) kill() {
	if p.now != nil {
		p.now.Kill()
		p.now = nil
	}
}

func line(key, value []byte, time int64) string { return fmt.Sprintf("%q %q %d", key, value, time) }

// messages are the records of a step as they are sent.
func messages(test *Test, a *send) []testkit.Message {
	var out []testkit.Message
	for _, r := range a.records {
		m := testkit.Message{Partition: -1, Key: r.keyBytes, Value: r.valueBytes, Time: test.clock.UnixMilli()}
		if r.at != nil {
			m.Time = r.at.from(test.clock)
		}
		out = append(out, m)
	}
	return out
}

// inMemory tells the same to the world in memory, and gives what came out, by topic.
func (k *onKafka) inMemory(test *Test) map[string][]string {
	k.t.Helper()
	b := k.bound
	var watched []string
	for _, name := range b.outputs.names() {
		watched = append(watched, b.outputs.get(name).topic)
	}
	r := &runner{bound: b, test: test}
	err := r.begin(watched, func(string) int32 { return 1 })
	if err != nil {
		k.t.Fatal(err)
	}
	w := r.world
	defer w.close()
	for _, s := range test.steps {
		switch a := s.action.(type) {
		case *send:
			for _, m := range messages(test, a) {
				err = errors.Join(err, w.send(a.port.topic, 0, record.Record{Key: m.Key, Value: m.Value, Time: m.Time}))
			}
		case *stop, *start, *restart:
			err = r.step(s)
		}
		if err != nil {
			k.t.Fatal(err)
		}
	}
	if failed := w.failed(); failed != nil {
		k.t.Fatalf("%s: %v", test.Name, failed.failure)
	}
	out := make(map[string][]string)
	for _, topic := range watched {
		out[topic] = nil
		for _, r := range w.take(topic) {
			out[topic] = append(out[topic], line(r.Key, r.Value, r.Time))
		}
	}
	return out
}

// renamed writes the pipeline with names of its own for itself and its topics.
func (k *onKafka) renamed(c *compiled) string {
	k.t.Helper()
	src, err := os.ReadFile(c.path)
	if err != nil {
		k.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(src), "topic: ", "topic: "+k.prefix)
	text = strings.Replace(text, "pipeline: ", "pipeline: "+k.prefix, 1)
	path := filepath.Join(k.t.TempDir(), c.name()+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return path
}

// await returns when all that lies in the topics that running pipelines read is processed.
func (k *onKafka) await(ctx context.Context) {
	k.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		behind, err := k.behind(ctx)
		if err != nil {
			k.t.Fatal(err)
		}
		if behind == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			k.t.Fatalf("not all is processed: %s", behind)
		}
		k.each(which{}, func(p *place) {
			if p.now != nil && p.now.Ended() {
				k.t.Fatalf("%s has ended; it said:\n%s", p.run.name(), p.now.Said(20))
			}
		})
	}
}

// behind tells of a topic that is not processed to its end, "" for none. What is
// last in a topic that is written in transactions is a marker, which needs no commit.
func (k *onKafka) behind(ctx context.Context) (string, error) {
	written := make(map[string]bool)
	for _, c := range k.bound.programs {
		for _, sub := range c.Topology.Subs {
			for _, out := range sub.Outputs {
				written[out.Topic] = true
			}
		}
	}
	for _, p := range k.places {
		if p.now == nil {
			continue
		}
		committed, err := k.cluster.Committed(ctx, k.prefix+p.run.name())
		if err != nil {
			return "", err
		}
		// What was committed has come out only when the markers of its transactions are written.
		open, err := k.cluster.OpenTransactions(ctx, k.prefix)
		if err != nil || len(open) > 0 {
			return strings.Join(open, ", "), err
		}
		for _, sub := range p.run.topology.Subs {
			for _, in := range sub.Inputs {
				topic := k.prefix + in.Topic // internal ones, too: they begin with the pipeline's name
				ends, err := k.cluster.Ends(ctx, topic)
				if err != nil {
					return "", err
				}
				if at, end := committed[topic][0], ends[0]; at < end && !(written[in.Topic] && at == end-1) {
					return fmt.Sprintf("%s is at %d of %d", topic, at, end), nil
				}
			}
		}
	}
	return "", nil
}
