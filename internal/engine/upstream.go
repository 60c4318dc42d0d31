package engine

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math"
	"strings"

	"streamctl/internal/record"
)

// Behind a topic of the pipeline's own, records of several upstream tasks lie in one
// partition in the order in which these came to write them, which says nothing of
// their times: when they catch up, one of them is hours ahead of another. So
// stream time there is no further than the least of what the upstream tasks have
// promised, which is a low watermark as in MillWheel (Akidau et al., 2013) (ADR 90).
//
// A task promises its own stream time: what it sends from then on is no older,
// unless it was late for the task itself. Every record that it sends carries the promise, and what it
// has not sent to some partition it announces there with the commit.

// timeHeader is the name of the header with which records of a topic of the
// pipeline's own tell who sent them and at what stream time. It is the last one. A
// record with neither key nor value that carries it is an announcement. Its value is
//
//	short name of the sub-topology (4 bytes) | partition (uvarint) | stream time, less the record's (varint)
//
// A task without stream time leaves the last one out; its announcement says that it has
// read everything and found nothing that has a time.
const timeHeader = "streamctl.time"

var errTimeHeader = errors.New("read time header: not written by this version")

// promise is what a record tells of the task that sent it.
type promise struct {
	sub       uint32
	partition int32
	time      int64 // ms, noStreamTime = none
	bare      bool  // it is an announcement
}

// appendPromise writes a timeHeader's value for a record of a time.
func appendPromise(dst []byte, sub uint32, partition int32, time, recordTime int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, sub)
	dst = binary.AppendUvarint(dst, uint64(partition))
	if time == noStreamTime {
		return dst
	}
	return binary.AppendVarint(dst, time-recordTime)
}

// takePromise takes the header off a record; false = it has none: it was
// written by an earlier version, or in a topic in which nobody asks for time.
func takePromise(rec *record.Record) (p promise, ok bool, err error) {
	last := len(rec.Headers) - 1
	if last < 0 || rec.Headers[last].Key != timeHeader {
		return p, false, nil
	}
	b := rec.Headers[last].Value
	if len(b) < 5 {
		return p, false, errTimeHeader
	}
	partition, n := binary.Uvarint(b[4:])
	if n <= 0 || partition > math.MaxInt32 {
		return p, false, errTimeHeader
	}
	p = promise{sub: binary.BigEndian.Uint32(b), partition: int32(partition), time: noStreamTime, bare: rec.Key == nil && rec.Value == nil}
	if b = b[4+n:]; len(b) > 0 {
		delta, n := binary.Varint(b)
		if n != len(b) {
			return p, false, errTimeHeader
		}
		p.time = rec.Time + delta
	}
	rec.Headers = rec.Headers[:last]
	return p, true, nil
}

// announces says that a record is an announcement.
func announces(rec *record.Record) bool {
	n := len(rec.Headers)
	return rec.Key == nil && rec.Value == nil && n > 0 && rec.Headers[n-1].Key == timeHeader
}

// shortName is what a name is called where each byte counts.
func shortName(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32()
}

// writer is an upstream task as an input knows it.
type writer struct {
	task TaskID
	sub  uint32
	time int64 // ms, what it has promised; noStreamTime = nothing yet
	// empty says that it has nothing that has a time: it is not waited for.
	empty bool
}

// upstream is what an input knows of the tasks that write its topic.
type upstream struct {
	writers []writer       // by sub-topology, and by partition among them
	first   map[uint32]int // index of partition 0 of a sub-topology
	slowest int            // index of the writer with the least promise, -1 = all are empty
	least   int64          // what it has promised, noLimit = all are empty
}

// newUpstream makes an input's knowledge of tasks: nothing.
func newUpstream(tasks []TaskID) *upstream {
	u := &upstream{first: make(map[uint32]int)}
	for _, id := range tasks {
		sub := shortName(id.Sub)
		if id.Partition == 0 {
			u.first[sub] = len(u.writers)
		}
		u.writers = append(u.writers, writer{task: id, sub: sub, time: noStreamTime})
	}
	u.seek()
	return u
}

// recall takes over what was kept beside the offset. Who was empty then is so still
// only if that has been confirmed.
func (u *upstream) recall(text string, empty map[TaskID]bool) {
	u.decode(text)
	for i := range u.writers {
		w := &u.writers[i]
		w.empty = w.empty && empty[w.task]
	}
	u.seek()
}

// seek finds the slowest writer.
func (u *upstream) seek() {
	u.slowest, u.least = -1, noLimit
	for i := range u.writers {
		if w := &u.writers[i]; !w.empty && w.time < u.least {
			u.slowest, u.least = i, w.time
		}
	}
}

// index finds a writer, -1 = it is none of those that there are now.
func (u *upstream) index(sub uint32, partition int32) int {
	i, ok := u.first[sub]
	if i += int(partition); ok && i < len(u.writers) && u.writers[i].sub == sub {
		return i
	}
	return -1
}

// take notes a promise.
func (u *upstream) take(p promise) {
	i := u.index(p.sub, p.partition)
	if i < 0 {
		return
	}
	w := &u.writers[i]
	switch {
	case p.time == noStreamTime:
		empty := p.bare && w.time == noStreamTime
		if w.empty == empty {
			return
		}
		w.empty = empty
	case w.empty:
		w.empty, w.time = false, p.time
	case p.time <= w.time:
		return
	default:
		w.time = p.time
		if i != u.slowest {
			return
		}
	}
	u.seek()
}

// held says which task stream time waits for, and by how many ms another is ahead of
// it; -1 = nothing is known of it yet.
func (u *upstream) held() (by TaskID, ms int64) {
	if u.slowest < 0 {
		return by, 0
	}
	by = u.writers[u.slowest].task
	if u.least == noStreamTime {
		return by, -1
	}
	for i := range u.writers {
		if w := &u.writers[i]; !w.empty {
			ms = max(ms, w.time-u.least)
		}
	}
	return by, ms
}

// allEmpty says that no upstream task has anything that has a time.
func (u *upstream) allEmpty() bool { return u.least == noLimit }

// maxPromises is how long the promises beside an offset may be: brokers take no more
// than 4096 bytes of metadata by default, and others lie there too.
const maxPromises = 3000

// encode writes the promises as text that is kept beside the offset: per writer that has
// promised something its short name, partition, and how far it is ahead of the
// slowest, in units of 1 ms; where that is too long, of 1 s or of a minute, about, and in the end
// nothing: the writers say it again sooner or later, and until then time stands still.
func (u *upstream) encode() string {
	base := int64(noLimit)
	for i := range u.writers {
		if w := &u.writers[i]; w.time != noStreamTime {
			base = min(base, w.time)
		}
	}
	for _, shift := range []uint{0, 10, 16} {
		if text := u.encodeFrom(base, shift); len(text) <= maxPromises {
			return text
		}
	}
	return ""
}

// encodeFrom writes
//
//	shift (1 byte) | least promise (varint) | runs of: short name (4 bytes) | writers (uvarint) | for each:
//	0 = nothing, 1 = empty, else 2 and how far it is ahead in units of 1<<shift ms (uvarint)
//
// in base64.
func (u *upstream) encodeFrom(base int64, shift uint) string {
	out := binary.AppendVarint([]byte{byte(shift)}, base)
	for i := 0; i < len(u.writers); {
		end := i
		for end < len(u.writers) && u.writers[end].sub == u.writers[i].sub {
			end++
		}
		out = binary.BigEndian.AppendUint32(out, u.writers[i].sub)
		out = binary.AppendUvarint(out, uint64(end-i))
		for ; i < end; i++ {
			switch w := &u.writers[i]; {
			case w.empty:
				out = append(out, 1)
			case w.time == noStreamTime:
				out = append(out, 0)
			default:
				out = binary.AppendUvarint(out, uint64(w.time-base)>>shift+2)
			}
		}
	}
	return base64.RawURLEncoding.EncodeToString(out)
}

// decode takes over what encode wrote; what cannot be read is not known.
func (u *upstream) decode(text string) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) < 2 {
		return
	}
	shift := min(b[0], 62)
	base, n := binary.Varint(b[1:])
	if n <= 0 {
		return
	}
	for b = b[1+n:]; len(b) > 4; {
		sub := binary.BigEndian.Uint32(b)
		count, n := binary.Uvarint(b[4:])
		if n <= 0 {
			break
		}
		b = b[4+n:]
		for p := range int32(min(count, math.MaxInt32)) {
			v, n := binary.Uvarint(b)
			if n <= 0 {
				break
			}
			b = b[n:]
			if i := u.index(sub, p); i >= 0 && v > 0 {
				w := &u.writers[i]
				if w.empty = v == 1; !w.empty {
					w.time = base + int64((v-2)<<shift)
				}
			}
		}
	}
	u.seek()
}

// Promised reads what was committed as Promises: what a task upstream had promised then,
// ms, or Timeless; false = it was not known.
func Promised(promises string, by TaskID) (time int64, known bool) {
	u := &upstream{first: map[uint32]int{shortName(by.Sub): 0}}
	for p := range by.Partition + 1 {
		u.writers = append(u.writers, writer{task: TaskID{Sub: by.Sub, Partition: p}, sub: shortName(by.Sub), time: noStreamTime})
	}
	u.decode(promises)
	switch w := u.writers[by.Partition]; {
	case w.empty:
		return Timeless, true
	case w.time != noStreamTime:
		return w.time, true
	}
	return 0, false
}
