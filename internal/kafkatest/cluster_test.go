package kafkatest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClusterNodesComeAndGo(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: three JVMs")
	}
	ctx := context.Background()
	if _, err := resolve(ctx); err != nil {
		refuse(t, err)
	}
	asked := make(map[int]string)
	begin := time.Now()
	c, err := LaunchCluster(ctx, ClusterOptions{Advertise: func(id int, listens string) (string, error) {
		asked[id] = listens
		return "localhost:" + listens[strings.LastIndexByte(listens, ':')+1:], nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Logf("ready after %v", time.Since(begin))
	for i, at := range c.Addrs() {
		n := c.Node(i + 1)
		if asked[n.ID()] != n.Addr() || !strings.HasPrefix(at, "localhost:") || at[10:] != n.Addr()[10:] {
			t.Errorf("node %d listens at %s, was asked about for %s, and is advertised at %s", n.ID(), n.Addr(), asked[n.ID()], at)
		}
	}

	addr := c.Node(2).Listener(Internal)
	c.Node(2).Kill()
	if _, err := countBrokers(addr); err == nil {
		t.Error("a killed node still answers")
	}
	eventually(t, "the others miss the killed node", func() bool {
		ids, err := livingBrokers(c.Node(1).Listener(Internal))
		return err == nil && slices.Equal(slices.Sorted(slices.Values(ids)), []int32{1, 3})
	})
	begin = time.Now()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("whole again after %v", time.Since(begin))
	if got := c.Node(2).Listener(Internal); got != addr {
		t.Errorf("the node came back at %s, not %s", got, addr)
	}

	if err := c.Node(3).Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others miss the paused node", func() bool {
		n, err := countBrokers(c.Node(1).Listener(Internal))
		return err == nil && n == 2
	})
	if err := c.Node(3).Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others see the resumed node", func() bool {
		n, err := countBrokers(c.Node(1).Listener(Internal))
		return err == nil && n == 3
	})
	if err := c.Node(1).Restart(ctx); err != nil {
		t.Fatalf("clean restart: %v", err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return done(), nil }); err != nil {
		t.Fatalf("waited in vain: %s", what)
	}
}

func TestReadBrokers(t *testing.T) {
	answer := "\x00\x00\x00\x01" + "\x00\x00\x00\x02" +
		"\x00\x00\x00\x07\x00\x01h\x00\x00\x23\x84\xff\xff" +
		"\x00\x00\x00\x09\x00\x02hh\x00\x00\x23\x85\x00\x01r" + "rest"
	ids, err := readBrokers([]byte(answer))
	if err != nil || !slices.Equal(ids, []int32{7, 9}) {
		t.Errorf("got %v, %v", ids, err)
	}
	for n := range len(answer) - len("rest") {
		if _, err := readBrokers([]byte(answer[:n])); err == nil {
			t.Errorf("no error for the first %d bytes", n)
		}
	}
}
