package faultproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// mostFrame bounds a frame, bytes: what is larger is no Kafka.
const mostFrame = 256 << 20

// header is what every request begins with.
type header struct {
	api         API
	version     int16
	correlation int32
	client      string
	size        int // of the header without tags, in the frame after its length
}

// readFrame reads a length and what it counts; both are in the result.
func readFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 4 || n > mostFrame {
		return nil, fmt.Errorf("read frame: a length of %d bytes", n)
	}
	frame := make([]byte, 4+n)
	copy(frame, length[:])
	if _, err := io.ReadFull(r, frame[4:]); err != nil {
		return nil, err
	}
	return frame, nil
}

// readHeader reads the header of a request.
func readHeader(frame []byte) (header, error) {
	d := frame[4:]
	if len(d) < 10 {
		return header{}, errors.New("read request: it is shorter than its header")
	}
	h := header{
		api: API(binary.BigEndian.Uint16(d)), version: int16(binary.BigEndian.Uint16(d[2:])),
		correlation: int32(binary.BigEndian.Uint32(d[4:])), size: 10,
	}
	if n := int(int16(binary.BigEndian.Uint16(d[8:]))); n > 0 {
		if len(d) < 10+n {
			return header{}, errors.New("read request: its client id is longer than itself")
		}
		h.client = string(d[10 : 10+n])
		h.size += n
	}
	return h, nil
}

// correlationOf is the first thing in a reply.
func correlationOf(frame []byte) int32 { return int32(binary.BigEndian.Uint32(frame[4:])) }
