package kafka

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// A socket that was closed between two requests is a broken connection, however it
// comes to light: what was asked is asked again.
func TestDeadlineOfAClosedSocketBreaksTheLink(t *testing.T) {
	deadlines := map[string]func(net.Conn) error{
		"read":  func(c net.Conn) error { return c.SetReadDeadline(time.Time{}) },
		"write": func(c net.Conn) error { return c.SetWriteDeadline(time.Time{}) },
	}
	for name, set := range deadlines {
		server, client := net.Pipe()
		if err := errors.Join(server.Close(), client.Close()); err != nil {
			t.Fatal(err)
		}
		l := &link{addr: "broker", raw: &rawConn{Conn: client}}
		err := set(l.raw)
		if err == nil {
			t.Fatalf("%s: a closed socket took a deadline", name)
		}
		if err := l.failure(err); !retriable(err) {
			t.Errorf("%s: %v is not tried again", name, err)
		}
	}
}

// TestClosedInGoodOrder: the end of an encrypted connection, which does not fail beneath, is a failure of
// the connection; an answer that makes no sense is none.
func TestClosedInGoodOrder(t *testing.T) {
	l := &link{addr: "broker:9093"}
	for err, want := range map[error]bool{io.EOF: true, io.ErrUnexpectedEOF: true, net.ErrClosed: true, sarama.ErrInsufficientData: false, errMalformed: false} {
		var broken *linkError
		if got := errors.As(l.failure(fmt.Errorf("read: %w", err)), &broken); got != want {
			t.Errorf("%v: of the connection: %v, want %v", err, got, want)
		}
	}
}
