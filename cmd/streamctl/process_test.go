package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/broker"
	"streamctl/internal/lines"
)

// process is streamctl as a process of its own: the test binary under that name
// (see TestMain).
type process struct {
	cmd  *exec.Cmd
	said *buffer
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{said: newBuffer()}
	p.cmd = &exec.Cmd{Path: self, Args: append([]string{"streamctl"}, args...), Stdout: io.Discard, Stderr: p.said}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

func TestTermEndsARunInOrder(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := launch(t, "run", filepath.Join(examplesDir, "01-filter", "pipeline.yaml"), "--data-dir", dir)
		p.said.await(t, ctx, `"msg":"ready"`)
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("after %v: %v\n%s", sig, err, p.said)
		}
	}
}

// waiting starts a command whose streams are pipes that the test holds.
func waiting(t *testing.T, args ...string) (p *process, stdin io.Closer, stdout io.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p = &process{said: newBuffer()}
	p.cmd = &exec.Cmd{Path: self, Args: append([]string{"streamctl"}, args...), Stderr: p.said}
	if stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p, stdin, stdout
}

func TestSignalEndsProduceThatWaitsForInput(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, stdin, _ := waiting(t, "produce", "t", "--data-dir", t.TempDir(), "--log-level", "debug")
	defer stdin.Close()
	p.said.await(t, ctx, "embedded broker")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil || p.cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("after a signal: %v, want code %d", err, exitFailed)
	}
}

// The first signal cannot end a command that is stuck in printing; the second does.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	streamctl(t, "generate", "page-views", "t", "--count", "20000", "--data-dir", dir) // more than a pipe holds
	p, stdin, stdout := waiting(t, "consume", "t", "--from-beginning", "--data-dir", dir, "--log-level", "debug")
	defer stdin.Close()
	// It prints, and from here on nobody reads: soon it is stuck.
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		case err := <-ended:
			if err == nil || p.cmd.ProcessState.ExitCode() != exitFailed {
				t.Errorf("after two signals: %v, want code %d", err, exitFailed)
			}
			return
		case <-ctx.Done():
			t.Fatal("it did not end")
		}
	}
}

// killPipeline passes views on and counts them, so that a record lost or
// counted twice shows in both outputs.
const killPipeline = `pipeline: killed
commit_interval: 20ms
sources:
  views: {topic: views, partitioned_by: viewerId, fields: {viewerId: int, seq: int}}
streams:
  copy: {from: views v, select: [{viewer: v.viewerId}, {seq: v.seq}]}
tables:
  counts: {from: views v, group_by: v.viewerId, select: [{n: count()}, {last: max(v.seq)}]}
sinks:
  copies: {from: copy, topic: copies}
  counted: {from: counts, topic: counted}
`

// The embedded broker dies with the process that runs the pipeline. What it has
// answered must have happened, wholly or not at all.
func TestKilledWithItsBroker(t *testing.T) {
	const views, kills = 60_000, 6
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(killPipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	data := []string{"--data-dir", filepath.Join(dir, "data")}
	streamctl(t, append([]string{"generate", "page-views", "views", "--count", fmt.Sprint(views), "--profiles", "500"}, data...)...)
	random := rand.New(rand.NewPCG(7, 7))
	for range kills {
		p := launch(t, append([]string{"run", file}, data...)...)
		p.said.await(t, ctx, `"msg":"ready"`)
		hit := time.NewTimer(time.Duration(random.IntN(120)) * time.Millisecond)
		<-hit.C
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.cmd.Wait() // killed
	}
	streamctl(t, append([]string{"run", file, "--until-end"}, data...)...)

	copies := perKey(t, streamctl(t, append([]string{"consume", "copies", "--until-end"}, data...)...))
	counted := perKey(t, streamctl(t, append([]string{"consume", "counted", "--until-end"}, data...)...))
	input := perKey(t, streamctl(t, append([]string{"consume", "views", "--until-end"}, data...)...))
	total := 0
	for key, in := range input {
		total += len(in)
		if len(copies[key]) != len(in) {
			t.Errorf("key %s: %d views, %d copies", key, len(in), len(copies[key]))
		}
		for i, value := range counted[key] {
			if want := fmt.Sprintf(`"n":%d,`, i+1); !strings.Contains(value, want) {
				t.Errorf("key %s: output %d is %s, want %s", key, i, value, want)
				break
			}
		}
		if len(counted[key]) != len(in) {
			t.Errorf("key %s: %d views, %d counts", key, len(in), len(counted[key]))
		}
	}
	if total != views {
		t.Errorf("%d views in the topic, want %d", total, views)
	}
}

// What is consumed while a run writes comes without --until-end too.
func TestConsumeFollows(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// One broker for all: otherwise consume might find that of a produce, which
	// ends with it.
	lease, err := broker.Attach(ctx, broker.Config{Dir: filepath.Join(dir, "broker")})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	streamctl(t, "produce", "t", "--from", os.DevNull, "--data-dir", dir)
	following, stop := context.WithCancel(ctx)
	out, in := io.Pipe()
	var code atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a := newApp(strings.NewReader(""), in, io.Discard, os.Getenv)
		code.Store(int32(a.execute(following, []string{"consume", "t", "--from-beginning", "--data-dir", dir})))
		in.Close()
	}()
	scan := bufio.NewScanner(out)
	for i := range 3 {
		line := filepath.Join(dir, "line.jsonl")
		if err := os.WriteFile(line, fmt.Appendf(nil, `{"key":"k","value":%d}`, i), 0o600); err != nil {
			t.Fatal(err)
		}
		streamctl(t, "produce", "t", "--from", line, "--data-dir", dir)
		if !scan.Scan() {
			t.Fatalf("record %d was not printed: %v", i, scan.Err())
		}
		p, err := lines.Parse(scan.Bytes())
		if err != nil || string(p.Record.Value) != fmt.Sprint(i) {
			t.Fatalf("printed %s (%v), want value %d", scan.Bytes(), err, i)
		}
	}
	stop()
	<-ended
	if code.Load() != exitOK {
		t.Errorf("told to stop, consume ended with code %d", code.Load())
	}
}
