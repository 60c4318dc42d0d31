package pipeline

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxDuration bounds every duration of a pipeline, so that times can be added
// without overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

var errDuration = errors.New("expected a number and a unit")

// ParseDuration reads durations such as 500ms, 30s, 10m, 2h, 1d, 1h30m. A day
// has 24 hours. The number may have a fraction; there is no sign. "0" needs no unit.
func ParseDuration(text string) (time.Duration, error) {
	rest := text
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, fmt.Errorf("parse duration %q: %w", text, errDuration)
	}
	var total float64
	for rest != "" {
		i := 0
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '.') {
			i++
		}
		j := i
		for j < len(rest) && rest[j] >= 'a' && rest[j] <= 'z' {
			j++
		}
		unit, ok := durationUnit(rest[i:j])
		number, err := strconv.ParseFloat(rest[:i], 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("parse duration %q: %w", text, errDuration)
		}
		total += number * float64(unit)
		rest = rest[j:]
	}
	if total > float64(maxDuration)*2 {
		return math.MaxInt64, nil
	}
	return time.Duration(math.Round(total)), nil
}

func durationUnit(unit string) (time.Duration, bool) {
	switch unit {
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	}
	return 0, false
}

// formatDuration writes a duration as ParseDuration reads it.
func formatDuration(d time.Duration) string {
	day := 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String() // 1h30m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
