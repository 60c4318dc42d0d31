package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// counted checks that an incident was counted, and how often.
func (e *env) counted(t *Transport, name string, want int64) {
	e.Helper()
	if got := t.Incidents()[name]; got != want {
		e.Errorf("%s: counted %d times, want %d (all: %v)", name, got, want, t.Incidents())
	}
}

// TestRefusedProduce has the broker refuse batches for every reason that
// passes, several times in a row: all records arrive, in order, and each row of
// refusals is one incident.
func TestRefusedProduce(t *testing.T) {
	for _, c := range []struct {
		err      *kerr.Error
		incident string
	}{
		{kerr.NotLeaderForPartition, engine.IncidentLeaderMoved},
		{kerr.LeaderNotAvailable, engine.IncidentLeaderMoved},
		{kerr.FencedLeaderEpoch, engine.IncidentLeaderMoved},
		{kerr.UnknownTopicOrPartition, engine.IncidentLeaderMoved},
		{kerr.RequestTimedOut, engine.IncidentRequestTimeout},
		{kerr.NotEnoughReplicas, engine.IncidentNotEnoughReplicas},
		{kerr.NotEnoughReplicasAfterAppend, engine.IncidentNotEnoughReplicas},
		{kerr.KafkaStorageError, engine.IncidentStorageError},
		{kerr.UnknownServerError, ""},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			onFake(t, func(e *env) {
				tr := e.open()
				topic := tp(e.topic(tr, 1, nil), 0)
				p := e.producer(tr, e.name("id"))
				count := answers(e, kmsg.Produce, 4, func(q kmsg.Request, r *kmsg.ProduceResponse) { produceCode(q, r, c.err.Code) })
				p.Send(topic, rec("k", "first"))
				e.mustCommit(p, engine.Commit{})
				p.Send(topic, rec("k", "second"))
				e.mustCommit(p, engine.Commit{})
				if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"first", "second"}) || *count != 4 {
					e.Errorf("got %q after %d refusals", got, *count)
				}
				if c.incident != "" {
					e.counted(tr, c.incident, 1)
				}
			})
		})
	}
}

// TestRefusedFetch does the same to who reads.
func TestRefusedFetch(t *testing.T) {
	for _, c := range []struct {
		err      *kerr.Error
		incident string
	}{
		{kerr.NotLeaderForPartition, engine.IncidentLeaderMoved},
		{kerr.FencedLeaderEpoch, engine.IncidentLeaderMoved},
		{kerr.UnknownLeaderEpoch, engine.IncidentLeaderMoved},
		{kerr.UnknownTopicOrPartition, engine.IncidentLeaderMoved},
		{kerr.KafkaStorageError, engine.IncidentStorageError},
		{kerr.OffsetNotAvailable, ""},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			onFake(t, func(e *env) {
				tr := e.open()
				topic := tp(e.topic(tr, 1, nil), 0)
				p := e.producer(tr, "")
				p.Send(topic, rec("k", "v"))
				e.mustCommit(p, engine.Commit{})
				count := answers(e, kmsg.Fetch, 4, func(q kmsg.Request, r *kmsg.FetchResponse) {
					for _, t := range q.(*kmsg.FetchRequest).Topics {
						topic := kmsg.FetchResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
						for _, p := range t.Partitions {
							part := kmsg.NewFetchResponseTopicPartition()
							part.Partition, part.ErrorCode = p.Partition, c.err.Code
							topic.Partitions = append(topic.Partitions, part)
						}
						r.Topics = append(r.Topics, topic)
					}
				})
				got, _ := e.readTo(e.source(tr), topic, 0, engine.ReadCommitted)
				if len(got) != 1 || *count != 4 {
					e.Errorf("got %q after %d refusals", values(got), *count)
				}
				if c.incident != "" {
					e.counted(tr, c.incident, 1)
				}
			})
		})
	}
}

// TestRefusedCommit has the coordinators refuse a commit. What it means decides
// what becomes of the unit of work; the next one goes through in any case.
func TestRefusedCommit(t *testing.T) {
	txnOffset := func(code int16) func(kmsg.Request, *kmsg.TxnOffsetCommitResponse) {
		return func(q kmsg.Request, r *kmsg.TxnOffsetCommitResponse) {
			for _, t := range q.(*kmsg.TxnOffsetCommitRequest).Topics {
				topic := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic}
				for _, p := range t.Partitions {
					topic.Partitions = append(topic.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: code})
				}
				r.Topics = append(r.Topics, topic)
			}
		}
	}
	endTxn := func(code int16) func(kmsg.Request, *kmsg.EndTxnResponse) {
		return func(_ kmsg.Request, r *kmsg.EndTxnResponse) { r.ErrorCode = code }
	}
	for _, c := range []struct {
		name     string
		refuse   func(*env)
		want     error
		says     []string
		incident string
	}{
		{"generation", func(e *env) { answers(e, kmsg.TxnOffsetCommit, 1, txnOffset(kerr.IllegalGeneration.Code)) },
			engine.ErrExpelled, []string{"kafka.session_timeout (10s)", "kafka.rebalance_timeout (1m0s)"}, engine.IncidentFenced},
		{"member", func(e *env) { answers(e, kmsg.TxnOffsetCommit, 1, txnOffset(kerr.UnknownMemberID.Code)) },
			engine.ErrExpelled, []string{"kafka.session_timeout"}, engine.IncidentFenced},
		{"instance", func(e *env) { answers(e, kmsg.TxnOffsetCommit, 1, txnOffset(kerr.FencedInstanceID.Code)) },
			engine.ErrExpelled, []string{"instance name"}, engine.IncidentFenced},
		{"producer epoch", func(e *env) { answers(e, kmsg.EndTxn, 1, endTxn(kerr.InvalidProducerEpoch.Code)) },
			engine.ErrFenced, nil, engine.IncidentFenced},
		{"producer fenced", func(e *env) { answers(e, kmsg.EndTxn, 1, endTxn(kerr.ProducerFenced.Code)) },
			engine.ErrFenced, nil, engine.IncidentFenced},
		{"transaction state", func(e *env) { answers(e, kmsg.EndTxn, 1, endTxn(kerr.InvalidTxnState.Code)) },
			engine.ErrAborted, nil, engine.IncidentProducerRenewed},
		{"to be aborted", func(e *env) { answers(e, kmsg.EndTxn, 1, endTxn(kerr.TransactionAbortable.Code)) },
			engine.ErrAborted, nil, engine.IncidentProducerRenewed},
		{"fault within the broker", func(e *env) { answers(e, kmsg.EndTxn, 1, endTxn(kerr.UnknownServerError.Code)) },
			engine.ErrAborted, nil, engine.IncidentUnknownOutcome},
	} {
		t.Run(c.name, func(t *testing.T) {
			onFake(t, func(e *env) {
				tr := e.open()
				topic := tp(e.topic(tr, 1, nil), 0)
				p := e.producer(tr, e.name("id"))
				commit := engine.Commit{Offsets: map[record.TopicPartition]int64{topic: 1}, Group: engine.GroupMeta{Group: tr.c.set.Group}}
				c.refuse(e)
				p.Send(topic, rec("k", "refused"))
				r := e.commit(p, commit)
				if !errors.Is(r.Err, c.want) || c.want == engine.ErrFenced && errors.Is(r.Err, engine.ErrExpelled) {
					e.Fatalf("got %v, want %v", r.Err, c.want)
				}
				for _, text := range c.says {
					if !strings.Contains(r.Err.Error(), text) {
						e.Errorf("%q is not in: %v", text, r.Err)
					}
				}
				p.Discard()
				p.Send(topic, rec("k", "again"))
				e.mustCommit(p, commit)
				if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"again"}) {
					e.Errorf("got %q", got)
				}
				e.counted(tr, c.incident, 1)
			})
		})
	}
}

// TestOldTransaction: that the id was taken away from a transaction older than
// the time-out is the broker's doing, and no other process's; be it found at the
// commit, or only when a commit of unknown outcome is cleared up.
func TestOldTransaction(t *testing.T) {
	for name, codes := range map[string][]*kerr.Error{"commit": {kerr.ProducerFenced}, "renewal": {kerr.UnknownServerError, kerr.InvalidProducerEpoch}} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(e *env) {
				tr := e.open(func(s *Settings) { s.TransactionTimeout = time.Second })
				topic := tp(e.topic(tr, 1, nil), 0)
				p := e.producer(tr, e.name("id"))
				p.Send(topic, rec("k", "too slow"))
				e.await("flush", func() bool { return p.Buffered() == 0 })
				p.mu.Lock()
				p.sending.begun = p.sending.begun.Add(-2 * time.Second)
				p.mu.Unlock()
				refusals := 0
				answers(e, kmsg.EndTxn, len(codes), func(_ kmsg.Request, r *kmsg.EndTxnResponse) {
					r.ErrorCode = codes[refusals].Code
					refusals++
				})
				r := e.commit(p, engine.Commit{})
				if !errors.Is(r.Err, engine.ErrAborted) || errors.Is(r.Err, engine.ErrFenced) {
					e.Fatalf("got %v, want aborted", r.Err)
				}
				for _, text := range []string{"kafka.transaction_timeout (1s)", "commit_interval"} {
					if name == "commit" && !strings.Contains(r.Err.Error(), text) {
						e.Errorf("%q is not in: %v", text, r.Err)
					}
				}
				p.Discard()
				p.Send(topic, rec("k", "in time"))
				e.mustCommit(p, engine.Commit{})
				if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"in time"}) {
					e.Errorf("got %q", got)
				}
				e.counted(tr, engine.IncidentTransactionTimeout, 1)
				e.counted(tr, engine.IncidentFenced, 0)
			})
		})
	}
}

// TestTransactionTimeoutRefused names the broker's setting.
func TestTransactionTimeoutRefused(t *testing.T) {
	onReal(t, func(e *env) {
		tr := e.open(func(s *Settings) { s.TransactionTimeout = 24 * time.Hour })
		_, err := tr.NewProducer(e.ctx(), e.name("id"), true)
		if err == nil || !strings.Contains(err.Error(), "kafka.transaction_timeout is 24h0m0s") || !strings.Contains(err.Error(), "transaction.max.timeout.ms") {
			e.Errorf("got %v", err)
		}
	})
}

// TestRetryEnds: what does not pass within the retry timeout ends the producer,
// and says which setting that was.
func TestRetryEnds(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open(func(s *Settings) { s.RetryTimeout = 200 * time.Millisecond })
		topic := tp(e.topic(tr, 1, nil), 0)
		p := e.producer(tr, e.name("id"))
		answers(e, kmsg.EndTxn, 1<<30, func(_ kmsg.Request, r *kmsg.EndTxnResponse) { r.ErrorCode = kerr.CoordinatorNotAvailable.Code })
		p.Send(topic, rec("k", "v"))
		r := e.commit(p, engine.Commit{})
		if !errors.Is(r.Err, engine.ErrUnavailable) || !strings.Contains(r.Err.Error(), "kafka.retry_timeout (200ms)") {
			e.Errorf("got %v", r.Err)
		}
		e.counted(tr, engine.IncidentCoordinatorMoved, 1)
		e.fake.ControlKey(kmsg.EndTxn.Int16(), nil)
	})
}

// TestToldToStop: what is tried again ends with its context, and says so.
func TestToldToStop(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open()
		tr.c.dialer.wrap = func(c net.Conn) net.Conn { return &severed{c} }
		tr.c.links.close()
		tr.c.links = newLinks(tr.c.dialer, 0)
		ctx, cancel := context.WithCancel(context.Background())
		stop := time.AfterFunc(100*time.Millisecond, cancel)
		defer stop.Stop()
		_, err := tr.Admin().Topics(ctx, []string{"t"})
		if !errors.Is(err, context.Canceled) {
			e.Errorf("got %v, want that it was cancelled", err)
		}
		if tr.Incidents()[engine.IncidentConnectionLost] == 0 {
			e.Errorf("no lost connection is counted: %v", tr.Incidents())
		}
	})
}

// severed is a connection on which nothing can be sent.
type severed struct{ net.Conn }

func (s *severed) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestSlowAnswer: an answer that takes longer than the request timeout is none.
func TestSlowAnswer(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open(func(s *Settings) { s.RequestTimeout = 100 * time.Millisecond })
		var slow atomic.Int32
		e.fake.ControlKey(kmsg.Metadata.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			e.fake.KeepControl()
			if slow.Add(1) == 1 {
				e.fake.SleepControl(func() { <-time.After(300 * time.Millisecond) })
			}
			return nil, nil, false
		})
		if _, err := tr.Control().TopicNames(e.ctx()); err != nil {
			e.Fatal(err)
		}
		e.counted(tr, engine.IncidentRequestTimeout, 1)
	})
}

// TestThrottled: a quota makes us wait, and is counted.
func TestThrottled(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, nil), 0)
		p := e.producer(tr, "")
		answers(e, kmsg.Produce, 1, func(q kmsg.Request, r *kmsg.ProduceResponse) {
			produceCode(q, r, kerr.NotLeaderForPartition.Code) // it was not taken: it comes again
			r.ThrottleMillis = 50
		})
		p.Send(topic, rec("k", "v"))
		e.mustCommit(p, engine.Commit{})
		e.counted(tr, engine.IncidentThrottled, 1)
	})
}

// TestMissingPermission takes permissions away one by one: each refusal is final
// and names the permission.
func TestMissingPermission(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(1), kfake.EnableACLs(), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "root", "r"), kfake.User("PLAIN", "nobody", "n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	e := &env{T: t, addr: c.ListenAddrs()[0], fake: c}
	as := func(user string) func(*Settings) {
		return func(s *Settings) {
			s.SASL = SASLSettings{Mechanism: MechanismPlain, User: user, Password: Secret(user[:1])}
		}
	}
	topic := e.topic(e.open(as("root")), 1, nil)
	tr := e.open(as("nobody"))
	at := []record.TopicPartition{tp(topic, 0)}
	for _, c := range []struct {
		do    func() error
		needs string
	}{
		{func() error { _, err := tr.NewProducer(e.ctx(), "some-id", true); return err }, "Describe on transactional id some-id"},
		{func() error { _, err := tr.Admin().Committed(e.ctx(), at); return err }, "Read on group " + tr.c.set.Group},
		{func() error { _, err := tr.Admin().LastCommitted(e.ctx(), at); return err }, "Read on group " + tr.c.set.Group},
		{func() error { _, err := tr.Admin().Ends(e.ctx(), at, engine.ReadCommitted); return err }, "Describe on topic " + topic},
		{func() error { return tr.Admin().CreateTopic(e.ctx(), "new", 1, nil) }, "Create on topic new"},
		{func() error {
			s := e.source(tr)
			s.Start(at[0], 0, engine.ReadCommitted)
			for {
				for _, f := range s.Poll(time.Second) {
					if f.Err != nil {
						return f.Err
					}
				}
			}
		}, "on topic " + topic},
	} {
		began := time.Now()
		err := c.do()
		if err == nil || !strings.Contains(err.Error(), "permission (ACL)") || !strings.Contains(err.Error(), c.needs) {
			t.Errorf("got %v, want %q", err, c.needs)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: a refusal was tried again for %s", c.needs, took)
		}
	}
	for code, want := range map[*kerr.Error]string{
		kerr.TopicAuthorizationFailed:           "Write on topic t",
		kerr.GroupAuthorizationFailed:           "Read on group g",
		kerr.TransactionalIDAuthorizationFailed: "Write and Describe on transactional id i",
		kerr.ClusterAuthorizationFailed:         "Write on the cluster",
	} {
		err := permission(fmt.Errorf("do it: %w", sarama.KError(code.Code)), subject{operation: "Write", topic: "t", group: "g", id: "i"})
		if !strings.HasSuffix(err.Error(), "it needs the permission (ACL) "+want) || !denied(err) {
			t.Errorf("%v", err)
		}
	}
}
