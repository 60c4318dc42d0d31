package testkit

import (
	"fmt"
	"sort"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// Sequences holds records by what their order is promised for: the key, or the
// partition.
type Sequences map[string][]Output

// Add appends o to the sequence of its key.
func (s Sequences) Add(o Output) { s[o.Key] = append(s[o.Key], o) }

// Len is the number of records of all sequences.
func (s Sequences) Len() int {
	n := 0
	for _, os := range s {
		n += len(os)
	}
	return n
}

const (
	shownSequences = 3 // how many differing sequences a diff shows
	shownAround    = 2 // and how many equal records around the first difference
	shownAfter     = 6
)

// Diff compares record by record and returns "" when got is want. Else it says
// how many sequences differ, what kind of difference the first ones have, and
// shows the neighbourhood of each first difference.
func Diff(want, got Sequences) string {
	var keys []string
	for k := range want {
		if !equal(want[k], got[k]) {
			keys = append(keys, k)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	sort.Strings(keys)
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d sequences differ (want %d records, got %d)\n", len(keys), max(len(want), len(got)), want.Len(), got.Len())
	for _, k := range keys[:min(len(keys), shownSequences)] {
		w, g := want[k], got[k]
		at := firstDifference(w, g)
		fmt.Fprintf(&b, "sequence %q: want %d records, got %d; %s; from record %d (-want +got):\n%s", k, len(w), len(g), kind(w, g, at), max(0, at-shownAround),
			cmp.Diff(window(w, at), window(g, at)))
	}
	return b.String()
}

func equal(a, b []Output) bool { return len(a) == len(b) && firstDifference(a, b) == len(a) }

func firstDifference(a, b []Output) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// kind names the likely fault: what differs at the first difference.
func kind(want, got []Output, at int) string {
	switch {
	case at == len(got):
		return "records are missing at the end"
	case at == len(want):
		if at > 0 && got[at] == got[at-1] {
			return "a record is repeated"
		}
		return "there are records too many at the end"
	case at > 0 && got[at] == got[at-1]:
		return "a record is repeated"
	case at+1 < len(want) && got[at] == want[at+1]:
		return "a record is missing"
	case contains(want[:at], got[at]):
		return "an earlier record comes again"
	default:
		return "a record is different"
	}
}

func contains(os []Output, o Output) bool {
	for _, x := range os {
		if x == o {
			return true
		}
	}
	return false
}

func window(os []Output, at int) []Output {
	return os[max(0, min(at-shownAround, len(os))):min(len(os), at+shownAfter)]
}

// Repeats checks a sequence that at-least-once delivery may have written: it
// begins with want's first record, each record is followed by want's next one or
// by one that had been there before, and it ends with want's last. It returns
// what is wrong, "" for nothing, and how many records were repetitions. All
// records of want must differ.
func Repeats(want, got []Output) (problem string, repeated int) {
	index := make(map[Output]int, len(want))
	for i, o := range want {
		index[o] = i
	}
	at, furthest := -1, -1
	for n, o := range got {
		i, known := index[o]
		switch {
		case !known:
			return fmt.Sprintf("record %d is none of those there must be: %+v; the one before it: %s", n, o, shown(want, at)), repeated
		case i > at+1:
			return fmt.Sprintf("record %d is number %d of those there must be, the one before it number %d: what is between is missing: %+v", n, i, at, o), repeated
		case i <= furthest:
			repeated++
		}
		at, furthest = i, max(furthest, i)
	}
	if at != len(want)-1 {
		return fmt.Sprintf("the last record is number %d of %d: %s", at, len(want), shown(want, at)), repeated
	}
	return "", repeated
}

func shown(os []Output, i int) string {
	if i < 0 {
		return "none"
	}
	return fmt.Sprintf("%+v", os[i])
}
