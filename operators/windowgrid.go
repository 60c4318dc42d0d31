package operators

import (
	"time"
	_ "time/tzdata" // zones are named in pipelines: they must be known on every machine
)

// GridUnit is what the windows of a grid are counted in.
type GridUnit uint8

// The units. Days and months are those of the calendar in a time zone: a day has 23
// to 25 hours where clocks are changed.
const (
	GridMillis GridUnit = iota // since the epoch
	GridDays                   // begin at local midnight
	GridMonths                 // begin on the first at local midnight
	// GridHours are parts of a local day. Of two hours and more, they follow the
	// clock on the wall: with 6 hours, one begins at noon, whatever the day. Shorter
	// ones are counted from midnight on, so that they are all equally long: a day of 25
	// hours has 25 windows of one hour. Every is in ms and divides the day.
	GridHours
)

const (
	hourMillis = int64(time.Hour / time.Millisecond)
	dayMillis  = 24 * hourMillis
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

// Longest is more than the length of any window, ms, whatever clocks do.
func (g *Grid) Longest() int64 {
	switch g.Unit {
	case GridDays:
		return g.Size * (dayMillis + hourMillis*2)
	case GridMonths:
		return g.Size * (31*dayMillis + hourMillis*2)
	case GridHours:
		return g.Size + hourMillis*2
	}
	return g.Size
}

// Floor is the start of the last window that begins at t or before, ms.
func (g *Grid) Floor(t int64) int64 {
	switch g.Unit {
	case GridMillis:
		return floorTo(t-g.Offset, g.Every) + g.Offset
	case GridHours:
		day := g.unitOf(t)
		start, _ := g.part(day, t)
		return start
	}
	unit := g.unitOf(t)
	return g.instant(floorTo(unit-g.Phase, g.Every) + g.Phase)
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
	switch g.Unit {
	case GridMillis:
		return start + g.Size
	case GridHours:
		_, end := g.part(g.unitOf(start), start)
		return end
	}
	return g.instant(g.unitOf(start) + g.Size)
}

// unitOf is the number of the day or month that t lies in.
func (g *Grid) unitOf(t int64) int64 {
	local := time.UnixMilli(t - g.Offset).In(g.zone())
	unit := civilDay(local)
	if g.Unit == GridMonths {
		unit = int64(local.Year()-1970)*12 + int64(local.Month()) - 1
	}
	// Where clocks are changed between the two, the offset was more or less than its hours.
	for g.instant(unit) > t {
		unit--
	}
	for g.instant(unit+1) <= t {
		unit++
	}
	return unit
}

// instant is when a day or month begins, ms.
func (g *Grid) instant(unit int64) int64 {
	year, month, day := 1970, time.January, 1
	if g.Unit == GridMonths {
		month += time.Month(unit)
	} else {
		day += int(unit)
	}
	return time.Date(year, month, day, 0, 0, 0, 0, g.zone()).UnixMilli() + g.shift(year, month, day)
}

// shift is how long after midnight a day of windows begins: Offset by the clock.
func (g *Grid) shift(year int, month time.Month, day int) int64 {
	if g.Offset == 0 {
		return 0
	}
	midnight := time.Date(year, month, day, 0, 0, 0, 0, g.zone())
	shifted := time.Date(year, month, day, 0, 0, int(g.Offset/1000), int(g.Offset%1000)*int(time.Millisecond), g.zone())
	return shifted.Sub(midnight).Milliseconds()
}

// part is the part of a day that t lies in.
func (g *Grid) part(day, t int64) (start, end int64) {
	first, next := g.instant(day), g.instant(day+1)
	if g.Every < 2*hourMillis {
		start = first + floorTo(t-first, g.Every)
		return start, min(start+g.Every, next)
	}
	start = first
	for at := g.Every; at < dayMillis; at += g.Every {
		wall := g.Offset + at
		end := time.Date(1970, 1, 1+int(day), 0, 0, int(wall/1000), int(wall%1000)*int(time.Millisecond), g.zone()).UnixMilli()
		if end > t {
			return start, end
		}
		start = end
	}
	return start, next
}

func (g *Grid) zone() *time.Location {
	if g.Loc == nil {
		return time.UTC
	}
	return g.Loc
}

// civilDay is how many days behind 1970-01-01 the calendar shows.
func civilDay(t time.Time) int64 {
	year, month, day := t.Date()
	return floorTo(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMilli(), dayMillis) / dayMillis
}

// floorTo is the greatest multiple of by that is not above n.
func floorTo(n, by int64) int64 {
	rest := n % by
	if rest < 0 {
		rest += by
	}
	return n - rest
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
