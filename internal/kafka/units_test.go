package kafka

import (
	"testing"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestPartitionOfTwoUnitsJoinsBoth: a partition that is sent to before a
// Commit and again right after it, before the first transaction has been told
// of it, must be added to both transactions. Else the batches of the first
// unit never leave, and its commit never ends.
func TestPartitionOfTwoUnitsJoinsBoth(t *testing.T) {
	c, err := newCluster(Settings{Brokers: []string{"127.0.0.1:1"}}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	p := newProducer(c, "id", true, nil)
	tp := record.TopicPartition{Topic: "t"}
	p.Send(tp, record.Record{Value: []byte("first unit")})
	p.Commit(engine.Commit{}, func(engine.CommitResult) {})
	p.Send(tp, record.Record{Value: []byte("second unit")})

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, unit := range []string{"first", "second"} {
		if add := p.takeWanted(); len(add) != 1 || add[0].tp != tp {
			t.Errorf("%s unit: partitions to add: %v", unit, add)
		}
		if again := p.takeWanted(); len(again) != 0 {
			t.Errorf("%s unit: added twice: %v", unit, again)
		}
		p.sending = p.current
	}
}

// TestMetadataOfOffsets: who committed an offset and at what stream time, as this
// version and earlier ones write it.
func TestMetadataOfOffsets(t *testing.T) {
	for _, c := range []struct {
		metadata string
		by       string
		time     int64
		promises string
	}{
		{appendMetadata("p-one-0", position{streamTime: 1_700_000_000_123}), "p-one-0", 1_700_000_000_123, ""},
		{appendMetadata("p-one-0", position{streamTime: engine.Timeless, promises: "AA-_"}), "p-one-0", engine.Timeless, "AA-_"},
		{appendMetadata("p-one-0", position{promises: "AA-_"}), "p-one-0", 0, "AA-_"},
		{appendMetadata("", position{streamTime: 5}), "", 5, ""},
		{appendMetadata("p-one-0", position{}), "p-one-0", 0, ""},
		{"p-one-0", "p-one-0", 0, ""}, // without a stream time
		{"", "", 0, ""},               // without transactions, or set from outside
		{"set by hand", "set by hand", 0, ""},
		{"p-one-0 stream-time=soon", "p-one-0", 0, ""},
	} {
		got := lastCommit(&sarama.OffsetFetchResponseBlock{Offset: 7, Metadata: c.metadata})
		if want := (engine.LastCommit{Offset: 7, By: c.by, StreamTime: c.time, Promises: c.promises}); got != want {
			t.Errorf("%q: %+v, want %+v", c.metadata, got, want)
		}
	}
}
