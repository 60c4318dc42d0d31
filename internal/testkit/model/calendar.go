package model

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/syntax"
)

// calendar is a grid of windows that the clock on the wall cuts.
type calendar struct {
	zone   *time.Location
	months int   // size in months
	each   int   // months between starts
	size   int64 // or ms by the clock on the wall
	every  int64
	base   int64 // a start, ms on the wall since 1970
	offset int64
}

const (
	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// readCalendar is nil where windows count milliseconds since the epoch.
func readCalendar(n *syntax.Node, size string) *calendar {
	zone, align := textOf(n.Get("timezone")), textOf(n.Get("align"))
	if zone == "" && align == "" && !strings.Contains(size, "month") {
		return nil
	}
	c := &calendar{offset: duration(textOf(n.Get("offset")))}
	var err error
	if c.zone, err = time.LoadLocation(zone); err != nil { // "" is UTC
		fail("timezone: %w", err)
	}
	every := textOf(n.Get("every"))
	if every == "" {
		every = size
	}
	if strings.Contains(size, "month") {
		c.months, c.each = months(size), months(every)
		return c
	}
	c.size, c.every = duration(size), duration(every)
	if fits := day%c.every == 0 || c.every%day == 0; zone == "UTC" && align == "" && (!fits || c.size != c.every && c.every < 2*hour) {
		return nil // all days are alike
	}
	weekdays := []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
	if at := slices.Index(weekdays, align); at >= 0 {
		c.base = int64(at-3) * day // in the week in which 1970 began, on a Thursday
	}
	return c
}

func months(text string) int {
	n, err := strconv.Atoi(strings.TrimRight(text, "months"))
	if err != nil {
		fail("%q is no number of months", text)
	}
	return n
}

// wall is what a clock on the wall shows at t, as ms since 1970 by that clock.
func (c *calendar) wall(t int64) int64 {
	_, ahead := time.UnixMilli(t).In(c.zone).Zone()
	return t + int64(ahead)*1000
}

// instant is the first moment at which the clock on the wall shows w; where it never
// does, since it leaps over that, it is the moment of the leap.
func (c *calendar) instant(w int64) int64 {
	first, shown := int64(0), false
	for t := w - day; t <= w+day; t += 3 * hour { // all rules that the clock follows around then
		if at := w - (c.wall(t) - t); c.wall(at) == w && (!shown || at < first) {
			first, shown = at, true
		}
	}
	if shown {
		return first
	}
	early, late := w-day, w+day
	for late-early > 1 {
		if middle := (early + late) / 2; c.wall(middle) < w {
			early = middle
		} else {
			late = middle
		}
	}
	return late
}

// around are the windows that t lies in, the first first.
func (c *calendar) around(t int64) (list []*oneWindow) {
	var starts, ends []int64 // on the wall
	switch w := c.wall(t); {
	case c.months > 0:
		year := time.UnixMilli(t).In(c.zone).Year()
		for k := (year - 1970 - c.months/12 - 2) * 12; k < (year-1970+2)*12; k++ {
			if k%c.each == 0 {
				starts, ends = append(starts, month(k)+c.offset), append(ends, month(k+c.months)+c.offset)
			}
		}
	case c.every < 2*hour:
		return c.shortParts(t)
	default:
		from := (w-c.base-c.size-3*day)/c.every*c.every + c.base
		for at := from; at < w+3*day+c.every; at += c.every {
			starts, ends = append(starts, at+c.offset), append(ends, at+c.size+c.offset)
		}
	}
	for i := range starts {
		o := &oneWindow{start: c.instant(starts[i]), end: c.instant(ends[i])}
		if i+1 < len(starts) && c.instant(starts[i+1]) == o.start {
			continue // the clock leaps over all that lies before the next one begins
		}
		if o.start <= t && t < o.end {
			list = append(list, o)
		}
	}
	return list
}

// month is the beginning of the month so many behind January 1970.
func month(k int) int64 {
	return time.Date(1970, time.January+time.Month(k), 1, 0, 0, 0, 0, time.UTC).UnixMilli()
}

// shortParts are those of less than two hours: they are counted from the beginning of
// the day on, all of one length, however long the day is.
func (c *calendar) shortParts(t int64) (list []*oneWindow) {
	today := c.wall(t) / day
	var starts []int64
	for d := today - 3; d < today+3; d++ {
		for at := c.instant(d*day + c.offset); at < c.instant((d+1)*day+c.offset); at += c.every {
			starts = append(starts, at)
		}
	}
	for i, start := range starts {
		last := i + int(c.size/c.every)
		if last < len(starts) && start <= t && t < starts[last] {
			list = append(list, &oneWindow{start: start, end: starts[last]})
		}
	}
	return list
}

// longest is how long a window may be: a day can have an hour more than others.
func (c *calendar) longest() int64 {
	if c.months > 0 {
		return int64(c.months)*31*day + hour
	}
	return c.size + hour
}
