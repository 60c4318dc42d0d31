package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"streamctl/internal/pipetest"
)

// watchInterval is how often files are looked at: files that are mounted or
// copied in do not always tell of themselves, their times always do.
const watchInterval = 300 * time.Millisecond

// fileMark is what a file looks like from outside.
type fileMark struct {
	size    int64
	changed time.Time
}

// watchTests runs the tests, and again whenever a file beside them has changed,
// until ctx ends. What fails is shown and does not end it.
func (a *app) watchTests(ctx context.Context, f *testFlags, opts pipetest.Options, paths []string) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last map[string]fileMark
	for {
		now, err := marks(paths)
		if err != nil {
			return err
		}
		if last == nil || !maps.Equal(now, last) {
			last = now
			if err := a.testAgain(ctx, f, opts, paths); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// testAgain is testOnce for a run that is followed by others.
func (a *app) testAgain(ctx context.Context, f *testFlags, opts pipetest.Options, paths []string) error {
	err := a.testOnce(ctx, f, opts, paths)
	var told *failure
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, &told) && told.silent:
	case errors.As(err, &told): // a file may be missing for a moment
		fmt.Fprintf(a.stderr, "streamctl: %v\n", err)
	case err != nil:
		return err
	}
	if a.output != outputJSON {
		_, err = fmt.Fprintln(a.stdout, "waiting for changes")
		return err
	}
	return nil
}

// marks notes all files of the directories that paths are or lie in.
func marks(paths []string) (map[string]fileMark, error) {
	out := make(map[string]fileMark)
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			path = filepath.Dir(path)
		}
		path = filepath.Clean(trimDots(path))
		err := filepath.WalkDir(path, func(at string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil // gone since its directory was read
			}
			if entry.IsDir() {
				if at != path && entry.Name()[0] == '.' {
					return fs.SkipDir
				}
				return nil
			}
			if info, err := entry.Info(); err == nil {
				out[at] = fileMark{info.Size(), info.ModTime()}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", path, err)
		}
	}
	return out, nil
}

// trimDots takes the /... from a path.
func trimDots(path string) string {
	if dir, base := filepath.Split(path); base == "..." {
		if dir == "" {
			return "."
		}
		return dir
	}
	return path
}
