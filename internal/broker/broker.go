// Package broker is the embedded broker: a Kafka-wire server in this process,
// kept on disk, reachable on the loopback interface only. It owns the server
// library (and is its only importer), the directory it writes to, the lock and
// the address file by which a second command finds a broker that is already
// running, and the mending of what a kill left half written. It knows nothing
// of pipelines, and it is never evidence for what a real cluster does when
// brokers fail.
//
// The tour: broker.go starts and stops, attach.go shares one broker between
// processes, guard.go keeps unknown requests away from the server, journal.go
// makes a commit survive a kill in its middle, mend.go repairs at start,
// segment.go reads and writes the server's files.
package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	defaultPartitions        = 4
	defaultMinSessionTimeout = 100 * time.Millisecond
	dirMode                  = 0o700
	fileMode                 = 0o600
)

// Config of an embedded broker. The zero value of a field means its default.
type Config struct {
	// Dir is where the broker keeps its data. It is created when missing.
	Dir string
	// Partitions a topic gets when its creator does not say; default 4.
	Partitions int
	// MinSessionTimeout is the least session timeout a group member may ask
	// for; default 100ms, so that tests need not wait for a real one.
	MinSessionTimeout time.Duration
	// Log takes what the broker warns about; nil discards it.
	Log *slog.Logger
}

// Validate lists every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("dir is empty"))
	}
	if c.Partitions < 0 {
		faults = append(faults, fmt.Errorf("partitions is %d, want at least 1", c.Partitions))
	}
	if c.MinSessionTimeout < 0 {
		faults = append(faults, fmt.Errorf("min session timeout is %v, want a positive duration", c.MinSessionTimeout))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = defaultPartitions
	}
	if c.MinSessionTimeout == 0 {
		c.MinSessionTimeout = defaultMinSessionTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Broker is a running embedded broker. Its goroutines end with Stop.
type Broker struct {
	cluster *kfake.Cluster
	journal *journal
	lock    io.Closer
	dir     string
	addr    string
	log     *serverLog
}

// Start runs a broker on the data in c.Dir and a free port of 127.0.0.1. The
// directory is locked: a second Start on it fails with ErrLocked. What a kill
// left behind is mended before the first request is served.
func Start(c Config) (*Broker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	if err := os.MkdirAll(c.Dir, dirMode); err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	b, err := startLocked(c.withDefaults(), lock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker: %w", err), lock.Close())
	}
	return b, nil
}

func startLocked(c Config, lock io.Closer) (*Broker, error) {
	if err := removeAddress(c.Dir); err != nil {
		return nil, err
	}
	data := filepath.Join(c.Dir, "data")
	if err := mend(data, c.Log); err != nil {
		return nil, fmt.Errorf("mend %s: %w", data, err)
	}
	if err := os.MkdirAll(data, dirMode); err != nil {
		return nil, err
	}
	j, err := openJournal(data)
	if err != nil {
		return nil, err
	}
	id, err := clusterID(data)
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	log := &serverLog{to: c.Log}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID(id),
		kfake.DataDir(data),
		kfake.DefaultNumPartitions(c.Partitions),
		kfake.GroupMinSessionTimeout(c.MinSessionTimeout),
		kfake.ListenFn(listenGuarded),
		// From 4.0 on a producer may leave out to say which partitions a
		// transaction will touch; the journal needs to be told.
		kfake.MaxVersions(kversion.V3_9_0()),
		// Records stay until somebody asks otherwise for their topic. The server
		// lets records expire by their event time, in compacted topics too, where
		// Kafka does not: a table of old rows would be gone within the hour.
		kfake.BrokerConfigs(map[string]string{"log.retention.ms": "-1"}),
		kfake.WithLogger(log),
	)
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	j.watch(cluster)
	b := &Broker{cluster: cluster, journal: j, lock: lock, dir: c.Dir, addr: cluster.ListenAddrs()[0], log: log}
	if err := writeAddress(c.Dir, Address{Addr: b.addr, PID: os.Getpid(), Started: time.Now().UTC(), Cluster: id}); err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// Addr is host:port of the broker on the loopback interface.
func (b *Broker) Addr() string { return b.addr }

// Compact runs log compaction on all compacted topics now, instead of when its
// time has come. It is for tests of what compaction leaves.
func (b *Broker) Compact() { b.cluster.Compact() }

// Stop ends the broker and writes what it holds. It must be called once.
func (b *Broker) Stop() error {
	err := removeAddress(b.dir)
	before := b.log.errors.Load()
	b.cluster.Close()
	if b.log.errors.Load() != before {
		err = errors.Join(err, fmt.Errorf("stop embedded broker: it could not write all of its state under %s", b.dir))
	}
	return errors.Join(err, b.journal.close(), b.lock.Close())
}

// serverLog passes the server's warnings and errors to slog and counts the
// errors, which is the only way to learn that its last write failed.
type serverLog struct {
	to     *slog.Logger
	errors atomic.Int64
}

// Logf implements the server's logger.
func (l *serverLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.errors.Add(1)
		l.to.Error("embedded broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn: // it warns of everyday things, such as a commit of more than 5 ms
		l.to.Debug("embedded broker: " + fmt.Sprintf(format, args...))
	}
}

// listenGuarded listens for the server, on the loopback interface whatever it asks for.
func listenGuarded(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen(network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	return &guardedListener{Listener: ln}, nil
}
