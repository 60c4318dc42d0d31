package operators

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"streamctl/expr"
	"streamctl/internal/calendar"
	"streamctl/internal/codec"
	"streamctl/internal/value"
)

// Windows whose boundary lies in a gap begin with the first moment behind it; those
// whose boundary is shown twice, with the first.
func TestGridWhereClocksAreChanged(t *testing.T) {
	day, week := Grid{Unit: GridDays, Every: 1, Size: 1}, Grid{Unit: GridDays, Every: 7, Size: 7, Phase: 3} // from Sunday
	at := func(g Grid, offset int64) Grid { g.Offset = offset; return g }
	hours := func(n int64) Grid { return Grid{Unit: GridHours, Every: n * hourMillis, Size: n * hourMillis} }
	hops := func(size, every int64) Grid {
		return Grid{Unit: GridHours, Every: every * hourMillis, Size: size * hourMillis}
	}
	const half2 = 2*hourMillis + hourMillis/2
	for _, c := range []struct {
		zone           string
		grid           Grid
		at, start, end string
	}{
		{"America/Santiago", day, "2025-09-06T23:30:00-04:00", "2025-09-06T00:00:00-04:00", "2025-09-07T01:00:00-03:00"},
		{"America/Santiago", day, "2025-09-07T01:00:00-03:00", "2025-09-07T01:00:00-03:00", "2025-09-08T00:00:00-03:00"},
		{"America/Santiago", week, "2025-09-06T23:30:00-04:00", "2025-08-31T00:00:00-04:00", "2025-09-07T01:00:00-03:00"},
		{"America/Santiago", hours(6), "2025-09-06T23:30:00-04:00", "2025-09-06T18:00:00-04:00", "2025-09-07T01:00:00-03:00"},
		{"America/Santiago", hours(1), "2025-09-07T06:30:00-03:00", "2025-09-07T06:00:00-03:00", "2025-09-07T07:00:00-03:00"},
		{"America/Havana", day, "2025-03-08T23:30:00-05:00", "2025-03-08T00:00:00-05:00", "2025-03-09T01:00:00-04:00"},
		{"America/Havana", day, "2025-11-02T00:30:00-05:00", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"},
		{"America/Sao_Paulo", day, "2018-11-03T23:30:00-03:00", "2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00"},
		{"America/Sao_Paulo", day, "2018-02-17T23:30:00-03:00", "2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00"},
		{"America/New_York", at(day, half2), "2025-03-09T01:45:00-05:00", "2025-03-08T02:30:00-05:00", "2025-03-09T03:00:00-04:00"},
		{"America/New_York", at(day, half2), "2025-03-09T03:10:00-04:00", "2025-03-09T03:00:00-04:00", "2025-03-10T02:30:00-04:00"},
		{"Europe/Berlin", at(day, half2), "2025-03-30T03:10:00+02:00", "2025-03-30T03:00:00+02:00", "2025-03-31T02:30:00+02:00"},
		{"Europe/Berlin", at(day, half2), "2025-10-26T02:40:00+02:00", "2025-10-26T02:30:00+02:00", "2025-10-27T02:30:00+01:00"},
		{"Europe/Berlin", hours(2), "2025-10-26T02:30:00+02:00", "2025-10-26T02:00:00+02:00", "2025-10-26T04:00:00+01:00"},
		{"America/New_York", hours(2), "2025-11-02T01:30:00-05:00", "2025-11-02T00:00:00-04:00", "2025-11-02T02:00:00-05:00"},
		{"Africa/Cairo", day, "2025-04-24T23:30:00+02:00", "2025-04-24T00:00:00+02:00", "2025-04-25T01:00:00+03:00"},
		{"Pacific/Apia", day, "2011-12-29T23:30:00-10:00", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		{"Pacific/Apia", day, "2011-12-31T00:30:00+14:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"},
		// Two days from the one that was not: they end when the second is over.
		{"Pacific/Apia", Grid{Unit: GridDays, Every: 2, Size: 2}, "2011-12-31T12:00:00+14:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"},
		{"Australia/Lord_Howe", at(day, half2-hourMillis/4), "2025-10-05T02:40:00+11:00", "2025-10-05T02:30:00+11:00", "2025-10-06T02:15:00+11:00"},
		{"Asia/Kathmandu", day, "2025-03-30T00:30:00+05:45", "2025-03-30T00:00:00+05:45", "2025-03-31T00:00:00+05:45"},
		{"Europe/Berlin", hops(24, 6), "2025-03-30T05:59:00+02:00", "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"},
		{"Europe/Berlin", hops(24, 6), "2025-03-30T06:00:00+02:00", "2025-03-30T06:00:00+02:00", "2025-03-31T06:00:00+02:00"},
		{"Europe/Berlin", hops(12, 2), "2025-10-26T02:30:00+01:00", "2025-10-26T02:00:00+02:00", "2025-10-26T14:00:00+01:00"},
		{"America/Santiago", hops(36, 24), "2025-09-07T01:00:00-03:00", "2025-09-07T01:00:00-03:00", "2025-09-08T12:00:00-03:00"},
		{"America/Santiago", hops(36, 24), "2025-09-06T22:00:00-04:00", "2025-09-06T00:00:00-04:00", "2025-09-07T12:00:00-03:00"},
		{"Antarctica/Troll", at(hours(2), hourMillis), "2025-03-30T03:30:00+02:00", "2025-03-30T03:00:00+02:00", "2025-03-30T05:00:00+02:00"},
	} {
		loc := zone(t, c.zone)
		c.grid.Loc = loc
		when, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		show := func(ms int64) string { return time.UnixMilli(ms).In(loc).Format(time.RFC3339) }
		start := c.grid.Floor(when.UnixMilli())
		if got := show(start); got != c.start {
			t.Errorf("%s, %+v: %s begins at %s, want %s", c.zone, c.grid, c.at, got, c.start)
		}
		if got := show(c.grid.End(start)); got != c.end {
			t.Errorf("%s, %+v: %s ends at %s, want %s", c.zone, c.grid, c.at, got, c.end)
		}
		if got := show(c.grid.Floor(start - 1)); c.grid.Before(start) >= start || got != show(c.grid.Before(start)) {
			t.Errorf("%s, %+v: before %s comes %s", c.zone, c.grid, c.start, got)
		}
	}
}

// truncateIn compiles truncate_time for a unit in a zone.
func truncateIn(t *testing.T, unit string, loc *time.Location) func(ms int64) int64 {
	t.Helper()
	scope := &expr.Scope{Bindings: []*expr.Binding{{
		Alias: "v",
		Resolve: func(path []codec.Step) (*expr.Resolved, string) {
			return &expr.Resolved{Type: expr.Type{Kind: expr.Int}}, ""
		},
	}}}
	text := fmt.Sprintf("truncate_time(v.t, '%s', '%s')", unit, loc)
	p, diags := expr.Compile(expr.Source{Text: text}, scope, expr.Want{})
	if len(diags) > 0 {
		t.Fatalf("%s: %v", text, diags)
	}
	frame := expr.NewFrame(1)
	return func(ms int64) int64 {
		frame.Rows[0] = &value.Row{Slots: []value.Value{value.OfInt(ms)}}
		v, err := p.Eval(frame)
		if err != nil {
			t.Fatalf("%s of %d: %v", text, ms, err)
		}
		return v.AsInt()
	}
}

// wallClock is what a clock shows, as a time of UTC; ms.
func wallClock(ms int64, loc *time.Location) int64 {
	_, ahead := time.UnixMilli(ms).In(loc).Zone()
	return ms + int64(ahead)*1000
}

// zonedGrids are grids that follow the clock on the wall, with how far their
// boundaries are apart on it and where they begin, ms.
func zonedGrids(r *rand.Rand) (name string, g Grid, every, first int64) {
	offset := r.Int64N(2) * r.Int64N(2*hourMillis/60_000) * 60_000
	switch r.IntN(5) {
	case 0:
		return "day", Grid{Unit: GridDays, Every: 1, Size: 1}, dayMillis, 0
	case 1:
		return "week", Grid{Unit: GridDays, Every: 7, Size: 7, Phase: -3}, 7 * dayMillis, -3 * dayMillis
	case 2:
		phase := r.Int64N(7) - 3
		return "weeks with an offset", Grid{Unit: GridDays, Every: 7, Size: 7, Phase: phase, Offset: offset}, 7 * dayMillis, phase*dayMillis + offset
	case 3:
		parts := []int64{1, 2, 3, 4, 6, 8, 12}
		every = dayMillis / parts[r.IntN(len(parts))]
		return "parts of a day", Grid{Unit: GridHours, Every: every, Size: every, Offset: offset}, every, offset
	}
	days := 1 + r.Int64N(3)
	return "days with an offset", Grid{Unit: GridDays, Every: days, Size: days, Offset: offset}, days * dayMillis, offset
}

// In all zones and years windows follow each other without a hole; each begins when
// the clock on the wall shows its boundary, or with the end of the gap in which that
// lies; its moments have the dates that belong to it; and truncate_time says the same.
func TestGridsFollowTheWallRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, name := range strings.Fields(`UTC Europe/Berlin Europe/London America/New_York America/Santiago America/Havana America/Sao_Paulo America/Asuncion
		America/St_Johns America/Moncton America/Nuuk America/Scoresbysund America/Caracas Atlantic/Azores Africa/Cairo Africa/Casablanca Asia/Beirut Asia/Gaza
		Asia/Amman Asia/Tehran Asia/Kathmandu Asia/Pyongyang Australia/Lord_Howe Antarctica/Casey Antarctica/Troll Pacific/Apia Pacific/Kwajalein Pacific/Chatham`) {
		loc := zone(t, name)
		for range 60 {
			what, g, every, first := zonedGrids(r)
			g.Loc = loc
			at := time.UnixMilli(100_000_000_000 + r.Int64N(2_700_000_000_000)).In(loc)
			if _, end := at.ZoneBounds(); !end.IsZero() && r.IntN(10) > 0 {
				at = end // mostly, clocks are changed within these windows
			}
			start := g.Before(g.Floor(at.UnixMilli()))
			for range 3 {
				checkWindow(t, fmt.Sprintf("%s of %s, %+v", what, name, g), r, &g, start, every, first)
				if what == "day" || what == "week" {
					end := g.End(start)
					if got := truncateIn(t, what, loc)(start + r.Int64N(end-start)); got != start {
						t.Fatalf("truncate_time to the %s in %s gives %d where a window begins at %d", what, name, got, start)
					}
				}
				start = g.End(start)
			}
		}
	}
}

// checkWindow checks the window that begins at start, of a grid whose boundaries
// are every so long apart on the wall.
func checkWindow(t *testing.T, what string, r *rand.Rand, g *Grid, start, every, first int64) {
	t.Helper()
	loc, end := g.Loc, g.End(start)
	what = fmt.Sprintf("%s: window [%s, %s)", what, time.UnixMilli(start).In(loc), time.UnixMilli(end).In(loc))
	if end-start > g.Longest() {
		t.Fatalf("%s is longer than %d", what, g.Longest())
	}
	if end <= start || g.Floor(start) != start || g.Floor(end) != end || g.Floor(end-1) != start || g.Before(end) != start {
		t.Fatalf("%s: floors %d %d %d, before its end %d", what, g.Floor(start), g.Floor(end-1), g.Floor(end), g.Before(end))
	}
	shows := wallClock(start, loc)
	boundary := calendar.FloorTo(shows-first, every) + first
	if shows != boundary && wallClock(start-1, loc) >= boundary {
		t.Fatalf("%s begins neither at its boundary nor behind a gap", what)
	}
	for range 5 {
		at := start + r.Int64N(end-start)
		if got := g.Floor(at); got != start {
			t.Fatalf("%s: the window of %d begins at %d", what, at, got)
		}
		// Clocks that are set back over the boundary show times before it again.
		wall := wallClock(at, loc)
		if again := wall < boundary && wall-at < shows-start; wall >= boundary+every || wall < boundary && !again {
			t.Fatalf("%s holds %s", what, time.UnixMilli(at).In(loc))
		}
	}
}

// Windows that hop by the clock on the wall: those around a moment hold it, the ones
// beside do not, and later ones never end earlier.
func TestHopsOnTheWallRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, name := range strings.Fields("Europe/Berlin America/Santiago America/St_Johns Australia/Lord_Howe Antarctica/Casey Antarctica/Troll Pacific/Apia") {
		loc := zone(t, name)
		for range 100 {
			every := []int64{2, 3, 6, 12, 24, 48}[r.IntN(6)] * hourMillis
			g := Grid{Unit: GridHours, Every: every, Size: every + r.Int64N(2*dayMillis), Offset: r.Int64N(2) * r.Int64N(every), Loc: loc}
			at := time.UnixMilli(800_000_000_000 + r.Int64N(1_000_000_000_000)).In(loc)
			if _, end := at.ZoneBounds(); !end.IsZero() {
				at = end
			}
			when := at.UnixMilli() + r.Int64N(2*dayMillis) - dayMillis
			starts := g.covering(nil, when)
			text := fmt.Sprintf("%+v in %s at %d: %v", g, name, when, starts)
			if len(starts) == 0 || g.End(g.Before(starts[0])) > when || starts[len(starts)-1] != g.Floor(when) {
				t.Fatalf("%s: not all", text)
			}
			for i, start := range starts {
				if start > when || g.End(start) <= when || i > 0 && (g.Before(start) != starts[i-1] || g.End(starts[i-1]) > g.End(start)) {
					t.Fatalf("%s: window %d ends at %d", text, i, g.End(start))
				}
				if shown := wallClock(g.End(start), loc) - wallClock(start, loc); shown > g.Size+dayMillis || g.End(start)-start > g.Longest() {
					t.Fatalf("%s: window %d is of %d ms, on the wall %d", text, i, g.End(start)-start, shown)
				}
			}
		}
	}
}
