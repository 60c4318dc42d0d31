package kafkatest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// readyLimit is how long a broker may take to start: seconds, but for a machine with
// other things to do, and a log that was left open.
const readyLimit = 3 * time.Minute

// awaitReady polls until the broker counts itself among the living ones: a
// port that accepts is not enough.
func (b *Broker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		select {
		case <-b.proc.done:
			return true, errors.New("the JVM ended")
		default:
		}
		ids, err := livingBrokers(b.nearest())
		return slices.Contains(ids, int32(b.node.id)), err
	})
}

// nearest is where the broker can be asked without anything between.
func (b *Broker) nearest() string {
	if at := b.Listener(Internal); at != "" {
		return at
	}
	return b.Addr()
}

// poll looks until done, or until ctx ends; then its error holds the last one of look.
func poll(ctx context.Context, look func() (done bool, err error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := look()
		if done {
			return err
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %v)", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// countBrokers gives the number of brokers that a broker knows to be alive.
func countBrokers(addr string) (int, error) {
	ids, err := livingBrokers(addr)
	return len(ids), err
}

// livingBrokers asks for metadata (version 1, no topics) by hand and returns the
// ids of the brokers in the answer.
func livingBrokers(addr string) ([]int32, error) {
	conn, err := net.DialTimeout("tcp", addr, 250*time.Millisecond)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(250 * time.Millisecond)); err != nil {
		return nil, err
	}
	const client = "ready"
	body := binary.BigEndian.AppendUint16(nil, 3) // Metadata
	body = binary.BigEndian.AppendUint16(body, 1) // version
	body = binary.BigEndian.AppendUint32(body, 1) // correlation
	body = binary.BigEndian.AppendUint16(body, uint16(len(client)))
	body = append(body, client...)
	body = binary.BigEndian.AppendUint32(body, 0) // no topics
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<16))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	return readBrokers(answer)
}

// readBrokers takes the ids from an answer: correlation, then id, host, port
// and rack of every broker.
func readBrokers(answer []byte) (ids []int32, err error) {
	short := errors.New("read metadata: the answer is too short")
	take := func(n int) []byte {
		if n < 0 || len(answer) < n {
			err, n = short, 0
		}
		taken := answer[:n]
		answer = answer[n:]
		if err != nil {
			return make([]byte, 8)
		}
		return taken
	}
	text := func() { take(max(0, int(int16(binary.BigEndian.Uint16(take(2)))))) }
	take(4)
	for n := binary.BigEndian.Uint32(take(4)); n > 0 && err == nil; n-- {
		id := int32(binary.BigEndian.Uint32(take(4)))
		text()
		take(4)
		text()
		ids = append(ids, id)
	}
	return ids, err
}
