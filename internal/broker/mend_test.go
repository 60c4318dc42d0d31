package broker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// open begins a transaction that writes one record to each partition of t and
// commits offset at of in, and leaves it open.
func (r *running) open(t *testing.T, value string, at int64) {
	t.Helper()
	if err := r.client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	r.produce(t, 0, value+"0")
	r.produce(t, 1, value+"1")
	id, epoch, err := r.client.ProducerID(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.Group, add.ProducerID, add.ProducerEpoch = "tx", "g", id, epoch
	if _, err := add.RequestWith(testContext(t), r.client); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = "tx", "g", id, epoch
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = "in"
	for p := range int32(2) {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = p, at
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(testContext(t), r.client)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			t.Fatalf("commit offsets in the transaction: error code %d", p.ErrorCode)
		}
	}
}

// transactional starts a broker for transactions with explicit registration
// of partitions, as brokers before 4.0 ask for.
func transactional(t *testing.T, dir string) *running {
	t.Helper()
	return start(t, dir, kgo.TransactionalID("tx"))
}

// torn makes the crash images around a commit: before it, and after it.
func torn(t *testing.T) (before, after string) {
	t.Helper()
	dir := t.TempDir()
	r := transactional(t, dir)
	defer r.stop(t)
	r.createTopic(t, "t")
	r.createTopic(t, "in")
	r.open(t, "a", 7)
	if err := r.client.EndTransaction(testContext(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	r.open(t, "b", 8)
	before = crashImage(t, dir)
	if err := r.client.EndTransaction(testContext(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	return before, crashImage(t, dir)
}

func datFile(dir string, part int32) string {
	return segmentPath(partitionDir(filepath.Join(dir, "data"), "t", part), 0, ".dat")
}

func idxFile(dir string, part int32) string {
	return segmentPath(partitionDir(filepath.Join(dir, "data"), "t", part), 0, ".idx")
}

// rewind gives file of image the length that it has in earlier.
func rewind(t *testing.T, file func(dir string) string, image, earlier string) {
	t.Helper()
	if err := os.Truncate(file(image), fileSize(t, file(earlier))); err != nil {
		t.Fatal(err)
	}
}

func TestKillInACommit(t *testing.T) {
	all := map[int32][]string{0: {"a0", "b0"}, 1: {"a1", "b1"}}
	none := map[int32][]string{0: {"a0"}, 1: {"a1"}}
	groups := func(dir string) string { return filepath.Join(dir, "data", "groups.log") }
	for name, c := range map[string]struct {
		rewind []func(dir string) string // files that had not been written yet
		cut    func(dir string) string   // file whose last write was cut in its middle
		want   map[int32][]string
		offset int64
	}{
		"after everything": {nil, nil, all, 8},
		"before anything": {[]func(string) string{
			func(d string) string { return datFile(d, 0) }, func(d string) string { return idxFile(d, 0) },
			func(d string) string { return datFile(d, 1) }, func(d string) string { return idxFile(d, 1) }, groups,
		}, nil, none, 7},
		"between the markers": {[]func(string) string{
			func(d string) string { return datFile(d, 1) }, func(d string) string { return idxFile(d, 1) }, groups,
		}, nil, all, 8},
		"between marker and index": {[]func(string) string{
			func(d string) string { return idxFile(d, 1) }, groups,
		}, nil, all, 8},
		"in a marker":        {[]func(string) string{groups}, func(d string) string { return datFile(d, 1) }, all, 8},
		"before the offsets": {[]func(string) string{groups}, nil, all, 8},
		"in the offsets":     {nil, groups, all, 8},
	} {
		t.Run(name, func(t *testing.T) {
			before, image := torn(t)
			for _, f := range c.rewind {
				rewind(t, f, image, before)
			}
			if c.cut != nil {
				if err := os.Truncate(c.cut(image), fileSize(t, c.cut(image))-3); err != nil {
					t.Fatal(err)
				}
			}
			r := transactional(t, image)
			defer func() { r.stop(t) }()
			for round := range 2 { // as mended, and as saved and read again
				if diff := cmp.Diff(c.want, r.committed(t)); diff != "" {
					t.Errorf("round %d: records (-want +got):\n%s", round, diff)
				}
				for p := range int32(2) {
					if got := r.groupOffset(t, p); got != c.offset {
						t.Errorf("round %d: committed offset of partition %d is %d, want %d", round, p, got, c.offset)
					}
				}
				r.stop(t)
				r = transactional(t, image)
			}
		})
	}
}

func TestAbortedByAKillStaysAborted(t *testing.T) {
	before, _ := torn(t)
	r := transactional(t, before)
	r.open(t, "c", 9)
	if err := r.client.EndTransaction(testContext(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	image := crashImage(t, before)
	r.stop(t)
	for _, dir := range []string{before, image} {
		r := transactional(t, dir)
		if diff := cmp.Diff(map[int32][]string{0: {"a0", "c0"}, 1: {"a1", "c1"}}, r.committed(t)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		r.stop(t)
	}
}

// A kill between a batch and its index entry must not publish the batch.
func TestUnindexedBatchStaysInItsTransaction(t *testing.T) {
	dir := t.TempDir()
	r := transactional(t, dir)
	r.createTopic(t, "t")
	r.createTopic(t, "in")
	r.open(t, "a", 7)
	image := crashImage(t, dir)
	r.client.Close()
	r.stop(t)
	if err := os.Truncate(idxFile(image, 0), 0); err != nil {
		t.Fatal(err)
	}
	r = transactional(t, image)
	defer r.stop(t)
	if diff := cmp.Diff(map[int32][]string{}, r.committed(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestEmptiedPartitionKeepsItsEnd(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.createTopic(t, "t")
	r.produce(t, 0, "a", "b", "c")
	r.produce(t, 1, "d")
	purge := make(kadm.Offsets)
	purge.AddOffset("t", 0, 3, -1)
	if _, err := r.admin.DeleteRecords(testContext(t), purge); err != nil {
		t.Fatal(err)
	}
	image := crashImage(t, dir)
	r.stop(t)
	for name, dir := range map[string]string{"orderly": dir, "killed": image} {
		for round := range 2 {
			r := start(t, dir)
			if got := r.end(t, 0); got != 3+int64(round) {
				t.Errorf("%s, round %d: end %d, want %d", name, round, got, 3+round)
			}
			r.produce(t, 0, "e")
			want := map[int32][]string{0: slices.Repeat([]string{"e"}, round+1), 1: {"d"}}
			if diff := cmp.Diff(want, r.committed(t)); diff != "" {
				t.Errorf("%s, round %d: records (-want +got):\n%s", name, round, diff)
			}
			r.stop(t)
		}
	}
}

func TestTopicMadeAnewBeginsAtZero(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.createTopic(t, "t")
	r.produce(t, 0, "a", "b", "c")
	purge := make(kadm.Offsets)
	purge.AddOffset("t", 0, 3, -1)
	if _, err := r.admin.DeleteRecords(testContext(t), purge); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.DeleteTopics(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	r.createTopic(t, "t")
	image := crashImage(t, dir)
	r.stop(t)
	for _, dir := range []string{dir, image} {
		r := start(t, dir)
		if got := r.end(t, 0); got != 0 {
			t.Errorf("end %d, want 0", got)
		}
		r.stop(t)
	}
}

// What is left of a topic whose deletion was cut off must not come back.
func TestStrayPartitionIsRemoved(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.createTopic(t, "t")
	r.produce(t, 0, "old")
	stray := t.TempDir()
	if err := os.CopyFS(stray, os.DirFS(partitionDir(filepath.Join(dir, "data"), "t", 0))); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.DeleteTopics(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	r.stop(t)
	if err := os.CopyFS(partitionDir(filepath.Join(dir, "data"), "t", 0), os.DirFS(stray)); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.createTopic(t, "t")
	r.produce(t, 0, "new")
	r.stop(t)
	r = start(t, dir)
	defer r.stop(t)
	if diff := cmp.Diff(map[int32][]string{0: {"new"}}, r.committed(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
