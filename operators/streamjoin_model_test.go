package operators_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// joinModel is a join of two streams as its rules say it: all records are
// kept for ever, and looked through from the beginning every time.
type joinModel struct {
	before, after, grace int64
	keep                 [2]bool
	now                  int64
	records              []*modelRecord
	out                  []string
	late, unmatched      int
}

type modelRecord struct {
	right   int
	key     string
	id      int
	time    int64
	matched bool
	left    bool // it has left unmatched
}

// deadline is the last stream time at which a record can be joined.
func (m *joinModel) deadline(r *modelRecord) int64 {
	if r.right == 1 {
		return r.time + m.before + m.grace
	}
	return r.time + m.after + m.grace
}

func (m *joinModel) take(r *modelRecord) {
	if r.time > m.now {
		m.now = r.time
		m.leave()
	}
	if m.deadline(r) < m.now {
		m.late++
		return
	}
	var partners []*modelRecord
	for _, o := range m.records {
		left, right := o, r
		if r.right == 0 {
			left, right = r, o
		}
		if o.right != r.right && o.key == r.key && m.deadline(o) >= m.now &&
			left.time-m.before <= right.time && right.time <= left.time+m.after {
			partners = append(partners, o)
		}
	}
	slices.SortStableFunc(partners, func(a, b *modelRecord) int { return cmp.Compare(a.time, b.time) })
	for _, o := range partners {
		left, right := o, r
		if r.right == 0 {
			left, right = r, o
		}
		o.matched, r.matched = true, true
		m.out = append(m.out, fmt.Sprintf(`0 %s {"l":%d,"r":%d} @%d`, left.key, left.id, right.id, max(left.time, right.time)))
	}
	m.records = append(m.records, r)
}

func (m *joinModel) leave() {
	var due []*modelRecord
	for _, r := range m.records {
		if !r.matched && !r.left && m.deadline(r) < m.now {
			due = append(due, r)
		}
	}
	slices.SortStableFunc(due, func(a, b *modelRecord) int { return cmp.Compare(m.deadline(a), m.deadline(b)) })
	for _, r := range due {
		r.left = true
		switch {
		case !m.keep[r.right]:
			m.unmatched++
		case r.right == 1:
			m.out = append(m.out, fmt.Sprintf(`0 %s {"l":null,"r":%d} @%d`, r.key, r.id, r.time))
		default:
			m.out = append(m.out, fmt.Sprintf(`0 %s {"l":%d,"r":null} @%d`, r.key, r.id, r.time))
		}
	}
}

const modelJoinPipeline = `
pipeline: p
sources:
  events: {topic: events}
streams:
  lefts: {from: events e, where: e.side == "l"}
  rights: {from: events e, where: e.side == "r"}
  joined:
    from: lefts l
    join: [{KIND: rights r, on: l.k == r.k, before: BEFOREms, after: AFTERms, grace: GRACEms}]
    select: [{l: l.id}, {r: r.id}]
sinks:
  out: {from: joined, topic: out}
`

// TestStreamJoinModel runs random joins over random records with random
// restarts against the model.
func TestStreamJoinModel(t *testing.T) {
	for seed := range uint64(300) {
		if testing.Short() && seed == 60 {
			break
		}
		random := rand.New(rand.NewPCG(seed, 17))
		kind := []string{"inner", "left", "outer"}[random.IntN(3)]
		span := []int64{0, 1, 7, 300, 5000, 5_000_000_000}[random.IntN(6)]
		m := &joinModel{before: random.Int64N(span + 1), after: random.Int64N(span + 1), grace: []int64{0, 0, 3, 2000}[random.IntN(4)], now: math.MinInt64}
		m.keep = [2]bool{kind != "inner", kind == "outer"}
		name := fmt.Sprintf("seed %d: %s before %d after %d grace %d", seed, kind, m.before, m.after, m.grace)
		r := newRig(t, replaced(modelJoinPipeline, "KIND", kind, "BEFORE", fmt.Sprint(m.before), "AFTER", fmt.Sprint(m.after), "GRACE", fmt.Sprint(m.grace)),
			map[string]int{"events": 1, "out": 1})
		keys := 1 + random.IntN(4)
		time, spread := int64(10_000), 1+2*(m.before+m.after)
		for id := range 150 {
			switch random.IntN(40) {
			case 0:
				time += random.Int64N(20 * spread)
			default:
				time += random.Int64N(2 + spread/8)
			}
			rec := &modelRecord{right: random.IntN(2), key: fmt.Sprint(random.IntN(keys)), id: id, time: time}
			if random.IntN(3) == 0 {
				rec.time = max(0, time-random.Int64N(2*spread+m.grace))
			}
			m.take(rec)
			r.produce("events", rec.key, fmt.Sprintf(`{"side":%q,"k":%s,"id":%d}`, "lr"[rec.right:rec.right+1], rec.key, id), rec.time)
			r.mustRun()
			if random.IntN(20) == 0 {
				r.reopen()
			}
		}
		if got := r.show("out"); !slices.Equal(got, m.out) {
			expect(t, name, got, m.out...)
			return
		}
		drops := map[string]int{}
		for _, task := range r.tasks {
			for k, n := range task.tc.Counters.Drops {
				drops[k.Reason] += int(n)
			}
		}
		if drops["late"] != m.late {
			t.Errorf("%s: %d late records, want %d", name, drops["late"], m.late)
		}
		if drops["no-match"] > m.unmatched {
			t.Errorf("%s: %d without a match, want at most %d", name, drops["no-match"], m.unmatched)
		}
	}
}
