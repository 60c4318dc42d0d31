package memlog

import (
	"context"
	"fmt"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TransportConfig describes one process on the log.
type TransportConfig struct {
	Name     string // for faults and member ids; "" = numbered
	Group    string // whose offsets and members; required for offsets
	Instance string // "" = dynamic member
}

// Transport is the ports of one process.
type Transport struct {
	log  *Log
	cfg  TransportConfig
	dead chan struct{} // closed by Crash or Close

	// Guarded by log.mu.
	crashed   bool
	closed    bool
	sources   []*source
	producers []*producer
	members   []*member
}

var _ engine.Transport = (*Transport)(nil)

// Transport makes the ports of a new process on the log.
func (l *Log) Transport(cfg TransportConfig) *Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports++
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("process-%d", l.transports)
	}
	return &Transport{log: l, cfg: cfg, dead: make(chan struct{})}
}

// Crash ends the process without any goodbye: its transactions stay open until
// their id is initialised anew or they time out, its membership until the
// session times out. Every port answers ErrCrashed from now on; a running
// Commit's done is called with it, so that abandoned goroutines can end.
func (t *Transport) Crash() {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.crash()
}

func (t *Transport) crash() {
	if t.crashed || t.closed {
		return
	}
	t.crashed = true
	close(t.dead)
	for _, p := range t.producers {
		p.err = ErrCrashed
	}
	for _, m := range t.members {
		t.log.memberDied(m)
	}
	t.log.broadcast()
}

// Crashed says whether Crash was called or a fault did it.
func (t *Transport) Crashed() bool {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return t.crashed
}

// gone returns why nothing can be done any more. log.mu is held.
func (t *Transport) gone() error {
	switch {
	case t.crashed:
		return ErrCrashed
	case t.closed:
		return fmt.Errorf("use transport %s: it is closed", t.cfg.Name)
	default:
		return nil
	}
}

// NewSource makes a fetcher for one worker.
func (t *Transport) NewSource() (engine.Source, error) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if err := t.gone(); err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	s := &source{
		t:    t,
		name: fmt.Sprintf("source-%d", len(t.sources)),
		subs: make(map[record.TopicPartition]*subscription),
		lent: make(map[*engine.Fetched]*subscription),
		wake: make(chan struct{}, 1),
	}
	t.sources = append(t.sources, s)
	return s, nil
}

// NewProducer initialises the transactional id under exactly-once: its epoch is
// raised, an older producer with it is fenced, and what that left open is aborted.
func (t *Transport) NewProducer(ctx context.Context, id string, exactlyOnce bool) (engine.Producer, error) {
	f := t.log.fault(t, Op{Kind: OpInitProducer, ID: id})
	t.log.hold(f, ctx.Done())
	if err := firstError(f.Err, ctx.Err()); err != nil {
		return nil, fmt.Errorf("initialise producer %s: %w", id, err)
	}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if err := t.gone(); err != nil {
		return nil, fmt.Errorf("initialise producer %s: %w", id, err)
	}
	p := &producer{t: t, id: id}
	if exactlyOnce {
		defer t.awaitMarkers(ctx, id)
		ident := t.log.identities[id]
		if ident == nil {
			ident = &identity{}
			t.log.identities[id] = ident
		}
		t.log.bump(ident)
		ident.owner = p
		p.identity, p.epoch = ident, ident.epoch
	}
	t.producers = append(t.producers, p)
	return p, nil
}

// awaitMarkers waits, with log.mu held, until what was left open under id has its markers.
func (t *Transport) awaitMarkers(ctx context.Context, id string) {
	l := t.log
	for l.cfg.Gated && l.identities[id].ending && t.gone() == nil && ctx.Err() == nil {
		l.mu.Unlock()
		l.fault(t, Op{Kind: OpInitProducer, ID: id, Ready: func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return !l.identities[id].ending || t.gone() != nil || ctx.Err() != nil
		}})
		l.mu.Lock()
	}
}

// Admin is the control plane of this process.
func (t *Transport) Admin() engine.Admin { return admin{t} }

// Incidents implements engine.Transport: nothing is recovered from here.
func (t *Transport) Incidents() map[string]int64 { return map[string]int64{} }

// Close lets go of everything: open transactions are aborted, members leave.
func (t *Transport) Close() error {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if t.crashed || t.closed {
		return nil
	}
	for _, p := range t.producers {
		p.abandon()
	}
	for _, m := range t.members {
		t.log.leave(m, false)
	}
	t.closed = true
	close(t.dead)
	t.log.broadcast()
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
