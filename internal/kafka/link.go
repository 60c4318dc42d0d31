package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// dialer opens connections that authenticate as the settings say.
type dialer struct {
	conf *sarama.Config
	tls  *tls.Config             // nil = connections are not encrypted
	wrap func(net.Conn) net.Conn // faults of the network in tests; nil otherwise
	lost func(error)             // told of connections that failed; nil = nobody
}

// link is one connection to one broker. Requests on it are answered in order;
// whoever must not wait for others has a link of his own. After a failure of
// the connection it is of no more use.
type link struct {
	addr   string
	broker *sarama.Broker
	raw    *rawConn
	tap    *fetchTap // keeps back the answers to fetches; nil = they are none of the link's business
	dead   atomic.Bool
	shaken func() bool // ends the watch over the handshakes
}

// rawConn sits under sarama's connection for two reasons: sarama cannot be told
// to give up a request that waits, but a closed socket ends it; and the first
// failure of the socket tells a broken connection from a bad answer.
type rawConn struct {
	net.Conn
	failed atomic.Pointer[error]
	lost   func(error)
}

// fail notes the first failure.
func (c *rawConn) fail(err error) {
	if c.failed.CompareAndSwap(nil, &err) && c.lost != nil {
		c.lost(err)
	}
}

func (c *rawConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.fail(err)
	}
	return n, err
}

func (c *rawConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.fail(err)
	}
	return n, err
}

// SetReadDeadline comes before each read, and fails where the socket was closed meanwhile.
func (c *rawConn) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	if err != nil {
		c.fail(err)
	}
	return err
}

// SetWriteDeadline is the same before each write.
func (c *rawConn) SetWriteDeadline(t time.Time) error {
	err := c.Conn.SetWriteDeadline(t)
	if err != nil {
		c.fail(err)
	}
	return err
}

// contextDialer is given to sarama in the place of a proxy.
type contextDialer struct {
	ctx     context.Context //nolint:containedctx // lives for one call of open
	timeout time.Duration
	link    *link
	dialer  *dialer
	pool    *memoryPool // of a link for fetches, else nil
}

// Dial implements the interface that sarama asks of a proxy.
func (d *contextDialer) Dial(network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.timeout, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(d.ctx, network, addr)
	if err != nil {
		if d.dialer.lost != nil && !errors.Is(d.ctx.Err(), context.Canceled) {
			d.dialer.lost(err)
		}
		return nil, err
	}
	if d.dialer.wrap != nil {
		conn = d.dialer.wrap(conn)
	}
	raw := &rawConn{Conn: conn, lost: d.dialer.lost}
	d.link.raw = raw
	// The handshakes that follow know nothing of ctx.
	d.link.shaken = context.AfterFunc(d.ctx, func() { _ = raw.Close() })
	conn = raw
	if d.dialer.tls != nil {
		conn = tls.Client(raw, serverOf(d.dialer.tls, addr))
	}
	if d.pool != nil {
		d.link.tap = newFetchTap(conn, d.pool)
		conn = d.link.tap
	}
	return conn, nil
}

// serverOf is conf for the broker at addr, whose certificate is to be for that host unless
// the settings name another.
func serverOf(conf *tls.Config, addr string) *tls.Config {
	if conf.ServerName != "" {
		return conf
	}
	conf = conf.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		conf.ServerName = host
	}
	return conf
}

// open connects and authenticates. readTimeout bounds the wait for an answer
// on this link; 0 = the settings'. A link for fetches has a pool for the answers.
func (d *dialer) open(ctx context.Context, addr string, readTimeout time.Duration, pool *memoryPool) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, d.conf.Net.DialTimeout)
	defer cancel()
	l := &link{addr: addr, broker: sarama.NewBroker(addr)}
	conf := *d.conf
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = &contextDialer{ctx: ctx, timeout: conf.Net.DialTimeout, link: l, dialer: d, pool: pool}
	// Until the handshakes are through, a broker that says nothing must not hold us longer than this.
	if readTimeout > 0 {
		conf.Net.ReadTimeout = readTimeout
	}
	if err := l.broker.Open(&conf); err != nil {
		return nil, &linkError{addr, err}
	}
	connected := make(chan error, 1)
	go func() {
		_, err := l.broker.Connected()
		connected <- err
	}()
	select {
	case err := <-connected:
		if err != nil {
			l.close()
			return nil, &linkError{addr, err}
		}
		if !l.shaken() { // ctx has just ended, and its socket is closed
			l.close()
			return nil, &linkError{addr, fmt.Errorf("connect: %w", context.Cause(ctx))}
		}
		return l, nil
	case <-ctx.Done():
		// The dial ends with ctx too; so do the handshakes, as their socket is closed.
		go func() {
			<-connected
			if l.raw != nil && d.lost != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				d.lost(os.ErrDeadlineExceeded) // it was reached, and says nothing
			}
			l.close()
		}()
		return nil, &linkError{addr, fmt.Errorf("connect: %w", context.Cause(ctx))}
	}
}

// abort ends a request that waits for its answer, and the link with it.
func (l *link) abort() {
	l.dead.Store(true)
	if l.raw != nil {
		_ = l.raw.Close()
	}
}

// close ends the link. It must not be called from a callback of the link.
func (l *link) close() {
	l.abort()
	_ = l.broker.Close() // an error only says that it was closed before
}

// broken says that the link cannot be used any more.
func (l *link) broken() bool {
	return l.dead.Load() || l.raw != nil && l.raw.failed.Load() != nil
}

// failure is err with its meaning: a linkError when the connection broke, else
// err itself (an answer that cannot be decoded, a version that is not there).
func (l *link) failure(err error) error {
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return fmt.Errorf("talk to broker %s: it is too old (Kafka 2.5 or later is needed): %w", l.addr, err)
	}
	if l.broken() || errors.Is(err, sarama.ErrNotConnected) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return &linkError{l.addr, err} // an encrypted connection that is closed in good order does not fail beneath
	}
	return fmt.Errorf("read answer of broker %s: %w", l.addr, err)
}

// call sends one request on l and waits for its answer or the end of ctx,
// which ends the link too.
func call[Req, Resp any](ctx context.Context, l *link, do func(*sarama.Broker, Req) (Resp, error), req Req) (Resp, error) {
	stop := context.AfterFunc(ctx, l.abort)
	resp, err := do(l.broker, req)
	stop()
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	err = l.failure(err)
	l.abort()
	return resp, err
}

// links holds at most one link per broker address for one owner.
type links struct {
	dialer      *dialer
	readTimeout time.Duration

	mu     sync.Mutex
	byAddr map[string]*link
	closed bool
}

func newLinks(d *dialer, readTimeout time.Duration) *links {
	return &links{dialer: d, readTimeout: readTimeout, byAddr: make(map[string]*link)}
}

// get returns the link to addr, opening it where there is none that works.
func (s *links) get(ctx context.Context, addr string) (*link, error) {
	s.mu.Lock()
	l := s.byAddr[addr]
	if l != nil && l.broken() {
		delete(s.byAddr, addr)
		go l.close()
		l = nil
	}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, &linkError{addr, net.ErrClosed}
	}
	if l != nil {
		return l, nil
	}
	l, err := s.dialer.open(ctx, addr, s.readTimeout, nil)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.byAddr[addr]; other != nil && !other.broken() { // two callers at once
		go l.close()
		return other, nil
	}
	if s.closed {
		go l.close()
		return nil, &linkError{addr, net.ErrClosed}
	}
	s.byAddr[addr] = l
	return l, nil
}

// adopt takes over a link that was opened elsewhere.
func (s *links) adopt(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.byAddr[l.addr] != nil {
		go l.close()
		return
	}
	s.byAddr[l.addr] = l
}

// close ends all links.
func (s *links) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.byAddr {
		l.close()
	}
	clear(s.byAddr)
}
