package usecases

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"streamctl/internal/record"
	"streamctl/internal/testkit"
	"streamctl/state"
)

// enrichment is the talk's own job; views lie anywhere, profiles by their URN.
const enrichment = `pipeline: '{p}enrichment'
commit_interval: 20ms
sources:
  page_views:
    topic: '{p}views'
    timestamp: seconds(timestamp)
    fields: {viewerId: int, viewedProfileId: int, pageKey: string, sessionId: string, timestamp: int}
tables:
  profiles:
    topic: '{p}profiles'
    key: int(split(key, ":")[3])
    value: value.profile
streams:
  profile_views:
    from: page_views v
    where: v.pageKey == "profile-view"
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - viewerProfile: '{jobTitle: p.positions[0].job_title}'
sinks:
  by_viewer: {from: profile_views, topic: '{p}out', key: viewerId}
`

// enriched makes the rig of that job.
func enriched(r *rig, partitions int) {
	r.pipeline(enrichment)
	r.topic("views", partitions, "delete")
	r.topic("profiles", partitions, "compact")
	r.topic("out", partitions, "delete")
}

// view is the talk's page view, number n of a viewer, with fields that nobody declared.
func view(viewer, n int) testkit.Message {
	return testkit.Message{Partition: -1, Key: []byte(strconv.Itoa(viewer)), Time: eventTime + int64(n)*1000, Value: fmt.Appendf(nil,
		`{"eventType":"PageViewEvent","timestamp":%d,"viewerId":%d,"sessionId":"fb1b5cd0e8a4f2d5","pageKey":"profile-view","viewedProfileId":4321,"trackingKey":"invitation-email","n":%d,"x": {"big":123456789012345678901234567890, "e":1e400}}`,
		eventSec+n, viewer, n)}
}

// seen is what must come out for a view when the viewer has a title; null = none.
func seen(v testkit.Message, title string) string {
	if title != "null" {
		title = strconv.Quote(title)
	}
	return strings.TrimSuffix(string(v.Value), "}") + `,"viewerProfile":{"jobTitle":` + title + "}}"
}

// edit is the talk's profile edit at event time n seconds after the first view.
func edit(member int, title string, n int) testkit.Message {
	return message("urn:linkedin:profile:"+strconv.Itoa(member), fmt.Sprintf(
		`{"eventType":"ProfileEditEvent","timestamp":%d,"profile":{"location":"San Francisco Bay Area","industry":"Computer Software","positions":[{"job_title":%q,"company":"LinkedIn"},{"job_title":"Student","company":"Cal Poly"}]}}`,
		eventSec+n, title), eventTime+int64(n)*1000)
}

// The profile is there, the view comes: all its fields unchanged and the title
// beside them, under the keys that the sinks choose.
func TestUC1_T1(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		enriched(r, 4)
		r.pipeline(enrichment + "  by_viewed: {from: profile_views, topic: '{p}viewed', key: viewedProfileId}\n")
		r.topic("viewed", 4, "delete")
		r.send("profiles", edit(1234, "Author", -10))
		v := view(1234, 0)
		v.Key = []byte("fb1b5cd0e8a4f2d5") // by session: not where the profile is
		other := message("s", `{"pageKey":"home","viewerId":1234,"timestamp":1413215518}`, eventTime)
		r.send("views", v, other)
		r.untilEnd()
		r.same("out", sequences("1234", seen(v, "Author")))
		r.same("viewed", sequences("4321", seen(v, "Author")))
		for _, m := range r.read("out") {
			if m.Time != eventTime {
				t.Errorf("the output has time %d, want the view's %d", m.Time, int64(eventTime))
			}
		}
	})
}

// A later edit changes later views, and nothing that has been sent.
func TestUC1_T2(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		enriched(r, 4)
		r.send("profiles", edit(1234, "Author", -10))
		c := r.start()
		want := make(testkit.Sequences)
		n := 0
		look := func() (title string) { // one view, and the title it comes out with
			v := view(1234, n)
			r.send("views", v)
			n++
			got := r.awaitOutputs("out", n)["1234"][n-1].Value
			for _, title = range []string{"Author", "Software Engineer"} {
				if got == seen(v, title) {
					want.Add(testkit.Output{Key: "1234", Value: got})
					return title
				}
			}
			t.Fatalf("view %d came out as %s", n-1, got)
			return ""
		}
		if title := look(); title != "Author" {
			t.Fatalf("the first view has title %q", title)
		}
		r.send("profiles", edit(1234, "Software Engineer", 1))
		r.await("the edit's effect", func() bool { return look() == "Software Engineer" })
		if title := look(); title != "Software Engineer" {
			t.Errorf("a view after the edit's effect has title %q", title)
		}
		c.stop()
		r.same("out", want) // n outputs for n views: none came again
	})
}

// Viewers without a profile: the left join says null, the inner join drops and
// counts, and nobody waits for anything.
func TestUC1_T3(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		r.pipeline(strings.Replace(enrichment, "sinks:\n", `  known:
    from: page_views v
    join:
      - inner: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - viewerProfile: '{jobTitle: p.positions[0].job_title}'
sinks:
  known_out: {from: known, topic: '{p}known', key: viewerId}
`, 1))
		for _, name := range []string{"views", "out", "known"} {
			r.topic(name, 4, "delete")
		}
		r.topic("profiles", 4, "compact")
		r.send("profiles", edit(1234, "Author", -10))
		left, inner := make(testkit.Sequences), make(testkit.Sequences)
		var views []testkit.Message
		for n := range 30 {
			v, title := view(1234+n%3, n), "null"
			if n%3 == 0 {
				title = "Author"
				inner.Add(testkit.Output{Key: "1234", Value: seen(v, title)})
			}
			left.Add(testkit.Output{Key: string(v.Key), Value: seen(v, title)})
			views = append(views, v)
		}
		r.send("views", views...)
		_, s := r.untilEnd()
		r.same("out", left)
		r.same("known", inner)
		dropped := int64(0)
		for why, n := range s.Dropped {
			if strings.HasPrefix(why, "known/") || strings.Contains(why, "known") {
				dropped += n
			}
		}
		if dropped != 20 {
			t.Errorf("20 views of unknown viewers went no further than the inner join; counted: %v", s.Dropped)
		}
	})
}

// A tombstone: later views have no title, the row is gone from the store, and
// after compaction from the changelog and the topic.
func TestUC1_T5(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		enriched(r, 1)
		r.send("profiles", edit(1234, "Author", -10), edit(77, "Designer", -10))
		want := make(testkit.Sequences)
		n := 0
		look := func(member int, title string) {
			r.untilEnd() // tables first: what goes through other topics may overtake
			v := view(member, n)
			n++
			r.send("views", v)
			r.untilEnd()
			want.Add(testkit.Output{Key: string(v.Key), Value: seen(v, title)})
			r.same("out", want)
		}
		look(1234, "Author")
		if rows := r.rows("profiles"); !slices.Equal(rows, []string{"1234", "77"}) {
			t.Fatalf("before the tombstone the store has rows %v", rows)
		}
		r.send("profiles", message("urn:linkedin:profile:1234", "", eventTime+500))
		look(1234, "null")
		look(77, "Designer")
		if rows := r.rows("profiles"); !slices.Equal(rows, []string{"77"}) {
			t.Errorf("after the tombstone the store has rows %v", rows)
		}
		changelog := "enrichment.profiles.changelog"
		r.cleanSoon(changelog)
		r.cleanSoon("profiles")
		nudges := 0
		for topic, key := range map[string]string{changelog: "1234", "profiles": "urn:linkedin:profile:1234"} {
			r.compact(topic, func() {
				nudges++
				r.send("profiles", edit(1, "Nudge", 10+nudges))
				r.untilEnd() // so that it comes to the changelog
			}, func(left []testkit.Message) bool {
				return !slices.ContainsFunc(left, func(m testkit.Message) bool { return string(m.Key) == key })
			})
		}
		r.loseState()
		look(1234, "null")
		look(77, "Designer")
		if rows := r.rows("profiles"); !slices.Equal(rows, []string{"1", "77"}) {
			t.Errorf("restored from the compacted changelog, the store has rows %v", rows)
		}
	})
}

// The tombstone came and was compacted away while the pipeline was down: its row
// is gone all the same, although no topic tells of it any more.
func TestUC1_T5_WhileDown(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		enriched(r, 1)
		r.pipeline(strings.Replace(strings.Replace(enrichment, `int(split(key, ":")[3])`, "key", 1), "v.viewerId == p.key", "v.key == p.key", 1))
		r.cleanSoon("profiles")
		profile := func(member int, title string, n int) {
			e := edit(member, title, n)
			e.Key = []byte(strconv.Itoa(member))
			r.send("profiles", e)
		}
		profile(1234, "Author", -10)
		profile(77, "Designer", -10)
		first, second, other := view(1234, 0), view(1234, 1), view(77, 2)
		r.send("views", first)
		r.untilEnd()
		r.send("profiles", message("1234", "", eventTime+500))
		nudges := 0
		r.compact("profiles", func() { nudges++; profile(1, "Nudge", 10+nudges) }, func(left []testkit.Message) bool {
			return !slices.ContainsFunc(left, func(m testkit.Message) bool { return string(m.Key) == "1234" })
		})
		r.send("views", second, other)
		r.untilEnd()
		r.same("out", sequences("1234", seen(first, "Author"), "1234", seen(second, "null"), "77", seen(other, "Designer")))
	})
}

// rows gives the keys that a table of partition 0 has in the local store. The
// pipeline must not run.
func (r *rig) rows(table string) (keys []string) {
	r.t.Helper()
	db, err := state.Open(state.Options{Dir: filepath.Join(r.dataDir, "state", r.prefix+"enrichment")})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			r.t.Error(err)
		}
	}()
	task, err := db.OpenTask(table, 0, []state.TableSpec{{Name: table}})
	if err != nil {
		r.t.Fatal(err)
	}
	found := false
	task.Positions(func(record.TopicPartition, int64) { found = true })
	if !found {
		r.t.Fatalf("the store knows no task of table %s", table)
	}
	err = task.Table(table).Scan(nil, nil, func(key []byte, _ *state.Row) (bool, error) {
		keys = append(keys, string(key))
		return true, nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}

// Plain edits, {old,new} and Debezium's form of the same changes make the same table.
func TestUC1_T6(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		r.pipeline(`pipeline: '{p}forms'
commit_interval: 20ms
sources:
  views: {topic: '{p}views', timestamp: seconds(timestamp), fields: {viewerId: int, timestamp: int}}
tables:
  plain:    {topic: '{p}plain', key: 'int(split(key, ":")[3])'}
  old_new:  {topic: '{p}old_new', envelope: old_new, key: 'int(split(key, ":")[3])'}
  debezium: {topic: '{p}debezium', envelope: debezium, key_format: json, key: key.id}
  wrapped:  {topic: '{p}wrapped', envelope: debezium, key_format: json, key: key.payload.id}
streams:
  seen:
    from: views v
    join:
      - {left: plain a, on: v.viewerId == a.key}
      - {left: old_new b, on: v.viewerId == b.key}
      - {left: debezium c, on: v.viewerId == c.key}
      - {left: wrapped d, on: v.viewerId == d.key}
    select:
      - viewerId: v.viewerId
      - a: a.positions[0].job_title
      - b: b.positions[0].job_title
      - c: c.positions[0].job_title
      - d: d.positions[0].job_title
sinks:
  out: {from: seen, topic: '{p}out', key: viewerId}
`)
		for _, name := range []string{"plain", "old_new", "debezium", "wrapped"} {
			r.topic(name, 4, "compact")
		}
		r.topic("views", 4, "delete")
		r.topic("out", 4, "delete")
		row := func(title string) string {
			if title == "" {
				return "null"
			}
			return fmt.Sprintf(`{"positions":[{"job_title":%q}]}`, title)
		}
		// change sends one change of a member's title in all forms; "" = no row.
		change := func(member int, old, new string, n int) {
			at := int64(eventTime - 100_000 + n)
			urn, id := fmt.Sprintf("urn:linkedin:profile:%d", member), fmt.Sprintf(`{"id":%d}`, member)
			value, op := row(new), "u"
			switch {
			case new == "":
				value, op = "", "d"
			case old == "":
				op = "c"
			}
			r.send("plain", message(urn, value, at))
			r.send("old_new", message(urn, fmt.Sprintf(`{"profileId":%d,"old":%s,"new":%s}`, member, row(old), row(new)), at))
			bare := fmt.Sprintf(`{"before":%s,"after":%s,"op":%q,"ts_ms":%d}`, row(old), row(new), op, at)
			r.send("debezium", message(id, bare, at))
			wrappedKey := fmt.Sprintf(`{"schema":{"type":"struct"},"payload":%s}`, id)
			r.send("wrapped", message(wrappedKey, fmt.Sprintf(`{"schema":{"type":"struct"},"payload":%s}`, bare), at))
			if new == "" { // Debezium sends a tombstone behind a deletion
				r.send("debezium", message(id, "", at))
				r.send("wrapped", message(wrappedKey, "", at))
			}
		}
		want := make(testkit.Sequences)
		look := func(titles ...string) {
			r.untilEnd() // tables first: what goes through other topics may overtake
			for i, title := range titles {
				r.send("views", view(i+1, 0))
				if title != "null" {
					title = strconv.Quote(title)
				}
				want.Add(testkit.Output{Key: strconv.Itoa(i + 1), Value: fmt.Sprintf(
					`{"viewerId":%d,"a":%[2]s,"b":%[2]s,"c":%[2]s,"d":%[2]s}`, i+1, title)})
			}
			r.untilEnd()
			r.same("out", want)
		}
		change(1, "", "Author", 0)
		change(2, "", "Editor", 1)
		change(3, "", "Printer", 2)
		change(1, "Author", "Software Engineer", 3)
		change(2, "Editor", "", 4)
		look("Software Engineer", "null", "Printer", "null")
		change(2, "", "Editor again", 5)
		change(3, "Printer", "", 6)
		change(1, "Software Engineer", "Director", 7)
		look("Director", "Editor again", "null", "null")
	})
}

// Views of one viewer keep their order, through a repartition and a stop.
func TestUC1_T8(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, r *rig) {
		enriched(r, 4)
		const viewers, views = 50, 5000
		for m := range viewers {
			r.send("profiles", edit(m, "Title "+strconv.Itoa(m), -10))
		}
		want := make(testkit.Sequences)
		var all []testkit.Message
		for n := range views {
			viewer := n * 7 % viewers
			v := view(viewer, n/100)
			v.Value = []byte(strings.Replace(string(v.Value), `"n":`, `"seq":`+strconv.Itoa(n)+`,"n":`, 1))
			want.Add(testkit.Output{Key: strconv.Itoa(viewer), Value: seen(v, "Title "+strconv.Itoa(viewer))})
			v.Key = fmt.Appendf(nil, "shard-%d", viewer%13) // the same for all views of a viewer
			all = append(all, v)
		}
		r.send("views", all[:views/2]...)
		r.untilEnd()
		c := r.start()
		quick := time.NewTicker(time.Millisecond)
		defer quick.Stop()
		for at := views / 2; at < views; at += 50 { // in small portions, while it runs
			r.send("views", all[at:at+50]...)
			<-quick.C
		}
		r.awaitOutputs("out", views)
		c.stop()
		r.same("out", want)
	})
}
