package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/pflag"
)

// What a process leaves behind when it is told to stop.
const (
	onStopHandOver  = "hand-over"
	onStopKeepPlace = "keep-place"
)

// identityFlags say who a process is among those of its pipelines.
type identityFlags struct {
	instance string
	rack     string
	onStop   string
}

func (f *identityFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.instance, "instance", "", "name of this process among those of the pipeline, the same after a restart (default: $STREAMCTL_INSTANCE, the pod's name in a StatefulSet, else from host name and --data-dir)")
	flags.StringVar(&f.rack, "rack", "", "failure domain of this process: copies of state go to other ones (default: $STREAMCTL_RACK)")
	flags.StringVar(&f.onStop, "on-stop", "", "when told to stop: hand-over gives the tasks to others at once, keep-place leaves them to the process that comes back within the session time-out (default: keep-place where the name is given or a StatefulSet's, else hand-over)")
}

// instanceName is what Kafka accepts in a transactional id, short enough to
// leave room for the pipeline's name.
var instanceName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,100}$`)

// ordinalName is the name of a StatefulSet's pod. The random suffix of any other
// pod has five characters.
var ordinalName = regexp.MustCompile(`-[0-9]{1,4}$`)

// complete fills what was left out, from the environment and the machine.
func (f *identityFlags) complete(getenv func(string) string, hostname func() (string, error), dataDir string) error {
	if f.instance == "" {
		f.instance = getenv("STREAMCTL_INSTANCE")
	}
	if f.rack == "" {
		f.rack = getenv("STREAMCTL_RACK")
	}
	stable := f.instance != ""
	if !stable {
		host, err := hostname()
		if err != nil {
			return fmt.Errorf("name this process: %w", err)
		}
		if stable = getenv("KUBERNETES_SERVICE_HOST") != "" && ordinalName.MatchString(host); stable {
			f.instance = host
		} else if f.instance, err = derivedInstance(host, dataDir); err != nil {
			return err
		}
	}
	if !instanceName.MatchString(f.instance) {
		return usagef("--instance %q: want up to 100 letters, digits, '.', '_', '-'", f.instance)
	}
	switch f.onStop {
	case onStopHandOver, onStopKeepPlace:
	case "":
		f.onStop = onStopHandOver
		if stable {
			f.onStop = onStopKeepPlace
		}
	default:
		return usagef("--on-stop %q: want %s or %s", f.onStop, onStopHandOver, onStopKeepPlace)
	}
	return nil
}

// derivedInstance names a process that was not given a name. Not from the
// directory's content: a process that has lost its disk must be able to end the
// transaction that it left open.
func derivedInstance(host, dataDir string) (string, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return "", fmt.Errorf("name this process: %w", err)
	}
	sum := sha256.Sum256([]byte(host + "\x00" + dir))
	return hex.EncodeToString(sum[:6]), nil
}

// keepPlace says whether the process's tasks stay its own when it stops.
func (f *identityFlags) keepPlace() bool { return f.onStop == onStopKeepPlace }

// systemHostname is the machine's name.
func systemHostname() (string, error) { return os.Hostname() }
