package broker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrLocked: another process (or another Broker of this one) runs on the directory.
var ErrLocked = errors.New("another embedded broker runs on this directory")

const (
	lockFile    = "lock"
	addressFile = "address.json"
	// A broker that has the lock has its address written within a moment,
	// unless it has much to mend.
	attachPoll = 10 * time.Millisecond
	askTimeout = 2 * time.Second
)

// Address is what the address file says of a running broker.
type Address struct {
	Addr    string    `json:"address"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Cluster string    `json:"cluster"` // identity of the data directory; the broker repeats it when asked
}

// Lease is the use of an embedded broker, someone else's or one's own.
type Lease struct {
	// Addr is host:port.
	Addr string
	// Own is the broker that was started for this lease, nil when another
	// process's is used.
	Own *Broker
}

// Close ends the lease and, with it, a broker of one's own.
func (l *Lease) Close() error {
	if l.Own == nil {
		return nil
	}
	return l.Own.Stop()
}

// Attach uses the broker that runs on c.Dir, or starts one for the lifetime of
// the lease. Of several that attach at once exactly one starts. It waits while
// a broker comes up or goes down, until ctx ends.
func Attach(ctx context.Context, c Config) (*Lease, error) {
	for {
		b, err := Start(c)
		if err == nil {
			return &Lease{Addr: b.Addr(), Own: b}, nil
		}
		if !errors.Is(err, ErrLocked) {
			return nil, err
		}
		addr, notYet := Running(ctx, c.Dir)
		if notYet == nil {
			return &Lease{Addr: addr.Addr}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("attach to embedded broker in %s: %w: %w", c.Dir, ctx.Err(), notYet)
		case <-time.After(attachPoll):
		}
	}
}

// Running gives the address of the broker that runs on dir, after having asked
// it who it is. An error says why there is none to use.
func Running(ctx context.Context, dir string) (Address, error) {
	var a Address
	data, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err != nil {
		return a, fmt.Errorf("read address of embedded broker: %w", err)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("read address of embedded broker: %w", err)
	}
	id, err := askClusterID(ctx, a.Addr)
	if err != nil {
		return a, fmt.Errorf("ask embedded broker at %s: %w", a.Addr, err)
	}
	if id != a.Cluster {
		return a, fmt.Errorf("ask embedded broker at %s: it is %q, want %q", a.Addr, id, a.Cluster)
	}
	return a, nil
}

// askClusterID sends one metadata request for no topics.
func askClusterID(ctx context.Context, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 7 // the last one with a plain header
	req.Topics = []kmsg.MetadataRequestTopic{}
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		return "", err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > 1<<20 {
		return "", fmt.Errorf("answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(conn, body); err != nil {
		return "", err
	}
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if err := resp.ReadFrom(body[4:]); err != nil { // after the correlation id
		return "", err
	}
	if resp.ClusterID == nil {
		return "", errors.New("no cluster id in the answer")
	}
	return *resp.ClusterID, nil
}

func writeAddress(dir string, a Address) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("write address: %w", err)
	}
	return writeFileAtomic(filepath.Join(dir, addressFile), append(data, '\n'))
}

func removeAddress(dir string) error {
	if err := os.Remove(filepath.Join(dir, addressFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove address: %w", err)
	}
	return nil
}

// writeFileAtomic leaves either the old file or the whole new one.
func writeFileAtomic(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, fileMode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
