package kafka

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"streamctl/internal/engine"
)

// TestLostAnswerToJoin: an answer to JoinGroup or SyncGroup that never comes, on
// a connection that stays open, is given up a little after the broker itself would
// have, and the member joins again.
func TestLostAnswerToJoin(t *testing.T) {
	for name, key := range map[string]int16{"join": kmsg.JoinGroup.Int16(), "sync": kmsg.SyncGroup.Int16()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onFake(t, func(e *env) {
				const wait = 500 * time.Millisecond
				tr := e.open(func(s *Settings) { s.RebalanceTimeout, s.RequestTimeout = wait, wait })
				over := make(chan struct{})
				defer close(over)
				var asked atomic.Int32
				e.fake.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
					e.fake.KeepControl()
					if asked.Add(1) == 1 {
						e.fake.SleepControl(func() { <-over })
					}
					return nil, nil, false
				})
				began := time.Now()
				g, err := tr.Join(e.ctx(), engine.Membership{Instance: "one", Workers: 1, Tasks: []engine.TaskInfo{{ID: engine.TaskID{Sub: "s"}}}})
				if err != nil {
					e.Fatal(err)
				}
				select {
				case event := <-g.Events():
					if event.Err != nil || len(event.Tasks) != 1 {
						e.Errorf("got %+v", event)
					}
				case <-time.After(25 * time.Second):
					e.Fatal("no assignment")
				}
				if took := time.Since(began); took < joinMargin || took > wait+joinMargin+5*time.Second {
					e.Errorf("it took %v", took)
				}
				if err := g.Leave(e.ctx(), false); err != nil {
					e.Error(err)
				}
			})
		})
	}
}

// TestJoinPatience: the wait is no sum of time-outs, and never shorter than that
// for any other answer.
func TestJoinPatience(t *testing.T) {
	for set, want := range map[[2]time.Duration]time.Duration{
		{0, 0}:                             65 * time.Second, // the defaults
		{10 * time.Second, 0}:              30 * time.Second,
		{time.Minute, 10 * time.Minute}:    10 * time.Minute,
		{5 * time.Minute, 5 * time.Second}: 305 * time.Second,
	} {
		got := joinPatience(Settings{RebalanceTimeout: set[0], RequestTimeout: set[1]}.withDefaults())
		if got != want {
			t.Errorf("rebalance time-out %v, request time-out %v: %v, want %v", set[0], set[1], got, want)
		}
	}
}
