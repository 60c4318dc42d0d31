package testkit

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Seed is that of STREAMCTL_SEED, or one of the clock. Print it.
func Seed() (uint64, error) {
	s := os.Getenv("STREAMCTL_SEED")
	if s == "" {
		return uint64(time.Now().UnixNano()), nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read STREAMCTL_SEED: %w", err)
	}
	return n, nil
}

// Soak is how long to go on beyond the short form: STREAMCTL_SOAK.
func Soak() (time.Duration, error) {
	s := os.Getenv("STREAMCTL_SOAK")
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("read STREAMCTL_SOAK: %w", err)
	}
	return d, nil
}
