package state

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// entry is one row of a load: its key and its stored form, nil = deleted.
type entry struct{ key, row []byte }

// run gathers rows in memory without a pointer per row.
type run struct {
	data    []byte // key, stored row, key, stored row, ...
	entries []slot
}

// slot says where in the data an entry lies. Later ones lie behind earlier ones.
type slot struct {
	order  uint64 // eight bytes of the key that decide most comparisons
	at     uint32
	keyLen uint32
	rowLen uint32 // deletedRow = no row
}

const (
	slotBytes  = 24
	deletedRow = 1<<32 - 1
)

// bytes is the memory the run holds.
func (r *run) bytes() int { return len(r.data) + slotBytes*len(r.entries) }

// add appends an entry; nil row = deleted.
func (r *run) add(key, row []byte) {
	s := slot{at: uint32(len(r.data)), keyLen: uint32(len(key)), rowLen: deletedRow}
	r.data = append(r.data, key...)
	if row != nil {
		start := len(r.data)
		r.data = append(appendHead(r.data, nil), row...)
		s.rowLen = uint32(len(r.data) - start)
	} else {
		r.data = append(r.data, 0) // no two entries at the same place: sort goes by it
	}
	r.entries = append(r.entries, s)
}

// clear empties the run and keeps its memory.
func (r *run) clear() { r.data, r.entries = r.data[:0], r.entries[:0] }

func (r *run) key(s slot) []byte { return r.data[s.at : s.at+s.keyLen] }

func (r *run) entry(s slot) entry {
	e := entry{key: r.key(s)}
	if s.rowLen != deletedRow {
		e.row = r.data[s.at+s.keyLen : s.at+s.keyLen+s.rowLen]
	}
	return e
}

// sort orders the slots by key, the last added first among equals. Keys of one
// table mostly begin alike, so eight bytes behind what all have in common are
// put into the slots, which saves most visits to the data.
func (r *run) sort() {
	if len(r.entries) == 0 {
		return
	}
	first := r.key(r.entries[0])
	common := len(first)
	for _, s := range r.entries {
		k := r.key(s)
		common = min(common, len(k))
		for i := range common {
			if k[i] != first[i] {
				common = i
				break
			}
		}
	}
	for i := range r.entries {
		var b [8]byte
		copy(b[:], r.key(r.entries[i])[common:])
		r.entries[i].order = binary.BigEndian.Uint64(b[:])
	}
	slices.SortFunc(r.entries, func(a, b slot) int {
		if a.order != b.order {
			return cmp.Compare(a.order, b.order)
		}
		if c := bytes.Compare(r.key(a), r.key(b)); c != 0 {
			return c
		}
		return cmp.Compare(b.at, a.at)
	})
}

// sorted yields the entries in order of keys, of each key the last added.
func (r *run) sorted() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		r.sort()
		for i, s := range r.entries {
			if i > 0 && s.order == r.entries[i-1].order && bytes.Equal(r.key(s), r.key(r.entries[i-1])) {
				continue
			}
			if !yield(r.entry(s)) {
				return
			}
		}
	}
}

// A run on disk is a sequence of frames: payload length (4) | CRC-32C of the
// payload (4) | payload. The payload is whole entries: uvarint key length,
// uvarint row length + 1 (0 = deleted), key, row.
const (
	frameBytes = 32 << 10
	frameHead  = 8
)

func crcTable() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// write puts the run into a file, sorted. The file need not outlive the process,
// so it is not synced.
func (r *run) write(fs vfs.FS, path string) (err error) {
	f, err := fs.Create(path, storeWrites)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 4*frameBytes)
	table := crcTable()
	frame := make([]byte, frameHead, 2*frameBytes)
	flush := func() error {
		payload := frame[frameHead:]
		binary.BigEndian.PutUint32(frame, uint32(len(payload)))
		binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(payload, table))
		_, err := w.Write(frame)
		frame = frame[:frameHead]
		return err
	}
	for e := range r.sorted() {
		frame = binary.AppendUvarint(frame, uint64(len(e.key)))
		if e.row == nil {
			frame = binary.AppendUvarint(frame, 0)
		} else {
			frame = binary.AppendUvarint(frame, uint64(len(e.row))+1)
		}
		frame = append(append(frame, e.key...), e.row...)
		if len(frame) >= frameBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(frame) > frameHead {
		if err := flush(); err != nil {
			return err
		}
	}
	return w.Flush()
}

// runReader reads a run back.
type runReader struct {
	f     vfs.File
	in    *bufio.Reader
	crc   *crc32.Table
	frame []byte
	rest  []byte // of the frame
	head  entry  // the entry it stands at
	age   int    // position among the runs: greater = newer
}

// next steps to the next entry; io.EOF after the last.
func (r *runReader) next() error {
	if len(r.rest) == 0 {
		if err := r.readFrame(); err != nil {
			return err
		}
	}
	n, w := binary.Uvarint(r.rest)
	m, v := binary.Uvarint(r.rest[max(w, 0):])
	if w <= 0 || v <= 0 {
		return fmt.Errorf("read run: %w", ErrCorrupt)
	}
	rest := r.rest[w+v:]
	rowLen := m
	if m > 0 {
		rowLen--
	}
	if n > uint64(len(rest)) || rowLen > uint64(len(rest))-n {
		return fmt.Errorf("read run: %w", ErrCorrupt)
	}
	r.head = entry{key: rest[:n]}
	if m > 0 {
		r.head.row = rest[n : n+rowLen]
	}
	r.rest = rest[n+rowLen:]
	return nil
}

// readFrame reads and checks the next frame.
func (r *runReader) readFrame() error {
	var head [frameHead]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return err // io.EOF at the end
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	r.frame = slices.Grow(r.frame[:0], n)[:n]
	if _, err := io.ReadFull(r.in, r.frame); err != nil {
		return fmt.Errorf("read run: %w", err)
	}
	if crc32.Checksum(r.frame, r.crc) != binary.BigEndian.Uint32(head[4:]) {
		return fmt.Errorf("read run: %w", ErrCorrupt)
	}
	r.rest = r.frame
	return nil
}

// runHeap orders readers by the key they stand at, the newest first among equals.
type runHeap []*runReader

func (h runHeap) Len() int { return len(h) }
func (h runHeap) Less(i, j int) bool {
	if c := bytes.Compare(h[i].head.key, h[j].head.key); c != 0 {
		return c < 0
	}
	return h[i].age > h[j].age
}
func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)   { *h = append(*h, x.(*runReader)) }
func (h *runHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// mergeRuns calls write for the entries of all files in order of keys, of each
// key the one of the newest run. The entry is good during the call.
func mergeRuns(fs vfs.FS, paths []string, write func(entry) error) (err error) {
	var h runHeap
	var open []io.Closer
	defer func() {
		for _, f := range open {
			err = errors.Join(err, f.Close())
		}
	}()
	for age, path := range paths {
		f, err := fs.Open(path, vfs.SequentialReadsOption)
		if err != nil {
			return err
		}
		open = append(open, f)
		r := &runReader{f: f, in: bufio.NewReaderSize(f, frameBytes), crc: crcTable(), age: age}
		if err := r.next(); err == io.EOF {
			continue
		} else if err != nil {
			return err
		}
		h = append(h, r)
	}
	heap.Init(&h)
	var last []byte
	for first := true; len(h) > 0; first = false {
		r := h[0]
		if first || !bytes.Equal(r.head.key, last) {
			last = append(last[:0], r.head.key...)
			if err := write(r.head); err != nil {
				return err
			}
		}
		switch err := r.next(); err {
		case nil:
			heap.Fix(&h, 0)
		case io.EOF:
			heap.Pop(&h)
		default:
			return err
		}
	}
	return nil
}
