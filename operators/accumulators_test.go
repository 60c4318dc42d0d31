package operators

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/value"
)

// aggregationsOfAllKinds has every accumulator there is, by a name for messages.
func aggregationsOfAllKinds(undo bool) []Aggregation {
	list := []Aggregation{
		{Kind: Sum, exact: true}, {Kind: Avg}, {Kind: Stddev},
		{Kind: CountDistinct}, {Kind: CollectSet, Limit: 40}, {Kind: TopK, Limit: 3},
		{Kind: Histogram, Limit: 40}, {Kind: Histogram, Bounds: []float64{-5, 0, 2.5, 100}},
	}
	if undo {
		list = append(list, Aggregation{Kind: Min}, Aggregation{Kind: Max})
	} else {
		list = append(list, Aggregation{Kind: First}, Aggregation{Kind: Last}, Aggregation{Kind: CollectList, Limit: 1000},
			Aggregation{Kind: CountDistinct, Approx: true}, Aggregation{Kind: Percentile, Fraction: 0.9, digests: newDigests()})
	}
	for i := range list {
		list[i].Undo = undo
	}
	return list
}

// randomNumber is an int, a float of any size, or one that was there already.
func randomNumber(r *rand.Rand) value.Value {
	switch r.IntN(4) {
	case 0:
		return value.OfInt(int64(r.IntN(20) - 10))
	case 1:
		return value.OfInt(r.Int64N(1<<50) - 1<<49)
	case 2:
		return value.OfFloat(float64(r.IntN(200)-100) / 8)
	}
	return value.OfFloat(math.Ldexp(r.Float64()-0.5, r.IntN(80)-40))
}

// shown is a result as text.
func shown(acc accumulator) string { return string(value.AppendJSON(nil, acc.result())) }

// stored sends an accumulator through the store.
func stored(t *testing.T, a *Aggregation, acc accumulator) accumulator {
	t.Helper()
	text := acc.appendState(nil)
	v, err := value.ParseJSON(text)
	if err != nil {
		t.Fatalf("%s: state %s: %v", a.Form(), text, err)
	}
	out := a.accumulator()
	if v.IsNull() {
		return out
	}
	if err := out.decode(v); err != nil {
		t.Fatalf("%s: %v", a.Form(), err)
	}
	if again := out.appendState(nil); string(again) != string(text) {
		t.Fatalf("%s: state %s came back as %s", a.Form(), text, again)
	}
	return out
}

// An accumulator that has been to the store goes on as one that has not,
// wherever that happened.
func TestAccumulatorsSurviveTheStoreAnywhere(t *testing.T) {
	for seed := range uint64(20) {
		for _, undo := range []bool{false, true} {
			for _, a := range aggregationsOfAllKinds(undo) {
				r := rand.New(rand.NewPCG(seed, 1))
				stays, travels := a.accumulator(), a.accumulator()
				for i := range 400 {
					args, time := []value.Value{randomNumber(r)}, int64(r.IntN(50))
					if stays.room(args) != nil {
						if travels.room(args) == nil {
							t.Fatalf("seed %d: %s has room where it had none", seed, a.Form())
						}
						continue
					}
					stays.add(args, time)
					travels.add(args, time)
					if r.IntN(7) == 0 {
						travels = stored(t, &a, travels)
					}
					if got, want := shown(travels), shown(stays); got != want {
						t.Fatalf("seed %d: %s after %d values: %s, want %s", seed, a.Form(), i+1, got, want)
					}
				}
			}
		}
	}
}

// What is taken out leaves nothing behind.
func TestUndoLeavesNothingBehind(t *testing.T) {
	for seed := range uint64(50) {
		for _, a := range aggregationsOfAllKinds(true) {
			r := rand.New(rand.NewPCG(seed, 2))
			plain, undone := a.accumulator(), a.accumulator()
			var extra []value.Value
			for range 60 {
				v := randomNumber(r)
				if r.IntN(2) == 0 {
					plain.add([]value.Value{v}, 0)
				} else {
					extra = append(extra, v)
				}
				undone.add([]value.Value{v}, 0)
			}
			r.Shuffle(len(extra), func(i, j int) { extra[i], extra[j] = extra[j], extra[i] })
			for _, v := range extra {
				undone.undo([]value.Value{v})
			}
			if got, want := shown(undone), shown(plain); got != want {
				t.Fatalf("seed %d: %s: %s, want %s", seed, a.Form(), got, want)
			}
			if got, want := shown(stored(t, &a, undone)), shown(plain); got != want {
				t.Fatalf("seed %d: stored %s: %s, want %s", seed, a.Form(), got, want)
			}
		}
	}
}

// Two groups that become one are as if there had been one from the start.
func TestMergedAccumulators(t *testing.T) {
	for seed := range uint64(30) {
		for _, undo := range []bool{false, true} {
			for _, a := range aggregationsOfAllKinds(undo) {
				r := rand.New(rand.NewPCG(seed, 3))
				whole, first, second := a.accumulator(), a.accumulator(), a.accumulator()
				n := 45 // a percentile is exact, a set has room
				for i := range n {
					args := []value.Value{value.OfInt(int64(r.IntN(30)))}
					part := first
					if i > n/3 {
						part = second
					}
					whole.add(args, int64(i/4))
					part.add(args, int64(i/4))
				}
				first.merge(second)
				if got, want := shown(first), shown(whole); got != want {
					t.Errorf("seed %d: %s: %s, want %s", seed, a.Form(), got, want)
				}
			}
		}
	}
}

// Sums are exact, whatever is added in whatever order.
func TestSumsAreRoundedOnce(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 4))
		sum := &avgAccumulator{}
		exact := new(big.Rat)
		n := 1 + r.IntN(40)
		for range n {
			v := randomNumber(r)
			if r.IntN(5) == 0 {
				v = value.OfFloat(math.Ldexp(r.Float64()-0.5, r.IntN(1800)-900))
			}
			if v.Kind == value.Int {
				exact.Add(exact, new(big.Rat).SetInt64(v.AsInt()))
			} else {
				exact.Add(exact, new(big.Rat).SetFloat64(v.AsFloat()))
			}
			sum.add([]value.Value{v}, 0)
		}
		want, _ := exact.Float64()
		if got := sum.float(); got != want {
			t.Fatalf("seed %d: sum is %g, want %g", seed, got, want)
		}
		if got := sum.result().AsFloat(); got != want/float64(n) {
			t.Fatalf("seed %d: average is %g, want %g", seed, got, want/float64(n))
		}
	}
}

func TestSumsOfManyBits(t *testing.T) {
	s := &sumAccumulator{undoable: true}
	for range 3 {
		s.add([]value.Value{value.OfInt(math.MaxInt64)}, 0)
	}
	if v := s.result(); v.Kind != value.Invalid || !strings.Contains(v.Err().Error(), "overflow") {
		t.Errorf("three times the greatest int gives %s", v.Short())
	}
	if got, want := s.float(), 3*float64(math.MaxInt64); got != want {
		t.Errorf("as a float it is %g, want %g", got, want)
	}
	s = stored(t, &Aggregation{Kind: Sum, Undo: true}, s).(*sumAccumulator)
	s.undo([]value.Value{value.OfInt(math.MaxInt64)})
	s.undo([]value.Value{value.OfInt(math.MaxInt64)})
	if got := shown(s); got != "9223372036854775807" {
		t.Errorf("back in range it is %s", got)
	}
	for range 3 {
		s.add([]value.Value{value.OfInt(math.MinInt64)}, 0)
	}
	s.undo([]value.Value{value.OfInt(math.MaxInt64)})
	s.undo([]value.Value{value.OfInt(math.MinInt64)})
	s.undo([]value.Value{value.OfInt(math.MinInt64)})
	if got := shown(s); got != "-9223372036854775808" {
		t.Errorf("below zero it is %s", got)
	}
}

// The textbook case in which squares that are rounded give a negative variance.
func TestStddevOfLargeNumbersThatLieClose(t *testing.T) {
	s := &stddevAccumulator{}
	for _, f := range []float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16} {
		s.add([]value.Value{value.OfFloat(f)}, 0)
	}
	if got := s.result().AsFloat(); got != math.Sqrt(30) {
		t.Errorf("it is %v, want %v", got, math.Sqrt(30))
	}
	s = &stddevAccumulator{}
	for range 3 {
		s.add([]value.Value{value.OfFloat(0.1)}, 0)
	}
	if got := s.result().AsFloat(); got != 0 {
		t.Errorf("of equal numbers it is %v", got)
	}
}

func TestApproximateCountIsNearTheExactOne(t *testing.T) {
	a := Aggregation{Kind: CountDistinct, Approx: true}
	acc := a.accumulator()
	for i := range 200_000 {
		acc.add([]value.Value{value.OfInt(int64(i % 100_000))}, 0)
		if i == exactHashes-1 {
			if got := acc.result().AsInt(); got != exactHashes {
				t.Errorf("%d of few are %d", exactHashes, got)
			}
		}
		if i%30_000 == 0 {
			acc = stored(t, &a, acc)
		}
	}
	if got := acc.result().AsInt(); got < 97_000 || got > 103_000 {
		t.Errorf("100000 different values are about %d", got)
	}
}

func TestPercentileIsNearTheExactOne(t *testing.T) {
	for _, fraction := range []float64{0, 0.01, 0.5, 0.95, 0.999, 1} {
		acc := (&Aggregation{Kind: Percentile, Fraction: fraction, digests: newDigests()}).accumulator()
		r := rand.New(rand.NewPCG(1, 5))
		var all []float64
		for range 20_000 {
			f := math.Exp(r.NormFloat64())
			all = append(all, f)
			acc.add([]value.Value{value.OfFloat(f)}, 0)
		}
		slices.Sort(all)
		got := acc.result().AsFloat()
		rank, _ := slices.BinarySearch(all, got)
		if off := math.Abs(float64(rank)/20_000 - fraction); off > 0.005 {
			t.Errorf("percentile %g lies at %g", fraction, float64(rank)/20_000)
		}
	}
}

func TestExactPercentile(t *testing.T) {
	for _, c := range []struct {
		numbers  []float64
		fraction float64
		want     float64
	}{
		{[]float64{7}, 0.3, 7}, {[]float64{3, 1}, 0.5, 2}, {[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{1, 2, 3, 4, 5}, 1, 5}, {[]float64{1, 2, 3, 4, 5}, 0, 1}, {[]float64{10, 20, 30}, 0.75, 25},
	} {
		if got := exactPercentile(c.numbers, c.fraction); got != c.want {
			t.Errorf("%g of %v is %g, want %g", c.fraction, c.numbers, got, c.want)
		}
	}
}

func TestOrderOfValues(t *testing.T) {
	parse := func(text string) value.Value {
		v, err := value.ParseJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ascending := []string{"false", "true", "-1e400", "-3", "0.5", "1", "1e400", `"10"`, `"9"`, `"a"`, "[1]", `{"a":1}`}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := orderOf(parse(a), parse(b)); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("order of %s and %s is %d", a, b, got)
			}
		}
	}
	if orderOf(parse("1"), parse("1.0")) != 0 || orderOf(parse(`{"a":1,"b":2}`), parse(`{ "b":2, "a":1.0}`)) != 0 {
		t.Error("equal values are not equal")
	}
}

// What an aggregate keeps of one group is bounded, whatever its limit says.
func TestWhatCollectsIsBounded(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for _, a := range []Aggregation{
		{Kind: CollectList, Limit: 1000}, {Kind: CollectSet, Limit: 1000}, {Kind: TopK, Limit: 1000}, {Kind: CountDistinct}, {Kind: Histogram, Limit: 1000},
	} {
		acc := a.accumulator()
		taken := 0
		for i := range 10 {
			args := []value.Value{value.OfString(fmt.Sprint(i, long))}
			if acc.room(args) == nil {
				acc.add(args, 0)
				taken++
			}
		}
		if taken != 3 {
			t.Errorf("%s took in %d texts of 300 kB", a.Form(), taken)
		}
	}
}

// A sum whose argument is found out to be an int, or no longer to be one, goes
// on with what it has: kept rows are read by another form of it.
func TestSumsReadEachOthersState(t *testing.T) {
	exact := []Aggregation{{Kind: Sum, exact: true}}
	plain := []Aggregation{{Kind: Sum}}
	for _, c := range []struct {
		to     []Aggregation
		stored string
	}{{plain, "[[2,0,7]]"}, {exact, "[7]"}, {exact, "[null]"}, {plain, "[null]"}, {plain, "[[0,0,0]]"}} {
		cells := freshCells(c.to, make([]value.Value, 1))
		if err := cells.decode(c.to, []byte(c.stored)); err != nil {
			t.Fatalf("%s: %v", c.stored, err)
		}
		a := newAggregator(c.to)
		a.args[0] = []value.Value{value.OfInt(3)}
		if err := a.add(&cells, 0); err != nil {
			t.Fatalf("%s: %v", c.stored, err)
		}
		_ = cells.settle()
		want := int64(10)
		if !strings.Contains(c.stored, "7") {
			want = 3
		}
		if got := cells.slots[0]; got.Kind != value.Int || got.AsInt() != want {
			t.Errorf("%s and 3 are %s, want %d", c.stored, got.Short(), want)
		}
	}
}

func TestFormsTellStatesApart(t *testing.T) {
	seen := map[string]bool{}
	for _, undo := range []bool{false, true} {
		for _, a := range aggregationsOfAllKinds(undo) {
			if form := a.Form(); seen[form] {
				t.Errorf("two aggregates have the form %q", form)
			} else {
				seen[form] = true
			}
		}
	}
	if want := "histogram [-5,0,2.5,100] of rows"; !seen[want] {
		t.Errorf("%q is not among %v", want, seen)
	}
}
