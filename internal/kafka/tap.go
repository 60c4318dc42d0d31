package kafka

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/IBM/sarama"

	"streamctl/internal/record"
)

// Answers to fetches do not go through sarama, which makes new memory for each one, and an
// object for each record. A tap lies between sarama and the connection: sarama writes
// requests, authenticates, and matches answers to requests as always, but of the answer to
// a fetch it is given one without partitions. What the broker sent is read into memory that
// can be used again, and decoded by answer.go.

const (
	fetchKey = 1
	// tappedVersion is the version of fetches whose answers are kept back, if the broker
	// has it; plainVersion is the same without compact forms, as brokers before 2.7 know it.
	tappedVersion = 12
	plainVersion  = 11
	// frameHead is the size of an answer and its correlation.
	frameHead = 8
	// throttleBytes begin the answer to a fetch: how long the broker wants to be left alone.
	throttleBytes = 4
)

// fetchTap keeps back the answers to fetches. Writing and reading are done by one goroutine
// each.
type fetchTap struct {
	net.Conn
	in   *bufio.Reader
	pool *memoryPool

	mu      sync.Mutex
	waiting map[int32]int16 // versions of the fetches under way, by correlation
	pooled  bool            // see expect
	kept    *body           // the last answer; nil = it was taken

	// Of the frame that is being read:
	left    int    // bytes to pass on as they are
	instead []byte // bytes to pass on in the place of those of the broker
	keep    int    // bytes to keep back before that, -1 = none
	version int16  // of what is kept back
}

// body is an answer to a fetch, without the header.
type body struct {
	version int16
	data    []byte
	memory  *fetchMemory
}

func newFetchTap(conn net.Conn, pool *memoryPool) *fetchTap {
	return &fetchTap{Conn: conn, in: bufio.NewReader(conn), pool: pool, waiting: make(map[int32]int16), keep: -1}
}

// Write notes fetches. sarama writes a request at once, and whole.
func (t *fetchTap) Write(p []byte) (int, error) {
	const apiKey, apiVersion, correlation = 4, 6, 8 // behind the size
	if len(p) >= correlation+4 && binary.BigEndian.Uint16(p[apiKey:]) == fetchKey {
		if v := int16(binary.BigEndian.Uint16(p[apiVersion:])); v == tappedVersion || v == plainVersion {
			t.mu.Lock()
			t.waiting[int32(binary.BigEndian.Uint32(p[correlation:]))] = v
			t.mu.Unlock()
		}
	}
	return t.Conn.Write(p)
}

// Read gives sarama what it is to see. The answer itself is read when sarama asks for
// what follows the header, so that its time limits are those of any other answer.
func (t *fetchTap) Read(p []byte) (int, error) {
	if t.left == 0 && len(t.instead) == 0 {
		if err := t.begin(); err != nil {
			return 0, err
		}
	}
	if t.left > 0 {
		n, err := t.in.Read(p[:min(len(p), t.left)])
		t.left -= n
		return n, err
	}
	if t.keep >= 0 && len(t.instead) == emptyAnswer(t.version) {
		if err := t.keepBack(); err != nil {
			return 0, err
		}
	}
	most := len(t.instead)
	if t.keep >= 0 { // the header
		most -= emptyAnswer(t.version)
	}
	n := copy(p, t.instead[:most])
	t.instead = t.instead[n:]
	return n, nil
}

// headerBytes is the length of an answer's header, with the size.
func headerBytes(version int16) int {
	if version >= tappedVersion {
		return frameHead + 1 // tagged fields, which nobody sends
	}
	return frameHead
}

// emptyAnswer is the length of an answer without topics: time to wait, error, session,
// the number of topics, and tagged fields.
func emptyAnswer(version int16) int {
	if version >= tappedVersion {
		return throttleBytes + 2 + 4 + 1 + 1
	}
	return throttleBytes + 2 + 4 + 4
}

// begin looks at the head of the next frame.
func (t *fetchTap) begin() error {
	head, err := t.in.Peek(frameHead)
	if err != nil {
		return err
	}
	size, correlation := int32(binary.BigEndian.Uint32(head)), int32(binary.BigEndian.Uint32(head[4:]))
	t.mu.Lock()
	version, tapped := t.waiting[correlation]
	delete(t.waiting, correlation)
	t.mu.Unlock()
	header, empty := headerBytes(version), emptyAnswer(version)
	if !tapped || size > sarama.MaxResponseSize || int(size)+4 < header+empty {
		t.left = max(int(size), 4) + 4 // what is no answer to a fetch sarama will refuse
		return nil
	}
	t.instead = make([]byte, header+empty)
	if _, err := io.ReadFull(t.in, t.instead[:header]); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(t.instead, uint32(header+empty-4))
	if version >= tappedVersion {
		t.instead[header+empty-2] = 1 // a compact list without elements
	}
	t.keep, t.version = int(size)+4-header, version
	return nil
}

// keepBack reads the answer.
func (t *fetchTap) keepBack() error {
	t.mu.Lock()
	pooled := t.pooled
	t.mu.Unlock()
	memory := &fetchMemory{}
	if pooled {
		memory = t.pool.get(t.keep)
	} else {
		memory.data = make([]byte, t.keep)
	}
	data := memory.data[:t.keep]
	if _, err := io.ReadFull(t.in, data); err != nil {
		return err
	}
	copy(t.instead, data[:throttleBytes]) // sarama waits before the next request
	t.keep = -1
	t.mu.Lock()
	t.kept = &body{version: t.version, data: data, memory: memory}
	t.mu.Unlock()
	return nil
}

// expect says before a request whether those who get the answer will let go of its memory.
func (t *fetchTap) expect(pooled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pooled = pooled
}

// take gives the answer that was kept back last, once; nil = there is none.
func (t *fetchTap) take() *body {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.kept
	t.kept = nil
	return b
}

// fetchMemory is what one answer is read into, and its records.
type fetchMemory struct {
	data    []byte
	records []record.Record
}

// memoryPool holds memory of answers that nobody uses any more, by size, until the
// garbage collector takes it.
type memoryPool struct {
	classes [poolClasses]sync.Pool
}

const (
	// pooledFrom is from which size on memory is used again: 64 KiB.
	pooledFrom = 16
	// poolClasses: four sizes for each power of two, up to what an answer may have.
	poolClasses = 4 * (28 - pooledFrom)
	// poolReach is how many classes are looked through for memory: up to twice what is needed.
	poolReach = 5
)

// classOf is the class of a size, and how much memory of that class has.
func classOf(size int) (class, room int) {
	for power := pooledFrom; ; power++ {
		for quarter := range 4 {
			if room := 1<<power + quarter<<(power-2); size <= room {
				return 4*(power-pooledFrom) + quarter, room
			}
		}
	}
}

// get returns memory for size bytes.
func (p *memoryPool) get(size int) *fetchMemory {
	if size < 1<<pooledFrom {
		return &fetchMemory{data: make([]byte, size)}
	}
	class, room := classOf(size)
	if class >= poolClasses {
		return &fetchMemory{data: make([]byte, size)}
	}
	for c := class; c < min(class+poolReach, poolClasses); c++ {
		if m, ok := p.classes[c].Get().(*fetchMemory); ok {
			return m
		}
	}
	return &fetchMemory{data: make([]byte, room)}
}

// put takes memory back.
func (p *memoryPool) put(m *fetchMemory) {
	if cap(m.records)*recordOverhead > len(m.data) {
		m.records = nil
	}
	clear(m.records[:cap(m.records)]) // they may point to what was decompressed
	if poison {
		for i := range m.data {
			m.data[i] = 0xff
		}
	}
	if len(m.data) < 1<<pooledFrom {
		return
	}
	if class, room := classOf(len(m.data)); class < poolClasses && room == len(m.data) {
		p.classes[class].Put(m)
	}
}
