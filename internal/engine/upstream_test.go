package engine

import (
	"math/rand/v2"
	"strings"
	"testing"

	"streamctl/internal/record"
)

// twoSubs are the tasks of two sub-topologies, of three and of two partitions.
func twoSubs() []TaskID {
	return []TaskID{{"a", 0}, {"a", 1}, {"a", 2}, {"b", 0}, {"b", 1}}
}

// TestLeastPromise: stream time is no further than the slowest writer, and nobody is
// passed over of whom nothing is known.
func TestLeastPromise(t *testing.T) {
	u := newUpstream(twoSubs())
	a, b := shortName("a"), shortName("b")
	type want struct {
		p     promise
		least int64
	}
	empty := func(sub uint32, partition int32) promise {
		return promise{sub: sub, partition: partition, time: noStreamTime, bare: true}
	}
	for i, s := range []want{
		{promise{sub: a, partition: 0, time: 10}, noStreamTime},
		{promise{sub: a, partition: 1, time: 20}, noStreamTime},
		{empty(a, 2), noStreamTime},
		{empty(b, 0), noStreamTime},
		{promise{sub: b, partition: 1, time: 5}, 5},
		{promise{sub: b, partition: 1, time: 15}, 10},                     // another one is the slowest now
		{promise{sub: a, partition: 0, time: 8}, 10},                      // a promise is kept
		{empty(a, 0), 10},                                                 // who had something is waited for
		{promise{sub: a, partition: 7, time: 1}, 10},                      // nobody that there is
		{promise{sub: 77, partition: 0, time: 1}, 10},                     // likewise
		{promise{sub: b, partition: 0, time: noStreamTime}, noStreamTime}, // a record without a time: not empty any more
		{promise{sub: b, partition: 0, time: 9}, 9},
		{promise{sub: a, partition: 2, time: 7}, 7}, // it had been empty
		{promise{sub: a, partition: 2, time: 100}, 9},
		{promise{sub: b, partition: 0, time: 100}, 10},
		{promise{sub: a, partition: 0, time: 100}, 15},
	} {
		if u.take(s.p); u.least != s.least {
			t.Fatalf("promise %d: the least is %d, want %d", i, u.least, s.least)
		}
	}
	if by, ms := u.held(); by != (TaskID{"b", 1}) || ms != 85 {
		t.Errorf("held by %v for %d ms", by, ms)
	}
	all := newUpstream(twoSubs())
	if by, ms := all.held(); by != (TaskID{"a", 0}) || ms != -1 {
		t.Errorf("at first held by %v for %d ms", by, ms)
	}
	for _, id := range twoSubs() {
		all.take(empty(shortName(id.Sub), id.Partition))
	}
	if !all.allEmpty() {
		t.Error("all have said that they have nothing, and are waited for")
	}
}

// TestLeastPromiseAtRandom compares with a search through all.
func TestLeastPromiseAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		u := newUpstream(twoSubs())
		for range 100 {
			id := twoSubs()[r.IntN(5)]
			p := promise{sub: shortName(id.Sub), partition: id.Partition, time: r.Int64N(50), bare: r.IntN(2) == 0}
			if r.IntN(6) == 0 {
				p.time = noStreamTime
			}
			u.take(p)
			least := int64(noLimit)
			for _, w := range u.writers {
				if !w.empty {
					least = min(least, w.time)
				}
			}
			if u.least != least {
				t.Fatalf("the least is %d, want %d", u.least, least)
			}
		}
	}
}

// TestPromisesAreKept: what lies beside an offset gives the same again, and what does
// not fit there is not ahead of what it was.
func TestPromisesAreKept(t *testing.T) {
	u := newUpstream(twoSubs())
	a, b := shortName("a"), shortName("b")
	u.take(promise{sub: a, partition: 0, time: 1_700_000_000_000})
	u.take(promise{sub: a, partition: 2, time: 1_700_000_086_400})
	u.take(promise{sub: b, partition: 1, time: noStreamTime, bare: true})
	text := u.encode()
	if strings.ContainsAny(text, " =") || len(text) > 60 {
		t.Errorf("kept as %q", text)
	}
	again := newUpstream(twoSubs())
	again.recall(text, map[TaskID]bool{{"b", 1}: true})
	for i := range u.writers {
		if u.writers[i] != again.writers[i] {
			t.Errorf("writer %d was %+v, is %+v", i, u.writers[i], again.writers[i])
		}
	}
	again = newUpstream(twoSubs())
	again.recall(text, nil)
	if again.writers[4].empty {
		t.Error("nobody has confirmed that it has nothing")
	}
	grown := newUpstream(append([]TaskID{{"a", 0}, {"a", 1}, {"a", 2}, {"a", 3}}, TaskID{"b", 0}))
	grown.recall(text, nil)
	if grown.writers[2].time != 1_700_000_086_400 || grown.writers[3].time != noStreamTime {
		t.Errorf("after growth: %+v", grown.writers)
	}
	for _, bad := range []string{"", "A", "!!", text[:7], text[:len(text)-2], strings.Repeat("_", 100)} {
		newUpstream(twoSubs()).recall(bad, nil) // what cannot be read is not known
	}

	var many []TaskID
	for p := range int32(900) {
		many = append(many, TaskID{"a", p})
	}
	u = newUpstream(many)
	for p := range int32(900) {
		u.take(promise{sub: a, partition: p, time: 1_700_000_000_000 + int64(p)*100_003})
	}
	text = u.encode()
	if len(text) > maxPromises {
		t.Fatalf("%d bytes", len(text))
	}
	again = newUpstream(many)
	again.recall(text, nil)
	for i, w := range again.writers {
		if was := u.writers[i].time; w.time > was || w.time < was-65536 {
			t.Fatalf("writer %d had promised %d, now %d", i, was, w.time)
		}
	}
}

// TestTimeHeader: what a record tells of its writer comes off it whole.
func TestTimeHeader(t *testing.T) {
	for _, c := range []promise{
		{sub: 7, partition: 0, time: 5},
		{sub: 1 << 31, partition: 300, time: 1 << 40},
		{sub: 7, partition: 1, time: noStreamTime},
		{sub: 7, partition: 1, time: 90, bare: true},
	} {
		own := record.Header{Key: "h", Value: []byte("v")}
		rec := record.Record{Time: 100, Headers: []record.Header{own, {Key: timeHeader, Value: appendPromise(nil, c.sub, c.partition, c.time, 100)}}}
		if !c.bare {
			rec.Value = []byte("{}")
		}
		got, ok, err := takePromise(&rec)
		if err != nil || !ok || got != c || len(rec.Headers) != 1 {
			t.Errorf("%+v comes back as %+v, %v, %v with headers %v", c, got, ok, err, rec.Headers)
		}
	}
	plain := record.Record{Headers: []record.Header{{Key: "h"}}}
	if _, ok, err := takePromise(&plain); ok || err != nil || len(plain.Headers) != 1 {
		t.Error("a record of an earlier version is not left alone")
	}
	for _, bad := range []string{"", "1234", "12345\x80", "1234\x01\x80"} {
		rec := record.Record{Headers: []record.Header{{Key: timeHeader, Value: []byte(bad)}}}
		if _, _, err := takePromise(&rec); err == nil {
			t.Errorf("header %q is taken", bad)
		}
	}
}

// TestPromised: what a task was heard to promise is read beside the offset.
func TestPromised(t *testing.T) {
	u := newUpstream(twoSubs())
	u.take(promise{sub: shortName("a"), partition: 1, time: 20})
	u.take(promise{sub: shortName("b"), partition: 0, time: noStreamTime, bare: true})
	u.take(promise{sub: shortName("b"), partition: 1, time: 5})
	for id, want := range map[TaskID]int64{{"a", 1}: 20, {"b", 0}: Timeless, {"b", 1}: 5} {
		if at, ok := Promised(u.encode(), id); !ok || at != want {
			t.Errorf("%v: %d, %v, want %d", id, at, ok, want)
		}
	}
	for _, id := range []TaskID{{"a", 0}, {"a", 7}, {"c", 0}} {
		if at, ok := Promised(u.encode(), id); ok {
			t.Errorf("%v: %d, want nothing", id, at)
		}
	}
}
