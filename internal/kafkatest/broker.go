package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Broker is a running (or killed) Kafka: all of it, or a node of a Cluster. Its
// methods are for one goroutine.
type Broker struct {
	home  home
	opts  Options
	node  node
	dir   string
	owned bool // dir is ours to remove
	ports map[string]int
	told  string // what Options.Advertise gave
	certs Certs
	proc  *process
}

// node is what sets a broker apart from the others of its cluster.
type node struct {
	id     int
	voters string // all controllers, ID@HOST:PORT,...
	copies int    // nodes there are: the replication of every topic, up to 3
}

// process is one life of the JVM.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Launch starts a broker and returns when it answers. The caller must Close it.
func Launch(ctx context.Context, o Options) (*Broker, error) {
	h, err := resolve(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.ensureArchive(ctx); err != nil {
		return nil, err
	}
	// A port found free may be taken by somebody else before the JVM binds it.
	for attempt := 1; ; attempt++ {
		b, err := launch(ctx, h, o)
		if err == nil || attempt == 3 || !strings.Contains(err.Error(), "Address already in use") {
			return b, err
		}
	}
}

func launch(ctx context.Context, h home, o Options) (*Broker, error) {
	b := &Broker{home: h, opts: o, dir: o.Dir}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "streamctl-kafka-")
		if err != nil {
			return nil, fmt.Errorf("make broker directory: %w", err)
		}
		b.dir, b.owned = dir, true
	}
	err := b.prepare(o)
	if err == nil {
		err = b.Restart(ctx)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Broker) prepare(o Options) error {
	names := []string{controller, Plaintext}
	if o.Secure {
		names = append(names, TLS, MutualTLS, SASLPlaintext, SASLTLS)
	}
	if o.Advertise != nil {
		names = append(names, Internal)
	}
	ports, err := freePorts(len(names))
	if err != nil {
		return err
	}
	b.ports = make(map[string]int, len(names))
	for i, n := range names {
		b.ports[n] = ports[i]
	}
	b.node = node{id: 1, voters: voter(1, b.ports), copies: 1}
	return b.writeConfig(o)
}

func voter(id int, ports map[string]int) string {
	return fmt.Sprintf("%d@127.0.0.1:%d", id, ports[controller])
}

// Ports are taken from below those that systems give to outgoing connections:
// nobody must be given the port of a broker that is down for a moment.
const firstPort, lastPort = 15000, 32000

// freePorts holds all of them open at once, so that they differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	var last error
	for tries := 0; len(ports) < n && tries < 1000; tries++ {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("find free ports: %w", last)
	}
	return ports, nil
}

// Addr is host:port of the plaintext listener.
func (b *Broker) Addr() string { return b.Listener(Plaintext) }

// Listener is host:port of a listener by name, "" when it is not open.
func (b *Broker) Listener(name string) string {
	port, ok := b.ports[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// Certs are the client's PEM files of a Secure broker.
func (b *Broker) Certs() Certs { return b.certs }

// Pid is the process id of the JVM, 0 when it does not run.
func (b *Broker) Pid() int {
	if b.proc == nil {
		return 0
	}
	return b.proc.cmd.Process.Pid
}

// Log is what the broker printed in all its lives: warnings and errors.
func (b *Broker) Log() string {
	data, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (b *Broker) logFile() string        { return filepath.Join(b.dir, "broker.log") }
func (b *Broker) propertiesFile() string { return filepath.Join(b.dir, "server.properties") }

// ID is the number of the node; 1 where there is only one.
func (b *Broker) ID() int { return b.node.id }

// Running says whether there is a process, be it paused.
func (b *Broker) Running() bool { return b.proc != nil }

// Restart starts the broker again on the same ports and data, after ending it
// if it still runs, and returns when it answers. A node of a cluster becomes
// ready only while most of the others run.
func (b *Broker) Restart(ctx context.Context) error {
	if err := b.Stop(ctx); err != nil {
		return err
	}
	if err := b.begin(); err != nil {
		return err
	}
	return b.await(ctx)
}

// begin starts the process.
func (b *Broker) begin() error {
	p, err := b.home.start(b.javaArgs(), b.logFile())
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	b.proc = p
	return nil
}

// await returns when the broker answers; one that does not is killed.
func (b *Broker) await(ctx context.Context) error {
	if err := b.awaitReady(ctx); err != nil {
		log := b.Log()
		b.Kill()
		return fmt.Errorf("await broker: %w\n%s", err, tail([]byte(log), 4000))
	}
	return nil
}

func (b *Broker) javaArgs() []string {
	heap := b.opts.HeapMB
	if heap == 0 {
		heap = 512
	}
	args := []string{fmt.Sprintf("-Xmx%dm", heap)}
	if !b.opts.Optimize {
		args = append(args, "-XX:TieredStopAtLevel=1")
	}
	return append(args, "-Xlog:disable", "-Xlog:all=error:stderr",
		"-XX:SharedArchiveFile="+b.home.archive(), "-Xshare:auto",
		"-cp", b.home.classpath(), "kafka.Kafka", b.propertiesFile())
}

// start runs java and watches it. The goroutine keeps its thread, because the
// kernel's signal at the parent's death is bound to the thread.
func (h home) start(args []string, logFile string) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	args = append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}, args...)
	cmd := exec.Command("java", args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = DieWithParent()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in the log; that it ended is what counts
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Kill ends the broker with SIGKILL, as a power cut would.
func (b *Broker) Kill() {
	if b.proc == nil {
		return
	}
	_ = b.proc.cmd.Process.Kill()
	<-b.proc.done
	b.proc = nil
}

// Stop ends the broker cleanly; it is killed when ctx ends first or after 15 s.
func (b *Broker) Stop(ctx context.Context) error {
	if b.proc == nil {
		return nil
	}
	return b.proc.terminate(ctx, func() { b.proc = nil })
}

func (p *process) terminate(ctx context.Context, gone func()) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop broker: %w", err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	gone()
	return nil
}

// Pause stops the JVM's threads with SIGSTOP, Resume lets them go on.
func (b *Broker) Pause() error  { return b.signal(syscall.SIGSTOP) }
func (b *Broker) Resume() error { return b.signal(syscall.SIGCONT) }

func (b *Broker) signal(s syscall.Signal) error {
	if b.proc == nil {
		return errors.New("signal broker: it does not run")
	}
	return b.proc.cmd.Process.Signal(s)
}

// Close kills the broker and removes its directory if it was temporary. There
// is nothing in it worth a clean end.
func (b *Broker) Close() {
	b.Kill()
	if b.owned {
		_ = os.RemoveAll(b.dir)
	}
}

// ensureArchive makes the JVM's class archive once per machine: it halves the
// time to start. Failing to make it is no reason to fail.
func (h home) ensureArchive(ctx context.Context) error {
	if _, err := os.Stat(h.archive()); err == nil {
		return nil
	}
	unlock, err := lockFile(ctx, h.lock())
	if err != nil {
		return fmt.Errorf("lock class archive: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(h.archive()); err == nil {
		return nil
	}
	b := &Broker{home: h}
	if b.dir, err = os.MkdirTemp("", "streamctl-kafka-"); err != nil {
		return fmt.Errorf("make broker directory: %w", err)
	}
	b.owned = true
	defer b.Close()
	if err := b.prepare(Options{}); err != nil {
		return err
	}
	tmp := filepath.Join(h.dir, "classes.tmp")
	p, err := h.start([]string{"-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:ArchiveClassesAtExit=" + tmp,
		"-cp", h.classpath(), "kafka.Kafka", b.propertiesFile()}, b.logFile())
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	b.proc = p
	if err := b.awaitReady(ctx); err != nil {
		return fmt.Errorf("await broker: %w\n%s", err, tail([]byte(b.Log()), 4000))
	}
	if err := b.proc.terminate(ctx, func() { b.proc = nil }); err != nil {
		return err
	}
	if err := os.Rename(tmp, h.archive()); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("move class archive into place: %w", err)
	}
	return nil
}
