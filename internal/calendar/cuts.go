package calendar

import "time"

// Cuts cut time by the clock on the wall: at First and every so long before and
// behind it. A time on the wall is the moment that Instant says. Numbers count cuts
// from First on, which is 0. Immutable.
//
// A cut falls together with the next one where clocks leap over all that is between
// the two, as Samoa has leapt over a day: then there is nothing between them.
type Cuts struct {
	Loc *time.Location
	// Every is how far two cuts are apart on the wall, ms; 0 where Months says so.
	Every int64
	// Months is how many months they are apart: they come on the first of a month,
	// First behind midnight, counted from January 1970 on.
	Months int64
	First  int64 // on the wall
}

// Days cuts at local midnight.
func Days(loc *time.Location) Cuts { return Cuts{Loc: loc, Every: Day} }

// Weeks cuts at the midnight with which Mondays begin.
func Weeks(loc *time.Location) Cuts { return Cuts{Loc: loc, Every: 7 * Day, First: 4 * Day} } // 1970 began on a Thursday

// Months cuts at the midnight with which every so many months begin; 12 are years.
func Months(n int64, loc *time.Location) Cuts { return Cuts{Loc: loc, Months: n} }

// Wall is what the clock on the wall is meant to show at cut n.
func (c *Cuts) Wall(n int64) int64 {
	if c.Months > 0 {
		return MonthWall(n*c.Months) + c.First
	}
	return n*c.Every + c.First
}

// At is when cut n is.
func (c *Cuts) At(n int64) int64 { return Instant(c.Wall(n), c.Loc) }

// Last is the number of the last cut at t or before.
func (c *Cuts) Last(t int64) int64 {
	wall := Wall(t, c.Loc) - c.First
	var n int64
	if c.Months > 0 {
		date := time.UnixMilli(wall).UTC()
		n = floorDiv(int64(date.Year()-1970)*12+int64(date.Month())-1, c.Months)
	} else {
		n = floorDiv(wall, c.Every)
	}
	// What a clock has shown once has been: where it is set back over a cut, that
	// does not come again.
	for c.At(n+1) <= t {
		n++
	}
	return n
}

// Floor is when the last cut at t or before is.
func (c *Cuts) Floor(t int64) int64 { return c.At(c.Last(t)) }

// MonthWall is the time on the wall at which a month begins, counted from January
// 1970 on.
func MonthWall(month int64) int64 {
	return time.Date(1970, time.January+time.Month(month), 1, 0, 0, 0, 0, time.UTC).UnixMilli()
}

// floorDiv is n/by, rounded down.
func floorDiv(n, by int64) int64 { return FloorTo(n, by) / by }
