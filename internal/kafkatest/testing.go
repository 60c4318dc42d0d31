package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
)

// TB is the part of testing.TB that is used, so that programs which are no
// tests can import this package.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Logf(format string, args ...any)
	Failed() bool
	Name() string
}

// Start gives the test a broker of its own, which ends with it. On a machine
// that cannot run Kafka the test is skipped, loudly; with the environment
// variable STREAMCTL_REQUIRE_KAFKA set it fails.
func Start(t TB, o Options) *Broker {
	t.Helper()
	b, err := Launch(context.Background(), o)
	if err != nil {
		refuse(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("broker said: %s", tail([]byte(b.Log()), 4000))
		}
		b.Close()
	})
	return b
}

// Shared is one broker for all tests of a test binary, started by the first
// that asks. Close it at the end of TestMain.
type Shared struct {
	Options Options

	mu     sync.Mutex
	broker *Broker
	err    error
}

// Broker starts the broker at the first call and returns it. A test must use
// topics, groups and transactional ids of its own, and must not stop it.
func (s *Shared) Broker(t TB) *Broker {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker == nil && s.err == nil {
		s.broker, s.err = Launch(context.Background(), s.Options)
	}
	if s.err != nil {
		refuse(t, s.err)
	}
	return s.broker
}

// Close ends the broker if it was started.
func (s *Shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker != nil {
		s.broker.Close()
		s.broker = nil
	}
}

func refuse(t TB, err error) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || os.Getenv("STREAMCTL_REQUIRE_KAFKA") != "" {
		t.Fatalf("start Kafka: %v", err)
	}
	// A skip is silent without -v; what is left out must be seen.
	fmt.Fprintf(os.Stderr, "\n*** LEFT OUT %s: %v ***\n\n", t.Name(), err)
	t.Skipf("start Kafka: %v", err)
}
