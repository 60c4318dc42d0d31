package expr

import (
	"fmt"
	"math"
	"strings"
	"time"

	"streamctl/internal/calendar"
	"streamctl/internal/value"
)

func timeFunctions() []function {
	zone := param{name: "zone", kinds: stringKind, optional: true}
	layout := param{name: "layout", kinds: stringKind}
	ms := param{name: "time", kinds: intKind}
	integer, str := Type{Kind: Int}, Type{Kind: String}
	return []function{
		{name: "seconds", params: []param{{name: "x", kinds: numberKind}}, result: integer, call: fromSeconds, doc: "A time given in seconds since 1970, in milliseconds, as every time here is. Fractions of a millisecond are cut off."},
		{name: "millis", params: []param{{name: "x", kinds: numberKind}}, result: integer, call: fromMillis, doc: "A time given in milliseconds since 1970; a float loses its fraction."},
		{name: "micros", params: []param{{name: "x", kinds: intKind}}, result: integer, call: fromMicros, doc: "A time given in microseconds since 1970, in milliseconds."},
		{name: "now", result: integer, clock: true, call: nowCall, doc: "The time of day of the machine, in milliseconds since 1970. A rerun gives another result."},
		{name: "parse_time", params: []param{{name: "text", kinds: stringKind}, layout, zone}, result: integer, call: parseTime, prepare: prepareLayout, doc: "The time that a text writes. The layout is `rfc3339`, `rfc1123`, or a pattern such as `%Y-%m-%d %H:%M:%S`; the zone (default UTC) counts where the text has none. A local time that clocks leap over is the moment of the leap; one that they show twice is the first."},
		{name: "format_time", params: []param{ms, layout, zone}, result: str, call: formatTime, prepare: prepareLayout, doc: "A time as text in a zone (default UTC). Layouts as in `parse_time`."},
		{name: "truncate_time", params: []param{ms, {name: "unit", kinds: stringKind}, zone}, result: integer, call: timeRule(truncate).call, prepare: timeRule(truncate).prepare, doc: "The beginning of the `second`, `minute`, `hour`, `day`, `week` (from Monday), `month`, `quarter` or `year` that a time lies in, by the clocks of a zone (default UTC), daylight saving included. Days and longer units begin where windows do: see `window` in language.md."},
		{name: "time_part", params: []param{ms, {name: "part", kinds: stringKind}, zone}, result: integer, call: timeRule(partOf).call, prepare: timeRule(partOf).prepare, doc: "The `year`, `quarter`, `month` (1-12), `week` (ISO), `day` (of the month), `yearday`, `weekday` (Monday = 1 to 7), `hour`, `minute`, `second` or `millisecond` of a time by the clocks of a zone (default UTC)."},
	}
}

// timeOverflow is the error of a time that int64 milliseconds cannot hold.
func timeOverflow(x value.Value) error { return fmt.Errorf("time %s is out of range", x.Short()) }

func fromSeconds(_ *Frame, args []value.Value) (value.Value, error) {
	x := args[0]
	if x.Kind == value.Int {
		s := x.AsInt()
		if s > math.MaxInt64/1000 || s < math.MinInt64/1000 {
			return value.Value{}, timeOverflow(x)
		}
		return value.OfInt(s * 1000), nil
	}
	// Milliseconds are cut, not rounded, but 1.001 must not become 1000: a
	// double this close below a millisecond means that millisecond.
	ms := x.AsFloat() * 1000
	if near := math.Round(ms); math.Abs(near-ms) < 1e-3 {
		ms = near
	}
	return toInt(nil, []value.Value{value.OfFloat(math.Floor(ms))})
}

func fromMillis(_ *Frame, args []value.Value) (value.Value, error) {
	if args[0].Kind == value.Int {
		return args[0], nil
	}
	return toInt(nil, []value.Value{value.OfFloat(math.Floor(args[0].AsFloat()))})
}

func fromMicros(_ *Frame, args []value.Value) (value.Value, error) {
	us := args[0].AsInt()
	ms := us / 1000
	if us%1000 < 0 {
		ms--
	}
	return value.OfInt(ms), nil
}

func nowCall(f *Frame, _ []value.Value) (value.Value, error) { return value.OfInt(f.Now), nil }

// zone is the zone that args[i] names, UTC without it. Zones that only the
// record knows are kept on the Frame, so that they are read once.
func (f *Frame) zone(args []value.Value, i int) (*time.Location, error) {
	if i >= len(args) {
		return time.UTC, nil
	}
	name := args[i].Text
	if loc, ok := f.zones[name]; ok {
		return loc, nil
	}
	name = strings.Clone(name) // the record's memory is written again
	loc, err := calendar.Load(name)
	if err != nil {
		return nil, err
	}
	if f.zones == nil {
		f.zones = make(map[string]*time.Location)
	}
	f.zones[name] = loc
	return loc, nil
}

// constantZone checks argument 2 when it is constant; loc is nil when it is not.
func constantZone(n *node) (loc *time.Location, bad *argumentFault) {
	if len(n.kids) < 3 {
		return time.UTC, nil
	}
	arg := n.kids[2]
	if !arg.constant() || arg.val.Kind != value.String {
		return nil, nil
	}
	loc, err := calendar.Load(arg.val.Text)
	if err != nil {
		return nil, &argumentFault{2, codeArguments, err.Error() + ": zones are named as in Europe/Berlin"}
	}
	return loc, nil
}

// prepareLayout compiles a constant layout and zone.
func prepareLayout(n *node) *argumentFault {
	loc, bad := constantZone(n)
	if bad != nil {
		return bad
	}
	arg := n.kids[1]
	if !arg.constant() || arg.val.Kind != value.String {
		return nil
	}
	lay, err := compileLayout(arg.val.Text)
	if err != nil {
		return &argumentFault{1, codeArguments, err.Error()}
	}
	if loc == nil {
		return nil
	}
	if n.fn.name == "parse_time" {
		n.impl = func(_ *Frame, args []value.Value) (value.Value, error) { return lay.parseValue(args[0], loc) }
	} else {
		n.impl = func(_ *Frame, args []value.Value) (value.Value, error) { return lay.formatValue(args[0], loc) }
	}
	return nil
}

func parseTime(f *Frame, args []value.Value) (value.Value, error) {
	lay, err := compileLayout(args[1].Text)
	if err != nil {
		return value.Value{}, err
	}
	loc, err := f.zone(args, 2)
	if err != nil {
		return value.Value{}, err
	}
	return lay.parseValue(args[0], loc)
}

func formatTime(f *Frame, args []value.Value) (value.Value, error) {
	lay, err := compileLayout(args[1].Text)
	if err != nil {
		return value.Value{}, err
	}
	loc, err := f.zone(args, 2)
	if err != nil {
		return value.Value{}, err
	}
	return lay.formatValue(args[0], loc)
}

// timeRule computes something of a time (ms since the epoch) by a word, such as
// a unit, in a zone.
type timeRule func(ms int64, word string, loc *time.Location) (int64, error)

// prepare checks a constant word and zone, and keeps them where both are constant.
func (r timeRule) prepare(n *node) *argumentFault {
	loc, bad := constantZone(n)
	if bad != nil {
		return bad
	}
	arg := n.kids[1]
	if !arg.constant() || arg.val.Kind != value.String {
		return nil
	}
	word := arg.val.Text
	if _, err := r(0, word, time.UTC); err != nil {
		return &argumentFault{1, codeArguments, err.Error()}
	}
	if loc != nil {
		n.impl = func(_ *Frame, args []value.Value) (value.Value, error) {
			v, err := r(args[0].AsInt(), word, loc)
			return value.OfInt(v), err
		}
	}
	return nil
}

// call computes it where word or zone are known only now.
func (r timeRule) call(f *Frame, args []value.Value) (value.Value, error) {
	loc, err := f.zone(args, 2)
	if err != nil {
		return value.Value{}, err
	}
	v, err := r(args[0].AsInt(), args[1].Text, loc)
	return value.OfInt(v), err
}

// Times are kept to the years that calendars of this package can count in.
const (
	leastTime = -62135596800000 // year 1
	mostTime  = 253402300799999 // end of year 9999
)

// truncate finds the beginning of a unit in a zone; ms since the epoch.
func truncate(ms int64, unit string, loc *time.Location) (int64, error) {
	if ms < leastTime || ms > mostTime {
		return 0, timeOverflow(value.OfInt(ms))
	}
	var cuts calendar.Cuts
	switch unit {
	case "second":
		return calendar.Round(ms, 1000, time.UTC), nil // the same in all zones
	case "minute":
		return calendar.Round(ms, 60_000, loc), nil
	case "hour":
		return calendar.Round(ms, calendar.Hour, loc), nil
	case "day":
		cuts = calendar.Days(loc)
	case "week":
		cuts = calendar.Weeks(loc)
	case "month":
		cuts = calendar.Months(1, loc)
	case "quarter":
		cuts = calendar.Months(3, loc)
	case "year":
		cuts = calendar.Months(12, loc)
	default:
		return 0, fmt.Errorf("unknown unit %q: there are second, minute, hour, day, week, month, quarter, year", unit)
	}
	return cuts.Floor(ms), nil
}

// partOf reads one field of the calendar or clock.
func partOf(ms int64, part string, loc *time.Location) (int64, error) {
	if ms < leastTime || ms > mostTime {
		return 0, timeOverflow(value.OfInt(ms))
	}
	t := time.UnixMilli(ms).In(loc)
	var v int
	switch part {
	case "year":
		v = t.Year()
	case "quarter":
		v = int(t.Month()-1)/3 + 1
	case "month":
		v = int(t.Month())
	case "week":
		_, v = t.ISOWeek()
	case "day":
		v = t.Day()
	case "yearday":
		v = t.YearDay()
	case "weekday":
		v = (int(t.Weekday())+6)%7 + 1
	case "hour":
		v = t.Hour()
	case "minute":
		v = t.Minute()
	case "second":
		v = t.Second()
	case "millisecond":
		v = t.Nanosecond() / 1e6
	default:
		return 0, fmt.Errorf("unknown part %q: there are year, quarter, month, week, day, yearday, weekday, hour, minute, second, millisecond", part)
	}
	return int64(v), nil
}
