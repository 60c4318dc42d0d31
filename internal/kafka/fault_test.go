package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"streamctl/internal/engine"
	"streamctl/internal/kafkatest"
	"streamctl/internal/record"
)

// API keys of the requests that faults are about.
const (
	keyProduce         = 0
	keyAddPartitions   = 24
	keyAddOffsets      = 25
	keyEndTxn          = 26
	keyTxnOffsetCommit = 28
)

// fault is what happens to a request.
type fault int

const (
	faultNone    fault = iota
	faultLost          // the connection breaks before the request is sent
	faultUnheard       // the broker answers, and the connection breaks before we hear it
)

// network decides about faults, over all connections of a transport.
type network struct {
	mu     sync.Mutex
	plan   map[uint16][]fault // per API key, for its next requests
	struck int
}

func (n *network) next(key uint16) fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.plan[key]) == 0 {
		return faultNone
	}
	f := n.plan[key][0]
	n.plan[key] = n.plan[key][1:]
	if f != faultNone {
		n.struck++
	}
	return f
}

// faultyConn breaks when the network says so. sarama writes a request at once.
type faultyConn struct {
	net.Conn
	network *network
	mu      sync.Mutex
	unheard bool
}

func (c *faultyConn) Write(p []byte) (int, error) {
	switch c.network.next(binary.BigEndian.Uint16(p[4:])) {
	case faultLost:
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	case faultUnheard:
		c.mu.Lock()
		c.unheard = true
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unheard {
		c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// faulty opens a transport over a network that fails as planned.
func (e *env) faulty(plan map[uint16][]fault) (*Transport, *network) {
	t := e.open()
	n := &network{plan: plan}
	t.c.dialer.wrap = func(c net.Conn) net.Conn { return &faultyConn{Conn: c, network: n} }
	return t, n
}

// TestUnknownOutcome breaks the connection at each request of a transaction,
// before the broker has it and after. The commit must not be reported as done,
// and what Kafka holds must be one of the two: offset and record, or neither.
func TestUnknownOutcome(t *testing.T) {
	for key, name := range map[uint16]string{keyAddPartitions: "add-partitions", keyAddOffsets: "add-offsets", keyTxnOffsetCommit: "txn-offset-commit", keyEndTxn: "end-txn"} {
		for _, f := range []fault{faultLost, faultUnheard} {
			t.Run(fmt.Sprintf("%s-%d", name, f), func(t *testing.T) {
				onBoth(t, func(e *env) {
					tr, network := e.faulty(map[uint16][]fault{key: {f}})
					topic := tp(e.topic(tr, 1, nil), 0)
					p := e.producer(tr, e.name("id"))
					in := map[record.TopicPartition]int64{topic: 1}
					group := engine.GroupMeta{Group: tr.c.set.Group}
					p.Send(topic, rec("k", "first"))
					r := e.commit(p, engine.Commit{Offsets: in, Group: group})
					if !errors.Is(r.Err, engine.ErrAborted) || network.struck != 1 {
						e.Fatalf("commit: %v, want aborted (%d faults)", r.Err, network.struck)
					}
					p.Send(topic, rec("k", "stale"))
					p.Discard()
					committed, err := tr.Admin().Committed(e.ctx(), []record.TopicPartition{topic})
					if err != nil {
						e.Fatal(err)
					}
					want := []string{}
					if _, ok := committed[topic]; ok {
						want = append(want, "first")
						if key != keyEndTxn || f != faultUnheard {
							e.Error("the transaction was committed without its end having been asked for")
						}
					}
					p.Send(topic, rec("k", "second"))
					in[topic] = 2
					e.mustCommit(p, engine.Commit{Offsets: in, Group: group})
					want = append(want, "second")
					if got := values(e.readAll(tr, topic)); !slices.Equal(got, want) {
						e.Errorf("got %q, want %q", got, want)
					}
				})
			})
		}
	}
}

// TestProduceIsRepeated breaks the connection at produce requests: nothing is
// lost, nothing doubled, the order is kept.
func TestProduceIsRepeated(t *testing.T) {
	for _, exactly := range []bool{true, false} {
		t.Run(fmt.Sprintf("exactly=%v", exactly), func(t *testing.T) {
			onBoth(t, func(e *env) {
				tr, network := e.faulty(map[uint16][]fault{keyProduce: {faultNone, faultUnheard, faultNone, faultLost, faultUnheard, faultUnheard}})
				topic := e.topic(tr, 2, nil)
				id := ""
				if exactly {
					id = e.name("id")
				}
				p := e.producer(tr, id)
				for round := range 8 {
					for i := range 100 {
						p.Send(tp(topic, int32(i%2)), rec("k", fmt.Sprint(round*100+i)))
					}
					e.mustCommit(p, engine.Commit{})
				}
				if network.struck != 4 {
					e.Errorf("%d faults struck", network.struck)
				}
				for part := range 2 {
					got := values(e.readAll(tr, tp(topic, int32(part))))
					if len(got) != 400 {
						e.Fatalf("partition %d: %d records", part, len(got))
					}
					for i, v := range got {
						if v != fmt.Sprint(2*i+part) {
							e.Fatalf("partition %d: record %d is %s", part, i, v)
						}
					}
				}
			})
		})
	}
}

// answers lets the fake answer the first n requests of a kind with a code.
func answers[Resp kmsg.Response](e *env, key kmsg.Key, n int, set func(req kmsg.Request, resp Resp)) *int {
	var mu sync.Mutex
	count := new(int)
	e.fake.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		if *count >= n {
			return nil, nil, false
		}
		*count++
		e.fake.KeepControl()
		resp := req.ResponseKind().(Resp)
		set(req, resp)
		return resp, nil, true
	})
	return count
}

// TestPatience lets the broker say "not yet" and "not here" at every step.
func TestPatience(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, nil), 0)
		inits := answers(e, kmsg.InitProducerID, 20, func(_ kmsg.Request, r *kmsg.InitProducerIDResponse) {
			r.ErrorCode = kerr.ConcurrentTransactions.Code
		})
		p := e.producer(tr, e.name("id"))
		adds := answers(e, kmsg.AddPartitionsToTxn, 20, func(q kmsg.Request, r *kmsg.AddPartitionsToTxnResponse) {
			part := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			part.ErrorCode = kerr.ConcurrentTransactions.Code
			topic := kmsg.NewAddPartitionsToTxnResponseTopic()
			topic.Topic = q.(*kmsg.AddPartitionsToTxnRequest).Topics[0].Topic
			topic.Partitions = append(topic.Partitions, part)
			r.Topics = append(r.Topics, topic)
		})
		ends := answers(e, kmsg.EndTxn, 3, func(_ kmsg.Request, r *kmsg.EndTxnResponse) { r.ErrorCode = kerr.NotCoordinator.Code })
		offsets := answers(e, kmsg.AddOffsetsToTxn, 3, func(_ kmsg.Request, r *kmsg.AddOffsetsToTxnResponse) {
			r.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		})
		produces := answers(e, kmsg.Produce, 3, func(q kmsg.Request, r *kmsg.ProduceResponse) {
			produceCode(q, r, kerr.NotLeaderForPartition.Code)
		})
		fetches := answers(e, kmsg.OffsetFetch, 3, func(q kmsg.Request, r *kmsg.OffsetFetchResponse) {
			for _, g := range q.(*kmsg.OffsetFetchRequest).Groups {
				group := kmsg.NewOffsetFetchResponseGroup()
				group.Group = g.Group
				for _, t := range g.Topics {
					topic := kmsg.NewOffsetFetchResponseGroupTopic()
					topic.Topic = t.Topic
					for _, p := range t.Partitions {
						part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
						part.Partition, part.ErrorCode = p, kerr.UnstableOffsetCommit.Code
						topic.Partitions = append(topic.Partitions, part)
					}
					group.Topics = append(group.Topics, topic)
				}
				r.Groups = append(r.Groups, group)
			}
		})
		p.Send(topic, rec("k", "v"))
		e.mustCommit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{topic: 4}, Group: engine.GroupMeta{Group: tr.c.set.Group}})
		got, err := tr.Admin().Committed(e.ctx(), []record.TopicPartition{topic})
		if err != nil || got[topic] != 4 {
			e.Errorf("committed: %v, %v", got, err)
		}
		if *inits != 20 || *adds != 20 || *ends != 3 || *offsets != 3 || *produces != 3 || *fetches != 3 {
			e.Errorf("refusals: %d %d %d %d %d %d", *inits, *adds, *ends, *offsets, *produces, *fetches)
		}
		if got := e.readAll(tr, topic); len(got) != 1 {
			e.Errorf("got %q", values(got))
		}
	})
}

// produceCode answers every partition of a produce request with a code.
func produceCode(q kmsg.Request, r *kmsg.ProduceResponse, code int16) {
	for _, t := range q.(*kmsg.ProduceRequest).Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, code
			topic.Partitions = append(topic.Partitions, part)
		}
		r.Topics = append(r.Topics, topic)
	}
}

// TestLostSequence has the broker forget the producer: at least once goes on
// under a new identity, exactly once goes back.
func TestLostSequence(t *testing.T) {
	onFake(t, func(e *env) {
		for _, code := range []int16{kerr.UnknownProducerID.Code, kerr.OutOfOrderSequenceNumber.Code} {
			for _, exactly := range []bool{true, false} {
				tr := e.open()
				topic := tp(e.topic(tr, 1, nil), 0)
				id := ""
				if exactly {
					id = e.name("id")
				}
				p := e.producer(tr, id)
				p.Send(topic, rec("k", "first"))
				e.mustCommit(p, engine.Commit{})
				before := p.life
				count := answers(e, kmsg.Produce, 1, func(q kmsg.Request, r *kmsg.ProduceResponse) { produceCode(q, r, code) })
				p.Send(topic, rec("k", "second"))
				r := e.commit(p, engine.Commit{})
				if *count != 1 {
					e.Fatalf("%d refusals", *count)
				}
				if exactly {
					if !errors.Is(r.Err, engine.ErrAborted) {
						e.Fatalf("code %d: %v, want aborted", code, r.Err)
					}
					p.Discard()
					p.Send(topic, rec("k", "second"))
					r = e.commit(p, engine.Commit{})
				}
				if r.Err != nil || p.life == before {
					e.Fatalf("code %d: %v", code, r.Err)
				}
				if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"first", "second"}) {
					e.Errorf("code %d: got %q", code, got)
				}
			}
		}
	})
}

// TestTransactionTimeout keeps a transaction open for too long: the broker
// aborts it, and the message names the setting.
func TestTransactionTimeout(t *testing.T) {
	onReal(t, func(e *env) {
		tr := e.open(func(s *Settings) { s.TransactionTimeout = time.Second })
		topic := tp(e.topic(tr, 1, nil), 0)
		p := e.producer(tr, e.name("id"))
		p.Send(topic, rec("k", "too slow"))
		e.await("flush", func() bool { return p.Buffered() == 0 })
		ends := func() int64 {
			got, err := tr.Admin().Ends(e.ctx(), []record.TopicPartition{topic}, engine.ReadCommitted)
			if err != nil {
				e.Fatal(err)
			}
			return got[topic]
		}
		e.await("abort by the broker", func() bool { return ends() > 0 })
		r := e.commit(p, engine.Commit{})
		if r.Err == nil || !errors.Is(r.Err, engine.ErrFenced) && !errors.Is(r.Err, engine.ErrAborted) {
			e.Fatalf("commit: %v", r.Err)
		}
		if errors.Is(r.Err, engine.ErrFenced) && !strings.Contains(r.Err.Error(), "transaction timeout is 1s") {
			e.Errorf("the message does not name the setting: %v", r.Err)
		}
		p.Discard()
		p.Send(topic, rec("k", "in time"))
		e.mustCommit(p, engine.Commit{})
		if got := values(e.readAll(tr, topic)); !slices.Equal(got, []string{"in time"}) {
			e.Errorf("got %q", got)
		}
	})
}

// TestUnstableOffsets asks for committed offsets while a transaction that
// carries them is open: the answer waits for its end. (The fake does not keep
// the promise of stable offsets.)
func TestUnstableOffsets(t *testing.T) {
	onReal(t, func(e *env) {
		release := make(chan struct{})
		letGo := sync.OnceFunc(func() { close(release) })
		defer letGo()
		tr := e.open(func(s *Settings) {
			s.Crash = func(step string) {
				if step == crashBeforeEndTxn {
					<-release
				}
			}
		})
		topic := tp(e.topic(tr, 1, nil), 0)
		p := e.producer(tr, e.name("id"))
		p.Send(topic, rec("k", "v"))
		done := make(chan error, 1)
		p.Commit(engine.Commit{Offsets: map[record.TopicPartition]int64{topic: 11}, Group: engine.GroupMeta{Group: tr.c.set.Group}},
			func(r engine.CommitResult) { done <- r.Err })
		e.await("offsets in the transaction", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			_, err := tr.Admin().Committed(ctx, []record.TopicPartition{topic})
			return errors.Is(err, sarama.ErrUnstableOffsetCommit)
		})
		letGo()
		got, err := tr.Admin().Committed(e.ctx(), []record.TopicPartition{topic})
		if err != nil || got[topic] != 11 {
			e.Errorf("committed: %v, %v", got, err)
		}
		if err := <-done; err != nil {
			e.Error(err)
		}
	})
}

// TestIdleUnit commits nothing, and the same offsets again: no request of a
// transaction is sent.
func TestIdleUnit(t *testing.T) {
	onFake(t, func(e *env) {
		tr := e.open()
		topic := tp(e.topic(tr, 1, nil), 0)
		p := e.producer(tr, e.name("id"))
		commit := engine.Commit{Offsets: map[record.TopicPartition]int64{topic: 4}, Group: engine.GroupMeta{Group: tr.c.set.Group}}
		e.mustCommit(p, commit)
		ends := 0
		e.fake.ControlKey(kmsg.EndTxn.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			e.fake.KeepControl()
			ends++
			return nil, nil, false
		})
		e.mustCommit(p, commit)
		e.mustCommit(p, engine.Commit{})
		if ends != 0 {
			e.Errorf("%d transactions for nothing", ends)
		}
		commit.Offsets[topic] = 5
		e.mustCommit(p, commit)
		if ends != 1 {
			e.Errorf("%d transactions, want 1", ends)
		}
	})
}

// TestBrokerKilled copies a topic exactly once while the broker is killed and
// comes back several times.
func TestBrokerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a broker several times")
	}
	broker := kafkatest.Start(t, kafkatest.Options{})
	e := &env{T: t, addr: broker.Addr(), real: true}
	tr := e.open()
	in, out := tp(e.topic(tr, 1, nil), 0), tp(e.topic(tr, 1, nil), 0)
	feeder := e.producer(tr, "")
	const n = 30000
	for i := range n {
		feeder.Send(in, rec("k", fmt.Sprint(i)))
	}
	e.mustCommit(feeder, engine.Commit{})
	p := e.producer(tr, e.name("id"))
	s := e.source(tr)
	s.Start(in, 0, engine.ReadCommitted)
	group := engine.GroupMeta{Group: tr.c.set.Group}
	kills, lost := 0, 0
	for pos := int64(0); pos < n; {
		for _, f := range s.Poll(time.Second) {
			if f.Err != nil {
				t.Fatal(f.Err)
			}
			s.Release(f)
			sent := 0
			for _, r := range f.Records {
				if r.Offset < pos || sent == 3000 {
					continue
				}
				p.Send(out, r)
				sent++
				pos = r.Offset + 1
			}
			if sent == 0 {
				continue
			}
			if kills < 3 && pos > int64((kills+1)*n/4) {
				kills++
				broker.Kill()
				if err := broker.Restart(e.ctx()); err != nil {
					t.Fatal(err)
				}
			}
			r := e.commit(p, engine.Commit{Offsets: map[record.TopicPartition]int64{in: pos}, Group: group})
			switch {
			case errors.Is(r.Err, engine.ErrAborted):
				lost++
				p.Discard()
				committed, err := tr.Admin().Committed(e.ctx(), []record.TopicPartition{in})
				if err != nil {
					t.Fatal(err)
				}
				pos = committed[in]
			case r.Err != nil:
				t.Fatal(r.Err)
			}
			s.Start(in, pos, engine.ReadCommitted)
			break
		}
	}
	got := e.readAll(tr, out)
	if len(got) != n {
		t.Fatalf("%d records, want %d (%d units lost)", len(got), n, lost)
	}
	for i, r := range got {
		if string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d is %s", i, r.Value)
		}
	}
	t.Logf("%d kills, %d units lost", kills, lost)
}
