package usecases

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"streamctl/internal/crashpoint"
)

// child is one life of streamctl.
type child struct {
	r      *rig
	cmd    *exec.Cmd
	stdout bytes.Buffer  // valid after done
	ready  chan struct{} // closed when it has said that it is ready
	done   chan struct{} // closed when it has ended

	mu    sync.Mutex
	lines []string
}

// line is a line of its log.
type line struct {
	Msg     string `json:"msg"`
	Mode    string `json:"mode"`
	Topic   string `json:"topic"`
	Records int64  `json:"records"`
}

// summary is what `run --output json` says at its end.
type summary struct {
	Processed int64            `json:"processed"`
	Emitted   int64            `json:"emitted"`
	Restored  int64            `json:"restored"`
	Dropped   map[string]int64 `json:"dropped"`
}

// launch starts the binary with the rig's broker and directory; point is a
// crash point or "".
func (r *rig) launch(point string, args ...string) *child {
	r.t.Helper()
	args = append(slices.Clone(args), "--data-dir", r.dataDir)
	if r.embedded == nil {
		args = append(args, "--brokers", r.cluster.Addr)
	}
	c := &child{r: r, cmd: exec.Command(r.binary, args...), ready: make(chan struct{}), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), crashpoint.Env+"="+point)
	c.cmd.Stdout = &c.stdout
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		r.t.Fatalf("start streamctl: %v", err)
	}
	go c.watch(stderr)
	r.t.Cleanup(c.kill)
	return c
}

// watch collects what it says until its end.
func (c *child) watch(stderr io.Reader) {
	told := false
	for s := bufio.NewScanner(stderr); s.Scan(); {
		c.mu.Lock()
		c.lines = append(c.lines, s.Text())
		c.mu.Unlock()
		if !told && parse(s.Text()).Msg == "ready" {
			told = true
			close(c.ready)
		}
	}
	_ = c.cmd.Wait() // how it ended is asked of ProcessState
	close(c.done)
}

// parse reads a line of the log; what is no JSON is an empty line.
func parse(text string) (l line) {
	_ = json.Unmarshal([]byte(text), &l)
	return l
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

// stop ends it as a user would; it must succeed.
func (c *child) stop() {
	c.r.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.r.t.Fatalf("stop streamctl: %v; it said:\n%s", err, c.said())
	}
	if code := c.await(); code != 0 {
		c.r.t.Fatalf("told to stop, it ended with code %d; it said:\n%s", code, c.said())
	}
}

// await waits for its end and gives its exit code.
func (c *child) await() int {
	c.r.t.Helper()
	limit := 3 * patience
	select {
	case <-c.done:
	case <-time.After(limit):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // for the stacks
		select {
		case <-c.done:
		case <-time.After(2 * time.Second):
		}
		c.r.t.Fatalf("%v did not end in %v; it said:\n%s", c.cmd.Args, limit, c.said())
	}
	return c.cmd.ProcessState.ExitCode()
}

// awaitReady waits until all its tasks run.
func (c *child) awaitReady() {
	c.r.t.Helper()
	select {
	case <-c.ready:
	case <-c.done:
		c.r.t.Fatalf("it ended instead of becoming ready; it said:\n%s", c.said())
	case <-time.After(patience):
		c.r.t.Fatalf("it does not become ready; it said:\n%s", c.said())
	}
}

// said returns what it has said.
func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

// restores returns the log's lines that tell of restored tables.
func (c *child) restores() (out []line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range c.lines {
		if l := parse(text); l.Msg == "table restored" {
			out = append(out, l)
		}
	}
	return out
}

// start runs the pipeline until it is told to stop.
func (r *rig) start() *child {
	r.t.Helper()
	c := r.launch("", "run", r.file)
	c.awaitReady()
	return c
}

// untilEnd processes what is there; it must succeed.
func (r *rig) untilEnd() (*child, summary) {
	r.t.Helper()
	c := r.launch("", "run", r.file, "--until-end", "--output", "json")
	if code := c.await(); code != 0 {
		r.t.Fatalf("run --until-end: exit code %d; it said:\n%s", code, c.said())
	}
	var s summary
	if err := json.Unmarshal(c.stdout.Bytes(), &s); err != nil {
		r.t.Fatalf("summary of run: %v in %s", err, c.stdout.Bytes())
	}
	return c, s
}

// command runs another command on the pipeline's file to its end.
func (r *rig) command(name string, args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	c := r.launch("", append([]string{name, r.file}, args...)...)
	code = c.await()
	return code, c.stdout.String(), c.said()
}
