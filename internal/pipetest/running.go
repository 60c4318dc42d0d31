package pipetest

import (
	"errors"

	"streamctl/internal/engine"
	"streamctl/state"
)

// running is a pipeline in a world, over all lives of its process.
type running struct {
	program
	world   *world
	monitor *engine.Monitor
	life    *life    // nil while it is stopped
	disk    state.FS // while it is
	failure error    // why it has ended by itself
}

func newRunning(w *world, p program) *running {
	return &running{program: p, world: w, monitor: &engine.Monitor{}, disk: state.NewCrashFS()}
}

// name is what the pipeline calls itself.
func (r *running) name() string { return r.topology.Pipeline }

// begin starts the pipeline on its disk, unless it runs.
func (r *running) begin() error {
	if r.life != nil {
		return nil
	}
	life, err := r.start(r.disk)
	if life == nil {
		return err
	}
	r.life, r.disk, r.failure = life, nil, nil
	return r.settled(err)
}

// settled takes note of an end of the process that nobody asked for.
func (r *running) settled(err error) error {
	if err == nil || errors.Is(err, errUnrest) || r.life.running() {
		return err
	}
	r.failure, r.disk, r.life = err, r.life.disk, nil
	return nil
}

// settle lets the process, if there is one, do all that there is to do.
func (r *running) settle() error {
	if r.life == nil {
		return nil
	}
	r.life.gate.release()
	return r.settled(r.life.settle())
}

// restart kills the process, cuts the power of its machine, and starts another
// one there; without the disk, if that is lost too.
func (r *running) restart(loseState bool) error {
	if r.life != nil {
		r.disk = r.life.crash()
		r.life = nil
	}
	if loseState {
		r.disk = state.NewCrashFS()
	}
	return r.begin()
}

// stop ends the process as TERM does.
func (r *running) stop() error {
	if r.life == nil {
		return nil
	}
	err := r.life.stop()
	r.disk, r.life = r.life.disk, nil
	return err
}
