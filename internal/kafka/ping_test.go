package kafka

import (
	"context"
	"testing"
	"time"
)

// Ping tells at once whether brokers answer, and does not disturb others by
// giving up.
func TestPing(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := tr.Ping(ctx); err != nil {
			t.Fatalf("ping of a broker that runs: %v", err)
		}
		gone, give := context.WithCancel(ctx)
		give()
		if err := tr.Ping(gone); err == nil {
			t.Error("a ping that was given up succeeded")
		}
		if err := tr.Ping(ctx); err != nil {
			t.Errorf("ping after one that was given up: %v", err)
		}
		e.fake.Close()
		if err := tr.Ping(ctx); err == nil {
			t.Error("ping of a broker that has gone succeeded")
		}
	})
}
