package calendar_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"streamctl/internal/calendar"
)

// oddZones are zones whose clocks are changed at midnight, by less or more than an
// hour, over the date line, by rules for ever, or not at all.
func oddZones() []string {
	return []string{
		"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Santiago", "America/Havana", "America/Sao_Paulo", "America/Asuncion",
		"America/St_Johns", "America/Moncton", "America/Nuuk", "America/Scoresbysund", "America/Caracas", "Atlantic/Azores", "Africa/Cairo", "Africa/Casablanca",
		"Asia/Beirut", "Asia/Gaza", "Asia/Amman", "Asia/Tehran", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Pyongyang", "Australia/Lord_Howe", "Antarctica/Casey", "Antarctica/Troll",
		"Pacific/Apia", "Pacific/Kwajalein", "Pacific/Enderbury", "Pacific/Chatham", "Pacific/Auckland",
	}
}

func load(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := calendar.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// wallOf reads what a clock shows.
func wallOf(t *testing.T, text string) int64 {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999", text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

func TestInstant(t *testing.T) {
	for _, c := range []struct{ zone, wall, want string }{
		{"UTC", "2025-03-30 02:30:00", "2025-03-30T02:30:00Z"},
		{"Europe/Berlin", "2025-03-30 01:59:59.999", "2025-03-30T01:59:59.999+01:00"},
		{"Europe/Berlin", "2025-03-30 02:00:00", "2025-03-30T03:00:00+02:00"},
		{"Europe/Berlin", "2025-03-30 02:30:00", "2025-03-30T03:00:00+02:00"},
		{"Europe/Berlin", "2025-03-30 03:00:00", "2025-03-30T03:00:00+02:00"},
		{"America/New_York", "2025-03-09 02:30:00", "2025-03-09T03:00:00-04:00"},
		{"America/Santiago", "2025-09-06 23:59:59.999", "2025-09-06T23:59:59.999-04:00"},
		{"America/Santiago", "2025-09-07 00:00:00", "2025-09-07T01:00:00-03:00"},
		{"America/Havana", "2025-03-09 00:00:00", "2025-03-09T01:00:00-04:00"},
		{"America/Sao_Paulo", "2018-11-04 00:00:00", "2018-11-04T01:00:00-02:00"},
		{"Africa/Cairo", "2025-04-25 00:00:00", "2025-04-25T01:00:00+03:00"},
		{"Australia/Lord_Howe", "2025-10-05 02:15:00", "2025-10-05T02:30:00+11:00"},
		{"Antarctica/Troll", "2025-03-30 01:00:00", "2025-03-30T03:00:00+02:00"},
		{"Asia/Kathmandu", "2025-03-30 02:30:00", "2025-03-30T02:30:00+05:45"},
		// A day that never was.
		{"Pacific/Apia", "2011-12-30 00:00:00", "2011-12-31T00:00:00+14:00"},
		{"Pacific/Apia", "2011-12-30 23:59:00", "2011-12-31T00:00:00+14:00"},
		{"Pacific/Kwajalein", "1993-08-21 12:00:00", "1993-08-22T00:00:00+12:00"},
		// What is shown twice is the first.
		{"Europe/Berlin", "2025-10-26 02:00:00", "2025-10-26T02:00:00+02:00"},
		{"Europe/Berlin", "2025-10-26 02:30:00", "2025-10-26T02:30:00+02:00"},
		{"Europe/Berlin", "2025-10-26 03:00:00", "2025-10-26T03:00:00+01:00"},
		{"America/New_York", "2025-11-02 01:30:00", "2025-11-02T01:30:00-04:00"},
		{"America/New_York", "2025-11-02 02:00:00", "2025-11-02T02:00:00-05:00"},
		{"America/Havana", "2025-11-02 00:00:00", "2025-11-02T00:00:00-04:00"},
		{"America/Sao_Paulo", "2018-02-18 00:00:00", "2018-02-18T00:00:00-03:00"},
		{"America/Sao_Paulo", "2018-02-17 23:00:00", "2018-02-17T23:00:00-02:00"},
		{"America/St_Johns", "2010-11-07 00:00:00", "2010-11-07T00:00:00-02:30"},
		{"America/St_Johns", "2010-11-07 00:01:00", "2010-11-07T00:01:00-03:30"},
		// By rules that know no last year, also on the last day of a leap year.
		{"America/New_York", "2048-12-31 12:00:00", "2048-12-31T12:00:00-05:00"},
		{"America/Santiago", "2060-09-05 00:00:00", "2060-09-05T01:00:00-03:00"},
	} {
		loc := load(t, c.zone)
		wall := wallOf(t, c.wall)
		if got := time.UnixMilli(calendar.Instant(wall, loc)).In(loc).Format("2006-01-02T15:04:05.999Z07:00"); got != c.want {
			t.Errorf("%s in %s is %s, want %s", c.wall, c.zone, got, c.want)
		}
	}
}

// Clocks that run on by themselves, as numbers such as +23:59 in texts say.
func TestInstantFarFromUTC(t *testing.T) {
	for _, seconds := range []int{-86340, -1, 0, 1, 86340} {
		loc := time.FixedZone("", seconds)
		if got := calendar.Instant(1000, loc); got != 1000-int64(seconds)*1000 {
			t.Errorf("%d s ahead: %d", seconds, got)
		}
	}
}

// nearChange draws a zone and a whole minute, mostly near a change of clocks.
func nearChange(t *testing.T, r *rand.Rand) (*time.Location, int64) {
	zones := oddZones()
	loc := load(t, zones[r.IntN(len(zones))])
	at := time.UnixMilli(100_000_000_000 + r.Int64N(2_700_000_000_000)).In(loc)
	if _, end := at.ZoneBounds(); !end.IsZero() && r.IntN(10) > 0 {
		at = end.Add(time.Duration(r.IntN(48*60)-24*60) * time.Minute)
	}
	return loc, at.Truncate(time.Minute).UnixMilli()
}

// A wall time is the first minute at which clocks show it or more.
func TestInstantIsTheFirstRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 1500 {
		loc, wall := nearChange(t, r)
		want := wall - calendar.Day
		for calendar.Wall(want, loc) < wall {
			want += 60_000
		}
		if got := calendar.Instant(wall, loc); got != want {
			t.Fatalf("%s in %s is %s, want %s", time.UnixMilli(wall).UTC(), loc, time.UnixMilli(got).In(loc), time.UnixMilli(want).In(loc))
		}
	}
}

// Round goes back to the full hour, and no further than to a change of clocks.
func TestRoundRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 3000 {
		loc, at := nearChange(t, r)
		want := at
		for calendar.Wall(want, loc)%calendar.Hour != 0 && calendar.Ahead(want, loc) == calendar.Ahead(want-60_000, loc) {
			want -= 60_000
		}
		if got := calendar.Round(at, calendar.Hour, loc); got != want {
			t.Fatalf("the hour of %s begins at %s, want %s", time.UnixMilli(at).In(loc), time.UnixMilli(got).In(loc), time.UnixMilli(want).In(loc))
		}
	}
}

// Cuts of all kinds: Last is the last at a moment or before, and At goes on.
func TestCutsRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 3000 {
		loc, at := nearChange(t, r)
		cuts := []calendar.Cuts{
			calendar.Days(loc), calendar.Weeks(loc), calendar.Months(1, loc), calendar.Months(3, loc), calendar.Months(12, loc),
			{Loc: loc, Every: 6 * calendar.Hour, First: r.Int64N(6 * calendar.Hour)}, {Loc: loc, Months: 2, First: 7 * calendar.Hour},
		}
		c := cuts[r.IntN(len(cuts))]
		n := c.Last(at)
		if c.At(n) > at || c.At(n+1) <= at || c.At(n-1) > c.At(n) || c.Floor(at) != c.At(n) {
			t.Fatalf("%+v in %s: the last before %d is number %d at %d, behind it %d", c, loc, at, n, c.At(n), c.At(n+1))
		}
	}
}

func TestLoad(t *testing.T) {
	for _, name := range []string{"", "Local", "Berlin", "../etc/passwd"} {
		if loc, err := calendar.Load(name); err == nil {
			t.Errorf("%q is %s", name, loc)
		}
	}
}

func TestIsUTC(t *testing.T) {
	for name, want := range map[string]bool{"UTC": true, "Etc/UTC": true, "Zulu": true, "Europe/London": false, "Africa/Abidjan": false, "Etc/GMT+3": false, "Europe/Berlin": false} {
		if calendar.IsUTC(load(t, name)) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

// What a lookup costs, far from a change of clocks and at one.
func BenchmarkInstant(b *testing.B) {
	for _, c := range []struct{ name, zone, wall string }{
		{"Berlin", "Europe/Berlin", "2026-07-07T00:00:00Z"}, {"gap", "America/Santiago", "2025-09-07T00:00:00Z"}, {"UTC", "UTC", "2026-07-07T00:00:00Z"},
	} {
		b.Run(c.name, func(b *testing.B) {
			loc := load(b, c.zone)
			at, err := time.Parse(time.RFC3339, c.wall)
			if err != nil {
				b.Fatal(err)
			}
			wall := at.UnixMilli()
			for b.Loop() {
				calendar.Instant(wall, loc)
			}
		})
	}
}
