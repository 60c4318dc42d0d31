package broker

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRequest bounds what one request may make the server allocate.
const maxRequest = 256 << 20

// guardedListener hands out connections that end when a request comes that
// would take the server down: it dereferences nil for an API key it does not
// know, and allocates whatever size it is told.
type guardedListener struct{ net.Listener }

// Accept waits for the next connection.
func (l *guardedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: conn}, nil
}

// guardedConn follows the framing of the requests read through it: 4 bytes of
// size, then a body that begins with 2 bytes of API key.
type guardedConn struct {
	net.Conn
	head [6]byte // size and key of the request at hand
	have int     // bytes of head seen
	left int     // bytes of the request still to come after head
}

// Read reads from the connection; a request that must not reach the server is an error.
func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if follow := c.follow(p[:n]); follow != nil {
		return 0, follow
	}
	return n, err
}

func (c *guardedConn) follow(p []byte) error {
	for len(p) > 0 {
		if c.have == len(c.head) && c.left > 0 {
			skip := min(c.left, len(p))
			c.left -= skip
			p = p[skip:]
			continue
		}
		if c.have == len(c.head) {
			c.have = 0
		}
		took := copy(c.head[c.have:], p)
		c.have += took
		p = p[took:]
		if c.have < len(c.head) {
			return c.checkSize()
		}
		if err := c.checkSize(); err != nil {
			return err
		}
		if key := int16(binary.BigEndian.Uint16(c.head[4:])); kmsg.RequestForKey(key) == nil {
			return fmt.Errorf("refuse request: unknown API key %d", key)
		}
		c.left = int(binary.BigEndian.Uint32(c.head[:4])) - 2
	}
	return nil
}

// checkSize looks at the size as soon as it is known: the server allocates it
// before it reads on.
func (c *guardedConn) checkSize() error {
	if c.have < 4 {
		return nil
	}
	if size := binary.BigEndian.Uint32(c.head[:4]); size < 8 || size > maxRequest {
		return fmt.Errorf("refuse request: size %d outside [8, %d]", size, maxRequest)
	}
	return nil
}
