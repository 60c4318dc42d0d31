// Package calendar says what clocks on the wall show in a time zone, and when they
// show it. It owns the one rule for local times that do not exist or exist twice, and
// the cuts of days, weeks, months and parts of a day; the windows of tables and the
// functions of expressions follow both. It knows neither: no window, no expression.
//
// All times are int64 milliseconds since 1970: an instant counts from there in UTC,
// a wall time is what a clock on the wall shows, counted as if that clock ran in UTC.
package calendar

import (
	"fmt"
	"time"
	_ "time/tzdata" // zones are named in pipelines: they must be known on every machine
)

// Lengths in ms, as a clock shows them: a day in which clocks are changed is another.
const (
	Hour = int64(time.Hour / time.Millisecond)
	Day  = 24 * Hour
)

// Load finds a zone of the IANA database. Names that depend on the machine are unknown.
func Load(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("unknown time zone %q", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone %q", name)
	}
	return loc, nil
}

// IsUTC says that clocks in loc have always shown UTC and always will, whatever its name.
func IsUTC(loc *time.Location) bool {
	begin, end := time.Unix(0, 0).In(loc).ZoneBounds()
	return begin.IsZero() && end.IsZero() && Ahead(0, loc) == 0
}

// Ahead is by how much clocks in loc are ahead of UTC at t, ms. Less than a day.
func Ahead(t int64, loc *time.Location) int64 {
	_, seconds := time.UnixMilli(t).In(loc).Zone()
	return int64(seconds) * 1000
}

// Wall is what a clock on the wall shows at t.
func Wall(t int64, loc *time.Location) int64 { return t + Ahead(t, loc) }

// Instant is the first moment at which a clock on the wall shows wall or more. Of a
// time that is shown twice, since clocks are set back, it is the first; for one that is
// never shown, since clocks leap over it, it is the moment of the leap. So later times
// on the wall never come earlier.
//
// time.Date promises neither: it takes one of the two offsets, which in zones west of
// UTC lets a time in the gap come an hour before the leap.
func Instant(wall int64, loc *time.Location) int64 {
	t := wall - Day // clocks that are less than a day ahead show less then
	for {
		ahead := Ahead(t, loc)
		at := max(t, wall-ahead)
		if Ahead(at, loc) == ahead {
			return at
		}
		t = change(t, at, loc)
	}
}

// change is when, behind from and not behind until, clocks stop to be as far ahead as
// they are at from, which they have done by until. It asks for nothing but how far
// ahead they are: the bounds that the standard library gives of a zone's rules for the
// future end before the last day of a leap year.
func change(from, until int64, loc *time.Location) int64 {
	ahead := Ahead(from, loc)
	for until-from > 1 {
		if mid := from + (until-from)/2; Ahead(mid, loc) == ahead {
			from = mid
		} else {
			until = mid
		}
	}
	return until
}

// Round is the beginning of the hour, minute or second (unit, ms) that a clock on the
// wall shows at t. An hour in which clocks are changed begins again with the change.
func Round(t, unit int64, loc *time.Location) int64 {
	ahead := Ahead(t, loc)
	start := FloorTo(t+ahead, unit) - ahead
	if Ahead(start, loc) != ahead {
		return change(start, t, loc)
	}
	return start
}

// FloorTo is the greatest multiple of by that is not above n.
func FloorTo(n, by int64) int64 {
	rest := n % by
	if rest < 0 {
		rest += by
	}
	return n - rest
}
