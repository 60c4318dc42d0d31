package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"streamctl/internal/kafkatest"
)

// probes are those of a process that runs.
type probes struct {
	*process
	t    *testing.T
	base string
}

// launchProbed starts a process that serves its probes on a free port.
func launchProbed(t *testing.T, ctx context.Context, args ...string) *probes {
	t.Helper()
	p := launch(t, append(args, "--http", "127.0.0.1:0")...)
	p.said.await(t, ctx, `"msg":"probes and metrics"`)
	m := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(p.said.String())
	if m == nil {
		t.Fatalf("no address in:\n%s", p.said)
	}
	return &probes{p, t, "http://" + m[1]}
}

// get asks once; code 0 means that nobody answers.
func (p *probes) get(path string) (code int, body string) {
	p.t.Helper()
	resp, err := http.Get(p.base + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// await asks until the answer has the code and holds text.
func (p *probes) await(ctx context.Context, path string, code int, text string) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := p.get(path)
		if got == code && strings.Contains(body, text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("%s answers %d, want %d with %q:\n%s\nsaid:\n%s", path, got, code, text, body, p.said)
		}
	}
}

func TestProbesOfARun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	streamctl(t, "generate", "page-views", "page-views", "--count", "500", "--data-dir", dir)
	p := launchProbed(t, ctx, "run", filepath.Join(examplesDir, "01-filter", "pipeline.yaml"), "--data-dir", dir)
	p.await(ctx, "/readyz", 200, "readyz check passed")
	p.await(ctx, "/livez", 200, "livez check passed")
	p.await(ctx, "/metrics", 200, `streamctl_records_processed_total{pipeline="filter"} 500`)
	if code, _ := p.get("/debug/pprof/"); code != 404 {
		t.Errorf("pprof answers %d", code)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after a signal: %v\n%s", err, p.said)
	}
	if code, body := p.get("/livez"); code != 0 {
		t.Errorf("after the end %d is answered: %s", code, body)
	}
}

func TestHTTPAddressIsChecked(t *testing.T) {
	if code, _, stderr := exit(t.Context(), "run", filepath.Join(examplesDir, "01-filter", "pipeline.yaml"), "--http", "nowhere"); code != exitUsage || !strings.Contains(stderr, "--http") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

const probedPipeline = `pipeline: probed
kafka: {brokers: ["%s"]}
sources:
  views: {topic: probed-views, fields: {page: string}}
streams:
  profiles: {from: views, where: page == "profile"}
sinks:
  out: {from: profiles, topic: probed-out}
`

// A process is ready as long as its broker answers, and says so both ways.
func TestReadinessFollowsTheBroker(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(probedPipeline, b.Addr())), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"probed-views", "probed-out"} {
		streamctl(t, "produce", topic, "--pipeline", file, "--from", os.DevNull, "--partitions", "2")
	}
	p := launchProbed(t, ctx, "run", file, "--data-dir", filepath.Join(dir, "data"))
	p.await(ctx, "/readyz", 200, "tasks ok: 2 of 2 run")

	// A broker that hangs, and one that has gone.
	for _, fault := range []struct {
		name        string
		begin, mend func() error
	}{
		{"paused", b.Pause, b.Resume},
		{"stopped", func() error { return b.Stop(ctx) }, func() error { return b.Restart(ctx) }},
	} {
		if err := fault.begin(); err != nil {
			t.Fatal(err)
		}
		p.await(ctx, "/readyz", 503, "[-]probed/broker failed: ")
		if code, body := p.get("/livez"); code != 200 {
			t.Errorf("livez answers %d while the broker is %s: a restart would not help\n%s", code, fault.name, body)
		}
		p.await(ctx, "/metrics", 200, `streamctl_ready{pipeline="probed"} 0`)
		if err := fault.mend(); err != nil {
			t.Fatal(err)
		}
		p.await(ctx, "/readyz", 200, "readyz check passed")
	}
	p.said.await(t, ctx, `"msg":"ready again"`)
	if !strings.Contains(p.said.String(), `"msg":"not ready"`) {
		t.Errorf("the log lacks the changes:\n%s", p.said)
	}
}
