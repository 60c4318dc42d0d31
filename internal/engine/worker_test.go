package engine

import (
	"log/slog"
	"strings"
	"testing"

	"streamctl/internal/record"
	"streamctl/operators"
)

// TestTasksWaitForTheNewProducer: tasks that come to a worker whose producer has
// been fenced do not begin on the old one, and are forgotten when they are taken
// away before the new one has come.
func TestTasksWaitForTheNewProducer(t *testing.T) {
	w := &worker{fenced: true, tasks: make(map[TaskID]*task), log: slog.New(slog.DiscardHandler)}
	a, b := TaskID{Sub: "s", Partition: 0}, TaskID{Sub: "s", Partition: 1}
	if err := w.begin(&startRequest{infos: []*startInfo{{id: a}, {id: b}}}); err != nil {
		t.Fatal(err)
	}
	if len(w.tasks) != 0 || len(w.waiting) != 2 {
		t.Fatalf("%d tasks have begun, %d wait, want 0 and 2", len(w.tasks), len(w.waiting))
	}
	w.suspend(&closeRequest{ids: []TaskID{a}})
	if len(w.waiting) != 1 || w.waiting[0].id != b {
		t.Errorf("%v waits, want only the task that was not taken away", w.waiting)
	}
	w.suspend(&closeRequest{})
	if len(w.waiting) != 0 {
		t.Error("a task waits although all were taken away")
	}
}

// TestOvertaken: records that are gone from a topic of the pipeline's own were
// committed by somebody else; from any other topic they are missing.
func TestOvertaken(t *testing.T) {
	tp := record.TopicPartition{Topic: "t"}
	gone := &Fetched{TP: tp, Err: ErrOffsetOutOfRange, Next: 2, LogStart: 5, End: 9}
	newWorker := func(purge bool) (*worker, *task) {
		w := &worker{log: slog.New(slog.DiscardHandler)}
		return w, &task{id: TaskID{Sub: "s"}, inputs: []*input{{tp: tp, started: true, spec: operators.InputSpec{Topic: "t", Purge: purge}}}}
	}
	w, task := newWorker(true)
	if err := w.fetchFailed(task, gone); err != nil || !w.overtaken {
		t.Errorf("records that somebody else has committed: %v, overtaken %v", err, w.overtaken)
	}
	w.inflight = &commitRun{}
	if err := w.giveUpOvertaken(); err != nil || !w.overtaken {
		t.Errorf("given up while a commit is under way: %v", err)
	}
	info := &startInfo{committed: map[record.TopicPartition]int64{tp: 4}, starts: map[record.TopicPartition]int64{tp: 5}}
	if err := w.checkPurged(task, task.inputs[0], info); err == nil || !strings.Contains(err.Error(), "deleted before they were processed") {
		t.Errorf("a start behind records that nobody has committed: %v", err)
	}
	info.committed[tp] = 5
	if err := w.checkPurged(task, task.inputs[0], info); err != nil {
		t.Errorf("a start where the topic begins: %v", err)
	}
	w, task = newWorker(false)
	if err := w.fetchFailed(task, gone); err == nil || w.overtaken {
		t.Errorf("records that are missing from the input: %v, overtaken %v", err, w.overtaken)
	}
}
