package pipeline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"streamctl/internal/calendar"
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
	"streamctl/operators"
)

const (
	codeWindow diag.Code = "window"
)

// WindowKind is how a derived table cuts time.
type WindowKind uint8

const (
	TumblingWindow WindowKind = iota
	HoppingWindow
	SessionWindow
	SlidingWindow
)

// String is the word of the language.
func (k WindowKind) String() string {
	return [...]string{"tumbling", "hopping", "session", "sliding"}[k]
}

// WindowSpec is a window: clause, resolved.
type WindowSpec struct {
	Kind  WindowKind
	Grid  operators.Grid // of tumbling and hopping windows
	Span  time.Duration  // the gap of sessions, the size of sliding windows
	Grace time.Duration
	Final bool // emit: final
	// DeadLetters says that late records go to the dead letters.
	DeadLetters bool
	text        string // what it is, for the plan and for fingerprints
}

// The longest windows and the most of them that a record may lie in.
const maxOverlap = 1000

func weekdays() []string {
	return []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
}

// window reads window:.
func (p *parser) window(q *Query) func(*syntax.Node) {
	return func(n *syntax.Node) {
		w := &Window{Span: n.Span}
		q.Window = w
		duration := func(into *Text) func(*syntax.Node) {
			return func(n *syntax.Node) { *into = p.text(n, "a duration") }
		}
		p.mapping(n, "window", n.Span, []key{
			{name: "tumbling", read: duration(&w.Tumbling)},
			{name: "hopping", read: duration(&w.Hopping)},
			{name: "session", read: duration(&w.Session)},
			{name: "sliding", read: duration(&w.Sliding)},
			{name: "every", read: duration(&w.Every)},
			{name: "grace", read: duration(&w.Grace)},
			{name: "late", read: func(n *syntax.Node) { w.Late = p.text(n, "drop, dead_letter, or the name of a stream") }},
			{name: "align", read: func(n *syntax.Node) { w.Align = p.choice(n, "align", append(weekdays(), "month"), nil) }},
			{name: "timezone", read: func(n *syntax.Node) { w.Timezone = p.text(n, "the name of a time zone") }},
			{name: "offset", read: duration(&w.Offset)},
		}, hints{
			"size":     "write the kind of window with its size: `tumbling: 5m`",
			"advance":  "write `every: 5m`",
			"hop":      "write `hopping: 1h` and `every: 5m`",
			"gap":      "write `session: 30m`",
			"emit":     "emit stands beside window:, not in it",
			"zone":     "write `timezone: Europe/Berlin`",
			"end":      "the end of a window is window.end in select",
			"start":    "the start of a window is window.start in select; shift the windows with offset",
			"retain":   "how long state is kept follows from window and grace",
			"lateness": "write `grace: 1m`: how far behind stream time records may come",
		})
	}
}

// windowOf resolves the window of a definition.
func (r *resolver) windowOf(d *Def) {
	q := d.Query
	if q == nil || q.Window == nil {
		r.emitOf(d)
		return
	}
	w := q.Window
	if d.Kind != DerivedTableDef || len(q.GroupBy) == 0 {
		r.list.Errorf(codeWindow, w.Span, "%s %q has a window and no group_by", d.Kind, d.Name).
			Help = "a window cuts the groups of a table: add group_by under tables:"
		return
	}
	kinds := map[WindowKind]Text{TumblingWindow: w.Tumbling, HoppingWindow: w.Hopping, SessionWindow: w.Session, SlidingWindow: w.Sliding}
	spec := &WindowSpec{}
	var given []Text
	for _, kind := range []WindowKind{TumblingWindow, HoppingWindow, SessionWindow, SlidingWindow} {
		if t := kinds[kind]; t.Set {
			spec.Kind = kind
			given = append(given, t)
		}
	}
	if len(given) != 1 {
		what := "a window is of one kind"
		if len(given) == 0 {
			what = "a window needs a kind and a size"
		}
		r.list.Errorf(codeWindow, w.Span, "%s", what).
			Help = "write one of {tumbling: 5m}, {hopping: 1h, every: 5m}, {session: 30m} and {sliding: 10m}"
		return
	}
	d.Window = spec
	spec.Grace = r.duration(w.Grace, 0, 0, maxDuration)
	spec.DeadLetters = w.Late.Value == "dead_letter" // a name has become a stream
	r.emitOf(d)
	if spec.Kind == SessionWindow || spec.Kind == SlidingWindow {
		spec.Span = r.duration(given[0], time.Minute, time.Millisecond, maxDuration)
		for name, t := range map[string]Text{"every": w.Every, "align": w.Align, "timezone": w.Timezone, "offset": w.Offset} {
			if t.Set {
				r.list.Errorf(codeWindow, t.Span, "%s windows have no %s: they begin and end with records", spec.Kind, name).
					Help = "remove it, or use tumbling or hopping windows"
			}
		}
		spec.text = fmt.Sprintf("%s %s", spec.Kind, formatDuration(spec.Span))
	} else {
		r.grid(w, given[0], spec)
	}
	if spec.Grace > 0 {
		spec.text += ", grace " + formatDuration(spec.Grace)
	}
	if spec.Final {
		spec.text += ", each once when it closes"
	}
}

// emitOf resolves when a table sends its changes.
func (r *resolver) emitOf(d *Def) {
	if d.Query == nil || d.Query.Emit == nil || !d.Query.Emit.Mode.Set {
		return
	}
	mode := d.Query.Emit.Mode
	if mode.Value != "final" {
		return
	}
	if d.Window == nil {
		r.list.Errorf(codeWindow, mode.Span, "%s %q has no window: nothing of it is ever final", d.Kind, d.Name).
			Help = "add `window:`, or leave emit: out to send every change"
		return
	}
	d.Window.Final = true
}

// size reads the size of a window: a duration, or months.
func (r *resolver) size(t Text) (size time.Duration, months int64, ok bool) {
	number, unit := t.Value, ""
	for _, u := range []string{"months", "month"} {
		if before, found := strings.CutSuffix(t.Value, u); found {
			number, unit = strings.TrimSpace(before), u
			break
		}
	}
	if unit == "" {
		size, ok = checkDuration(&r.list, t, t.Value, time.Millisecond, maxDuration)
		return size, 0, ok
	}
	months, err := strconv.ParseInt(number, 10, 64)
	if number == "" {
		months, err = 1, nil
	}
	if err != nil || months < 1 || months > 1200 {
		r.list.Errorf(codeWindow, t.Span, "%q is not a number of months", t.Value).
			Help = "write `1month`, or a duration such as 7d"
		return 0, 0, false
	}
	return 0, months, true
}

// grid resolves windows that tumble or hop.
func (r *resolver) grid(w *Window, given Text, spec *WindowSpec) {
	size, months, ok := r.size(given)
	every, everyMonths := size, months
	switch {
	case spec.Kind == HoppingWindow && !w.Every.Set:
		r.list.Errorf(codeWindow, given.Span, "hopping windows need every").
			Help = "say how often one begins: `{hopping: 1h, every: 5m}`; for windows that do not overlap write `tumbling: 1h`"
		return
	case spec.Kind == TumblingWindow && w.Every.Set:
		r.list.Errorf(codeWindow, w.Every.Span, "tumbling windows begin where the last one ends").
			Help = "for windows that overlap write `{hopping: SIZE, every: STEP}`"
		return
	case spec.Kind == HoppingWindow:
		var also bool
		every, everyMonths, also = r.size(w.Every)
		ok = ok && also
	}
	if !ok {
		return
	}
	g := &spec.Grid
	switch {
	case (months > 0) != (everyMonths > 0):
		r.list.Errorf(codeWindow, w.Every.Span, "months have no fixed number of days: size and every must both be in months, or neither").
			Help = "write `{hopping: 3month, every: 1month}`, or both as durations"
		return
	case everyMonths > months || every > size:
		r.list.Errorf(codeWindow, w.Every.Span, "windows of %s every %s leave time between them", given.Value, w.Every.Value).
			Help = "every must not be longer than the window: records between two windows would be lost"
		return
	case months > maxOverlap*max(everyMonths, 1) || size > maxOverlap*max(every, 1):
		r.list.Errorf(codeWindow, w.Every.Span, "each record would lie in more than %d windows", maxOverlap).
			Help = "choose a longer step"
		return
	}
	if w.Timezone.Set {
		loc, err := calendar.Load(w.Timezone.Value)
		if err != nil {
			r.list.Errorf(codeWindow, w.Timezone.Span, "there is no time zone %q", w.Timezone.Value).
				Help = "use a name of the IANA database, such as Europe/Berlin or UTC"
			return
		}
		g.Loc = loc
	}
	r.unit(w, given, spec, size, every, months, everyMonths)
	spec.text = fmt.Sprintf("%s %s", spec.Kind, given.Value)
	for _, part := range []struct {
		name string
		t    Text
	}{{"every", w.Every}, {"from", w.Align}, {"in", w.Timezone}, {"offset", w.Offset}} {
		if part.t.Set {
			spec.text += fmt.Sprintf(" %s %s", part.name, part.t.Value)
		}
	}
}

// unit decides what a grid counts in.
func (r *resolver) unit(w *Window, given Text, spec *WindowSpec, size, every time.Duration, months, everyMonths int64) {
	const day = 24 * time.Hour
	g := &spec.Grid
	weekday := slices.Index(weekdays(), w.Align.Value)
	step, days := every, every%day == 0 && size%day == 0
	switch {
	case months > 0:
		if weekday >= 0 {
			r.list.Errorf(codeWindow, w.Align.Span, "months begin on the first, not on a %s", w.Align.Value).
				Help = "remove align, or use weeks: `tumbling: 7d`"
			return
		}
		g.Unit, g.Size, g.Every, step = operators.GridMonths, months, everyMonths, 28*day
	case w.Align.Value == "month":
		r.list.Errorf(codeWindow, given.Span, "months have 28 to 31 days, not %s", given.Value).
			Help = "write `tumbling: 1month`; windows of months begin on the first anyway"
		return
	case weekday >= 0:
		if size%(7*day) != 0 || every%(7*day) != 0 {
			r.list.Errorf(codeWindow, w.Align.Span, "only weeks begin on a %s", w.Align.Value).
				Help = "use a multiple of 7d, or remove align"
			return
		}
		g.Unit, g.Size, g.Every, g.Phase = operators.GridDays, int64(size/day), int64(every/day), int64(weekday)-3
	case g.Loc != nil && days:
		g.Unit, g.Size, g.Every = operators.GridDays, int64(size/day), int64(every/day)
	case g.Loc != nil && followsDays(size, every):
		g.Unit, g.Size, g.Every = operators.GridHours, size.Milliseconds(), every.Milliseconds()
	case g.Loc != nil && !calendar.IsUTC(g.Loc):
		r.refuseStep(w, given, size == every)
		return
	default:
		g.Loc = nil // days of UTC are all alike: any step will do
		g.Size, g.Every = size.Milliseconds(), every.Milliseconds()
	}
	offset := r.duration(w.Offset, 0, 0, maxDuration)
	if offset >= step && step > 0 && w.Offset.Set {
		r.list.Errorf(codeWindow, w.Offset.Span, "an offset of %s shifts by more than a window", w.Offset.Value).
			Help = fmt.Sprintf("offset must be less than %s", formatDuration(step))
		return
	}
	g.Offset = offset.Milliseconds()
	if g.Unit == operators.GridDays && g.Loc == nil { // days of UTC are all equally long
		ms := day.Milliseconds()
		*g = operators.Grid{Size: g.Size * ms, Every: g.Every * ms, Offset: g.Offset + g.Phase*ms}
	}
}

// shortestHop is the shortest step of windows that overlap by the clock on the wall.
// Shorter windows are counted from the beginning of the day on, and the last ones of
// a day would reach into another one by a count that is not the next day's.
const shortestHop = 2 * time.Hour

// followsDays says that windows can follow local days without being of whole days:
// what tumbles fills a day, what hops begins at the same times every day, or every
// so many days.
func followsDays(size, every time.Duration) bool {
	const day = 24 * time.Hour
	if size == every {
		return day%every == 0
	}
	return every >= shortestHop && (day%every == 0 || every%day == 0)
}

// refuseStep refuses windows that do not begin at the same times every day.
func (r *resolver) refuseStep(w *Window, given Text, tumbling bool) {
	const utc = "without timezone, or with `timezone: UTC`, any size will do"
	if tumbling {
		r.list.Errorf(codeWindow, w.Timezone.Span, "windows of %s cannot follow the days of a time zone: no number of them fills a day", given.Value).
			Help = "use a part of the day that fills it (15m, 1h, 6h, 12h), or whole days; " + utc
		return
	}
	r.list.Errorf(codeWindow, w.Every.Span, "windows that overlap cannot follow the days of a time zone when they begin every %s", w.Every.Value).
		Help = "let them begin every 2h, 3h, 4h, 6h, 8h or 12h, or every so many days; " + utc
}

// windowed says that the definition is a table of windows.
func (d *Def) windowed() bool { return d.Window != nil }

// windowSlots is how many slots of a group's row say which window it is of.
func (d *Def) windowSlots() int {
	if d.windowed() {
		return 2
	}
	return 0
}
