package kafkatest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// awaitReady polls until the broker counts itself among the living ones: a
// port that accepts is not enough.
func (b *Broker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		n, err := countBrokers(b.Addr())
		if err == nil && n > 0 {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-b.proc.done:
			return errors.New("the JVM ended")
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %v)", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// countBrokers asks for metadata (version 1, no topics) by hand and returns the
// number of brokers in the answer.
func countBrokers(addr string) (int, error) {
	conn, err := net.DialTimeout("tcp", addr, 250*time.Millisecond)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(250 * time.Millisecond)); err != nil {
		return 0, err
	}
	const client = "ready"
	body := binary.BigEndian.AppendUint16(nil, 3) // Metadata
	body = binary.BigEndian.AppendUint16(body, 1) // version
	body = binary.BigEndian.AppendUint32(body, 1) // correlation
	body = binary.BigEndian.AppendUint16(body, uint16(len(client)))
	body = append(body, client...)
	body = binary.BigEndian.AppendUint32(body, 0) // no topics
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return 0, err
	}
	var head [12]byte // length, correlation, count of brokers
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(head[8:])), nil
}
