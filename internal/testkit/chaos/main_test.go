package chaos

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/kafkatest"
	"streamctl/internal/testkit"
	"streamctl/internal/testkit/faultproxy"
)

// shared is what all stories use: one cluster of three nodes with a proxy before
// each, one binary, one tally.
type shared struct {
	kafka  kafkatest.SharedCluster
	binary testkit.Binary
	tally  tally
	// proxies by node; the members go through them, the stories' own client does
	// not. plan decides about the requests to all of them.
	proxies map[int]*faultproxy.Proxy
	plan    *faultproxy.Plan
}

var all shared

// sideBySide is how many stories run at once.
const sideBySide = "5"

func TestMain(m *testing.M) {
	all.plan, all.proxies = faultproxy.NewPlan(0), make(map[int]*faultproxy.Proxy)
	all.kafka.Options.Advertise = all.advertise
	all.kafka.Options.Properties = map[string]string{
		// How often brokers look for transactions that are too old.
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
		// Kafka's default: of processes that start together after none was there, the
		// first one must not be given, and restore, what the others have the state of.
		"group.initial.rebalance.delay.ms": "3000",
	}
	// Stories wait most of the time: more of them than cores may run at once, unless
	// somebody has said how many.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(sideBySide); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	for _, p := range all.proxies {
		p.Close()
	}
	all.kafka.Close()
	all.binary.Close()
	all.tally.print(os.Stdout)
	if path := os.Getenv("STREAMCTL_CHAOS_SUMMARY"); path != "" {
		if err := all.tally.write(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// advertise puts a proxy before a node.
func (s *shared) advertise(node int, addr string) (string, error) {
	if old := s.proxies[node]; old != nil { // of a launch that failed
		old.Close()
	}
	p, err := faultproxy.Start(addr, faultproxy.Options{Plan: s.plan})
	if err != nil {
		return "", err
	}
	s.proxies[node] = p
	return p.Addr(), nil
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

// tally is what all stories together did and found. Its methods may be called
// from any goroutine.
type tally struct {
	mu          sync.Mutex
	stories     []string
	faults      map[string]int             // by kind
	serving     map[string][]time.Duration // by kind: until every partition gave output again
	records     int                        // compared with the model
	differences int                        // partitions whose records are not the model's
	open        int                        // transactions that were left open
	found       []string                   // what the differences are
}

func (t *tally) add(change func(*tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.faults == nil {
		t.faults, t.serving = make(map[string]int), make(map[string][]time.Duration)
	}
	change(t)
}

func (t *tally) write(path string) error {
	var b strings.Builder
	t.print(&b)
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// print writes the table; nothing when no story has ended.
func (t *tally) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.stories) == 0 {
		return
	}
	slices.Sort(t.stories)
	fmt.Fprintf(w, "\n%d stories: %s\n\n", len(t.stories), strings.Join(t.stories, ", "))
	fmt.Fprintln(w, "| fault | injected | output again, median | at most |")
	fmt.Fprintln(w, "|---|---:|---:|---:|")
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(t.faults)) {
		total += t.faults[kind]
		median, most := "", ""
		if times := slices.Sorted(slices.Values(t.serving[kind])); len(times) > 0 {
			median = times[len(times)/2].Round(10 * time.Millisecond).String()
			most = times[len(times)-1].Round(10 * time.Millisecond).String()
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s |\n", kind, t.faults[kind], median, most)
	}
	fmt.Fprintf(w, "| all | %d | | |\n\n", total)
	fmt.Fprintf(w, "records checked: %d, differences: %d, open transactions: %d\n\n", t.records, t.differences, t.open)
	for _, what := range t.found {
		fmt.Fprintln(w, what)
	}
}
