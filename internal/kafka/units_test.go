package kafka

import (
	"testing"

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
