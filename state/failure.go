package state

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Of failed writes Pebble never hears: see fuseFS. What else it takes for the
// end of the process it tells its logger's Fatalf, and relies on it not to
// return. Here that ends the DB instead. Fatalf blows the fuse first, so that
// whatever Pebble does next cannot reach the directory. Then, on a goroutine that
// came through this package, it panics with fatalStop, which recoverInto turns
// into an error; on a goroutine of Pebble's own, where nobody could catch a
// panic, it returns.

// fatalStop is the panic by which a call leaves Pebble.
type fatalStop struct{}

// Err returns why the DB has failed, nil when it has not. The error is
// ErrFailed and its cause.
func (db *DB) Err() error {
	if err := db.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Failed is closed when the DB fails.
func (db *DB) Failed() <-chan struct{} { return db.failed }

// fail ends the DB with its first failure.
func (db *DB) fail(err error) {
	err = fmt.Errorf("%w: %w", ErrFailed, classify(err))
	if db.failure.CompareAndSwap(nil, &err) {
		db.fs.blow()
		close(db.failed)
	}
}

// check returns err as callers know it, and lets the DB fail when it is one
// that will not mend by itself.
func (db *DB) check(err error) error {
	if err == nil {
		return nil
	}
	if failed := db.Err(); failed != nil {
		return failed
	}
	if err = classify(err); errors.Is(err, ErrCorrupt) || errors.Is(err, ErrDiskFull) {
		db.fail(err)
	}
	return err
}

// ok is check for what must have become durable: it is not when the DB has
// failed meanwhile, whatever Pebble says.
func (db *DB) ok(err error) error {
	if failed := db.Err(); failed != nil {
		return failed
	}
	return db.check(err)
}

// recoverInto is deferred around calls into Pebble: it turns its panics on a
// failed or closed store into errors. Other panics go on.
func (db *DB) recoverInto(err *error) {
	r := recover()
	if r == nil {
		return
	}
	if failed := db.Err(); failed != nil {
		*err = failed
		return
	}
	if e, ok := r.(error); ok && errors.Is(e, pebble.ErrClosed) {
		*err = ErrClosed
		return
	}
	panic(r)
}

// storeLog is Pebble's logger.
type storeLog struct{ db *DB }

func (l storeLog) Infof(format string, args ...any) {
	l.db.opts.Logger.Debug(fmt.Sprintf(format, args...))
}

func (l storeLog) Errorf(format string, args ...any) {
	l.db.opts.Logger.Warn(fmt.Sprintf(format, args...))
}

// Fatalf ends the DB. See above.
func (l storeLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("%s: %w", strings.TrimSuffix(format, ": %v"), cause)
		}
	}
	l.db.opts.Logger.Error("state store failed", "dir", l.db.opts.Dir, "err", err)
	l.db.fail(err)
	if calledFromHere() {
		panic(fatalStop{})
	}
}

// calledFromHere tells whether a function of this package that recovers waits
// for Pebble on the current goroutine.
func calledFromHere() bool {
	pkg := reflect.TypeFor[DB]().PkgPath()
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // from Fatalf's caller on
	for {
		f, more := frames.Next()
		for _, typ := range []string{".(*DB).", ".(*Task).", ".(*Table).", ".(*Loader)."} {
			if strings.HasPrefix(f.Function, pkg+typ) {
				return true
			}
		}
		if !more {
			return false
		}
	}
}

// listener hears of the failures of Pebble's background work.
func (db *DB) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if errors.Is(err, pebble.ErrCancelledCompaction) || db.Err() != nil {
				return
			}
			db.opts.Logger.Error("state store failed", "dir", db.opts.Dir, "err", err)
			db.fail(err)
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			if db.Err() == nil {
				db.opts.Logger.Error("state is corrupt", "dir", db.opts.Dir, "file", info.Path, "err", info.Details)
				db.fail(fmt.Errorf("%w: %w", ErrCorrupt, info.Details))
			}
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			db.opts.Logger.Warn("disk is slow", slog.String("info", info.String()))
		},
	}
}
