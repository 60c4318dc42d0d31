package observe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"streamctl/internal/engine"
)

// Check is one thing that has to hold, and whether it does.
type Check struct {
	Name   string
	OK     bool
	Detail string // why not, or how
}

// String is the line of a check, as Kubernetes writes them.
func (c Check) String() string {
	mark, word := "+", "ok"
	if !c.OK {
		mark, word = "-", "failed"
	}
	if c.Detail == "" {
		return fmt.Sprintf("[%s]%s %s", mark, c.Name, word)
	}
	return fmt.Sprintf("[%s]%s %s: %s", mark, c.Name, word, c.Detail)
}

// allOK says that every check holds.
func allOK(checks []Check) bool {
	for _, c := range checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// Live checks that nothing is stuck. What a process waits for (a broker, space
// on the disk) does not make it stuck: a restart would not help.
func (t *Target) Live() []Check {
	snap := t.monitor.Snapshot()
	checks := []Check{{Name: t.name + "/process", OK: true, Detail: snap.Phase.String()}}
	for _, w := range snap.Workers {
		c := Check{Name: fmt.Sprintf("%s/worker %d", t.name, w.Index), OK: true}
		switch stuck := w.Stuck(snap.At); {
		case !w.Alive:
			c.Detail = "does not run"
		case stuck > 0:
			c.OK = false
			c.Detail = fmt.Sprintf("its loop has not turned for %s", snap.At.Sub(w.Turned).Round(time.Second))
		}
		checks = append(checks, c)
	}
	return checks
}

// Ready checks that the pipeline does this process's share of the work now.
func (t *Target) Ready(ctx context.Context) []Check {
	ping, stopping := t.state()
	return t.ready(ctx, t.monitor.Snapshot(), ping, stopping)
}

func (t *Target) ready(ctx context.Context, snap engine.Snapshot, ping func(context.Context) error, stopping bool) []Check {
	checks := []Check{runs(snap, stopping), joined(snap), tasksRun(snap), stateHolds(snap)}
	broker := Check{Name: "broker", Detail: "not connected"}
	if ping != nil {
		broker.Detail = ""
		if err := t.answers(ctx, ping); err != nil {
			broker.Detail = oneLine(err.Error())
		}
		broker.OK = broker.Detail == ""
	}
	checks = append(checks, broker)
	for i := range checks {
		checks[i].Name = t.name + "/" + checks[i].Name
	}
	return checks
}

// runs says whether the pipeline is meant to run at all.
func runs(snap engine.Snapshot, stopping bool) Check {
	c := Check{Name: "run"}
	switch {
	case stopping:
		c.Detail = "stopping"
	case snap.Phase == engine.PhaseRunning:
		c.OK = true
	case snap.Phase == engine.PhaseSuspended:
		c.Detail = oneLine("suspended: " + snap.Stats.Suspended)
	default:
		c.Detail = snap.Phase.String()
	}
	return c
}

// joined says whether the process is a member of the group.
func joined(snap engine.Snapshot) Check {
	if !snap.Joined {
		return Check{Name: "group", Detail: "not a member"}
	}
	return Check{Name: "group", OK: true, Detail: fmt.Sprintf("generation %d", snap.Generation)}
}

// tasksRun says whether all tasks that the group gave run: none at all is
// enough, where there are more processes than tasks.
func tasksRun(snap engine.Snapshot) Check {
	c := Check{Name: "tasks", OK: snap.Joined && snap.Stats.Tasks == snap.Owned && snap.Stats.Running == snap.Owned}
	c.Detail = fmt.Sprintf("%d of %d run", snap.Stats.Running, snap.Owned)
	var behind []string
	for _, w := range snap.Workers {
		for _, r := range w.Stats.Restores {
			if left, known := r.Remaining(); known {
				behind = append(behind, fmt.Sprintf("%s/%d restores, %.0f %%, %d records left", r.TP.Topic, r.TP.Partition, 100*r.Done(), left))
			} else {
				behind = append(behind, fmt.Sprintf("%s/%d restores", r.TP.Topic, r.TP.Partition))
			}
		}
	}
	if len(behind) > 0 {
		c.Detail += "; " + strings.Join(behind, "; ")
	}
	return c
}

// stateHolds says whether the local state can be written.
func stateHolds(snap engine.Snapshot) Check {
	if snap.StateErr != nil {
		return Check{Name: "state", Detail: oneLine(snap.StateErr.Error())}
	}
	return Check{Name: "state", OK: true}
}

// oneLine keeps a message from breaking the list.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
