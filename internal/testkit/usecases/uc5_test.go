package usecases

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/testkit"
)

const search = `
pipeline: "{p}search"
sources:
  documents: {topic: "{p}documents"}
tables:
  alerts: {topic: "{p}queries"}
streams:
  searched:
    from: documents d
    match: {queries: alerts q, text: d.f}
    select: [{id: d.id}, {matches: matched_keys}]
sinks:
  out: {from: searched, topic: "{p}out"}
`

// searchable is a pipeline with stored queries, and what it must give.
type searchable struct {
	*rig
	rand    *rand.Rand
	queries map[string]func(words map[string]bool) bool
	now     int64
	sent    int
	out     testkit.Sequences
}

func newSearchable(r *rig) *searchable {
	s := &searchable{rig: r, rand: rand.New(rand.NewPCG(5, 5)), queries: map[string]func(map[string]bool) bool{}, now: eventTime, out: testkit.Sequences{}}
	r.pipeline(search)
	r.topic("queries", 3, "compact")
	r.topic("documents", 2, "delete")
	r.topic("out", 2, "delete")
	return s
}

func (s *searchable) word() string { return fmt.Sprint("w", s.rand.IntN(20)) }

// ask stores n queries under keys of which some are there already, and takes
// some away.
func (s *searchable) ask(n int) {
	s.t.Helper()
	for range n {
		s.now++
		key := fmt.Sprint("q", s.rand.IntN(60))
		a, b := s.word(), s.word()
		text := ""
		switch s.rand.IntN(5) {
		case 0:
			delete(s.queries, key)
			s.send("queries", message(key, "", s.now))
			continue
		case 1:
			text, s.queries[key] = a+" OR "+b, func(w map[string]bool) bool { return w[a] || w[b] }
		case 2:
			text, s.queries[key] = a+" AND NOT "+b, func(w map[string]bool) bool { return w[a] && !w[b] }
		case 3:
			text, s.queries[key] = "NOT "+a, func(w map[string]bool) bool { return !w[a] }
		default:
			text, s.queries[key] = a+" AND "+b, func(w map[string]bool) bool { return w[a] && w[b] }
		}
		s.send("queries", message(key, fmt.Sprintf(`{"query":%q}`, text), s.now))
	}
}

// publish sends n documents, and notes which queries each satisfies.
func (s *searchable) publish(n int) {
	s.t.Helper()
	var documents []testkit.Message
	for range n {
		s.now++
		s.sent++
		words := map[string]bool{}
		for range 6 {
			words[s.word()] = true
		}
		var text, keys []string
		for w := range words {
			text = append(text, w)
		}
		slices.Sort(text)
		for key, holds := range s.queries {
			if holds(words) {
				keys = append(keys, fmt.Sprintf("%q", key))
			}
		}
		slices.Sort(keys)
		key := fmt.Sprint("doc", s.rand.IntN(10))
		documents = append(documents, message(key, fmt.Sprintf(`{"id":%d,"f":%q}`, s.sent, strings.Join(text, " ")), s.now))
		s.out.Add(testkit.Output{Key: key, Value: fmt.Sprintf(`{"id":%d,"matches":[%s]}`, s.sent, strings.Join(keys, ","))})
	}
	s.send("documents", documents...)
}

// Every document gives one result with all queries that were there, in the
// order of the documents of a key: while the process dies at every step of a commit,
// between the parts of documents, and with its disk.
func TestUC5(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		s := newSearchable(r)
		s.ask(80)
		s.publish(50)
		s.untilEnd()
		s.same("out", s.out)
		for _, point := range []string{engine.CrashAfterSeal, "before-end-txn", "after-end-txn", engine.CrashAfterCommit, engine.CrashBeforeApply, engine.CrashAfterApply} {
			s.publish(50)
			c := s.launch(point, "run", s.file)
			if c.await(); !c.killed() {
				t.Fatalf("it did not die at %s; it said:\n%s", point, c.said())
			}
			if point == engine.CrashAfterCommit {
				s.loseState()
			}
		}
		s.untilEnd()
		s.same("out", s.out)
		// Other queries, from now on.
		s.ask(40)
		s.untilEnd()
		s.loseState()
		s.publish(50)
		s.untilEnd()
		s.same("out", s.out)
		// Killed in the midst of it: results come once all the same.
		for life := range 3 {
			c := s.start()
			s.publish(200)
			s.awaitOutputs("out", s.out.Len()-150+life*50)
			c.kill()
		}
		s.untilEnd()
		s.same("out", s.out)
		waiting := map[string]bool{}
		s.each("search.searched.match.changelog", func(m testkit.Message) { waiting[string(m.Key)] = m.Value != nil })
		for key, still := range waiting {
			if still {
				t.Errorf("the parts of document %q are still kept", key)
			}
		}
	})
}
