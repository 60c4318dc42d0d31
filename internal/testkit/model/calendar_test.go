package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The rule, moment by moment: of times that are shown twice the first, of one that is
// never shown the leap.
func TestInstantOnTheWall(t *testing.T) {
	for _, c := range []struct{ zone, wall, want string }{
		{"America/Santiago", "2025-09-07T00:00:00Z", "2025-09-07T01:00:00-03:00"},
		{"America/Santiago", "2025-09-06T23:59:59Z", "2025-09-06T23:59:59-04:00"},
		{"America/St_Johns", "2010-03-14T00:30:00Z", "2010-03-14T01:01:00-02:30"},
		{"America/St_Johns", "2010-11-07T00:00:00Z", "2010-11-07T00:00:00-02:30"},
		{"Europe/Berlin", "2025-03-30T02:30:00Z", "2025-03-30T03:00:00+02:00"},
		{"Europe/Berlin", "2025-10-26T02:30:00Z", "2025-10-26T02:30:00+02:00"},
		{"Pacific/Apia", "2011-12-30T12:00:00Z", "2011-12-31T00:00:00+14:00"},
		{"Asia/Kathmandu", "2025-09-07T00:00:00Z", "2025-09-07T00:00:00+05:45"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		wall, err := time.Parse(time.RFC3339, c.wall)
		if err != nil {
			t.Fatal(err)
		}
		at := (&calendar{zone: loc}).instant(wall.UnixMilli())
		if got := time.UnixMilli(at).In(loc).Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s is %s, want %s", c.wall, c.zone, got, c.want)
		}
	}
}

// What is cut lies in one window, and the next one begins where it ends.
func TestAroundRandomly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	zones := []string{"Europe/Berlin", "America/Santiago", "America/Havana", "America/St_Johns", "Pacific/Apia", "Antarctica/Troll", "Australia/Lord_Howe", "UTC"}
	for range 500 {
		loc, err := time.LoadLocation(zones[r.IntN(len(zones))])
		if err != nil {
			t.Fatal(err)
		}
		every := []int64{hour / 4, hour, 2 * hour, 6 * hour, day, 2 * day, 7 * day}[r.IntN(7)]
		c := &calendar{zone: loc, size: every, every: every, offset: r.Int64N(2) * 7 * hour / 60}
		if r.IntN(5) == 0 {
			c = &calendar{zone: loc, months: 2, each: 2}
		}
		at := time.UnixMilli(1_000_000_000_000 + r.Int64N(900_000_000_000)).In(loc)
		if _, end := at.ZoneBounds(); !end.IsZero() {
			at = end.Add(time.Duration(r.IntN(48*60)-24*60) * time.Minute)
		}
		text := fmt.Sprintf("%+v in %s at %s", c, loc, at)
		one := func(t int64) *oneWindow {
			list := c.around(t)
			if len(list) != 1 {
				return &oneWindow{}
			}
			return list[0]
		}
		w := one(at.UnixMilli())
		next := one(w.end)
		if w.end <= w.start || next.start != w.end || *one(w.start) != *w || *one(w.end - 1) != *w {
			t.Fatalf("%s lies in %v, then %v", text, *w, *next)
		}
	}
}

// Windows that hop lie around a moment in the order of their starts.
func TestAroundHops(t *testing.T) {
	loc, err := time.LoadLocation("Pacific/Apia")
	if err != nil {
		t.Fatal(err)
	}
	c := &calendar{zone: loc, size: 2 * day, every: day}
	at := time.Date(2011, 12, 31, 12, 0, 0, 0, loc)
	var got []string
	for _, w := range c.around(at.UnixMilli()) {
		got = append(got, time.UnixMilli(w.start).In(loc).Format("01-02")+" "+time.UnixMilli(w.end).In(loc).Format("01-02"))
	}
	// No window begins with the 30th, which was not.
	if want := []string{"12-31 01-02"}; !slices.Equal(got, want) {
		t.Errorf("noon of the 31st lies in %v, want %v", got, want)
	}
}
