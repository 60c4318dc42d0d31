package crashpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// SlowEnv is the variable for steps that are to take long instead.
const SlowEnv = "STREAMCTL_SLOWPOINT"

// FromEnv gives the hook that the environment asks for: the steps of Env end the
// process, those of SlowEnv make it wait. names are the steps there are; nil
// when nothing is asked for.
func FromEnv(getenv func(string) string, names []string) (func(name string), error) {
	crash, err := Parse(getenv(Env), names)
	if err != nil {
		return nil, err
	}
	slow, err := parseSlow(getenv(SlowEnv), names, time.Sleep)
	switch {
	case err != nil:
		return nil, err
	case slow == nil:
		return crash, nil
	case crash == nil:
		return slow, nil
	}
	return func(name string) {
		slow(name)
		crash(name)
	}, nil
}

// parseSlow turns "name:duration" or "name:duration:count" into a hook that waits
// when the step is reached, the first count times (default once).
func parseSlow(spec string, names []string, wait func(time.Duration)) (func(name string), error) {
	if spec == "" {
		return nil, nil
	}
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("parse %s=%q: %s", SlowEnv, spec, fmt.Sprintf(format, args...))
	}
	parts := strings.Split(spec, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, refuse("it is not name:duration or name:duration:count")
	}
	if !slices.Contains(names, parts[0]) {
		return nil, refuse("no step %q (there are %s)", parts[0], strings.Join(names, ", "))
	}
	d, err := time.ParseDuration(parts[1])
	if err != nil || d <= 0 {
		return nil, refuse("%q is not a positive duration", parts[1])
	}
	count := 1
	if len(parts) == 3 {
		if count, err = strconv.Atoi(parts[2]); err != nil || count < 1 {
			return nil, refuse("count %q is not a positive number", parts[2])
		}
	}
	var reached atomic.Int64
	return func(at string) {
		if at == parts[0] && reached.Add(1) <= int64(count) {
			wait(d)
		}
	}, nil
}
