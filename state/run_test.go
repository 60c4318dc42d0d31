package state

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// A run gives each key once, in order, with the row added last, whatever its keys
// have in common.
func TestRunSorted(t *testing.T) {
	keys := map[string]func(r *rand.Rand) []byte{
		"numbers": func(r *rand.Rand) []byte { return fmt.Appendf(nil, "row-%06d", r.IntN(5000)) },
		"long beginning": func(r *rand.Rand) []byte {
			return fmt.Appendf(nil, "%d-the same for all of them-%d", r.IntN(3), r.IntN(900))
		},
		"short": func(r *rand.Rand) []byte { return []byte("aab\x00\xff")[:r.IntN(6)] },
		"bytes": func(r *rand.Rand) []byte {
			k := make([]byte, r.IntN(12))
			for i := range k {
				k[i] = byte(r.IntN(3) * 127)
			}
			return k
		},
		"one": func(*rand.Rand) []byte { return []byte("k") },
	}
	for name, key := range keys {
		for _, n := range []int{0, 1, 2, radixFrom - 1, radixFrom, 3000} {
			for _, seed := range []uint64{1, 2, 3} {
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				r, want := &run{}, map[string]string{}
				for range 2 { // the second time in the memory of the first
					r.clear()
					clear(want)
					for i := range n {
						k, row := key(rnd), bytes.Repeat(fmt.Append(nil, i), 1+rnd.IntN(100))
						switch rnd.IntN(4) {
						case 0:
							r.add(k, nil, 1<<20)
							want[string(k)] = ""
							continue
						case 1:
							r.addShared(k, row, nil, 1<<20)
						default:
							r.add(k, row, 1<<20)
						}
						want[string(k)] = string(appendHead(nil, nil)) + string(row)
					}
					order := slices.Sorted(maps.Keys(want))
					at := 0
					for e := range r.sorted() {
						if at >= len(order) || string(e.key) != order[at] || string(e.row) != want[order[at]] || (e.row == nil) != (want[order[at]] == "") {
							t.Fatalf("%s, %d entries, seed %d: entry %d is %q %q", name, n, seed, at, e.key, e.row)
						}
						at++
					}
					if at != len(order) {
						t.Fatalf("%s, %d entries, seed %d: %d keys, want %d", name, n, seed, at, len(order))
					}
				}
			}
		}
	}
}

func BenchmarkRunSort(b *testing.B) {
	const n = 8000
	rnd := rand.New(rand.NewPCG(1, 1))
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "row-%08d", rnd.IntN(1_000_000))
	}
	r := &run{}
	for b.Loop() {
		r.clear()
		for _, k := range keys {
			r.add(k, k, 1<<20)
		}
		r.sort()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}
