package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/state"
)

// TestReadyWithoutTasks: of two processes that share one task, that without it
// is ready as well, once it has joined.
func TestReadyWithoutTasks(t *testing.T) {
	log := memlog.New(memlog.Config{Clock: engine.SystemClock{}})
	create(t, log, "in", 1)
	create(t, log, "out", 1)
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan string, 2)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for n := range 2 {
		name := fmt.Sprint("process-", n)
		transport := log.Transport(memlog.TransportConfig{Group: "p", Instance: name})
		opts := options(countTopology(), transport, openState(t, state.NewMemFS()))
		opts.UntilEnd, opts.Instance = false, name
		opts.Ready = func() { ready <- name }
		running.Go(func() {
			if _, err := engine.Run(ctx, opts); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range 2 {
		select {
		case <-ready:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of 2 processes are ready", n)
		}
	}
}
