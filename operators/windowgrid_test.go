package operators

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// at reads a time in a zone.
func at(t *testing.T, loc *time.Location, text string) int64 {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	if err != nil {
		t.Fatal(err)
	}
	return v.UnixMilli()
}

func TestGrid(t *testing.T) {
	berlin, kathmandu, utc := zone(t, "Europe/Berlin"), zone(t, "Asia/Kathmandu"), time.UTC
	const monday = -3 // 1969-12-29
	for _, c := range []struct {
		what       string
		grid       Grid
		loc        *time.Location
		at         string
		start, end string
	}{
		{"five minutes", Grid{Every: 300_000, Size: 300_000}, utc, "2024-01-01 10:07", "2024-01-01 10:05", "2024-01-01 10:10"},
		{"with an offset", Grid{Every: 3_600_000, Size: 3_600_000, Offset: 900_000}, utc, "2024-01-01 10:14", "2024-01-01 09:15", "2024-01-01 10:15"},
		{"before the epoch", Grid{Every: 3_600_000, Size: 3_600_000}, utc, "1969-12-31 23:59", "1969-12-31 23:00", "1970-01-01 00:00"},
		{"a day", Grid{Unit: GridDays, Every: 1, Size: 1, Loc: berlin}, berlin, "2024-03-30 23:59", "2024-03-30 00:00", "2024-03-31 00:00"},
		{"a day of 23 hours", Grid{Unit: GridDays, Every: 1, Size: 1, Loc: berlin}, berlin, "2024-03-31 03:00", "2024-03-31 00:00", "2024-04-01 00:00"},
		{"a day of 25 hours", Grid{Unit: GridDays, Every: 1, Size: 1, Loc: berlin}, berlin, "2024-10-27 23:30", "2024-10-27 00:00", "2024-10-28 00:00"},
		{"a week from Monday", Grid{Unit: GridDays, Every: 7, Size: 7, Phase: monday, Loc: berlin}, berlin, "2024-03-31 23:59", "2024-03-25 00:00", "2024-04-01 00:00"},
		{"a week from Monday, its first moment", Grid{Unit: GridDays, Every: 7, Size: 7, Phase: monday, Loc: berlin}, berlin, "2024-04-01 00:00", "2024-04-01 00:00", "2024-04-08 00:00"},
		{"a day from six in the morning", Grid{Unit: GridDays, Every: 1, Size: 1, Offset: 6 * hourMillis, Loc: berlin}, berlin, "2024-03-31 05:59", "2024-03-30 06:00", "2024-03-31 06:00"},
		{"a day from six, behind the change", Grid{Unit: GridDays, Every: 1, Size: 1, Offset: 6 * hourMillis, Loc: berlin}, berlin, "2024-03-31 06:00", "2024-03-31 06:00", "2024-04-01 06:00"},
		{"a month", Grid{Unit: GridMonths, Every: 1, Size: 1, Loc: berlin}, berlin, "2024-02-29 12:00", "2024-02-01 00:00", "2024-03-01 00:00"},
		{"a quarter", Grid{Unit: GridMonths, Every: 3, Size: 3, Loc: kathmandu}, kathmandu, "2024-12-31 23:59", "2024-10-01 00:00", "2025-01-01 00:00"},
		{"six hours", Grid{Unit: GridHours, Every: 6 * hourMillis, Size: 6 * hourMillis, Loc: berlin}, berlin, "2024-03-31 05:00", "2024-03-31 00:00", "2024-03-31 06:00"},
		{"six hours from noon", Grid{Unit: GridHours, Every: 6 * hourMillis, Size: 6 * hourMillis, Loc: berlin}, berlin, "2024-10-27 17:59", "2024-10-27 12:00", "2024-10-27 18:00"},
		{"an hour where local hours begin at a quarter", Grid{Unit: GridHours, Every: hourMillis, Size: hourMillis, Loc: kathmandu}, kathmandu, "2024-01-01 10:50", "2024-01-01 10:00", "2024-01-01 11:00"},
	} {
		when := at(t, c.loc, c.at)
		start := c.grid.Floor(when)
		show := func(ms int64) string { return time.UnixMilli(ms).In(c.loc).Format("2006-01-02 15:04") }
		if got := show(start); got != c.start {
			t.Errorf("%s: %s begins at %s, want %s", c.what, c.at, got, c.start)
		}
		if got := show(c.grid.End(start)); got != c.end {
			t.Errorf("%s: %s ends at %s, want %s", c.what, c.at, got, c.end)
		}
	}
}

// An autumn day has 25 windows of one hour.
func TestGridHoursOfALongDay(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	g := Grid{Unit: GridHours, Every: hourMillis, Size: hourMillis, Loc: berlin}
	day, next := at(t, berlin, "2024-10-27 00:00"), at(t, berlin, "2024-10-28 00:00")
	n := 0
	for start := day; start < next; start = g.End(start) {
		if g.Floor(start) != start || g.End(start)-start != hourMillis {
			t.Fatalf("window %d is [%d, %d)", n, g.Floor(start), g.End(start))
		}
		n++
	}
	if n != 25 {
		t.Errorf("%d windows", n)
	}
}

// Windows that tumble cover all of time, each moment once, in any zone.
func TestGridsHaveNoHolesRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia", "Asia/Kolkata"}
	for range 2000 {
		g := Grid{Loc: zone(t, zones[r.IntN(len(zones))]), Unit: GridUnit(r.IntN(4))}
		switch g.Unit {
		case GridMillis:
			g.Every = 1 + r.Int64N(dayMillis)
			g.Offset = r.Int64N(g.Every)
		case GridHours:
			parts := []int64{1, 2, 3, 4, 6, 8, 12, 24, 48, 96}
			g.Every = dayMillis / parts[r.IntN(len(parts))]
			g.Offset = r.Int64N(g.Every)
		default:
			g.Every, g.Phase = 1+r.Int64N(10), r.Int64N(7)-3
			if r.IntN(2) == 0 {
				g.Offset = r.Int64N(dayMillis)
			}
			if g.Unit == GridMonths {
				g.Phase = 0
			}
		}
		g.Size = g.Every
		when := r.Int64N(2_500_000_000_000)
		start := g.Floor(when)
		end := g.End(start)
		text := fmt.Sprintf("%+v in %s at %d: [%d, %d)", g, g.Loc, when, start, end)
		if start > when || end <= when {
			t.Fatalf("%s does not hold it", text)
		}
		if g.Floor(start) != start || g.Floor(end-1) != start || g.Floor(end) != end {
			t.Fatalf("%s: floors %d %d %d", text, g.Floor(start), g.Floor(end-1), g.Floor(end))
		}
		if before := g.Before(start); g.End(before) != start {
			t.Fatalf("%s: the one before ends at %d", text, g.End(before))
		}
	}
}

func TestGridCovering(t *testing.T) {
	g := Grid{Every: 10, Size: 30}
	for when, want := range map[int64][]int64{100: {80, 90, 100}, 109: {80, 90, 100}, 5: {-20, -10, 0}} {
		if got := g.covering(nil, when); !slices.Equal(got, want) {
			t.Errorf("%d lies in the windows from %v, want %v", when, got, want)
		}
	}
	if got := (&Grid{Every: 10, Size: 5}).covering(nil, 7); len(got) != 0 {
		t.Errorf("7 lies between windows, not in %v", got)
	}
}
