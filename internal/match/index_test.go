package match

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"streamctl/internal/testkit/corpus"

	"pgregory.net/rapid"
)

// doc is a document of the naive matcher: words by field.
type doc map[string][]string

// documentOf makes one of a text without fields.
func documentOf(text string) doc {
	d := doc{}
	d.add("", text)
	return d
}

func (d doc) add(field, text string) {
	var c cutter
	words := []string{}
	c.each([]byte(text), func(w []byte) { words = append(words, string(w)) })
	d[field] = words
}

// matches is what a query means, word for word.
func (n *node) matches(d doc) bool {
	switch n.kind {
	case andNode:
		return !slices.ContainsFunc(n.kids, func(k *node) bool { return !k.matches(d) })
	case orNode:
		return slices.ContainsFunc(n.kids, func(k *node) bool { return k.matches(d) })
	case notNode:
		return !n.kids[0].matches(d)
	}
	for field, words := range d {
		if n.field != "" && n.field != field {
			continue
		}
		for i := range words {
			switch {
			case n.kind == prefixNode && strings.HasPrefix(words[i], n.words[0]):
				return true
			case n.kind != prefixNode && i+len(n.words) <= len(words) && slices.Equal(words[i:i+len(n.words)], n.words):
				return true
			}
		}
	}
	return false
}

// genNode makes queries over few words, so that they often match.
func genNode(t *rapid.T, depth int, field bool) *node {
	kinds := []nodeKind{wordNode, wordNode, wordNode, prefixNode, phraseNode}
	if depth > 0 {
		kinds = append(kinds, andNode, andNode, orNode, orNode, notNode)
	}
	n := &node{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	kids := 0
	switch n.kind {
	case andNode, orNode:
		kids = rapid.IntRange(2, 4).Draw(t, "kids")
	case notNode:
		kids = 1
	case wordNode:
		n.words = []string{genWord(t)}
	case prefixNode:
		n.words = []string{rapid.SampledFrom([]string{"a", "b", "ab", "ba", "aba", "bab", "c", "d", "sixteen1"}).Draw(t, "prefix")}
	case phraseNode:
		for range rapid.IntRange(2, 3).Draw(t, "length") {
			n.words = append(n.words, genWord(t))
		}
	}
	if kids == 0 && field {
		n.field = rapid.SampledFrom([]string{"", "", "f", "g", "h"}).Draw(t, "field")
	}
	for range kids {
		n.kids = append(n.kids, genNode(t, depth-1, field))
	}
	return n
}

func genWord(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "ab", "aba", "b", "ba", "bab", "c", "cd", "d", "é", "fifteenletters1", "sixteen1letters2", "sixteen1letters3"}).Draw(t, "word")
}

func genText(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.Custom(genWord), 0, 12).Draw(t, "text"), " ")
}

// The index finds what the naive matcher finds, while queries come, change and
// go, and while the index learns which words are rare.
func TestIndexEqualsNaiveMatcher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, model := NewIndex(), map[string]*Query{}
		x.doc.counted = uint32(rapid.SampledFrom([]int{0, learnFirst, forgetAfter - 3}).Draw(t, "documents before"))
		x.doc.number = rapid.SampledFrom([]uint32{0, math.MaxUint32 - 3}).Draw(t, "number")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			key := fmt.Sprint("k", rapid.IntRange(0, 12).Draw(t, "key"))
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				_, had := model[key]
				if x.Remove(key) != had {
					t.Fatalf("remove %s: had one %v", key, had)
				}
				delete(model, key)
			case 1, 2:
				root := genNode(t, 3, true)
				q, err := Parse((&Query{root}).String())
				if err != nil {
					t.Fatalf("parse %s: %v", (&Query{root}).String(), err)
				}
				x.Put(key, q)
				model[key] = q
			default:
				checkDocument(t, x, model)
			}
		}
		for key := range model {
			x.Remove(key)
		}
		if s := x.Stats(); s.Queries != 0 || s.Terms != 0 || s.Everyone != 0 || x.dict.used != 0 || len(x.phrases) != 0 || x.prefixes.live != 0 ||
			len(x.prefixes.free) != len(x.prefixes.nodes)-1 || len(x.freeWords) != len(x.words)-1 {
			t.Fatalf("something is left of removed queries: %+v", s)
		}
	})
}

func checkDocument(t *rapid.T, x *Index, model map[string]*Query) {
	d := doc{}
	x.Begin()
	for _, field := range [][]string{{""}, {"f", "g"}, {"f", "other"}}[rapid.IntRange(0, 2).Draw(t, "fields")] {
		text := genText(t)
		d.add(field, text)
		if rapid.Bool().Draw(t, "cut elsewhere") {
			if err := x.AddCut(field, NewCutter().AppendCut(nil, []byte(text))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		x.Add(field, []byte(text))
	}
	got := x.AppendMatches(nil)
	slices.Sort(got)
	var want []string
	for key, q := range model {
		if q.root.matches(d) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("document %v\n got  %v\n want %v", d, got, want)
	}
}

// The story of the use case.
func TestStreamingSearch(t *testing.T) {
	x := NewIndex()
	put := func(key, query string) {
		q, err := Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		x.Put(key, q)
	}
	find := func(text string, want ...string) {
		t.Helper()
		x.Begin()
		x.Add("", []byte(text))
		got := x.AppendMatches(nil)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	put("q1", "foo AND bar")
	put("q2", "bar AND baz")
	find("this has foo and bar only", "q1")
	find("this has bar and baz.", "q2")
	find("foo, bar and baz", "q1", "q2")
	find("nothing of it")
	x.Remove("q1")
	find("foo bar")
	put("q2", "foo")
	find("foo bar", "q2")
	find("bar baz")
}

// A document is tested against few of many, also where all queries share
// words that every document has, and although nothing was known of documents
// when the queries came.
func TestFewOfManyAreTested(t *testing.T) {
	x := NewIndex()
	const queries = 2000
	for i := range queries {
		q, err := Parse(fmt.Sprintf("common AND rare%d OR \"often %d\"", i, i))
		if err != nil {
			t.Fatal(err)
		}
		x.Put(fmt.Sprint(i), q)
	}
	text := []byte("common often words in every document, and rare7")
	documents := func(n int) uint64 {
		before := x.Stats().Tested
		for range n {
			x.Begin()
			x.Add("", text)
			if got := x.AppendMatches(nil); !slices.Equal(got, []string{"7"}) {
				t.Fatalf("matched %v", got)
			}
		}
		return (x.Stats().Tested - before) / uint64(n)
	}
	documents(learnFirst + queries/reconsidered + 1)
	if tested := documents(100); tested > 2 {
		t.Errorf("a document is tested against %d of %d queries", tested, queries)
	}
	if s := x.Stats(); s.Everyone != 0 {
		t.Errorf("%d queries are tested against every document", s.Everyone)
	}
}

// Queries are filed anew where a word that few queries name turns out to be in
// every document.
func TestIndexLearnsFromDocuments(t *testing.T) {
	x := NewIndex()
	for i := range 200 {
		// Nobody knows yet that "the" is frequent: each query names one word of its
		// own, and shares the rare one.
		q, err := Parse(fmt.Sprintf("the%d AND zyzzyva", i))
		if err != nil {
			t.Fatal(err)
		}
		x.Put(fmt.Sprint(i), q)
	}
	var words []string
	for i := range 200 {
		words = append(words, fmt.Sprint("the", i))
	}
	text := []byte(strings.Join(words, " "))
	for range 400 {
		x.Begin()
		x.Add("", text)
		if got := x.AppendMatches(nil); len(got) > 0 {
			t.Fatalf("matched %v", got)
		}
	}
	before := x.Stats()
	x.Begin()
	x.Add("", text)
	x.AppendMatches(nil)
	if after := x.Stats(); after.Tested != before.Tested || after.Moved < 200 {
		t.Errorf("still tested against %d queries, %d were moved", after.Tested-before.Tested, after.Moved)
	}
}

// What has no required term is tested against every document, and found.
func TestQueriesWithoutRequiredTerm(t *testing.T) {
	for query, everyone := range map[string]int{
		"NOT foo": 1, "NOT (foo AND bar)": 1, "foo OR NOT bar": 1, "NOT (foo OR NOT bar)": 0, "ba*": 0, "foo AND NOT bar": 0,
	} {
		q, err := Parse(query)
		if err != nil {
			t.Fatal(err)
		}
		x := NewIndex()
		x.Put("k", q)
		if got := x.Stats().Everyone; got != everyone {
			t.Errorf("%s: %d queries for every document, want %d", query, got, everyone)
		}
	}
}

// madeUp are queries and documents.
func madeUp(queries, documents, docBytes int) (texts []string, docs [][]byte) {
	c := corpus.New(1)
	for range queries {
		texts = append(texts, c.Query())
	}
	for range documents {
		docs = append(docs, c.AppendDocument(nil, docBytes))
	}
	return texts, docs
}

func filled(tb testing.TB, texts []string) *Index {
	x := NewIndex()
	for i, text := range texts {
		q, err := Parse(text)
		if err != nil {
			tb.Fatal(err)
		}
		x.Put(fmt.Sprintf("%q", fmt.Sprint("query-", i)), q)
	}
	return x
}

func TestMatchingDoesNotAllocate(t *testing.T) {
	texts, docs := madeUp(1000, 300, 1000)
	x := filled(t, texts)
	var keys []string
	at := 0
	one := func() {
		x.Begin()
		x.Add("", docs[at%len(docs)])
		keys = x.AppendMatches(keys[:0])
		at++
	}
	for range 2000 {
		one()
	}
	if n := testing.AllocsPerRun(1000, one); n > 0.1 {
		t.Errorf("%v allocations per document", n)
	}
}

// One document of 1 KB against 100 000 stored queries.
func BenchmarkMatch(b *testing.B) {
	texts, docs := madeUp(100_000, 2000, 1000)
	x := filled(b, texts)
	var keys []string
	for i := range 50_000 { // the index has learnt
		x.Begin()
		x.Add("", docs[i%len(docs)])
		keys = x.AppendMatches(keys[:0])
	}
	before, found, began := x.Stats(), 0, cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		x.Begin()
		x.Add("", docs[i%len(docs)])
		keys = x.AppendMatches(keys[:0])
		found += len(keys)
	}
	after := x.Stats()
	b.ReportMetric(float64(after.Tested-before.Tested)/float64(b.N), "tested/op")
	b.ReportMetric(float64(found)/float64(b.N), "matches/op")
	spent := cpuTime(b) - began
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "CPU-us/op")
	b.ReportMetric(float64(b.N)/spent.Seconds(), "docs/CPU-s")
}

// cpuTime is what the process has had of the CPU: other than the time on the wall, it is
// good on a machine that others use as well.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Queries put in, and what each takes.
func BenchmarkPut(b *testing.B) {
	texts, _ := madeUp(100_000, 0, 0)
	b.ReportAllocs()
	for b.Loop() {
		x := filled(b, texts)
		n := x.Len()
		b.ReportMetric(float64(heapOf(x))/float64(n), "heapB/query")
	}
}
