package engine

import (
	"context"
	"errors"
	"time"
)

// A process that is told to stop commits what it has done and leaves. When
// Kafka does not answer, it cannot, and it need not: what is not committed is done
// again by whoever has the tasks next. So the last commit has a time limit, and
// what fails for want of an answer then is said, and is no failure of the run.

// stopGrace is how long the last commit may take. With the leaving and the
// closing after it, it fits into the 30 s that orchestrators give.
const stopGrace = 15 * time.Second

// giveUpRequest tells a worker that its last commit has taken too long.
type giveUpRequest struct{}

// limitStop gives the workers' last commits their limit, where the run was told
// to stop; where it came to its end by itself, the last commit belongs to it.
func (e *Engine) limitStop(ctx context.Context) (done func()) {
	if ctx.Err() == nil {
		return func() {}
	}
	return e.limit()
}

// limit lets workers give up when the grace is over.
func (e *Engine) limit() (done func()) {
	return e.opts.Clock.AfterFunc(stopGrace, func() {
		for _, w := range e.workers {
			w.mailbox.put(&giveUpRequest{})
		}
	})
}

// giveUpCommit lets go of the commit that is under way, of which nobody knows
// whether it comes through, and of the tasks as they are: worker.serveClose then
// finds nothing that it has to wait for.
func (w *worker) giveUpCommit() error {
	w.log.Warn("Kafka does not answer: ending without the last commit, what it held will be done again", "waited", stopGrace)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.producer.Close(ctx); err != nil {
		w.log.Debug("close of a producer that gave up failed", "cause", err)
	}
	if w.inflight != nil {
		w.inflight.forget = true
		w.inflight = nil
	}
	w.suspend(&closeRequest{})
	for len(w.order) > 0 {
		if err := w.closeTask(w.order[0], false); err != nil {
			return err
		}
	}
	return nil
}

// excuse takes from what a worker of a run that was told to stop ended with what
// is only Kafka's absence.
func (e *Engine) excuse(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || !errors.Is(err, ErrUnavailable) {
		return err
	}
	e.log.Warn("ended without the last commit, what it held will be done again", "cause", err)
	return nil
}

// part says that something at the end did not work. The broker notices by
// itself, after a time-out, what it was not told.
func (e *Engine) part(what string, err error) {
	if err != nil {
		e.log.Warn(what, "cause", err)
	}
}
