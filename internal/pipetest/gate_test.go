package pipetest

import (
	"testing"
	"time"
)

// What the worker has asked is looked into when everything rests, one question after
// the other, in the order of names, whichever came first.
func TestQuestionsWaitForRest(t *testing.T) {
	g := newGate()
	g.note(func() { g.asked, g.commits = 2, 1 })
	began := make(chan string)
	for _, name := range []string{"idle b/0", "idle a/1"} {
		go func() {
			g.hold(name)
			began <- name
		}()
	}
	g.hold("engine") // others do not wait
	go g.pause(time.Hour)
	rested := make(chan struct{})
	go func() {
		g.await()
		close(rested)
	}()
	select {
	case <-rested:
		t.Error("it rests although a commit is on its way")
	case name := <-began:
		t.Errorf("%s is looked into although a commit is on its way", name)
	default:
	}
	g.note(func() { g.commits-- })
	<-rested
	for _, want := range []string{"idle a/1", "idle b/0"} {
		if !g.answer() {
			t.Fatal("there is no question")
		}
		if got := <-began; got != want {
			t.Errorf("%s is looked into, want %s", got, want)
		}
		g.note(func() { g.asked-- })
		if wait, ended := g.await(); wait != time.Hour || ended {
			t.Errorf("it rests for %v, ended: %v", wait, ended)
		}
	}
	if g.answer() {
		t.Error("there is a third question")
	}
	g.letGo()
}

// Who waits for an answer is let go when the run ends.
func TestTheEndLetsGo(t *testing.T) {
	g := newGate()
	over := make(chan struct{})
	go func() {
		g.hold("idle a/0")
		g.pause(time.Hour)
		close(over)
	}()
	g.letGo()
	<-over
}
