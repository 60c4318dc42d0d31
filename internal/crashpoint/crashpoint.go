// Package crashpoint ends the process at a named step when a test asks for it
// by an environment variable, as SIGKILL or a power cut would: no deferred call
// runs, no buffer is flushed. It knows nothing of the steps themselves.
package crashpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Env is the variable that commands read the specification from.
const Env = "STREAMCTL_CRASHPOINT"

// Parse turns a specification "name" or "name:count" into a hook that kills
// the process when the step is reached for the count-th time (default the
// first). names are the steps there are. An empty specification gives a nil hook.
func Parse(spec string, names []string) (func(name string), error) {
	return parse(spec, names, killSelf)
}

func parse(spec string, names []string, kill func()) (func(name string), error) {
	if spec == "" {
		return nil, nil
	}
	name, number, counted := strings.Cut(spec, ":")
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("parse %s=%q: no step %q (there are %s)", Env, spec, name, strings.Join(names, ", "))
	}
	count := 1
	if counted {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("parse %s=%q: count %q is not a positive number", Env, spec, number)
		}
		count = n
	}
	var reached atomic.Int64
	return func(at string) {
		if at == name && reached.Add(1) == int64(count) {
			kill()
		}
	}, nil
}

// killSelf does not return: until the signal has taken effect, the caller
// must not go on.
func killSelf() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		os.Exit(137)
	}
	select {}
}
