package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"streamctl/internal/crashpoint"
	"streamctl/internal/engine"
	"streamctl/internal/upgrade"
	"streamctl/operators"
	"streamctl/state"
)

type runFlags struct {
	brokerFlags
	acceptFlag
	identityFlags
	set      []string
	untilEnd bool
	workers  int
	http     string
}

func (a *app) runCommand() *cobra.Command {
	f := new(runFlags)
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run pipelines",
		Long: `Run the pipelines of one or more files until told to stop: the first TERM or INT
commits what was done and ends, a second one ends at once. With --until-end they
process what their topics hold now, commit, and end with exit code 0.

The local state of a pipeline lies in --data-dir/state/NAME. It is a copy of what
Kafka holds: losing it costs a restore, no data.

What the pipeline means is recorded in Kafka. A pipeline that has changed so that its
state does not fit is refused (exit code 5) before anything is written: plan shows it,
--accept-changes says what to do about it. One that has changed otherwise waits until no
process runs the pipeline as it was.`,
		Args: someArgs("FILE..."),
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), f, args) },
	}
	f.brokerFlags.add(cmd.Flags())
	f.acceptFlag.add(cmd.Flags())
	f.identityFlags.add(cmd.Flags())
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "replace the value at a path of the file, as PATH=VALUE; may be repeated")
	cmd.Flags().BoolVar(&f.untilEnd, "until-end", false, "process what is there now, and end")
	cmd.Flags().IntVar(&f.workers, "workers", 0, "goroutines that process records (default: one per core)")
	cmd.Flags().StringVar(&f.http, "http", "", "serve /livez, /readyz and /metrics at HOST:PORT; a port alone is one of 127.0.0.1 (default: off)")
	return cmd
}

func (f *runFlags) complete(getenv func(string) string) error {
	if f.workers < 0 {
		return usagef("--workers %d: want a number from 0", f.workers)
	}
	return f.identityFlags.complete(getenv, systemHostname, f.dataDir)
}

func (a *app) run(ctx context.Context, f *runFlags, paths []string) (err error) {
	if err := f.complete(a.getenv); err != nil {
		return err
	}
	if len(f.accept) > 0 && len(paths) > 1 {
		return usagef("--accept-changes is for one pipeline: run it alone")
	}
	chosen, err := f.chosen()
	if err != nil {
		return err
	}
	var files []*loaded
	byName := make(map[string]string)
	for _, path := range paths {
		l, err := a.load(path, f.set)
		if err != nil {
			return err
		}
		if other, taken := byName[l.name]; taken {
			return usagef("%s and %s are both the pipeline %q", other, path, l.name)
		}
		byName[l.name] = path
		files = append(files, l)
	}
	looker, err := a.newObserver(ctx, f.http, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, looker.close()) }()
	// One embedded broker for all of them, from before the first to after the last.
	for _, l := range files {
		if len(f.brokers) == 0 && l.kafka == nil {
			shared, err := a.endpoint(ctx, &f.brokerFlags, nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, shared.Close()) }()
			break
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	show := a.newProgress(f.untilEnd)
	defer show.stop()
	var all sync.WaitGroup
	results := make([]result, len(files))
	for i, l := range files {
		all.Go(func() {
			results[i] = a.runOne(ctx, f, l, chosen, show, looker)
			if results[i].err != nil {
				cancel() // one that fails ends the others, in an orderly way
			}
		})
	}
	all.Wait()
	show.stop()
	return a.report(results)
}

// result is how the run of one pipeline ended.
type result struct {
	name  string
	stats engine.Stats
	err   error
}

// runOne runs one pipeline: broker, state, engine.
func (a *app) runOne(ctx context.Context, f *runFlags, l *loaded, chosen map[string]upgrade.Action, show *progress, looker *observer) result {
	r := result{name: l.name}
	log := a.log.With("pipeline", l.name)
	crash, err := crashpoint.FromEnv(a.getenv, engine.Steps())
	if err != nil {
		r.err = err
		return r
	}
	settings := kafkaOptions{group: l.group(), instance: f.instance, crash: crash}
	if l.pipeline.Settings.ExactlyOnce {
		settings.commitInterval = l.pipeline.Settings.CommitInterval
	}
	r.err = a.withSession(ctx, &f.brokerFlags, l.kafka, settings, func(e *endpoint, s session) (err error) {
		prepare := func() error {
			if !e.embedded() {
				return nil
			}
			return makeTopics(ctx, s, l.topology, log)
		}
		opts := engine.Options{
			Topology: l.topology, Transport: s, Logger: log,
			Workers: f.workers, Instance: f.instance, Rack: f.rack, UntilEnd: f.untilEnd,
			KeepPlace:      f.keepPlace() && !f.untilEnd,
			Standbys:       l.pipeline.Settings.Standbys,
			AcceptableLag:  l.pipeline.Settings.AcceptableLag,
			ExactlyOnce:    l.pipeline.Settings.ExactlyOnce,
			CommitInterval: l.pipeline.Settings.CommitInterval,
			IdleTimeout:    l.pipeline.Settings.IdleTimeout,
			Crash:          crash,
			Progress:       func(st engine.Stats) { show.update(l.name, st) },
		}
		err = looker.during(ctx, l, f, s.Ping, func(m *engine.Monitor) (err error) {
			opts.Monitor = m
			r.stats, err = a.runAdmitted(ctx, a.gate(s, l.plan.Describe(), chosen, log), f.stateDir(l.name), opts, prepare)
			return err
		})
		return err
	})
	if ctx.Err() != nil && errors.Is(r.err, context.Canceled) {
		r.err = nil // told to stop before it had begun, or had found a broker
	}
	return r
}

// supervise runs the engine over its local state in dir, which it mends, waits
// for and rebuilds by itself: Kafka has everything that is in it.
func supervise(ctx context.Context, dir string, opts engine.Options) (engine.Stats, error) {
	stats, err := engine.Supervise(ctx, state.Directory{Options: state.Options{Dir: dir, Logger: opts.Logger}}, opts)
	if errors.Is(err, state.ErrLocked) {
		return stats, refuse(fmt.Errorf("another process runs this pipeline with %s: %w", dir, err))
	}
	return stats, err
}

// report prints what was done, and gives the failures as one error.
func (a *app) report(results []result) error {
	var faults []error
	type summary struct {
		Pipeline  string           `json:"pipeline"`
		Processed int64            `json:"processed"`
		Emitted   int64            `json:"emitted"`
		Restored  int64            `json:"restored"`
		Commits   int64            `json:"commits"`
		Dropped   map[string]int64 `json:"dropped,omitempty"` // operator/reason
		Error     string           `json:"error,omitempty"`
	}
	for _, r := range results {
		sum := summary{Pipeline: r.name, Processed: r.stats.Processed, Emitted: r.stats.Emitted, Restored: r.stats.Restored, Commits: r.stats.Commits}
		for key, n := range r.stats.Counters.Drops {
			if sum.Dropped == nil {
				sum.Dropped = make(map[string]int64)
			}
			sum.Dropped[key.Operator+"/"+key.Reason] += n
		}
		if r.err != nil {
			if len(results) > 1 {
				faults = append(faults, fmt.Errorf("pipeline %s: %w", r.name, r.err))
			} else {
				faults = append(faults, r.err)
			}
			sum.Error = r.err.Error()
		}
		if a.output == outputJSON {
			if err := a.printJSON(sum); err != nil {
				faults = append(faults, err)
			}
			continue
		}
		a.log.Info("stopped", "pipeline", r.name, "processed", sum.Processed, "emitted", sum.Emitted,
			"restored", sum.Restored, "commits", sum.Commits, "dropped", sum.Dropped)
	}
	return a.explain(errors.Join(faults...))
}

// explain adds, to the failure of a record, the line of the pipeline at fault and the input.
func (a *app) explain(err error) error {
	var rec *operators.RecordError
	if !errors.As(err, &rec) || rec.Span.File == "" {
		return err
	}
	return fmt.Errorf("%w\n  at %s:%d:%d\n  input: %s", err, rec.Span.File, rec.Span.Start.Line, rec.Span.Start.Col, rec.Input)
}
