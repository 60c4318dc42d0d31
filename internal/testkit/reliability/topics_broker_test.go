package reliability

import (
	"context"
	"strings"
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
	for name, anew := range map[string]bool{"deleted": false, "deleted and made anew": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, copying("gone"), "gone-views", "gone-out")
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
