// Package selfstat lets the process tell what it used, when a benchmark asks
// for it by environment variables. It knows nothing of what the process does.
package selfstat

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
)

// Variables that Start reads.
const (
	StatsEnv   = "STREAMCTL_STATS"      // not empty: print Line at the end
	ProfileEnv = "STREAMCTL_CPUPROFILE" // a file: write a CPU profile of the whole run there
)

// Prefix begins the line of figures; JSON follows on the same line.
const Prefix = "STREAMCTL_STATS "

// Start begins what getenv asks for. stop must be called once at the end of
// the process; it prints to w.
func Start(getenv func(string) string) (stop func(w io.Writer) error, err error) {
	var profile *os.File
	if path := getenv(ProfileEnv); path != "" {
		if profile, err = os.Create(path); err != nil {
			return nil, fmt.Errorf("start CPU profile: %w", err)
		}
		if err := pprof.StartCPUProfile(profile); err != nil {
			return nil, errors.Join(fmt.Errorf("start CPU profile: %w", err), profile.Close())
		}
	}
	wanted := getenv(StatsEnv) != ""
	return func(w io.Writer) error {
		var faults []error
		if profile != nil {
			pprof.StopCPUProfile()
			faults = append(faults, profile.Close())
		}
		if wanted {
			faults = append(faults, printStats(w))
		}
		return errors.Join(faults...)
	}, nil
}

func printStats(w io.Writer) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, err := fmt.Fprintf(w, "%s{\"mallocs\":%d,\"total_alloc\":%d,\"gcs\":%d,\"gc_cpu\":%.4f}\n", Prefix, m.Mallocs, m.TotalAlloc, m.NumGC, m.GCCPUFraction)
	return err
}
