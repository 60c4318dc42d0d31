package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"streamctl/internal/broker"
	"streamctl/internal/testkit"
)

// rig is the embedded broker behind a proxy.
type rig struct {
	*testing.T
	broker *broker.Broker
	proxy  *Proxy
	direct *testkit.Cluster
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	p, err := Start(b.Addr(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := testkit.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &rig{t, b, p, c}
}

// client is one connection on which one request after the other is asked.
type client struct {
	t    *testing.T
	conn net.Conn
	asks int32
}

func (r *rig) dial() *client {
	r.Helper()
	conn, err := net.Dial("tcp", r.proxy.Addr())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	return &client{r.T, conn, 0}
}

// ask sends a request and reads the answer, for which it waits no longer than limit.
func (c *client) ask(req kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	c.t.Helper()
	c.send(req)
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		c.t.Fatal(err)
	}
	frame, err := readFrame(c.conn)
	if err != nil {
		return nil, err
	}
	if got := correlationOf(frame); got != c.asks {
		c.t.Fatalf("reply to request %d, want %d", got, c.asks)
	}
	resp := req.ResponseKind()
	body := frame[8:]
	if resp.IsFlexible() {
		r := kbin.Reader{Src: body}
		kmsg.SkipTags(&r)
		body = r.Src
	}
	return resp, resp.ReadFrom(body)
}

func (c *client) send(req kmsg.Request) {
	c.t.Helper()
	c.asks++
	if _, err := c.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester")).AppendRequest(nil, req, c.asks)); err != nil {
		c.t.Fatal(err)
	}
}

const soon = 10 * time.Second

func metadata() kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	req.Topics = []kmsg.MetadataRequestTopic{}
	return req
}

func initProducer(id string) kmsg.Request {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, &id, 60000
	return req
}

func TestPassesUntouched(t *testing.T) {
	r := newRig(t)
	resp, err := r.dial().ask(metadata(), soon)
	if err != nil || len(resp.(*kmsg.MetadataResponse).Brokers) != 1 {
		t.Fatalf("metadata: %+v, %v", resp, err)
	}
	if c := r.proxy.Counts(); c.Of(Pass, Metadata) != 1 || c.Faults() != 0 {
		t.Errorf("counts: %v", c)
	}
}

// A dropped request does not reach the broker, a dropped reply leaves its
// request done; either way the client sees its connection end.
func TestDrops(t *testing.T) {
	for kind, done := range map[Kind]bool{DropRequest: false, DropReply: true} {
		t.Run(kind.String(), func(t *testing.T) {
			r := newRig(t)
			r.proxy.SetRules(Rule{Kind: kind, APIs: []API{InitProducerID}, Skip: 1, Times: 1})
			if _, err := r.dial().ask(initProducer("id"), soon); err != nil {
				t.Fatalf("before the fault: %v", err)
			}
			if resp, err := r.dial().ask(initProducer("id"), soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the fault did not strike: %+v, %v", resp, err)
			}
			resp, err := r.dial().ask(initProducer("id"), soon)
			if err != nil {
				t.Fatalf("after the fault: %v", err)
			}
			want := int16(1)
			if done {
				want = 2
			}
			if got := resp.(*kmsg.InitProducerIDResponse).ProducerEpoch; got != want {
				t.Errorf("epoch %d, want %d", got, want)
			}
			if c := r.proxy.Counts(); c.Of(kind, InitProducerID) != 1 || c.Faults() != 1 {
				t.Errorf("counts: %v", c)
			}
		})
	}
}

// A silent drop leaves the connection open, and nothing comes on it any more.
func TestSilence(t *testing.T) {
	for _, kind := range []Kind{DropRequest, DropReply} {
		t.Run(kind.String(), func(t *testing.T) {
			r := newRig(t)
			r.proxy.SetRules(Rule{Kind: kind, APIs: []API{Metadata}, Times: 1, Silent: true})
			c := r.dial()
			for range 2 {
				if _, err := c.ask(metadata(), 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("got %v, want silence", err)
				}
			}
			if _, err := r.dial().ask(metadata(), soon); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
}

// A delayed request is carried out although its client has gone.
func TestDelayedRequestArrivesAfterItsClient(t *testing.T) {
	r := newRig(t)
	r.proxy.SetRules(Rule{Kind: DelayRequest, APIs: []API{InitProducerID}, Times: 1, Delay: 100 * time.Millisecond})
	c := r.dial()
	c.send(initProducer("id"))
	c.conn.Close()
	later := r.dial()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(soon); ; <-tick.C {
		// Each of ours raises the epoch by one; the late one raises it by one more.
		resp, err := later.ask(initProducer("id"), soon)
		if err != nil {
			t.Fatal(err)
		}
		if int32(resp.(*kmsg.InitProducerIDResponse).ProducerEpoch) == later.asks {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the request never arrived")
		}
	}
}

func TestDelays(t *testing.T) {
	for _, kind := range []Kind{DelayRequest, DelayReply} {
		r := newRig(t)
		const delay = 80 * time.Millisecond
		r.proxy.SetRules(Rule{Kind: kind, Client: "tester", Delay: delay}, Rule{Kind: Refuse})
		begin := time.Now()
		if _, err := r.dial().ask(metadata(), soon); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < delay {
			t.Errorf("%v: answered after %v", kind, took)
		}
	}
}

// Rules of several users do not disturb each other.
func TestAddedRules(t *testing.T) {
	r := newRig(t)
	mine := r.proxy.Add(Rule{Kind: DropReply, APIs: []API{Metadata}, Client: "tester", Times: 2})
	others := r.proxy.Add(Rule{Kind: DropReply, Client: "somebody else"})
	for range 2 {
		if _, err := r.dial().ask(metadata(), soon); err == nil {
			t.Error("the rule did not strike")
		}
	}
	if _, err := r.dial().ask(metadata(), soon); err != nil {
		t.Error(err)
	}
	named := r.proxy.Add(Rule{Kind: DropReply, Naming: []string{"one", "two"}})
	if _, err := r.dial().ask(initProducer("three"), soon); err != nil {
		t.Error(err)
	}
	if _, err := r.dial().ask(initProducer("two"), soon); err == nil {
		t.Error("the rule for names did not strike")
	}
	named.Remove()
	if mine.Struck() != 2 || others.Struck() != 0 {
		t.Errorf("struck %d and %d times", mine.Struck(), others.Struck())
	}
	again := r.proxy.Add(Rule{Kind: DropReply})
	again.Remove()
	others.Remove()
	if _, err := r.dial().ask(metadata(), soon); err != nil {
		t.Errorf("after the rules: %v", err)
	}
}

// Refusals carry the code wherever the kind of answer has one, and are in the
// order of the requests; the broker hears of none.
func TestRefuses(t *testing.T) {
	r := newRig(t)
	code := kerr.ConcurrentTransactions.Code
	r.proxy.SetRules(Rule{Kind: Pass, APIs: []API{Metadata}}, Rule{Kind: Refuse, Code: code, Times: 20})
	c := r.dial()
	c.send(metadata())
	if _, err := readFrame(c.conn); err != nil {
		t.Fatal(err)
	}
	codes := func(resp kmsg.Response) (out []int16) {
		switch r := resp.(type) {
		case *kmsg.InitProducerIDResponse:
			out = append(out, r.ErrorCode)
		case *kmsg.AddPartitionsToTxnResponse:
			for _, t := range r.Topics {
				for _, p := range t.Partitions {
					out = append(out, p.ErrorCode)
				}
			}
		case *kmsg.ProduceResponse:
			for _, t := range r.Topics {
				for _, p := range t.Partitions {
					out = append(out, p.ErrorCode)
				}
			}
		}
		return out
	}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.Version, add.TransactionalID = 3, "id"
	add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
	produce := kmsg.NewPtrProduceRequest()
	produce.Version = 8
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 3}}}}
	for i := range 20 {
		req := []kmsg.Request{initProducer("id"), add, produce}[i%3]
		resp, err := c.ask(req, soon)
		if err != nil {
			t.Fatal(err)
		}
		got := codes(resp)
		if len(got) == 0 {
			t.Fatalf("no code in %+v", resp)
		}
		for _, g := range got {
			if g != code {
				t.Fatalf("code %d in %+v", g, resp)
			}
		}
	}
	resp, err := c.ask(initProducer("id"), soon)
	if err != nil || resp.(*kmsg.InitProducerIDResponse).ProducerEpoch != 0 {
		t.Errorf("after the refusals: %+v, %v: the broker had heard of them", resp, err)
	}
	if got := r.proxy.Counts().String(); !strings.Contains(got, "refuse InitProducerID: 7") {
		t.Errorf("counts: %s", got)
	}
}

func TestPartitionCutThrottle(t *testing.T) {
	r := newRig(t)
	c := r.dial()
	if _, err := c.ask(metadata(), soon); err != nil {
		t.Fatal(err)
	}
	r.proxy.Partition()
	if _, err := c.ask(metadata(), 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("during the partition: %v", err)
	}
	if _, err := r.dial().ask(metadata(), 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a new connection during the partition: %v", err)
	}
	r.proxy.Heal()
	if err := c.conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(c.conn); err != nil {
		t.Fatalf("what was held back did not come: %v", err)
	}
	r.proxy.Throttle(2000)
	begin := time.Now()
	if _, err := c.ask(metadata(), soon); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 20*time.Millisecond { // 40 bytes at least in either direction
		t.Errorf("throttled, it took %v", took)
	}
	r.proxy.Throttle(0)
	if n := r.proxy.Cut(); n < 1 {
		t.Errorf("%d connections cut", n)
	}
	if _, err := readFrame(c.conn); err == nil {
		t.Error("the connection was not cut")
	}
	if _, err := r.dial().ask(metadata(), soon); err != nil {
		t.Errorf("after the cut: %v", err)
	}
}

// A client that knows how to recover brings everything through chance faults,
// once and in order.
func TestChaosLosesNothing(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.direct.CreateTopic(ctx, "t", 1, "delete"); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.proxy.Addr()), kgo.RequestTimeoutOverhead(time.Second), kgo.ProducerLinger(0), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond }),
		kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) { // the broker does not know of the proxy
			return (&net.Dialer{}).DialContext(ctx, network, r.proxy.Addr())
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	r.proxy.Chaos(7, Rates{APIs: []API{Produce}, DropRequest: 0.1, DropReply: 0.1, DelayRequest: 0.2, DelayReply: 0.2, Delay: 5 * time.Millisecond})
	const n = 200
	for i := range n {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	var got []string
	if err := r.direct.Read(ctx, "t", func(m testkit.Message) { got = append(got, string(m.Value)) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	for i, v := range got {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d is %s", i, v)
		}
	}
	c := r.proxy.Counts()
	for _, kind := range []Kind{DropRequest, DropReply, DelayRequest, DelayReply} {
		if c.Of(kind, Produce) == 0 {
			t.Errorf("no %v in %v", kind, c)
		}
	}
	if err := r.proxy.Await(ctx, func(c Counts) bool { return c.Faults() > 0 }); err != nil {
		t.Error(err)
	}
	if c.Of(Pass, Metadata) == 0 || c.Of(DropReply, Metadata) != 0 {
		t.Errorf("faults struck other requests: %v", c)
	}
}
