package crash

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/crashpoint"
)

// child is one life of streamctl.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	ready chan struct{} // closed when it has said that it is ready
	done  chan struct{} // closed when it has ended
	err   error         // how; valid after done

	mu    sync.Mutex
	lines []string
}

var (
	readyLine = regexp.MustCompile(`(?i)"?msg"?[:=]"?ready"?`)
	fullLine  = regexp.MustCompile(`"?mode"?[:=]"?full`)
)

// launch starts the binary; point is a crash point or "".
func launch(t *testing.T, binary, point string, args ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(binary, args...), ready: make(chan struct{}), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), crashpoint.Env+"="+point)
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout = io.Discard
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start streamctl: %v", err)
	}
	go c.watch(stderr)
	t.Cleanup(c.kill)
	return c
}

// watch collects what it says until its end.
func (c *child) watch(stderr io.Reader) {
	told := false
	for s := bufio.NewScanner(stderr); s.Scan(); {
		c.mu.Lock()
		c.lines = append(c.lines, s.Text())
		c.mu.Unlock()
		if !told && readyLine.MatchString(s.Text()) {
			told = true
			close(c.ready)
		}
	}
	c.err = c.cmd.Wait()
	close(c.done)
}

// kill ends it as a power cut would, and waits until it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// killed says whether SIGKILL ended it, be it its own.
func (c *child) killed() bool {
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (c *child) becameReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// await waits for its end.
func (c *child) await(ctx context.Context, what string) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-ctx.Done():
		said := c.said(40)
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // for the stacks
		select {
		case <-c.done:
		case <-time.After(2 * time.Second):
		}
		c.t.Fatalf("%s did not end in time; it said:\n%s\n\nand its stacks are\n%s", what, said, c.stacks())
	}
}

// fullRestores returns the lines that tell of a table read from its beginning.
func (c *child) fullRestores() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, l := range c.lines {
		if strings.Contains(l, "table restored") && fullLine.MatchString(l) {
			out = append(out, l)
		}
	}
	return out
}

// stacks returns what it printed of its goroutines, each by its functions alone.
func (c *child) stacks() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, l := range c.lines {
		switch {
		case strings.HasPrefix(l, "goroutine "):
			b.WriteString("\n" + l + "\n")
		case strings.HasPrefix(l, "streamctl/"):
			b.WriteString("  " + l[:max(strings.LastIndexByte(l, '('), 0)] + "\n")
		}
	}
	return b.String()
}

// said returns the last n lines.
func (c *child) said(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines[max(0, len(c.lines)-n):], "\n")
}
