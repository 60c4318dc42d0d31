package upgrade

import (
	"context"
	"errors"
	"fmt"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// recordKey is the key of the one record of the topic.
const recordKey = "plan"

// pollWait is how long one look for records waits.
const pollWait = 100 * time.Millisecond

// Topic is where the plan of a pipeline is recorded.
func Topic(pipeline string) string { return pipeline + ".plan" }

// topicConfigs: the last record stays for ever.
func topicConfigs() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "max.message.bytes": "8388608"}
}

// Store keeps the record in its topic: one partition, compacted.
type Store struct {
	Transport engine.Transport
	Pipeline  string
}

func (s Store) partition() record.TopicPartition {
	return record.TopicPartition{Topic: Topic(s.Pipeline)}
}

// Read gives the record, nil when there is none. ErrVersion: a later version
// of this program wrote it.
func (s Store) Read(ctx context.Context) (*Record, error) {
	tp := s.partition()
	found, err := s.Transport.Admin().Topics(ctx, []string{tp.Topic})
	if err != nil || len(found) == 0 {
		return nil, wrap("read recorded plan", err)
	}
	var last []byte
	err = scan(ctx, s.Transport, tp, -1, func(r *record.Record) bool {
		if string(r.Key) == recordKey {
			last = append([]byte(nil), r.Value...)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read recorded plan: %w", err)
	}
	if len(last) == 0 {
		return nil, nil
	}
	return Decode(last)
}

// Write records a plan, and returns when the brokers have it.
func (s Store) Write(ctx context.Context, r *Record) error {
	tp := s.partition()
	admin := s.Transport.Admin()
	found, err := admin.Topics(ctx, []string{tp.Topic})
	if err != nil {
		return fmt.Errorf("record plan: %w", err)
	}
	if len(found) == 0 {
		// Another process may be faster; the broker asked above may then not know yet.
		if err := admin.CreateTopic(ctx, tp.Topic, 1, topicConfigs()); err != nil && !errors.Is(err, engine.ErrTopicExists) {
			return fmt.Errorf("record plan: %w", err)
		}
	}
	value, err := r.Encode()
	if err != nil {
		return err
	}
	p, err := s.Transport.NewProducer(ctx, "", false)
	if err != nil {
		return fmt.Errorf("record plan: %w", err)
	}
	p.Send(tp, record.Record{Key: []byte(recordKey), Value: value, Time: r.At.UnixMilli()})
	done := make(chan error, 1)
	p.Commit(engine.Commit{}, func(result engine.CommitResult) { done <- result.Err })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return wrap("record plan", errors.Join(err, p.Err(), p.Close(closing)))
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// scan gives visit every committed record of a partition from an offset (-1 =
// its first one) up to its end, until visit says that it has seen enough. Open
// transactions are waited for.
func scan(ctx context.Context, t engine.Transport, tp record.TopicPartition, from int64, visit func(*record.Record) bool) error {
	tps := []record.TopicPartition{tp}
	starts, err := t.Admin().Starts(ctx, tps)
	if err != nil {
		return err
	}
	ends, err := t.Admin().Ends(ctx, tps, engine.ReadUncommitted)
	if err != nil {
		return err
	}
	from = max(from, starts[tp])
	if from >= ends[tp] {
		return nil
	}
	source, err := t.NewSource()
	if err != nil {
		return err
	}
	defer source.Close()
	source.Start(tp, from, engine.ReadCommitted)
	defer source.Stop(tp)
	for at := from; at < ends[tp]; {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, f := range source.Poll(pollWait) {
			if f.Err != nil {
				return f.Err
			}
			for i := range f.Records {
				if f.Records[i].Offset >= from && !visit(&f.Records[i]) {
					return nil
				}
			}
			at = max(at, f.Next)
			source.Release(f)
		}
	}
	return nil
}

// holds says whether a partition has a record at or above an offset.
func holds(ctx context.Context, t engine.Transport, tp record.TopicPartition, from int64) (bool, error) {
	found := false
	err := scan(ctx, t, tp, from, func(*record.Record) bool { found = true; return false })
	return found, err
}
