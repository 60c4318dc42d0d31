package kafka

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// silent listens, takes connections, and says nothing on them. closed counts
// those that the other side has closed.
func silent(e *env) (addr string, closed chan struct{}) {
	e.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { l.Close() })
	closed = make(chan struct{}, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 1<<10)
				for {
					if _, err := conn.Read(buf); err != nil {
						closed <- struct{}{}
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), closed
}

// TestOpenPastASilentBroker: a broker of several that says nothing holds up
// nobody, and its connection is closed when another one has answered.
func TestOpenPastASilentBroker(t *testing.T) {
	onFake(t, func(e *env) {
		deaf, closed := silent(e)
		began := time.Now()
		tr := e.open(func(s *Settings) { s.Brokers = []string{deaf, "127.0.0.1:1", e.addr} })
		if took := time.Since(began); took > 5*time.Second {
			e.Errorf("open took %v", took)
		}
		select {
		case <-closed:
		case <-time.After(5 * time.Second):
			e.Error("the connection to the silent broker is left open")
		}
		if _, err := tr.Control().TopicNames(e.ctx()); err != nil {
			e.Error(err)
		}
	})
}

// TestOpenNoneAnswers: where none answers, each is named with what became of it.
func TestOpenNoneAnswers(t *testing.T) {
	onFake(t, func(e *env) {
		deaf, _ := silent(e)
		began := time.Now()
		_, err := Open(context.Background(), Settings{Brokers: []string{deaf, "127.0.0.1:1"}, DialTimeout: time.Second})
		if err == nil {
			e.Fatal("it opens")
		}
		for _, want := range []string{deaf, "127.0.0.1:1", "refused"} {
			if !strings.Contains(err.Error(), want) {
				e.Errorf("message %q does not name %q", err, want)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			e.Errorf("it took %v", took)
		}
	})
}
