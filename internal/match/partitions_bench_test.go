package match

import (
	"fmt"
	"testing"
)

// One document of 1 KB against 100 000 stored queries that lie in several
// partitions, each with an index of its own: cut once, and found in all of them.
func BenchmarkMatchPartitions(b *testing.B) {
	texts, docs := madeUp(100_000, 2000, 1000)
	for _, partitions := range []int{1, 4} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			indexes := make([]*Index, partitions)
			for p := range indexes {
				indexes[p] = filled(b, texts[p*len(texts)/partitions:(p+1)*len(texts)/partitions])
			}
			var keys []string
			one := oneDocument(b)
			for i := range 20_000 {
				keys = one(indexes, docs[i%len(docs)], keys[:0])
			}
			began := cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				keys = one(indexes, docs[i%len(docs)], keys[:0])
			}
			b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/1000/float64(b.N), "CPU-us/op")
		})
	}
}

// oneDocument tests a document against all indexes.
func oneDocument(b *testing.B) func(indexes []*Index, doc []byte, keys []string) []string {
	cutter, cut := NewCutter(), []byte(nil)
	return func(indexes []*Index, doc []byte, keys []string) []string {
		cut = cutter.AppendCut(cut[:0], doc)
		for _, x := range indexes {
			x.Begin()
			if err := x.AddCut("", cut); err != nil {
				b.Fatal(err)
			}
			keys = x.AppendMatches(keys)
		}
		return keys
	}
}
