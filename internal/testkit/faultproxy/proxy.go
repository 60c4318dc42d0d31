package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Options of a proxy; the zero value has a plan of its own.
type Options struct {
	// Plan decides; it may be shared by the proxies of several brokers.
	Plan *Plan
	// Listen is host:port; default a free port of 127.0.0.1.
	Listen string
}

// Proxy stands before one broker. Its methods may be called from any goroutine;
// those of its Plan are its own too.
type Proxy struct {
	*Plan
	upstream string
	listener net.Listener
	ctx      context.Context //nolint:containedctx // the life of the goroutines
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[*conn]struct{}
	open  chan struct{} // closed while data may flow
	rate  int           // bytes per second and connection, each way; 0 = unbounded
}

// Start listens and passes connections on to upstream (host:port), which need
// not be there yet. The caller must Close it.
func Start(upstream string, o Options) (*Proxy, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Plan == nil {
		o.Plan = NewPlan(0)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("start fault proxy: %w", err)
	}
	p := &Proxy{Plan: o.Plan, upstream: upstream, listener: l, conns: make(map[*conn]struct{}), open: make(chan struct{})}
	close(p.open)
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr is host:port for clients.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections, and returns how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.close()
	}
	return len(p.conns)
}

// Partition lets nothing through from now on until Heal: connections stay open
// and silent, as where packets are lost.
func (p *Proxy) Partition() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default:
	}
}

// Heal ends a partition: what was held back goes on.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// Throttle bounds each connection to bytes per second in each direction; 0 ends it.
func (p *Proxy) Throttle(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// Close ends the proxy and all connections.
func (p *Proxy) Close() {
	p.stop()
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// serve is the life of one connection.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if p.pass(0) != nil {
		return
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	broker, err := dialer.DialContext(p.ctx, "tcp", p.upstream)
	if err != nil {
		return // the client sees what it would see without us: a connection that ends
	}
	c := &conn{proxy: p, client: client, broker: broker, idle: make(chan struct{}, 1)}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	if p.ctx.Err() != nil {
		return
	}
	var replies sync.WaitGroup
	replies.Go(c.replies)
	c.requests()
	replies.Wait()
}

// pass waits while the network is partitioned, and as long as n bytes take.
func (p *Proxy) pass(n int) error {
	p.mu.Lock()
	open, rate := p.open, p.rate
	p.mu.Unlock()
	select {
	case <-open:
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
	if rate == 0 {
		return nil
	}
	return p.wait(time.Duration(n) * time.Second / time.Duration(rate))
}

func (p *Proxy) wait(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// conn is one connection: requests in one goroutine, replies in another.
type conn struct {
	proxy          *Proxy
	client, broker net.Conn
	idle           chan struct{} // poked when no reply is outstanding any more

	mu      sync.Mutex
	pending []pending // requests at the broker, in their order
	silent  bool      // nothing reaches the client any more
	closed  bool
}

// pending is a request whose reply is to come.
type pending struct {
	correlation int32
	verdict     verdict
}

func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	_ = c.client.Close()
	_ = c.broker.Close()
	c.poke()
}

func (c *conn) poke() {
	select {
	case c.idle <- struct{}{}:
	default:
	}
}

// requests passes on what the client asks. When the client has gone, the broker
// may still answer: what has been asked is carried out.
func (c *conn) requests() {
	for {
		frame, err := readFrame(c.client)
		if err != nil {
			break
		}
		if err := c.request(frame); err != nil {
			c.close()
			return
		}
	}
	if c.drain() != nil {
		return
	}
	c.close()
}

var errDropped = errors.New("dropped")

// request does to one request what the plan says.
func (c *conn) request(frame []byte) error {
	h, err := readHeader(frame)
	if err != nil {
		return err
	}
	if c.isSilent() {
		return nil
	}
	v := c.proxy.decide(h, frame)
	switch v.kind {
	case DropRequest:
		if !v.silent {
			return errDropped
		}
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
		return nil
	case DelayRequest:
		if err := c.proxy.wait(v.delay); err != nil {
			return err
		}
	case Refuse:
		return c.refuse(frame, h, v.code)
	}
	if err := c.proxy.pass(len(frame)); err != nil {
		return err
	}
	c.mu.Lock()
	c.pending = append(c.pending, pending{h.correlation, v})
	c.mu.Unlock()
	_, err = c.broker.Write(frame)
	return err
}

func (c *conn) isSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

// refuse answers when all earlier requests have been answered: replies come in
// the order of requests.
func (c *conn) refuse(frame []byte, h header, code int16) error {
	answer, err := refusal(frame, h, code)
	if err != nil {
		return err
	}
	if err := c.drain(); err != nil {
		return err
	}
	if err := c.proxy.pass(len(answer)); err != nil {
		return err
	}
	_, err = c.client.Write(answer)
	return err
}

// drain waits until no reply is outstanding.
func (c *conn) drain() error {
	for {
		c.mu.Lock()
		left, closed := len(c.pending), c.closed
		c.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		if left == 0 {
			return nil
		}
		select {
		case <-c.idle:
		case <-c.proxy.ctx.Done():
			return c.proxy.ctx.Err()
		}
	}
}

// replies passes on what the broker answers.
func (c *conn) replies() {
	defer c.close()
	for {
		frame, err := readFrame(c.broker)
		if err != nil {
			return
		}
		if c.reply(frame, c.verdictOf(correlationOf(frame))) != nil {
			return
		}
		c.answered(correlationOf(frame))
	}
}

// verdictOf is what was decided about the request that a reply belongs to.
func (c *conn) verdictOf(correlation int32) verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pending {
		if p.correlation == correlation {
			return p.verdict
		}
	}
	return verdict{}
}

// answered takes a request, and those before it that get no reply, off the list.
func (c *conn) answered(correlation int32) {
	c.mu.Lock()
	for i, p := range c.pending {
		if p.correlation == correlation {
			c.pending = c.pending[i+1:]
			break
		}
	}
	left := len(c.pending)
	c.mu.Unlock()
	if left == 0 {
		c.poke()
	}
}

// reply does to one reply what was decided about its request.
func (c *conn) reply(frame []byte, v verdict) error {
	switch v.kind {
	case DropReply:
		if !v.silent {
			return errDropped
		}
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
	case DelayReply:
		if err := c.proxy.wait(v.delay); err != nil {
			return err
		}
	}
	if c.isSilent() {
		return nil
	}
	if err := c.proxy.pass(len(frame)); err != nil {
		return err
	}
	_, _ = c.client.Write(frame) // a client that has gone does not stop what it has asked for
	return nil
}
