package main

import (
	"context"
	"errors"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/observe"
)

// httpGrace is how long a probe that is being answered may take at the end.
const httpGrace = time.Second

// observer is what looks on while pipelines run: the HTTP server, and the log of
// changes in readiness.
type observer struct {
	app     *app
	targets map[string]*observe.Target
	server  *observe.Server // nil: not asked for
	unhook  func() bool
}

// newObserver begins to answer at address, where one is given.
func (a *app) newObserver(ctx context.Context, address string, files []*loaded) (*observer, error) {
	o := &observer{app: a, targets: make(map[string]*observe.Target)}
	var all []*observe.Target
	for _, l := range files {
		t := observe.NewTarget(l.name, a.now)
		o.targets[l.name] = t
		all = append(all, t)
	}
	o.unhook = context.AfterFunc(ctx, func() {
		for _, t := range all {
			t.Stop()
		}
	})
	if address == "" {
		return o, nil
	}
	if _, err := observe.Address(address); err != nil {
		return nil, usagef("--http %s: %w", address, err)
	}
	var err error
	if o.server, err = observe.Listen(observe.Options{Address: address, Version: version, Targets: all, Logger: a.log}); err != nil {
		return nil, err
	}
	o.server.Serve()
	a.log.Info("probes and metrics", "address", o.server.Addr())
	return o, nil
}

// during looks on at one pipeline while run goes on: ping asks its broker.
func (o *observer) during(ctx context.Context, l *loaded, f *runFlags, ping func(context.Context) error, run func(*engine.Monitor) error) error {
	t := o.targets[l.name]
	t.Connect(ping)
	defer t.Connect(nil)
	watching, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if !f.untilEnd { // a bounded run is there to end, not to be ready
			observe.Watch(watching, t, engine.SystemClock{}, o.app.log.With("pipeline", l.name))
		}
	}()
	err := run(t.Monitor())
	stop()
	<-ended
	return err
}

// close ends the server.
func (o *observer) close() error {
	o.unhook()
	if o.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
	defer cancel()
	err := o.server.Close(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // who was slow to read is cut off
	}
	return err
}
