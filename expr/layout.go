package expr

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/calendar"
	"streamctl/internal/value"
)

// layout is a way to write times: a name, or a pattern of directives as in
// strftime, which cannot be mistaken for text as letters alone can.
//
//	%Y year, 4 digits   %m month 01-12   %d day 01-31   %j day of the year 001-366
//	%H hour 00-23       %I hour 01-12    %p AM or PM    %M minute   %S second
//	%L millisecond, 3 digits             %f fraction of a second, 1 to 9 digits (written: 6)
//	%b Jan   %B January   %a Mon   %A Monday (English)
//	%z +0200 (read: also +02:00 and Z)   %Z zone's abbreviation (write only)
//	%s seconds since 1970                %% a percent sign
type layout struct {
	named string // Go's layout of a name; then parts is nil
	parts []layoutPart
}

// layoutPart is a directive, or text when directive is 0.
type layoutPart struct {
	directive byte
	text      string
}

// compileLayout reads a layout.
func compileLayout(s string) (layout, error) {
	switch s {
	case "rfc3339":
		return layout{named: time.RFC3339Nano}, nil
	case "rfc1123":
		return layout{named: time.RFC1123Z}, nil
	}
	if !strings.Contains(s, "%") {
		return layout{}, fmt.Errorf("layout %q is neither rfc3339, rfc1123 nor a pattern such as %%Y-%%m-%%d", s)
	}
	var out layout
	for s != "" {
		at := strings.IndexByte(s, '%')
		if at != 0 {
			if at < 0 {
				at = len(s)
			}
			out.parts = append(out.parts, layoutPart{text: s[:at]})
			s = s[at:]
			continue
		}
		if len(s) < 2 || !strings.Contains("YmdjHIpMSLfbBaAzZs%", s[1:2]) {
			return layout{}, fmt.Errorf("layout has an unknown directive %q", s[:min(len(s), 2)])
		}
		if s[1] == '%' {
			out.parts = append(out.parts, layoutPart{text: "%"})
		} else {
			out.parts = append(out.parts, layoutPart{directive: s[1]})
		}
		s = s[2:]
	}
	return out, nil
}

// formatValue writes a time in ms.
func (l layout) formatValue(v value.Value, loc *time.Location) (value.Value, error) {
	ms := v.AsInt()
	if ms < leastTime || ms > mostTime {
		return value.Value{}, timeOverflow(v)
	}
	t := time.UnixMilli(ms).In(loc)
	if l.named != "" {
		return value.OfString(t.Format(l.named)), nil
	}
	out := make([]byte, 0, 32)
	for _, p := range l.parts {
		switch p.directive {
		case 0:
			out = append(out, p.text...)
		case 'L':
			out = t.AppendFormat(out, ".000")
			out = append(out[:len(out)-4], out[len(out)-3:]...)
		case 'f':
			out = t.AppendFormat(out, ".000000")
			out = append(out[:len(out)-7], out[len(out)-6:]...)
		case 's':
			out = strconv.AppendInt(out, t.Unix(), 10)
		default:
			out = t.AppendFormat(out, goDirective(p.directive))
		}
	}
	return value.OfString(string(out)), nil
}

// goDirective is Go's way to write a directive.
func goDirective(d byte) string {
	switch d {
	case 'Y':
		return "2006"
	case 'm':
		return "01"
	case 'd':
		return "02"
	case 'j':
		return "002"
	case 'H':
		return "15"
	case 'I':
		return "03"
	case 'p':
		return "PM"
	case 'M':
		return "04"
	case 'S':
		return "05"
	case 'b':
		return "Jan"
	case 'B':
		return "January"
	case 'a':
		return "Mon"
	case 'A':
		return "Monday"
	case 'z':
		return "-0700"
	}
	return "MST"
}

// parseValue reads a time; ms since the epoch.
func (l layout) parseValue(v value.Value, loc *time.Location) (value.Value, error) {
	if l.named != "" {
		t, err := time.ParseInLocation(l.named, v.Text, loc)
		if err != nil {
			return value.Value{}, fmt.Errorf("%s is not a time of this layout", v.Short())
		}
		return value.OfInt(t.UnixMilli()), nil
	}
	r := timeReader{rest: v.Text, year: 1970, month: 1, day: 1, loc: loc}
	for _, p := range l.parts {
		if !r.part(p) {
			return value.Value{}, fmt.Errorf("%s is not a time of this layout (at %q)", v.Short(), r.rest)
		}
	}
	if r.rest != "" {
		return value.Value{}, fmt.Errorf("%s has text behind the time (%q)", v.Short(), r.rest)
	}
	t, ok := r.time()
	if !ok {
		return value.Value{}, fmt.Errorf("%s is no day of the calendar or time of day", v.Short())
	}
	return value.OfInt(t.UnixMilli()), nil
}

// timeReader collects what the directives of a layout read.
type timeReader struct {
	rest                                            string
	year, month, day, yearday, hour, minute, second int
	nanos                                           int
	half                                            byte // 'a', 'p', 0 = 24 hours
	epoch                                           int64
	hasEpoch                                        bool
	loc                                             *time.Location
}

// part reads one part of the layout off the text.
func (r *timeReader) part(p layoutPart) bool {
	switch p.directive {
	case 0:
		return r.text(p.text)
	case 'Y':
		return r.digits(&r.year, 4, 4)
	case 'm':
		return r.digits(&r.month, 1, 2)
	case 'd':
		return r.digits(&r.day, 1, 2)
	case 'j':
		return r.digits(&r.yearday, 1, 3) && r.yearday > 0
	case 'H':
		return r.digits(&r.hour, 1, 2)
	case 'I':
		if r.half == 0 {
			r.half = 'a'
		}
		return r.digits(&r.hour, 1, 2) && r.hour >= 1 && r.hour <= 12
	case 'M':
		return r.digits(&r.minute, 1, 2)
	case 'S':
		return r.digits(&r.second, 1, 2)
	case 'L':
		return r.fraction(3, 3)
	case 'f':
		return r.fraction(1, 9)
	case 'p':
		return r.meridian()
	case 'b', 'B':
		return r.name(p.directive == 'B', 12, func(i int) string { return time.Month(i + 1).String() }, func(i int) { r.month = i + 1 })
	case 'a', 'A':
		return r.name(p.directive == 'A', 7, func(i int) string { return time.Weekday(i).String() }, func(int) {})
	case 'z':
		return r.offset()
	case 's':
		return r.seconds()
	}
	return false // %Z: abbreviations are ambiguous
}

// text reads fixed text.
func (r *timeReader) text(s string) bool {
	rest, ok := strings.CutPrefix(r.rest, s)
	if ok {
		r.rest = rest
	}
	return ok
}

// digits reads a number of so many digits.
func (r *timeReader) digits(into *int, least, most int) bool {
	n := 0
	for n < most && n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	if n < least {
		return false
	}
	*into, _ = strconv.Atoi(r.rest[:n])
	r.rest = r.rest[n:]
	return true
}

// fraction reads digits behind the decimal point.
func (r *timeReader) fraction(least, most int) bool {
	before := len(r.rest)
	if !r.digits(&r.nanos, least, most) {
		return false
	}
	for n := before - len(r.rest); n < 9; n++ {
		r.nanos *= 10
	}
	return true
}

// meridian reads AM or PM.
func (r *timeReader) meridian() bool {
	if len(r.rest) < 2 || r.rest[1]|0x20 != 'm' {
		return false
	}
	r.half = r.rest[0] | 0x20
	r.rest = r.rest[2:]
	return r.half == 'a' || r.half == 'p'
}

// name reads one of n names, in full or its first three letters.
func (r *timeReader) name(full bool, n int, nameOf func(i int) string, found func(i int)) bool {
	for i := range n {
		name := nameOf(i)
		if !full {
			name = name[:3]
		}
		if len(r.rest) >= len(name) && strings.EqualFold(r.rest[:len(name)], name) {
			r.rest = r.rest[len(name):]
			found(i)
			return true
		}
	}
	return false
}

// offset reads Z, +hhmm or +hh:mm.
func (r *timeReader) offset() bool {
	if r.text("Z") {
		r.loc = time.UTC
		return true
	}
	sign := 1
	if !r.text("+") {
		if !r.text("-") {
			return false
		}
		sign = -1
	}
	var hours, minutes int
	if !r.digits(&hours, 2, 2) {
		return false
	}
	r.text(":")
	if !r.digits(&minutes, 2, 2) || hours > 23 || minutes > 59 {
		return false
	}
	r.loc = time.FixedZone("", sign*(hours*3600+minutes*60))
	return true
}

// seconds reads %s.
func (r *timeReader) seconds() bool {
	n := 0
	for n < len(r.rest) && (r.rest[n] >= '0' && r.rest[n] <= '9' || n == 0 && r.rest[n] == '-') {
		n++
	}
	epoch, err := strconv.ParseInt(r.rest[:n], 10, 64)
	if err != nil || epoch < leastTime/1000 || epoch > mostTime/1000 {
		return false
	}
	r.rest, r.epoch, r.hasEpoch = r.rest[n:], epoch, true
	return true
}

// time puts the parts together; false for the 30th of February, 25 o'clock and
// the like, which time.Date would carry over. A time that clocks leap over is the
// moment of the leap, one that they show twice is the first.
func (r *timeReader) time() (time.Time, bool) {
	if r.hasEpoch {
		return time.Unix(r.epoch, int64(r.nanos)), true
	}
	if r.half != 0 {
		r.hour %= 12
		if r.half == 'p' {
			r.hour += 12
		}
	}
	if r.yearday > 0 {
		r.month, r.day = 1, r.yearday
	}
	if r.hour > 23 || r.minute > 59 || r.second > 59 || r.month < 1 || r.month > 12 || r.day < 1 {
		return time.Time{}, false
	}
	last := time.Date(r.year, time.Month(r.month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if r.yearday > 0 {
		last = time.Date(r.year, 12, 31, 0, 0, 0, 0, time.UTC).YearDay()
	}
	if r.day > last {
		return time.Time{}, false
	}
	wall := time.Date(r.year, time.Month(r.month), r.day, r.hour, r.minute, r.second, r.nanos, time.UTC).UnixMilli()
	return time.UnixMilli(calendar.Instant(wall, r.loc)), true
}
