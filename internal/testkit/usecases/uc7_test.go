package usecases

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"streamctl/internal/testkit"
)

// slide keeps letters under keys of its own, in a changelog of its own, and
// answers questions for them.
const slide = `pipeline: '{p}slide'
commit_interval: 20ms
sources:
  questions: {topic: '{p}questions', partitioned_by: letter, fields: {letter: string, round: int}}
tables:
  letters: {topic: '{p}letters', key: 'split(key, ":")[1]', fields: {n: int}}
streams:
  answers:
    from: questions q
    join:
      - left: letters l
        on: q.letter == l.key
    select: [round: q.round, n: l.n]
sinks:
  out: {from: answers, topic: '{p}out', key: key}
`

const slideLog = "slide.letters.changelog"

// changelog is that pipeline, and what it must have answered.
type changelog struct {
	*rig
	clock  int64
	round  int
	want   testkit.Sequences
	nudges int
}

func newChangelog(r *rig) *changelog {
	c := &changelog{rig: r, clock: eventTime, want: make(testkit.Sequences)}
	r.pipeline(slide)
	r.topic("questions", 1, "delete")
	r.topic("out", 1, "delete")
	r.topic("letters", 1, "compact")
	return c
}

// write changes letters: "A=42" and so on; "A=" deletes.
func (c *changelog) write(changes ...string) {
	c.t.Helper()
	var messages []testkit.Message
	for _, change := range changes {
		letter, n, _ := strings.Cut(change, "=")
		if n != "" {
			n = fmt.Sprintf(`{"n":%s}`, n)
		}
		c.clock++
		messages = append(messages, message("letter:"+letter, n, c.clock))
	}
	c.send("letters", messages...)
	c.untilEnd()
}

// ask puts questions and checks all answers so far: "A=42", "A=null" and so on.
// It gives the run's log.
func (c *changelog) ask(answers ...string) *child {
	c.t.Helper()
	c.round++
	for _, answer := range answers {
		letter, n, _ := strings.Cut(answer, "=")
		c.clock++
		c.send("questions", message(letter, fmt.Sprintf(`{"letter":%q,"round":%d}`, letter, c.round), c.clock))
		c.want.Add(testkit.Output{Key: letter, Value: fmt.Sprintf(`{"round":%d,"n":%s}`, c.round, n)})
	}
	run, _ := c.untilEnd()
	c.same("out", c.want)
	return run
}

// log gives what the changelog holds, but for the nudges of compaction.
func (c *changelog) log(messages []testkit.Message) (out []string) {
	for _, m := range messages {
		key := strings.Trim(string(m.Key), `"`)
		if key == "nudge" {
			continue
		}
		n := strings.TrimSuffix(strings.TrimPrefix(string(m.Value), `{"n":`), "}")
		out = append(out, key+"="+n)
	}
	return out
}

func (c *changelog) compacted(done func(log []string) bool) []testkit.Message {
	c.t.Helper()
	return c.compact(slideLog, func() {
		c.nudges++
		c.write("nudge=" + strconv.Itoa(c.nudges))
	}, func(left []testkit.Message) bool { return done(c.log(left)) })
}

// The slide's changelog: A=42, B=21, A=44, C=12, A=45 compacts to B=21, C=12,
// A=45, and is the same table before and after; and with a deletion.
func TestUC7_Slide(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		c := newChangelog(r)
		c.write("A=42", "B=21", "A=44", "C=12", "A=45")
		if got := c.log(r.read(slideLog)); !slices.Equal(got, []string{"A=42", "B=21", "A=44", "C=12", "A=45"}) {
			t.Fatalf("the changelog is %v", got)
		}
		c.ask("A=45", "B=21", "C=12", "D=null")
		r.loseState()
		c.ask("A=45", "B=21", "C=12", "D=null")
		r.cleanSoon(slideLog)
		c.compacted(func(log []string) bool { return slices.Equal(log, []string{"B=21", "C=12", "A=45"}) })
		c.ask("A=45", "B=21", "C=12", "D=null")
		r.loseState()
		c.ask("A=45", "B=21", "C=12", "D=null")

		c.write("B=")
		c.ask("A=45", "B=null", "C=12")
		c.compacted(func(log []string) bool { return slices.Equal(log, []string{"C=12", "A=45"}) })
		r.loseState()
		c.ask("A=45", "B=null", "C=12")
		c.write("B=22")
		c.ask("A=45", "B=22", "C=12")
	})
}

// A thousand updates of ten keys: what is restored is ten rows.
func TestUC7_ThousandUpdates(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		c := newChangelog(r)
		var updates, last []string
		for n := range 1000 {
			updates = append(updates, fmt.Sprintf("key%d=%d", n%10, n))
		}
		last = updates[990:]
		c.write(updates...)
		if got := c.log(r.read(slideLog)); !slices.Equal(got, updates) {
			t.Fatalf("the changelog has %d records, want the 1000 updates", len(got))
		}
		r.cleanSoon(slideLog)
		left := c.compacted(func(log []string) bool { return slices.Equal(log, last) })
		r.loseState()
		run := c.ask(last...)
		found := false
		for _, l := range run.restores() {
			if l.Topic != r.prefix+slideLog {
				continue
			}
			found = true
			// Ten rows, and what compaction had not yet taken of its nudges.
			if l.Mode != "full" || l.Records < 10 || l.Records > int64(len(left)) || l.Records > 15 {
				t.Errorf("restored %d records (%s), the changelog held %d", l.Records, l.Mode, len(left))
			}
		}
		if !found {
			t.Errorf("no table was restored from the changelog:\n%s", run.said())
		}
	})
}

// The changelog of counts: compacted, it gives the same counts, and they go on.
func TestUC7_Counts(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		r.pipeline(`pipeline: '{p}counts'
commit_interval: 20ms
sources:
  page_views: {topic: '{p}views', timestamp: seconds(timestamp), partitioned_by: viewerId, fields: {viewerId: int, viewedProfileId: int, timestamp: int}}
tables:
  activity:
    from: page_views v
    group_by: v.viewerId
    select:
      - viewerId: v.viewerId
      - views: count()
      - total: sum(v.viewedProfileId)
      - lowest: min(v.viewedProfileId)
      - highest: max(v.viewedProfileId)
sinks:
  totals: {from: activity, topic: '{p}totals', key: viewerId}
`)
		r.topic("views", 1, "delete")
		r.topic("totals", 1, "delete")
		const log = "counts.activity.changelog"
		model, want, n := testkit.NewRunningModel(), make(testkit.Sequences), 0
		look := func(viewers ...int) {
			t.Helper()
			for _, viewer := range viewers {
				n++
				v := view(viewer, n)
				v.Value = []byte(strings.Replace(string(v.Value), "4321", strconv.Itoa(n*7%100), 1))
				r.send("views", v)
				o, err := model.View(v)
				if err != nil {
					t.Fatal(err)
				}
				want.Add(o)
			}
		}
		ten := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		c := r.start()
		for range 10 { // each comes to the changelog
			look(ten...)
			r.awaitOutputs("totals", n)
		}
		c.stop()
		if got := len(r.read(log)); got < 50 {
			t.Fatalf("the changelog has %d records: too few to compact", got)
		}
		r.cleanSoon(log)
		const nudge = 1000
		left := r.compact(log, func() { look(nudge); r.untilEnd() }, func(left []testkit.Message) bool {
			times := make(map[string]int)
			for _, m := range left {
				times[string(m.Key)]++
			}
			delete(times, strconv.Itoa(nudge))
			for _, n := range times {
				if n > 1 {
					return false
				}
			}
			return len(times) == len(ten)
		})
		r.loseState()
		look(ten...)
		run, s := r.untilEnd()
		r.same("totals", want)
		if s.Restored < 10 || s.Restored > int64(len(left)) || len(left) > 15 {
			t.Errorf("restored %d records, the changelog held %d:\n%s", s.Restored, len(left), run.said())
		}
	})
}
