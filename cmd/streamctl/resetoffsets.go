package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"streamctl/internal/reset"
	"streamctl/internal/upgrade"
	"streamctl/pipeline"
	"streamctl/state"
)

type resetFlags struct {
	brokerFlags
	to        string
	topics    []string
	keepState []string
	set       []string
	dryRun    bool
	yes       bool
}

func (a *app) resetOffsetsCommand() *cobra.Command {
	f := new(resetFlags)
	cmd := &cobra.Command{
		Use:   "reset-offsets FILE",
		Short: "Rewind a stopped pipeline, so that it reads its input anew",
		Long: `Move the committed offsets of a stopped pipeline, and delete the state that was
built from what lies behind them: the local state and the changelog topics; the
repartition topics are emptied. Tables that a topic holds are always read whole
again, before the streams, as at the first run: a rewind to the earliest record
and a rerun give what the first run gave.

Targets of --to:
  earliest                the first record there
  latest                  the end: only what comes from now on
  offset:N                offset N
  timestamp:T             the first record at or after T, RFC 3339 or milliseconds since 1970
  duration:D              the first record of the last D, such as duration:1h30m
  shift:+N, shift:-N      N records on, or back, from the committed offset
  file:PATH               as a file says: CSV lines topic,partition,offset, or JSON
                          [{"topic":"t","partition":0,"offset":12}]; others stay

It plans, shows the plan, and asks; --yes does it without asking, --dry-run only
shows. While the pipeline runs it is refused (exit code 5). A rewind that was
interrupted is mended by doing it again.`,
		Args: exactArgs(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.resetOffsets(cmd.Context(), f, args[0]) },
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.to, "to", "", "target; one of "+reset.Targets)
	cmd.Flags().StringArrayVar(&f.topics, "topic", nil, "only this topic, as TOPIC or TOPIC:0,3; may be repeated")
	cmd.Flags().StringSliceVar(&f.keepState, "keep-state", nil, "keep the rows of these tables (names, separated by commas): they will see records again that are in them already")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "replace the value at a path of the file, as PATH=VALUE; may be repeated")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and change nothing")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do it without asking")
	return cmd
}

func (a *app) resetOffsets(ctx context.Context, f *resetFlags, path string) error {
	if f.to == "" {
		return usagef("--to is missing: want one of %s", reset.Targets)
	}
	target, err := reset.ParseTarget(f.to, a.now())
	if err != nil {
		return usagef("--to: %w", err)
	}
	request := reset.Request{To: target, KeepState: f.keepState, TableTopics: make(map[string]string), Companions: make(map[string]string)}
	for _, text := range f.topics {
		s, err := reset.ParseSelection(text)
		if err != nil {
			return usagef("--topic: %w", err)
		}
		request.Only = append(request.Only, s)
	}
	l, err := a.load(path, f.set)
	if err != nil {
		return err
	}
	request.Topology, request.Group = l.topology, l.group()
	for _, d := range l.pipeline.Tables {
		if d.Kind == pipeline.TopicTableDef {
			request.TableTopics[d.Table.Topic.Value] = d.Name
		}
		for _, state := range l.states() {
			if state != d.Name && pipeline.TableOf(state) == d.Name {
				request.Companions[state] = d.Name
			}
		}
	}
	return a.withSession(ctx, &f.brokerFlags, l.kafka, kafkaOptions{group: l.group()}, func(_ *endpoint, s session) error {
		record := upgrade.Store{Transport: s, Pipeline: l.name}
		if _, err := record.Read(ctx); err != nil {
			return refusedPlan(err) // before anything is deleted that it speaks of
		}
		return a.rewind(ctx, f, l, s.Rewind(), record, request)
	})
}

// states lists the names of all that the pipeline's tasks keep.
func (l *loaded) states() []string {
	var names []string
	for _, s := range l.topology.Subs {
		for _, t := range s.Tables {
			names = append(names, t.Name)
		}
	}
	return names
}

// rewind plans, shows, asks and does.
func (a *app) rewind(ctx context.Context, f *resetFlags, l *loaded, cluster reset.Cluster, record upgrade.Store, request reset.Request) error {
	plan, err := reset.Make(ctx, cluster, request)
	if errors.Is(err, reset.ErrActive) {
		return refuse(err)
	}
	if err != nil {
		return err
	}
	if a.output == outputText {
		if err := a.printPlan(plan); err != nil {
			return err
		}
	}
	done := false
	if !f.dryRun {
		if err := a.confirm(f); err != nil {
			return err
		}
		err := plan.Do(ctx, cluster, func() error {
			if err := state.Remove(f.stateDir(l.name)); err != nil {
				return err
			}
			return record.Cleared(ctx, plan.LostTables)
		})
		if errors.Is(err, reset.ErrActive) || errors.Is(err, state.ErrLocked) {
			return refuse(err)
		}
		if err != nil {
			return err
		}
		done = true
	}
	if a.output == outputJSON {
		return a.printJSON(struct {
			*reset.Plan
			Done bool `json:"done"`
		}{plan, done})
	}
	if !done {
		_, err = fmt.Fprintln(a.stdout, "\nNothing was changed (--dry-run).")
	} else {
		_, err = fmt.Fprintln(a.stdout, "\nDone. The next run begins there.")
	}
	return err
}

// confirm asks, where there is somebody to ask.
func (a *app) confirm(f *resetFlags) error {
	if f.yes {
		return nil
	}
	if a.output == outputJSON || !isTerminal(a.stdin) || !isTerminal(a.stdout) {
		return refuse(errors.New("nobody to confirm the rewind: give --yes to do it, --dry-run to see it"))
	}
	if _, err := fmt.Fprint(a.stdout, "\nDo it? [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return refuse(errors.New("not confirmed: nothing was changed"))
	}
	return nil
}

func (a *app) printPlan(p *reset.Plan) error {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Offsets of group %s:\n", p.Group)
	fmt.Fprintln(w, "TOPIC\tPARTITION\tSTART\tEND\tBEFORE\tAFTER\tNOTE")
	for _, ch := range p.Offsets {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", ch.Topic, ch.Partition, ch.Start, ch.End,
			offsetText(ch.Before), offsetText(ch.After), ch.Note)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(a.stdout, strings.TrimRight(line, " \n")); err != nil {
			return fmt.Errorf("print plan: %w", err)
		}
	}
	for _, part := range []struct {
		what  string
		names []string
	}{
		{"Tables built anew", p.LostTables},
		{"Tables kept", p.KeptTables},
		{"Changelog topics deleted", p.DeleteTopics},
		{"Repartition topics emptied", p.PurgeTopics},
		{"Warning", p.Warnings},
	} {
		if len(part.names) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%s: %s\n", part.what, strings.Join(part.names, ", ")); err != nil {
			return fmt.Errorf("print plan: %w", err)
		}
	}
	return nil
}

func offsetText(at *int64) string {
	if at == nil {
		return "-"
	}
	return fmt.Sprint(*at)
}
