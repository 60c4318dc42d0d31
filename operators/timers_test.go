package operators

import (
	"fmt"
	"slices"
	"testing"

	"streamctl/state"
)

// toldOfTime is an operator that notes when it is toldOfTime of time.
type toldOfTime struct {
	name string
	log  *[]string
}

func (s toldOfTime) Make(t *Task, next Operator) (Operator, error) {
	t.Timers.OnStart(func(now int64) error {
		*s.log = append(*s.log, fmt.Sprintf("%s starts at %d", s.name, now))
		return nil
	})
	t.Timers.OnStreamTime(func(now int64) error {
		*s.log = append(*s.log, fmt.Sprintf("%s %d", s.name, now))
		return nil
	})
	return next, nil
}

// toldHead is an input with operators behind it.
type toldHead struct{ next []*Node }

func (h toldHead) Open(t *Task) (Input, error) {
	_, err := makeAll(t, h.next)
	return nil, err
}

// What an operator emits because time has moved must be met by those behind it
// before these close what it belongs to, whatever the inputs they are reached by.
func TestTimersTellInTheOrderOfRecords(t *testing.T) {
	var log []string
	node := func(name string, next ...*Node) *Node { return &Node{Spec: toldOfTime{name, &log}, Next: next} }
	b := &Blueprint{
		DeadLetters: -1, Rows: func() int { return 0 }, Joins: func() int { return 0 },
		Heads: []Head{
			toldHead{[]*Node{node("first", node("second", node("last")))}},
			toldHead{[]*Node{node("last of the other")}},
			toldHead{[]*Node{node("x", node("y")), node("z")}},
		},
	}
	tc := &TaskContext{Counters: &Counters{}, Tables: map[string]*state.Table{}, Now: func() int64 { return 0 }, Timers: &Timers{}}
	if _, err := b.Build(tc); err != nil {
		t.Fatal(err)
	}
	if !tc.Timers.Stream() {
		t.Error("nobody wants to be toldOfTime")
	}
	if err := tc.Timers.Advance(7); err != nil {
		t.Fatal(err)
	}
	want := []string{"first 7", "second 7", "x 7", "last 7", "last of the other 7", "y 7", "z 7"}
	if !slices.Equal(log, want) {
		t.Errorf("toldOfTime in the order\n %v\nwant\n %v", log, want)
	}
	log = nil
	if err := tc.Timers.Start(3); err != nil {
		t.Fatal(err)
	}
	if len(log) != 7 || !slices.Contains(log, "x starts at 3") {
		t.Errorf("starts: %v", log)
	}
}
