package usecases

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"streamctl/internal/codec"
	"streamctl/internal/testkit"
)

// straightJoin reads the profiles' topic as it is: what lies in it, gaps and
// markers too, is what the tasks are restored from. %s is the table's key.
const straightJoin = `pipeline: '{p}join'
sources:
  page_views: {topic: '{p}views', timestamp: seconds(timestamp), partitioned_by: viewerId, fields: {viewerId: int, timestamp: int}}
tables:
  profiles: {topic: '{p}profiles', value: value.profile%s}
streams:
  enriched:
    from: page_views v
    join:
      - left: profiles p
        on: %s == p.key
    select:
      - v.*
      - jobTitle: p.positions[0].job_title
      - company: p.positions[0].company
sinks:
  out: {from: enriched, topic: '{p}out', key: viewerId}
`

// bootstrap is a first start: so many profiles and views are there before it.
type bootstrap struct {
	r        *rig
	rekeyed  bool // profiles are keyed by URN, and brought to where the views are
	profiles int
	views    int

	members []int        // who has a profile, and who views
	there   map[int]bool // the same
	latest  map[int]int  // member -> version of its profile
	model   *testkit.JoinModel
	data    *testkit.Data
	clock   int64 // of the edits, ms; later than all views: their time must not matter
}

const (
	partitions      = 4
	emptyPartition  = 3 // of the profiles
	markerPartition = 2 // of the views: nothing there but an aborted transaction
)

// Profiles and views are there before the first start: every view comes out
// with its profile, the latest one. The profiles' topic is compacted, has an
// empty partition, and ends in the markers of transactions.
func TestUC1_T4(t *testing.T) {
	for name, rekeyed := range map[string]bool{"as_it_lies": false, "rekeyed": true} {
		t.Run(name, func(t *testing.T) {
			onBothBrokers(t, func(t *testing.T, r *rig) {
				(&bootstrap{r: r, rekeyed: rekeyed, profiles: 5000, views: 50_000}).run()
			})
		})
	}
}

// The same with as many as the promise names.
func TestUC1_T4_Big(t *testing.T) {
	if os.Getenv("STREAMCTL_BIG") == "" {
		t.Skip("100 000 profiles and 2 000 000 views take minutes: set STREAMCTL_BIG=1")
	}
	for _, kind := range []string{"embedded", "kafka"} {
		t.Run(kind, func(t *testing.T) {
			(&bootstrap{r: newRig(t, kind == "kafka"), profiles: 100_000, views: 2_000_000}).run()
		})
	}
}

func (b *bootstrap) run() {
	r := b.r
	b.model, b.latest, b.there, b.clock = testkit.NewJoinModel(), make(map[int]int), make(map[int]bool), eventTime+30*24*3_600_000
	if b.rekeyed {
		r.pipeline(fmt.Sprintf(straightJoin, `, key: 'int(split(key, ":")[3])'`, "v.viewerId"))
	} else {
		r.pipeline(fmt.Sprintf(straightJoin, "", "v.key"))
	}
	r.topic("views", partitions, "delete")
	r.topic("profiles", partitions, "compact")
	r.cleanSoon("profiles")
	r.topic("out", partitions, "delete")
	b.chooseMembers()
	b.produceProfiles()
	b.produceViews()

	_, s := r.untilEnd()
	want, got := make(digests), make(digests)
	r.each("views", func(m testkit.Message) {
		o, err := b.model.View(m)
		if err != nil {
			r.t.Error(err)
		}
		want.add(o)
	})
	bare := 0
	r.each("out", func(m testkit.Message) {
		got.add(testkit.Output{Key: string(m.Key), Value: string(m.Value)})
		if bytes.Contains(m.Value, []byte(`"jobTitle":null`)) {
			bare++
		}
	})
	if bare > 0 {
		r.t.Errorf("%d of %d views came out without their profile", bare, b.views)
	}
	if problem := want.differ(got); problem != "" {
		r.t.Error(problem)
	}
	if n := want.records(); n != b.views {
		r.t.Errorf("compared %d views, want %d", n, b.views)
	}
	r.t.Logf("%d profiles, %d views; restored %d records", len(b.members), b.views, s.Restored)
}

// chooseMembers takes those whose records leave the partitions empty that are to be.
func (b *bootstrap) chooseMembers() {
	for m := 1; len(b.members) < b.profiles; m++ {
		if codec.Partition([]byte(strconv.Itoa(m)), partitions) == markerPartition || codec.Partition(b.edit(m, 0).Key, partitions) == emptyPartition {
			continue
		}
		b.members = append(b.members, m)
		b.there[m] = true
	}
	b.data = testkit.NewData(testkit.DataConfig{Seed: 7, Profiles: b.members[len(b.members)-1]})
}

// edit makes a version of a member's profile under the key that the topic has.
func (b *bootstrap) edit(member, version int) testkit.Message {
	m := testkit.ProfileEdit(member, version, b.clock)
	if !b.rekeyed {
		m.Key = []byte(strconv.Itoa(member))
	}
	m.Partition = codec.Partition(m.Key, partitions)
	return m
}

// next makes the next version of a member's profile, and tells the model.
func (b *bootstrap) next(member int) testkit.Message {
	b.clock += 10
	b.latest[member]++
	m := b.edit(member, b.latest[member])
	told := m
	told.Key = fmt.Appendf(nil, "urn:linkedin:profile:%d", member)
	if err := b.model.Edit(told); err != nil {
		b.r.t.Fatal(err)
	}
	return m
}

// produceProfiles fills the profiles' topic and has it compacted; then follow a
// committed and an aborted transaction in every partition that is not empty.
func (b *bootstrap) produceProfiles() {
	r := b.r
	var edits []testkit.Message
	for _, m := range b.members {
		edits = append(edits, b.next(m))
	}
	for i, m := range b.members {
		if i%7 == 0 { // deleted, and back again below
			gone := b.edit(m, 0)
			gone.Value = nil
			edits = append(edits, gone)
		}
		if i%3 == 0 || i%7 == 0 {
			edits = append(edits, b.next(m))
		}
	}
	r.send("profiles", edits...)
	inPartition := make(map[int32]int) // a member of each
	for _, m := range b.members {
		inPartition[b.edit(m, 0).Partition] = m
	}
	if _, there := inPartition[emptyPartition]; there || len(inPartition) < 2 {
		r.t.Fatalf("profiles lie in the partitions %v", inPartition)
	}
	nudged := make(map[string]bool)
	r.compact("profiles", func() {
		for _, m := range inPartition {
			e := b.next(m)
			nudged[string(e.Key)] = true
			r.send("profiles", e)
		}
	}, func(left []testkit.Message) bool {
		times := make(map[string]int)
		for _, m := range left {
			if times[string(m.Key)]++; times[string(m.Key)] > 1 && !nudged[string(m.Key)] || m.Value == nil {
				return false
			}
		}
		if len(times) != len(b.members) {
			r.t.Fatalf("compaction left %d keys of %d", len(times), len(b.members))
		}
		return true
	})
	var committed, aborted []testkit.Message
	for _, m := range inPartition {
		committed = append(committed, b.next(m))
		aborted = append(aborted, b.edit(m, 99_999))
	}
	r.transaction("profiles", kgo.TryCommit, committed...)
	r.transaction("profiles", kgo.TryAbort, aborted...)
}

// produceViews fills the views' topic, which also ends in markers.
func (b *bootstrap) produceViews() {
	r := b.r
	n := 0
	next := func() testkit.Message {
		for {
			v := b.data.View()
			if viewer, err := strconv.Atoi(string(v.Key)); err != nil {
				r.t.Fatal(err)
			} else if b.there[viewer] {
				n++
				v.Partition = codec.Partition(v.Key, partitions)
				return v
			}
		}
	}
	_, err := r.cluster.Produce(r.ctx, r.prefix+"views", func() (testkit.Message, bool) {
		if n == b.views-20 {
			return testkit.Message{}, false
		}
		return next(), true
	})
	if err != nil {
		r.t.Fatal(err)
	}
	var committed, aborted []testkit.Message
	for range 20 {
		committed = append(committed, next())
	}
	for p := range int32(partitions) {
		v := view(1, 0)
		v.Partition = p
		aborted = append(aborted, v)
	}
	r.transaction("views", kgo.TryCommit, committed...)
	r.transaction("views", kgo.TryAbort, aborted...)
}

// digests hold sequences of records that are too many to keep: by key, how many
// there are and a checksum of all of them in their order.
type digests map[string]digest

type digest struct {
	n   int
	sum uint64
}

func (d digests) add(o testkit.Output) {
	one := d[o.Key]
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d ", one.n, one.sum)
	_, _ = h.Write([]byte(o.Value)) // never fails
	d[o.Key] = digest{one.n + 1, h.Sum64()}
}

func (d digests) records() (n int) {
	for _, one := range d {
		n += one.n
	}
	return n
}

// differ says how got is not d, "" for not at all.
func (d digests) differ(got digests) string {
	var b strings.Builder
	wrong := 0
	for key, want := range d {
		if got[key] == want {
			continue
		}
		if wrong++; wrong <= 5 {
			fmt.Fprintf(&b, "\nkey %s: %d records, want %d (sum %x, want %x)", key, got[key].n, want.n, got[key].sum, want.sum)
		}
	}
	for key := range got {
		if _, ok := d[key]; !ok {
			wrong++
			fmt.Fprintf(&b, "\nkey %s should not be there", key)
		}
	}
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d keys differ (%d records, want %d):%s", wrong, len(d), got.records(), d.records(), b.String())
}
