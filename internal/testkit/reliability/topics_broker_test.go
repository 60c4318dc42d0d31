package reliability

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/testkit"
)

// copying is copyingPipeline under another name.
func copying(name string) string {
	return strings.NewReplacer("pipeline: p\n", "pipeline: "+name+"\n", "p-views", name+"-views", "p-out", name+"-out").Replace(copyingPipeline)
}

// admin is a control plane of the test's own.
func (h *host) admin() *kadm.Client {
	h.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.cluster.Addr))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// TestBinaryNoticesTopics: the real process, a broker, and topics that change.
func TestBinaryNoticesTopics(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, newHost func(*testing.T, string, string, string) *host) {
		t.Run("more partitions", func(t *testing.T) {
			t.Parallel()
			h := newHost(t, copying("grown"), "grown-views", "grown-out")
			p := h.start(t.TempDir())
			views := h.feed(1000)
			if _, err := h.admin().UpdatePartitions(t.Context(), partitions+2, h.views); err != nil {
				t.Fatal(err)
			}
			h.awaitLine(p, "topic has got more partitions")
			views = append(views, h.feed(1000)...)
			h.await("all of it has come out", func() bool { return h.outputs().Len() == len(views) })
		})
		for name, anew := range map[string]bool{"deleted": false, "anew": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := newHost(t, copying(name), name+"-views", name+"-out")
				p := h.start(t.TempDir())
				n := h.feed(1000)
				h.await("all of it has come out", func() bool { return h.outputs().Len() == len(n) })
				if err := h.cluster.DeleteTopics(t.Context(), h.outs); err != nil {
					t.Fatal(err)
				}
				says := "was deleted; create it"
				if anew {
					if err := h.cluster.CreateTopic(t.Context(), h.outs, partitions, "delete"); err != nil {
						t.Fatal(err)
					}
					says = "was deleted and created anew"
				}
				h.awaitFailure(p, h.outs+", which the pipeline writes, "+says)
			})
		}
	})
}

// TestBinaryMissesRecords: records are deleted at the broker while the process
// is down. It says so and stops, or goes on where it was told to.
func TestBinaryMissesRecords(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, newHost func(*testing.T, string, string, string) *host) {
		h := newHost(t, copying("gap"), "gap-views", "gap-out")
		data := t.TempDir()
		p := h.start(data)
		before := h.feed(1000)
		h.await("all of it is processed", func() bool { return h.committed() == int64(len(before)) })
		p.Signal(syscall.SIGTERM)
		h.awaitEnd(p)
		missed := h.feed(1000)
		ends, err := h.cluster.Ends(t.Context(), h.views)
		if err != nil {
			t.Fatal(err)
		}
		below := make(kadm.Offsets)
		for p, end := range ends {
			below.AddOffset(h.views, p, end, -1)
		}
		if _, err := h.admin().DeleteRecords(t.Context(), below); err != nil {
			t.Fatal(err)
		}
		p = h.launch(data)
		h.awaitFailure(p, "deleted before they were processed")
		if err := os.WriteFile(h.file, []byte(copying("gap")+"on_gap: earliest\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p = h.start(data)
		after := h.feed(1000)
		h.await("what came after is processed", func() bool { return h.outputs().Len() == len(before)+len(after) })
		p.Signal(syscall.SIGTERM)
		h.awaitEnd(p)
		if says := fmt.Sprintf(`"views/gap":%d`, len(missed)); len(h.lines(p, says)) != 1 {
			t.Errorf("its last line does not count %s; it said:\n%s", says, p.Said(30))
		}
	})
}

// TestBinaryLosesItsState: the process is killed while it works, and its state is
// gone when it starts again.
func TestBinaryLosesItsState(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, newHost func(*testing.T, string, string, string) *host) {
		h := newHost(t, fmt.Sprintf(testkit.RunningPipeline, "lost"), "lost-views", "lost-out")
		var views []testkit.Message
		for range 3 {
			data := t.TempDir()
			p := h.start(data)
			views = append(views, h.feed(2000)...)
			h.await("some of it is committed", func() bool { return h.committed() > int64(len(views)-2000) })
			p.Kill()
		}
		p := h.start(t.TempDir())
		h.await("everything is processed", func() bool { return h.committed() == int64(len(views)) })
		p.Signal(syscall.SIGTERM)
		h.awaitEnd(p)
		want, m := make(testkit.Sequences), testkit.NewRunningModel()
		for _, v := range views {
			o, err := m.View(v)
			if err != nil {
				t.Fatal(err)
			}
			want.Add(o)
		}
		if diff := testkit.Diff(want, h.outputs()); diff != "" {
			t.Error(diff)
		}
	})
}

// awaitFailure returns when the process has ended by what it says.
func (h *host) awaitFailure(p *testkit.Process, says string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := p.AwaitEnd(ctx); err != nil {
		h.t.Fatal(err)
	}
	if p.ExitCode() != 1 || !strings.Contains(p.Said(20), says) {
		h.t.Errorf("exit code %d; it said:\n%s\nwant %q", p.ExitCode(), p.Said(20), says)
	}
}
