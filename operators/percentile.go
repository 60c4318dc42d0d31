package operators

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/influxdata/tdigest"

	"streamctl/internal/value"
)

// percentileAccumulator is percentile(x, fraction): exact while a group has few
// numbers, then by a t-digest (Dunning and Ertl, "Computing Extremely Accurate
// Quantiles Using t-Digests", 2019).
//
// What it holds depends on the numbers and their order alone: the digest is
// brought up to date after every so many numbers, never because somebody reads
// or writes it. It is made anew from its centroids each time, so that one that
// comes from the store goes on like one that was never away.
type percentileAccumulator struct {
	fraction  float64
	recent    []float64 // numbers that are not in the digest
	centroids tdigest.CentroidList
	low, high float64
	digests   *sync.Pool // of digests to compute with
}

const (
	// exactNumbers is how many numbers are kept one by one.
	exactNumbers = 100
	// digestCompression bounds a digest to about as many centroids.
	digestCompression = 100
)

// newDigests makes the digests that the accumulators of an aggregation share.
func newDigests() *sync.Pool {
	return &sync.Pool{New: func() any { return tdigest.NewWithCompression(digestCompression) }}
}

func (p *percentileAccumulator) room([]value.Value) error { return nil }
func (p *percentileAccumulator) undo([]value.Value)       {}

func (p *percentileAccumulator) add(args []value.Value, _ int64) {
	f, _ := args[0].ToFloat()
	p.take(f)
}

func (p *percentileAccumulator) take(f float64) {
	if len(p.recent) == 0 && len(p.centroids) == 0 {
		p.low, p.high = f, f
	}
	p.low, p.high = min(p.low, f), max(p.high, f)
	if len(p.recent) == exactNumbers {
		d := p.digest()
		p.centroids, p.recent = d.Centroids(), p.recent[:0]
		p.digests.Put(d)
	}
	p.recent = append(p.recent, f)
}

// digest is all that has been taken in. It is lent: whoever asks puts it back.
func (p *percentileAccumulator) digest() *tdigest.TDigest {
	d := p.digests.Get().(*tdigest.TDigest)
	d.Reset()
	for _, c := range p.centroids {
		d.AddCentroid(c)
	}
	for _, f := range p.recent {
		d.Add(f, 1)
	}
	return d
}

func (p *percentileAccumulator) result() value.Value {
	switch {
	case len(p.recent) == 0 && len(p.centroids) == 0:
		return value.NullV()
	case len(p.centroids) == 0:
		return value.OfFloat(exactPercentile(p.recent, p.fraction))
	case p.fraction == 0:
		return value.OfFloat(p.low)
	case p.fraction == 1:
		return value.OfFloat(p.high)
	}
	d := p.digest()
	f := d.Quantile(p.fraction)
	p.digests.Put(d)
	return finiteOr(min(max(f, p.low), p.high), "percentile")
}

// exactPercentile goes straight from the number below to the number above, as
// percentile_cont of SQL does.
func exactPercentile(numbers []float64, fraction float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	at := fraction * float64(len(sorted)-1)
	below := int(math.Floor(at))
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	part, step := at-float64(below), sorted[below+1]-sorted[below]
	if math.IsInf(step, 0) { // they lie far apart
		return float64(sorted[below]*(1-part)) + float64(sorted[below+1]*part)
	}
	return sorted[below] + float64(step*part)
}

// appendState appends [[recent...], low, high, mean, weight, mean, weight...].
func (p *percentileAccumulator) appendState(dst []byte) []byte {
	number := func(f float64) { dst = value.AppendJSON(dst, value.OfFloat(f)) }
	dst = append(dst, "[["...)
	for i, f := range p.recent {
		if i > 0 {
			dst = append(dst, ',')
		}
		number(f)
	}
	dst = append(dst, ']')
	for _, f := range []float64{p.low, p.high} {
		dst = append(dst, ',')
		number(f)
	}
	for _, c := range p.centroids {
		dst = append(dst, ',')
		number(c.Mean)
		dst = append(dst, ',')
		number(c.Weight)
	}
	return append(dst, ']')
}

func (p *percentileAccumulator) decode(state value.Value) error {
	parts := state.Expand()
	if n, _ := parts.Len(); !parts.IsList() || n < 3 || n%2 == 0 {
		return fmt.Errorf("%s is no state of a percentile", state.Short())
	}
	first := parts.Index(0).Expand()
	if !first.IsList() {
		return fmt.Errorf("%s is no state of a percentile", state.Short())
	}
	recent, err := floatsOf(first.Tree.Items)
	if err != nil {
		return err
	}
	rest, err := floatsOf(parts.Tree.Items[1:])
	if err != nil {
		return err
	}
	p.recent, p.low, p.high, p.centroids = recent, rest[0], rest[1], nil
	for i := 2; i < len(rest); i += 2 {
		p.centroids = append(p.centroids, tdigest.Centroid{Mean: rest[i], Weight: rest[i+1]})
	}
	return nil
}

func floatsOf(items []value.Value) ([]float64, error) {
	out := make([]float64, len(items))
	for i, item := range items {
		f, ok := item.ToFloat()
		if !ok {
			return nil, fmt.Errorf("%s is no number", item.Short())
		}
		out[i] = f
	}
	return out, nil
}

func (p *percentileAccumulator) merge(later accumulator) {
	l := later.(*percentileAccumulator)
	if len(l.recent) == 0 && len(l.centroids) == 0 {
		return
	}
	if len(l.centroids) > 0 {
		d := p.digest()
		for _, c := range l.centroids {
			d.AddCentroid(c)
		}
		if len(p.recent) == 0 && len(p.centroids) == 0 {
			p.low, p.high = l.low, l.high
		}
		p.centroids, p.recent = d.Centroids(), p.recent[:0]
		p.digests.Put(d)
		p.low, p.high = min(p.low, l.low), max(p.high, l.high)
	}
	for _, f := range l.recent {
		p.take(f)
	}
}

func (p *percentileAccumulator) memory() int {
	return 120 + 8*cap(p.recent) + 16*cap(p.centroids)
}
