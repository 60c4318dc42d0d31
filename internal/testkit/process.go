package testkit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"streamctl/internal/kafkatest"
)

// Launch says how a Process is started.
type Launch struct {
	Binary string
	Args   []string
	Env    []string // added to the environment of this process
	// Pipelines is how many pipelines must say that they are ready; default 1.
	Pipelines int
}

// Process is one life of the product as a child of this process, which it does
// not outlive. What it logs is kept. Its methods may be called from any goroutine.
type Process struct {
	cmd    *exec.Cmd
	begun  time.Time
	stdout bytes.Buffer
	ready  chan struct{}
	done   chan struct{}

	mu    sync.Mutex
	lines []LogLine
}

// LogLine is a line of a process's log.
type LogLine struct {
	At   time.Time // when it was read
	Text string
}

// Start runs the binary.
func Start(l Launch) (*Process, error) {
	p := &Process{cmd: exec.Command(l.Binary, l.Args...), ready: make(chan struct{}), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), l.Env...)
	p.cmd.Stdout = &p.stdout
	p.cmd.SysProcAttr = kafkatest.DieWithParent()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.Binary, err)
	}
	started := make(chan error)
	go func() {
		// The kernel's signal at the parent's death is bound to the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p.begun = time.Now()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.watch(stderr, max(l.Pipelines, 1))
		_ = p.cmd.Wait() // how it ended is asked of ProcessState
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", l.Binary, err)
	}
	return p, nil
}

// longestLine that is kept whole, bytes.
const longestLine = 1 << 20

// watch collects what it says until its end.
func (p *Process) watch(stderr io.Reader, pipelines int) {
	s := bufio.NewScanner(stderr)
	s.Buffer(nil, longestLine)
	for s.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, LogLine{time.Now(), s.Text()})
		p.mu.Unlock()
		if isReady(s.Text()) {
			if pipelines--; pipelines == 0 {
				close(p.ready)
			}
		}
	}
	_, _ = io.Copy(io.Discard, stderr) // behind a line that was too long
}

// isReady knows the line that a pipeline logs when all its tasks run.
func isReady(text string) bool {
	var l struct {
		Msg string `json:"msg"`
	}
	return json.Unmarshal([]byte(text), &l) == nil && l.Msg == "ready" || strings.Contains(text, "msg=ready")
}

// Begun is when it was started.
func (p *Process) Begun() time.Time { return p.begun }

// Pid is its number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ready is closed when all its pipelines have said that they are ready.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// BecameReady says whether Ready is closed, Ended whether Done is.
func (p *Process) BecameReady() bool { return closed(p.ready) }

// Ended says whether Done is closed.
func (p *Process) Ended() bool { return closed(p.done) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Signal sends a signal; one that has ended gets none.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends it as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Killed says whether SIGKILL ended it, be it its own. It must have ended.
func (p *Process) Killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// ExitCode is its exit code, -1 when a signal ended it. It must have ended.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// AwaitReady returns when it is ready; that it ends, or ctx, is an error which
// tells what it said.
func (p *Process) AwaitReady(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-p.done:
		return fmt.Errorf("await ready: it ended (%s) and said:\n%s", p.cmd.ProcessState, p.Said(100))
	case <-ctx.Done():
		return fmt.Errorf("await ready: %w; it said:\n%s", ctx.Err(), p.Said(100))
	}
}

// AwaitEnd returns when it has ended. When ctx ends first, the error tells what
// it said and where its goroutines stand; it is dead then too.
func (p *Process) AwaitEnd(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	said := p.Said(40)
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGQUIT) // for the stacks
	select {
	case <-p.done:
	case <-time.After(2 * time.Second):
		p.Kill()
	}
	return fmt.Errorf("await end: %w; it said:\n%s\n\nand its stacks are\n%s", ctx.Err(), said, p.Stacks())
}

// Lines are those lines of its log so far that are wanted; nil wants all.
func (p *Process) Lines(wanted func(text string) bool) []LogLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []LogLine
	for _, l := range p.lines {
		if wanted == nil || wanted(l.Text) {
			out = append(out, l)
		}
	}
	return out
}

// FullRestores are the lines that tell of a table read from its beginning.
func (p *Process) FullRestores() []LogLine {
	return p.Lines(func(text string) bool {
		var l struct{ Msg, Mode string }
		return json.Unmarshal([]byte(text), &l) == nil && l.Msg == "table restored" && strings.HasPrefix(l.Mode, "full")
	})
}

// Said returns the last n lines of its log.
func (p *Process) Said(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, l := range p.lines[max(0, len(p.lines)-n):] {
		b.WriteString(l.Text + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Stacks returns what it printed of its goroutines, each by its functions alone.
func (p *Process) Stacks() string {
	var b strings.Builder
	for _, l := range p.Lines(nil) {
		switch {
		case strings.HasPrefix(l.Text, "goroutine "):
			b.WriteString("\n" + l.Text + "\n")
		case strings.HasPrefix(l.Text, "streamctl/"):
			b.WriteString("  " + l.Text[:max(strings.LastIndexByte(l.Text, '('), 0)] + "\n")
		}
	}
	return b.String()
}
