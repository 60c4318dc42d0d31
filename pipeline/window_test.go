package pipeline

import (
	"fmt"
	"testing"
)

// What windows are counted in follows from their size, their step and the time zone;
// UTC has no changes of clocks, so that whatever is not of days counts from the epoch there.
func TestUnitsOfWindows(t *testing.T) {
	for window, want := range map[string]string{
		"{tumbling: 7h}":                "window tumbling unit 0 every 25200000 size 25200000 phase 0 offset 0 span 0 grace 0",
		"{tumbling: 7h, timezone: UTC}": "window tumbling unit 0 every 25200000 size 25200000 phase 0 offset 0 span 0 grace 0",
		"{hopping: 1d, every: 1h, timezone: Etc/UTC, offset: 30m}":        "window hopping unit 0 every 3600000 size 86400000 phase 0 offset 1800000 span 0 grace 0",
		"{hopping: 6h, every: 5h, timezone: UTC}":                         "window hopping unit 0 every 18000000 size 21600000 phase 0 offset 0 span 0 grace 0",
		"{tumbling: 1h, timezone: Europe/Berlin}":                         "window tumbling unit 3 every 3600000 size 3600000 phase 0 offset 0 span 0 grace 0 in Europe/Berlin",
		"{tumbling: 2d, timezone: UTC}":                                   "window tumbling unit 1 every 2 size 2 phase 0 offset 0 span 0 grace 0 in UTC",
		"{hopping: 1d, every: 6h, timezone: Europe/Berlin, offset: 330m}": "window hopping unit 3 every 21600000 size 86400000 phase 0 offset 19800000 span 0 grace 0 in Europe/Berlin",
		"{hopping: 36h, every: 1d, timezone: Europe/Berlin}":              "window hopping unit 3 every 86400000 size 129600000 phase 0 offset 0 span 0 grace 0 in Europe/Berlin",
		"{hopping: 7h, every: 2h, timezone: Europe/Berlin}":               "window hopping unit 3 every 7200000 size 25200000 phase 0 offset 0 span 0 grace 0 in Europe/Berlin",
	} {
		src := fmt.Sprintf("pipeline: p\nsources: {v: {topic: v}}\ntables: {w: {from: v x, group_by: '1', window: %s}}\nsinks: {o: {from: w, topic: o}}\n", window)
		result, list := Check("p.yaml", []byte(src), ParseOptions{})
		if len(list) > 0 {
			t.Errorf("%s: %v", window, list)
			continue
		}
		for _, d := range result.Pipeline.Tables {
			if d.Window != nil {
				if got := d.Window.canonical(); got != want {
					t.Errorf("%s is\n%s, want\n%s", window, got, want)
				}
			}
		}
	}
}
