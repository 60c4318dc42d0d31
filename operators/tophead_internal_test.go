package operators

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A head is the beginning of what it would be if it were whole, whatever comes and
// goes, and says so itself when it knows all.
func TestHeadIsTheBeginning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 5
		letters := func(what string) []byte {
			return []byte(rapid.SampledFrom([]string{"a", "aa", "b", "c", "d"}).Draw(t, what))
		}
		var all []string
		h := &head{whole: true}
		name := func(order, key []byte) string { return string(order) + "\x00" + string(key) }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p := &place{order: letters("order"), key: letters("key")}
			full := name(p.order, p.key)
			if at, there := slices.BinarySearch(all, full); there {
				all = slices.Delete(all, at, at+1)
				h.set(p, nil, most)
			} else {
				all = slices.Insert(all, at, full)
				h.set(nil, p, most)
			}
			var got []string
			for _, r := range h.rows {
				got = append(got, name(r.order, r.key))
			}
			if len(got) > most || h.whole && len(got) != len(all) || !slices.Equal(got, all[:len(got)]) {
				t.Fatalf("head %q (whole %v) of %q", got, h.whole, all)
			}
		}
	})
}

// Groups that change stay known, others are forgotten, and the memory has a bound.
func TestHeadsHaveABound(t *testing.T) {
	var s heads
	const rows = 9
	fresh := func() *head { return &head{rows: make([]ranked, rows)} }
	s.keep([]byte("busy"), fresh())
	for i := range headRows {
		s.keep(fmt.Append(nil, i), fresh())
		if s.find([]byte("busy")) == nil {
			t.Fatalf("the group that always changes is forgotten after %d others", i)
		}
	}
	if n, most := len(s.young)+len(s.old), 2*(headRows/(rows+1)+1); n > most {
		t.Errorf("%d groups are in memory, want at most %d", n, most)
	}
	if s.find([]byte("0")) != nil {
		t.Error("the first group is still in memory")
	}
	h := s.find([]byte("busy"))
	s.forget([]byte("busy"), h)
	if s.find([]byte("busy")) != nil {
		t.Error("a head that was to be forgotten is there")
	}
}
