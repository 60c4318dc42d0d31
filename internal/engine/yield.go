package engine

import (
	"context"
	"errors"
)

// yield is called where a goroutine of the engine begins, or goes on because
// another one of the process has told it something. A simulation holds it there
// until the other one has come to rest: so one goroutine runs at a time, and a
// run can be had again exactly.
func (e *Engine) yield(goroutine string) {
	if e.opts.Yield != nil {
		e.opts.Yield(goroutine)
	}
}

// await returns what the engine serves next: a GroupEvent or the event of a
// worker; nil when the run is to end. Of several things that are there already
// it takes them in one order, the most urgent first: chance has no part in what
// a run does.
func (e *Engine) await(ctx context.Context, group Coordinator) (any, error) {
	if ctx.Err() != nil {
		return nil, nil
	}
	select {
	case err := <-e.failure:
		return nil, err
	default:
	}
	select {
	case <-e.opts.State.Failed():
		return nil, e.opts.State.Err()
	default:
	}
	select {
	case event, ok := <-group.Events():
		return member(event, ok)
	default:
	}
	select {
	case <-ctx.Done():
		return nil, nil
	case err := <-e.failure:
		return nil, err
	case <-e.opts.State.Failed(): // in the background: no worker may have met it yet
		return nil, e.opts.State.Err()
	case event, ok := <-group.Events():
		return member(event, ok)
	case event := <-e.events:
		return event, nil
	}
}

// member is what came from the group, if it is still there.
func member(event GroupEvent, ok bool) (any, error) {
	if !ok {
		return nil, errors.New("follow group: membership ended")
	}
	return event, nil
}
