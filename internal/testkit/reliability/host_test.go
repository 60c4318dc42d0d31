package reliability

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"streamctl/internal/broker"
	"streamctl/internal/testkit"
)

// host is a broker with the topics of one pipeline, for the real binary.
type host struct {
	t           *testing.T
	cluster     *testkit.Cluster
	binary      string
	file        string
	name        string
	views, outs string
	data        *testkit.Data
}

// onBrokers tells a story of the binary on the embedded broker and on real Kafka.
func onBrokers(t *testing.T, story func(t *testing.T, newHost func(t *testing.T, text, views, outs string) *host)) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		story(t, newHost)
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		addr := realKafka.Broker(t).Addr()
		story(t, func(t *testing.T, text, views, outs string) *host { return hostAt(t, addr, text, views, outs) })
	})
}

// newHost is a host on an embedded broker of its own.
func newHost(t *testing.T, text, views, outs string) *host {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return hostAt(t, b.Addr(), text, views, outs)
}

// hostAt is a host on the broker at addr, where no other has its topics.
func hostAt(t *testing.T, addr, text, views, outs string) *host {
	t.Helper()
	cluster, err := testkit.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	path, err := product.Path()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{
		t: t, cluster: cluster, binary: path, file: filepath.Join(t.TempDir(), "pipeline.yaml"), views: views, outs: outs,
		name: strings.TrimSuffix(views, "-views"), data: testkit.NewData(testkit.DataConfig{Seed: 1, Profiles: profiles, Viewers: 20_000}),
	}
	if err := os.WriteFile(h.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{views, outs} {
		if err := cluster.CreateTopic(t.Context(), topic, partitions, "delete"); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// start runs the binary and waits until it is ready.
func (h *host) start(data string) *testkit.Process {
	h.t.Helper()
	p := h.launch(data)
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := p.AwaitReady(ctx); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// launch runs the binary.
func (h *host) launch(data string) *testkit.Process {
	h.t.Helper()
	p, err := testkit.Start(testkit.Launch{Binary: h.binary, Args: []string{"run", h.file, "--brokers", h.cluster.Addr, "--data-dir", data}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(p.Kill)
	return p
}

// feed produces n views and gives them back.
func (h *host) feed(n int) []testkit.Message {
	h.t.Helper()
	views := make([]testkit.Message, n)
	for i := range views {
		views[i] = h.data.View()
	}
	if err := h.cluster.ProduceAll(h.t.Context(), h.views, views); err != nil {
		h.t.Fatal(err)
	}
	return views
}

// feedUntil produces views until the process says text.
func (h *host) feedUntil(p *testkit.Process, text string) (views []testkit.Message) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); len(h.lines(p, text)) == 0; {
		views = append(views, h.feed(2000)...)
		if p.Ended() || time.Now().After(deadline) {
			h.t.Fatalf("after %d views it has not said %q; it said:\n%s", len(views), text, p.Said(30))
		}
	}
	return views
}

func (h *host) lines(p *testkit.Process, text string) []testkit.LogLine {
	return p.Lines(func(line string) bool { return strings.Contains(line, text) })
}

func (h *host) awaitLine(p *testkit.Process, text string) { h.t.Helper(); h.awaitLines(p, text, 1) }

func (h *host) awaitLines(p *testkit.Process, text string, n int) {
	h.t.Helper()
	h.await(fmt.Sprintf("it says %q %d times", text, n), func() bool {
		if p.Ended() {
			h.t.Fatalf("it has ended; it said:\n%s", p.Said(30))
		}
		return len(h.lines(p, text)) >= n
	})
}

// await returns when cond holds.
func (h *host) await(what string, cond func() bool) {
	h.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}

func (h *host) awaitEnd(p *testkit.Process) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := p.AwaitEnd(ctx); err != nil {
		h.t.Fatal(err)
	}
	if code := p.ExitCode(); code != 0 {
		h.t.Fatalf("exit code %d; it said:\n%s", code, p.Said(30))
	}
}

// committed is the sum of the group's offsets in the views.
func (h *host) committed() (sum int64) {
	h.t.Helper()
	offsets, err := h.cluster.Committed(h.t.Context(), h.name)
	if err != nil && !errors.Is(err, context.Canceled) {
		h.t.Fatal(err)
	}
	for _, at := range offsets[h.views] {
		sum += at
	}
	return sum
}

// outputs are the records of the output by key.
func (h *host) outputs() testkit.Sequences {
	h.t.Helper()
	got := make(testkit.Sequences)
	if err := h.cluster.Read(h.t.Context(), h.outs, func(m testkit.Message) {
		got.Add(testkit.Output{Key: string(m.Key), Value: string(m.Value)})
	}); err != nil {
		h.t.Fatal(err)
	}
	return got
}
