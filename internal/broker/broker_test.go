package broker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// running is a broker under test with a client to drive it.
type running struct {
	*Broker
	client *kgo.Client
	admin  *kadm.Client
}

func start(t *testing.T, dir string, opts ...kgo.Opt) *running {
	t.Helper()
	began := time.Now()
	b, err := Start(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(began))
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return &running{b, client, kadm.NewClient(client)}
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.client.Close()
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
}

func (r *running) createTopic(t *testing.T, name string) {
	t.Helper()
	if _, err := r.admin.CreateTopic(testContext(t), 2, 1, nil, name); err != nil {
		t.Fatal(err)
	}
}

func (r *running) produce(t *testing.T, part int32, values ...string) {
	t.Helper()
	for _, v := range values {
		rec := &kgo.Record{Topic: "t", Partition: part, Value: []byte(v)}
		if err := r.client.ProduceSync(testContext(t), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// committed reads what a consumer that reads committed sees of topic t, per partition.
func (r *running) committed(t *testing.T) map[int32][]string {
	t.Helper()
	ctx := testContext(t)
	ends, err := r.admin.ListCommittedOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	starts, err := r.admin.ListStartOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	from := make(map[int32]kgo.Offset)
	left := make(map[int32]int64)
	for p := range int32(2) {
		s, _ := starts.Lookup("t", p)
		e, _ := ends.Lookup("t", p)
		if s.Offset < e.Offset {
			from[p] = kgo.NewOffset().At(s.Offset)
			left[p] = e.Offset
		}
	}
	got := make(map[int32][]string)
	c, err := kgo.NewClient(kgo.SeedBrokers(r.Addr()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": from}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading up to %v: %v", left, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !rec.Attrs.IsControl() {
				got[rec.Partition] = append(got[rec.Partition], string(rec.Value))
			}
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
		})
	}
	return got
}

func (r *running) end(t *testing.T, part int32) int64 {
	t.Helper()
	ends, err := r.admin.ListEndOffsets(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	e, _ := ends.Lookup("t", part)
	return e.Offset
}

func (r *running) groupOffset(t *testing.T, part int32) int64 {
	t.Helper()
	offsets, err := r.admin.FetchOffsets(testContext(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	o, ok := offsets.Lookup("in", part)
	if !ok {
		return -1
	}
	return o.At
}

// crashImage copies the directory of a running, idle broker: what a kill at this moment would leave.
func crashImage(t *testing.T, dir string) string {
	t.Helper()
	image := t.TempDir()
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image
}

func TestDataOutlivesTheBroker(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.createTopic(t, "t")
	r.createTopic(t, "in")
	r.produce(t, 0, "a", "b")
	r.produce(t, 1, "c")
	commit := make(kadm.Offsets)
	commit.AddOffset("in", 1, 42, -1)
	if err := r.admin.CommitAllOffsets(testContext(t), "g", commit); err != nil {
		t.Fatal(err)
	}
	r.stop(t)

	r = start(t, dir)
	defer r.stop(t)
	if diff := cmp.Diff(map[int32][]string{0: {"a", "b"}, 1: {"c"}}, r.committed(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := r.groupOffset(t, 1); got != 42 {
		t.Errorf("committed offset %d, want 42", got)
	}
}

func TestFirstStartIsFast(t *testing.T) {
	best := time.Hour
	for range 3 {
		began := time.Now()
		b, err := Start(Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(began))
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if best > 100*time.Millisecond {
		t.Errorf("best of 3 starts took %v, want at most 100ms", best)
	}
}

func TestUnknownRequestEndsItsConnectionOnly(t *testing.T) {
	r := start(t, t.TempDir())
	defer r.stop(t)
	for name, request := range map[string][]byte{
		"unknown key":  {0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"huge size":    {0x7f, 0xff, 0xff, 0xff, 0, 3},
		"size too low": {0, 0, 0, 1, 0},
	} {
		conn, err := net.Dial("tcp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for _, b := range request { // byte by byte: the framing must not depend on how it arrives
			if _, err := conn.Write([]byte{b}); err != nil {
				break // closed early is what is wanted
			}
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %d bytes, %v; want the connection closed", name, n, err)
		}
		conn.Close()
	}
	r.createTopic(t, "t")
}

func TestGuardFollowsFrames(t *testing.T) {
	frame := func(key int16, size int) []byte {
		f := binary.BigEndian.AppendUint32(nil, uint32(size))
		f = binary.BigEndian.AppendUint16(f, uint16(key))
		return append(f, make([]byte, size-2)...)
	}
	stream := append(append(frame(3, 8), frame(0, 1000)...), frame(18, 9)...)
	for _, step := range []int{1, 2, 3, 5, 7, 64, len(stream)} {
		c := &guardedConn{}
		for rest := stream; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			if err := c.follow(rest[:min(step, len(rest))]); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
		if err := c.follow(frame(9999, 8)); err == nil {
			t.Errorf("step %d: a request with an unknown key passed", step)
		}
	}
}

func TestAttachStartsExactlyOne(t *testing.T) {
	dir := t.TempDir()
	stale := Address{Addr: "127.0.0.1:1", PID: 1, Cluster: "gone"}
	if err := writeAddress(dir, stale); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	leases := make([]*Lease, 8)
	var wg sync.WaitGroup
	for i := range leases {
		wg.Go(func() {
			l, err := Attach(ctx, Config{Dir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			leases[i] = l
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	owners := 0
	for _, l := range leases {
		if l.Own != nil {
			owners++
		}
		if l.Addr != leases[0].Addr {
			t.Errorf("addresses differ: %s and %s", l.Addr, leases[0].Addr)
		}
	}
	if owners != 1 {
		t.Errorf("%d brokers started, want 1", owners)
	}
	for _, l := range leases {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Running(ctx, dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("address after the stop: %v, want none", err)
	}
}

func TestRunningRefusesAnotherBroker(t *testing.T) {
	other := start(t, t.TempDir())
	defer other.stop(t)
	dir := t.TempDir()
	if err := writeAddress(dir, Address{Addr: other.Addr(), PID: os.Getpid(), Cluster: "mine"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Running(testContext(t), dir); err == nil || !strings.Contains(err.Error(), `want "mine"`) {
		t.Errorf("Running = %v, want a refusal", err)
	}
}

func TestAttachGivesUpWithItsContext(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Attach(ctx, Config{Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Attach = %v, want a deadline", err)
	}
}

func TestAddressFileIsJSON(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	defer r.stop(t)
	data, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err != nil {
		t.Fatal(err)
	}
	var a Address
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	if a.Addr != r.Addr() || a.PID != os.Getpid() || time.Since(a.Started) > time.Minute || a.Cluster == "" {
		t.Errorf("address file says %+v", a)
	}
	host, _, err := net.SplitHostPort(a.Addr)
	if err != nil || host != "127.0.0.1" {
		t.Errorf("listens on %s (%v), want the loopback interface", a.Addr, err)
	}
}

// Records of long ago stay, in a compacted topic as in any other: their time is
// that of the events.
func TestOldRecordsStay(t *testing.T) {
	dir := t.TempDir()
	for _, policy := range []string{"compact", "delete"} {
		b := start(t, filepath.Join(dir, policy))
		if _, err := b.admin.CreateTopic(testContext(t), 2, 1, map[string]*string{"cleanup.policy": &policy}, "t"); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b", "c"} {
			rec := &kgo.Record{Topic: "t", Key: []byte(key), Value: []byte(key), Timestamp: time.UnixMilli(1413215518000)}
			if err := b.client.ProduceSync(testContext(t), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		b.Compact() // the server enforces retention with it
		if got := strings.Join(b.committed(t)[0], " "); got != "a b c" {
			t.Errorf("%s: %q is left of a, b, c", policy, got)
		}
		b.stop(t)
	}
}

func TestConfigListsEveryFault(t *testing.T) {
	_, err := Start(Config{Partitions: -1, MinSessionTimeout: -1})
	for _, want := range []string{"dir is empty", "partitions is -1", "min session timeout is -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start = %v, want it to mention %q", err, want)
		}
	}
}

// read the whole file, for tests that cut files.
func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
