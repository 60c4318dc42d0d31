package kafkatest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// ClusterOptions of several brokers; the zero value are three for tests, with
// topics of three replicas of which two must have a record.
type ClusterOptions struct {
	// Nodes there are; default 3.
	Nodes int
	// Properties are added to every server.properties, and override what is there.
	Properties map[string]string
	// HeapMB is the heap of each JVM, 384 when 0.
	HeapMB int
	// Optimize is that of Options.
	Optimize bool
	// Advertise is that of Options, asked once per node; id is the node's number.
	Advertise func(id int, addr string) (string, error)
}

// Cluster is brokers that are controllers too, each a JVM of its own that can be
// killed, stopped, paused and started again under its address. Nodes are
// numbered from 1. Its methods are for one goroutine.
type Cluster struct {
	nodes []*Broker
	dir   string
}

// LaunchCluster starts all nodes and returns when each knows all others. The
// caller must Close it.
func LaunchCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	h, err := resolve(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.ensureArchive(ctx); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		c, err := launchCluster(ctx, h, o)
		if err == nil || attempt == 3 || !strings.Contains(err.Error(), "Address already in use") {
			return c, err
		}
	}
}

func launchCluster(ctx context.Context, h home, o ClusterOptions) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "streamctl-kafka-")
	if err != nil {
		return nil, fmt.Errorf("make directory of cluster: %w", err)
	}
	c := &Cluster{dir: dir}
	err = c.prepare(h, o)
	if err == nil {
		err = c.Start(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// prepare gives every node its ports and its configuration.
func (c *Cluster) prepare(h home, o ClusterOptions) error {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.HeapMB == 0 {
		o.HeapMB = 384
	}
	names := []string{controller, Plaintext, Internal}
	ports, err := freePorts(o.Nodes * len(names))
	if err != nil {
		return err
	}
	var voters []string
	for id := 1; id <= o.Nodes; id++ {
		b := &Broker{
			home: h, opts: Options{Properties: o.Properties, HeapMB: o.HeapMB, Optimize: o.Optimize},
			dir: filepath.Join(c.dir, fmt.Sprint("node-", id)), ports: make(map[string]int),
		}
		for _, name := range names {
			b.ports[name], ports = ports[0], ports[1:]
		}
		b.node = node{id: id, copies: o.Nodes}
		voters = append(voters, voter(id, b.ports))
		c.nodes = append(c.nodes, b)
	}
	for _, b := range c.nodes {
		b.node.voters = strings.Join(voters, ",")
		if o.Advertise != nil {
			b.opts.Advertise = func(addr string) (string, error) { return o.Advertise(b.node.id, addr) }
		}
		if err := b.writeConfig(b.opts); err != nil {
			return err
		}
	}
	return nil
}

// Start starts the nodes that do not run and returns when all are ready and
// know each other.
func (c *Cluster) Start(ctx context.Context) error {
	for _, b := range c.nodes {
		if !b.Running() {
			if err := b.begin(); err != nil {
				return err
			}
		}
	}
	for _, b := range c.nodes {
		if err := b.await(ctx); err != nil {
			return fmt.Errorf("start node %d: %w", b.node.id, err)
		}
	}
	return c.awaitWhole(ctx)
}

// awaitWhole returns when every node counts all of them.
func (c *Cluster) awaitWhole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, b := range c.nodes {
		err := poll(ctx, func() (bool, error) {
			n, err := countBrokers(b.nearest())
			return n == len(c.nodes), err
		})
		if err != nil {
			return fmt.Errorf("await that node %d sees %d brokers: %w", b.node.id, len(c.nodes), err)
		}
	}
	return nil
}

// Node gives a node by its number, nil where there is none.
func (c *Cluster) Node(id int) *Broker {
	if id < 1 || id > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

// Addrs are the bootstrap addresses for what is under test, as advertised.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, b := range c.nodes {
		at := b.told
		if at == "" {
			at = b.Addr()
		}
		out = append(out, at)
	}
	return out
}

// InternalAddrs are the addresses of the nodes themselves, whatever they advertise.
func (c *Cluster) InternalAddrs() []string {
	var out []string
	for _, b := range c.nodes {
		out = append(out, b.Listener(Internal))
	}
	return out
}

// Log is the end of what each node printed: warnings and errors.
func (c *Cluster) Log() string {
	var out strings.Builder
	for _, b := range c.nodes {
		fmt.Fprintf(&out, "--- node %d\n%s\n", b.node.id, tail([]byte(b.Log()), 4000))
	}
	return out.String()
}

// Close kills all nodes and removes what they kept.
func (c *Cluster) Close() {
	for _, b := range c.nodes {
		b.Kill()
	}
	_ = os.RemoveAll(c.dir)
}

// SharedCluster is one cluster for all tests of a test binary, started by the
// first that asks. Close it at the end of TestMain.
type SharedCluster struct {
	Options ClusterOptions

	mu      sync.Mutex
	cluster *Cluster
	err     error
}

// Cluster starts the cluster at the first call and returns it. A test that
// stops a node must start it again before its end.
func (s *SharedCluster) Cluster(t TB) *Cluster {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil && s.err == nil {
		s.cluster, s.err = LaunchCluster(context.Background(), s.Options)
	}
	if s.err != nil {
		refuse(t, s.err)
	}
	return s.cluster
}

// Close ends the cluster if it was started.
func (s *SharedCluster) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		s.cluster.Close()
		s.cluster = nil
	}
}
