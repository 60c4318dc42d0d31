package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"streamctl/internal/engine"
	"streamctl/internal/record"
	"streamctl/state"
)

// script is a connection on which all answers have come already, in pieces of a few bytes.
type script struct {
	net.Conn
	answers []byte
	piece   int
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }

func (s *script) Read(p []byte) (int, error) {
	if len(s.answers) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.answers)
	s.answers = s.answers[n:]
	return n, nil
}

// asked is a request as sarama writes it, up to where the tap looks.
func asked(key, version uint16, correlation uint32) []byte {
	p := binary.BigEndian.AppendUint32(nil, 100)
	p = binary.BigEndian.AppendUint16(p, key)
	p = binary.BigEndian.AppendUint16(p, version)
	return binary.BigEndian.AppendUint32(p, correlation)
}

// frame is an answer with its head.
func frame(correlation uint32, tagged bool, body []byte) []byte {
	p := binary.BigEndian.AppendUint32(nil, correlation)
	if tagged {
		p = append(p, 0)
	}
	p = append(p, body...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// TestTap passes everything on but the answers to fetches, of which sarama sees one without
// topics, however the bytes come.
func TestTap(t *testing.T) {
	answer := kmsg.NewPtrFetchResponse()
	answer.ThrottleMillis = 77
	part := kmsg.NewFetchResponseTopicPartition()
	part.RecordBatches = bytes.Repeat([]byte("records"), 100)
	answer.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{part}}}
	empty := kmsg.NewPtrFetchResponse()
	empty.ThrottleMillis = 77
	for _, version := range []int16{plainVersion, tappedVersion} {
		answer.Version, empty.Version = version, version
		tagged := version >= tappedVersion
		fetched, instead := answer.AppendTo(nil), empty.AppendTo(nil)
		other := []byte("an answer to something else")
		sent := slices.Concat(frame(1, false, other), frame(2, tagged, fetched), frame(3, false, nil), frame(5, tagged, fetched), frame(4, false, fetched))
		want := slices.Concat(frame(1, false, other), frame(2, tagged, instead), frame(3, false, nil), frame(5, tagged, instead), frame(4, false, fetched))
		for _, piece := range []int{1, 3, 1000} {
			tap := newFetchTap(&script{answers: sent, piece: piece}, &memoryPool{})
			tap.expect(piece == 3)
			for _, q := range [][]byte{asked(3, 9, 1), asked(fetchKey, uint16(version), 2), asked(18, 3, 3), asked(fetchKey, 10, 4), asked(fetchKey, uint16(version), 5), {1, 2}} {
				if _, err := tap.Write(q); err != nil {
					t.Fatal(err)
				}
			}
			var got []byte
			kept := 0
			for buf := make([]byte, 7); ; {
				n, err := tap.Read(buf)
				if got = append(got, buf[:n]...); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if b := tap.take(); b != nil {
					if kept++; b.version != version || !bytes.Equal(b.data, fetched) {
						t.Fatalf("version %d: kept back %q, want %q", b.version, b.data, fetched)
					}
				}
			}
			if !bytes.Equal(got, want) || kept != 2 {
				t.Fatalf("version %d in pieces of %d: kept back %d answers; sarama sees\n%q, want\n%q", version, piece, kept, got, want)
			}
		}
	}
}

// TestTapOfNonsense hands on what cannot be an answer to a fetch, or is cut off.
func TestTapOfNonsense(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []byte
		seen    int
	}{
		{"too short", frame(2, true, []byte{1, 2}), 11},
		{"too large", append(binary.BigEndian.AppendUint32(nil, 1<<31-1), 0, 0, 0, 2, 9, 9), 10},
		{"negative", []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2}, 8},
		{"cut off", frame(2, true, make([]byte, 100))[:50], 9},
		{"nothing", nil, 0},
	} {
		tap := newFetchTap(&script{answers: c.answers, piece: 100}, &memoryPool{})
		if _, err := tap.Write(asked(fetchKey, tappedVersion, 2)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(tap)
		if len(got) != c.seen || tap.take() != nil {
			t.Errorf("%s: sarama sees %d bytes, want %d; %v", c.name, len(got), c.seen, err)
		}
	}
}

// TestMemoryClasses: every size has a class with room for it, a quarter more at most.
func TestMemoryClasses(t *testing.T) {
	for size := 1 << pooledFrom; size < 100<<20; size += size/97 + 1 {
		class, room := classOf(size)
		if room < size || room > size+size/4 || class < 0 || class >= poolClasses {
			t.Fatalf("size %d: class %d with %d bytes", size, class, room)
		}
		if again, same := classOf(room); again != class || same != room {
			t.Fatalf("size %d: class %d with %d bytes, but these are of class %d with %d", size, class, room, again, same)
		}
	}
}

// TestMemoryIsUsedAgain loads a table as a restore does, out of memory that is used again
// and again, and finds every row as it was. Under the race detector such memory is overwritten at once.
func TestMemoryIsUsedAgain(t *testing.T) {
	onBoth(t, func(e *env) {
		const rows, size = 12000, 1500
		tr := e.open(func(s *Settings) { s.FetchPartitionBytes, s.BufferPartitionBytes = 128<<10, 256<<10 })
		topic := e.topic(tr, 1, nil)
		p := e.producer(tr, "")
		row := func(i int) string { return fmt.Sprintf("%0*d", size, i) }
		for i := range rows {
			p.Send(tp(topic, 0), rec(fmt.Sprint(i), row(i)))
		}
		e.mustCommit(p, engine.Commit{})
		db, err := state.Open(state.Options{Dir: "state", FS: state.NewMemFS(), LoadBytes: 1 << 20})
		if err != nil {
			e.Fatal(err)
		}
		defer db.Close()
		task, err := db.OpenTask("t", 0, []state.TableSpec{{Name: "t"}})
		if err != nil {
			e.Fatal(err)
		}
		table := task.Table("t")
		loader := table.Loader()
		s := e.source(tr)
		s.Start(tp(topic, 0), 0, engine.ReadCommitted)
		s.Rush(tp(topic, 0))
		next, answers := int64(0), 0
		places := make(map[*byte]bool)
		e.await("all rows", func() bool {
			for _, f := range s.Poll(time.Second) {
				if f.Err != nil {
					e.Fatal(f.Err)
				}
				for i := range f.Records {
					r := &f.Records[i]
					if err := loader.AddShared(r.Key, r.Value, f.Memory); err != nil {
						e.Fatal(err)
					}
				}
				if len(f.Records) > 0 {
					places[&f.Records[0].Value[0]] = true
					answers++
				}
				next = f.Next
				s.Release(f)
				f.Memory.LetGo()
			}
			return next >= rows
		})
		if err := loader.Finish(map[record.TopicPartition]int64{}); err != nil {
			e.Fatal(err)
		}
		for i := range rows {
			got, err := table.Get(fmt.Append(nil, i))
			if err != nil || got == nil || string(got.Value) != row(i) {
				e.Fatalf("row %d: %v, %v", i, got, err)
			}
		}
		if len(places) == answers && !poison { // the pools of the race detector forget at random
			e.Errorf("each of %d answers lay in memory of its own", answers)
		}
	})
}
