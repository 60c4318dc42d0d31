package pipetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/record"
	"streamctl/operators"
)

// runner goes through the steps of one test.
type runner struct {
	*bound
	test     *Test
	way      int // asWritten, everywhere or losingState
	world    *world
	failures diag.List
	looked   map[string]diag.Span // sinks that were expected something of, and where last
	rows     map[string]*tableView
	dropped  map[operators.DropKey]int64 // what was dropped up to the last look
}

func (r *runner) fail(at diag.Span, message string, details ...string) {
	switch r.way {
	case everywhere:
		message = "with a restart after every record: " + message
	case losingState:
		message = "with a restart that loses the state after every record: " + message
	}
	r.failures.Add(failure(at, message, details...))
}

// run goes through the steps up to the first that fails.
func (r *runner) run() {
	if err := r.begin(r.watched(), func(topic string) int32 { return r.partitions(r.test, topic) }); err != nil {
		r.fail(r.test.Span, err.Error())
		return
	}
	defer r.world.close()
	for i, s := range r.test.steps {
		if err := r.step(s); err != nil {
			r.fail(s.span, err.Error())
		}
		expected := false
		if i+1 < len(r.test.steps) {
			_, expected = r.test.steps[i+1].action.(*expectError)
		}
		if failed := r.world.failed(); failed != nil && !expected {
			r.stopped(s.span, failed.failure)
		}
		if len(r.failures) > 0 {
			return
		}
	}
	r.leftovers()
}

// begin makes the world of the test and starts in it the pipelines that do not
// begin stopped. After an error there is no world.
func (r *runner) begin(watched []string, partitions func(topic string) int32) error {
	cfg := worldConfig{now: r.test.clock, watched: watched, partitions: partitions}
	for _, c := range r.programs {
		cfg.programs = append(cfg.programs, program{c.Topology, c.Pipeline.Settings.ExactlyOnce, c.Pipeline.Settings.IdleTimeout})
	}
	w, err := newWorld(cfg)
	if err != nil {
		return err
	}
	for _, run := range w.runs {
		if r.beginsStopped(run) {
			continue
		}
		if err := errors.Join(run.begin(), run.failure); err != nil {
			w.close()
			return fmt.Errorf("the pipeline cannot be started: %w", err)
		}
	}
	r.world = w
	return nil
}

// beginsStopped says that a pipeline is not to start by itself: the first steps
// are `stop`. What is sent then is there before its first start.
func (r *runner) beginsStopped(run *running) bool {
	for _, s := range r.test.steps {
		a, ok := s.action.(*stop)
		if !ok {
			return false
		}
		if a.means(run) {
			return true
		}
	}
	return false
}

// means says whether a step is about a pipeline.
func (w which) means(r *running) bool { return w.pipeline == "" || w.pipeline == r.name() }

// stopped tells that a pipeline has ended although nothing says that it should.
func (r *runner) stopped(at diag.Span, err error) {
	d := failure(at, "the pipeline has stopped: "+err.Error())
	if re := recordError(err); re != nil {
		d.Notes = append(d.Notes, diag.Note{Span: re.Span, Text: fmt.Sprintf("in %s, with the record %s", re.Operator, clip(string(re.Input)))})
	}
	d.Help = "if that is what is to be tested, let `expect_error: TEXT` follow"
	r.failures.Add(d)
}

func (r *runner) step(s step) error {
	switch a := s.action.(type) {
	case *send:
		return r.send(a)
	case *expect:
		for _, sink := range a.sinks {
			r.looked[sink.name] = sink.span
			r.expectSink(sink)
		}
	case *expectTable:
		for _, rows := range a.tables {
			r.expectRows(rows)
		}
	case *expectDropped:
		r.expectDropped(a)
	case *expectError:
		r.expectError(s.span, a)
	case *advance:
		return r.world.advance(a.by)
	case *restart:
		return r.each(a.which, func(run *running) error { return run.restart(a.loseState) })
	case *stop:
		return r.each(a.which, (*running).stop)
	case *start:
		return r.each(a.which, (*running).begin)
	}
	return nil
}

// each does something with the pipelines that a step is about, and lets follow what
// follows from it.
func (r *runner) each(w which, do func(*running) error) error {
	for _, run := range r.world.runs {
		if w.means(run) {
			if err := do(run); err != nil {
				return err
			}
		}
	}
	return r.world.settle()
}

// send sends records one by one.
func (r *runner) send(a *send) error {
	for _, rec := range a.records {
		out := record.Record{Key: rec.keyBytes, Value: rec.valueBytes, Time: r.world.now()}
		if rec.at != nil {
			out.Time = rec.at.from(r.test.clock)
		}
		for _, h := range rec.headers {
			out.Headers = append(out.Headers, record.Header{Key: h.name, Value: []byte(h.text)})
		}
		if err := r.world.send(a.port.topic, rec.partition, out); err != nil {
			return err
		}
		if r.world.failed() != nil {
			return nil
		}
		if r.way != asWritten {
			if err := r.restartAll(); err != nil {
				return err
			}
		}
	}
	return nil
}

// restartAll restarts the pipelines that run.
func (r *runner) restartAll() error {
	for _, run := range r.world.runs {
		if run.life == nil {
			continue
		}
		if err := run.restart(r.way == losingState); err != nil {
			return err
		}
	}
	return r.world.settle()
}

// expectError compares the error with which the pipeline has ended, and takes it.
func (r *runner) expectError(at diag.Span, a *expectError) {
	failed := r.world.failed()
	if failed == nil {
		r.fail(at, "the pipeline has not stopped with an error")
		return
	}
	err := failed.failure
	failed.failure = nil
	text := err.Error()
	if m := a.message; m != nil && m.kind == exactly {
		if !strings.Contains(text, m.value.Text) {
			r.fail(m.span, "the pipeline has stopped with another error", "expected one that contains: "+m.value.Text, "got: "+text)
		}
	} else if m != nil {
		r.check("the error with which the pipeline has stopped", m.compare(textValue(text), "message"))
	}
	re := recordError(err)
	if re == nil {
		if a.operator != nil || a.topic != nil || a.offset != nil {
			r.fail(at, "the error is not that of a record", "got: "+text)
		}
		return
	}
	var differ []difference
	for _, part := range []struct {
		name string
		want *pattern
		got  string
	}{{"operator", a.operator, re.Operator}, {"topic", a.topic, re.Position.Topic}, {"offset", a.offset, strconv.FormatInt(re.Position.Offset, 10)}} {
		if part.want != nil {
			differ = append(differ, part.want.compare(numberOrText(part.got, part.name == "offset"), part.name)...)
		}
	}
	r.check("the error with which the pipeline has stopped", differ)
}

// check fails where there are differences.
func (r *runner) check(what string, differ []difference) {
	for _, d := range differ {
		r.fail(d.span, what+" is another one", d.String())
	}
}

// expectDropped compares what was dropped since the last look.
func (r *runner) expectDropped(a *expectDropped) {
	now := r.world.drops(r.dropName)
	got := make(map[operators.DropKey]int64)
	for key, n := range now {
		if n -= r.dropped[key]; n != 0 {
			got[key] = n
		}
	}
	r.dropped = now
	seen := make(map[operators.DropKey]bool)
	open := make(map[string]bool)
	for _, by := range a.operators {
		name := r.dropName("", by.name)
		open[name] = by.open
		for _, d := range by.reasons {
			key := operators.DropKey{Operator: name, Reason: d.reason}
			seen[key] = true
			if got[key] != d.count {
				r.fail(d.span, fmt.Sprintf("%s has dropped %s with the reason %s, expected %d", by.name, count(int(got[key]), "record"), d.reason, d.count))
			}
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(got), func(x, y operators.DropKey) int {
		return strings.Compare(x.Operator+"\x00"+x.Reason, y.Operator+"\x00"+y.Reason)
	}) {
		if !seen[key] && !a.open && !open[key.Operator] {
			r.fail(a.span, fmt.Sprintf("%s has dropped %s with the reason %s, expected none", key.Operator, count(int(got[key]), "record"), key.Reason))
		}
	}
}

// dropName is the name under which a definition's drops are counted: its own if that
// is clear, else with the pipeline's. What a test writes may have it without need.
func (r *runner) dropName(pipeline, definition string) string {
	if pipeline == "" {
		if _, own, qualified := strings.Cut(definition, "."); qualified && r.all.get(own) != nil {
			return own
		}
		return definition
	}
	if r.all.get(definition) == nil && r.all.get(pipeline+"."+definition) != nil {
		return pipeline + "." + definition
	}
	return definition
}

// leftovers tells of records that have come to a sink after the last look at it.
func (r *runner) leftovers() {
	for _, name := range slices.Sorted(maps.Keys(r.looked)) {
		came := r.world.take(r.outputs.get(name).topic)
		if len(came) == 0 {
			continue
		}
		var out []string
		for _, rec := range came {
			out = append(out, "+ "+clip(r.describe(r.outputs.get(name), rec, nil)))
		}
		r.fail(r.looked[name], fmt.Sprintf("%s came to sink %q after the last look at it", count(len(came), "record"), name), out...)
	}
}

// count writes "1 record", "2 records".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
