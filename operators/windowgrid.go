package operators

import (
	"time"

	"streamctl/internal/calendar"
)

// GridUnit is what the windows of a grid are counted in.
type GridUnit uint8

// The units. Days and months are those of the calendar in a time zone: a day has 23
// to 25 hours where clocks are changed.
const (
	GridMillis GridUnit = iota // since the epoch
	GridDays                   // begin at local midnight
	GridMonths                 // begin on the first at local midnight
	// GridHours begin at the same times of every local day, or every so many days. Where
	// Every is two hours or more, they follow the clock on the wall: with 6 hours, one
	// begins at noon, whatever the day, and ends when the clock has gone on by Size.
	// Shorter ones only tumble. They are counted from midnight on, so that they are all
	// equally long: a day of 25 hours has 25 windows of one hour.
	GridHours
)

const (
	hourMillis = calendar.Hour
	dayMillis  = calendar.Day
)

// Grid cuts time into windows [start, end) that begin every so often and are all
// Size long: tumbling where Size is Every, hopping where it is more. Immutable.
type Grid struct {
	Unit  GridUnit
	Every int64 // units; ms of GridMillis and GridHours
	Size  int64 // likewise
	// Phase, of GridDays: how many days behind 1970-01-01 a window begins.
	Phase int64
	// Offset shifts every start, ms by the clock on the wall; less than Every.
	Offset int64
	Loc    *time.Location // nil = UTC
}

// setBack is how far clocks are set back at most, ms: three hours, in Antarctica/Casey.
const setBack = 3 * hourMillis

// Longest is at least the length of any window, ms, whatever clocks do.
func (g *Grid) Longest() int64 {
	switch g.Unit {
	case GridDays:
		return g.Size * (dayMillis + setBack)
	case GridMonths:
		return g.Size * (31*dayMillis + setBack)
	case GridHours:
		return g.Size + setBack
	}
	return g.Size
}

// Floor is the start of the last window that begins at t or before, ms.
func (g *Grid) Floor(t int64) int64 {
	if g.Unit == GridMillis {
		return calendar.FloorTo(t-g.Offset, g.Every) + g.Offset
	}
	cuts := g.cuts()
	start := cuts.Floor(t)
	if g.short() {
		start += calendar.FloorTo(t-start, g.Every)
	}
	return start
}

// Before is the start of the window before the one that begins at start.
func (g *Grid) Before(start int64) int64 {
	if g.Unit == GridMillis {
		return start - g.Every
	}
	return g.Floor(start - 1)
}

// End is where the window ends that begins at start.
func (g *Grid) End(start int64) int64 {
	if g.Unit == GridMillis {
		return start + g.Size
	}
	cuts := g.cuts()
	n := cuts.Last(start)
	switch {
	case g.short():
		return min(start+g.Size, cuts.At(n+1))
	case g.Unit == GridMonths:
		return calendar.Instant(calendar.MonthWall(n*g.Every+g.Size)+g.Offset, cuts.Loc)
	case g.Unit == GridDays:
		return calendar.Instant(cuts.Wall(n)+g.Size*dayMillis, cuts.Loc)
	}
	return calendar.Instant(cuts.Wall(n)+g.Size, cuts.Loc)
}

// short says that windows are counted from the beginning of the day on.
func (g *Grid) short() bool { return g.Unit == GridHours && g.Every < 2*hourMillis }

// cuts are the starts of windows by the clock on the wall, of short ones those of days.
func (g *Grid) cuts() calendar.Cuts {
	cuts := calendar.Cuts{Loc: g.Loc, First: g.Offset}
	if cuts.Loc == nil {
		cuts.Loc = time.UTC
	}
	switch {
	case g.Unit == GridMonths:
		cuts.Months = g.Every
	case g.Unit == GridDays:
		cuts.Every = g.Every * dayMillis
		cuts.First += g.Phase * dayMillis
	case g.short():
		cuts.Every = dayMillis
	default:
		cuts.Every = g.Every
	}
	return cuts
}

// covering appends the starts of the windows that t lies in, the earliest first.
func (g *Grid) covering(starts []int64, t int64) []int64 {
	first := len(starts)
	for start := g.Floor(t); g.End(start) > t; start = g.Before(start) {
		starts = append(starts, start)
	}
	for i, j := first, len(starts)-1; i < j; i, j = i+1, j-1 {
		starts[i], starts[j] = starts[j], starts[i]
	}
	return starts
}
