package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"streamctl/internal/engine"
	"streamctl/internal/upgrade"
	"streamctl/pipeline"
	"streamctl/state"
)

type planFlags struct {
	brokerFlags
	acceptFlag
	set      []string
	offline  bool
	detailed bool
}

func (a *app) planCommand() *cobra.Command {
	f := new(planFlags)
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what a pipeline will do, and what has changed since it ran",
		Long: `Show what the pipeline is made of: sub-topologies and their tasks, what they read
and do, where state lies and what restores it, what is repartitioned and why,
which topics of its own it needs.

Where the broker answers, the plan is compared with the cluster and with the
plan that the pipeline ran last, which is kept in the topic PIPELINE.plan:
  =  unchanged     +  new     ~  changed     -  gone     !  will not run like this
What is refused here is refused by run, before anything is written. With
--accept-changes it shows what run would do with the same flag.

The exit code is 0; with --detailed-exitcode it is 2 when something has changed, and
5 when run would refuse it.`,
		Args: exactArgs(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.plan(cmd.Context(), f, args[0]) },
	}
	f.brokerFlags.add(cmd.Flags())
	f.acceptFlag.add(cmd.Flags())
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "replace the value at a path of the file, as PATH=VALUE; may be repeated")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "contact nothing: show the plan of the file alone")
	cmd.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "end with code 2 when something has changed, 5 when it is refused")
	return cmd
}

// acceptFlag is what the user has decided about changed tables.
type acceptFlag struct{ accept map[string]string }

func (f *acceptFlag) add(flags *pflag.FlagSet) {
	flags.StringToStringVar(&f.accept, "accept-changes", nil,
		"what to do about changed tables, as TABLE=keep|rebuild|empty,...: go on with the old rows, read the table's topic anew, or begin empty")
}

// chosen checks the words of the flag.
func (f *acceptFlag) chosen() (map[string]upgrade.Action, error) {
	out := make(map[string]upgrade.Action, len(f.accept))
	for name, word := range f.accept {
		switch action := upgrade.Action(word); action {
		case upgrade.Keep, upgrade.Rebuild, upgrade.Empty:
			out[name] = action
		default:
			return nil, usagef("--accept-changes %s=%s: want keep, rebuild or empty", name, word)
		}
	}
	return out, nil
}

// gate is what stands before a run of a pipeline.
func (a *app) gate(s session, plan *pipeline.Description, chosen map[string]upgrade.Action, log *slog.Logger) *upgrade.Gate {
	return &upgrade.Gate{Transport: s, Cluster: s.Rewind(), Plan: plan, Chosen: chosen, Version: version, Now: a.now, Log: log}
}

// planned is what plan finds out. It is printed as JSON as it stands.
type planned struct {
	Plan     *pipeline.Description `json:"plan"`
	Compared bool                  `json:"compared"`
	Recorded *recordedPlan         `json:"recorded,omitempty"`
	Changes  []upgrade.Change      `json:"changes"`
	Topics   []upgrade.Finding     `json:"topics"`
	Refused  string                `json:"refused,omitempty"`

	changed bool
}

type recordedPlan struct {
	Fingerprint string    `json:"fingerprint"`
	At          time.Time `json:"at"`
	Version     string    `json:"version"`
}

func (a *app) plan(ctx context.Context, f *planFlags, path string) error {
	chosen, err := f.chosen()
	if err != nil {
		return err
	}
	l, err := a.load(path, f.set)
	if err != nil {
		return err
	}
	p := &planned{Plan: l.plan.Describe(), Changes: []upgrade.Change{}, Topics: []upgrade.Finding{}}
	if why := a.alone(f, l); why == "" {
		err = a.withSession(ctx, &f.brokerFlags, l.kafka, kafkaOptions{group: l.group()}, func(_ *endpoint, s session) error {
			return p.compare(ctx, a.gate(s, p.Plan, chosen, a.log), l.plan)
		})
		if f := new(failure); errors.As(err, &f) || errors.Is(err, upgrade.ErrVersion) || errors.Is(err, errChoice) {
			return err
		}
	}
	if printErr := a.printPlanned(p); printErr != nil {
		return printErr
	}
	switch {
	case err != nil && f.detailed:
		return fmt.Errorf("compare with the cluster: %w", err)
	case err != nil:
		a.log.Warn("the plan is not compared with the cluster", "cause", err)
	case f.detailed && p.Refused != "":
		return &failure{code: exitRefused, err: errors.New(p.Refused), silent: true}
	case f.detailed && p.changed:
		return &failure{code: exitChanged, err: errors.New("the plan has changed"), silent: true}
	}
	return nil
}

// exitChanged is the code of plan --detailed-exitcode when something has changed.
const exitChanged = 2

// alone says why there is nothing to compare with; "" = there may be.
func (a *app) alone(f *planFlags, l *loaded) string {
	if f.offline {
		return "--offline"
	}
	if len(f.brokers) == 0 && l.kafka == nil {
		if _, err := os.Stat(f.brokerDir()); errors.Is(err, os.ErrNotExist) {
			return "no embedded broker has run here"
		}
	}
	return ""
}

// errChoice: --accept-changes does not fit the changes.
var errChoice = errors.New("--accept-changes")

// compare asks the cluster.
func (p *planned) compare(ctx context.Context, gate *upgrade.Gate, plan *pipeline.Plan) error {
	c, s, err := gate.Compare(ctx)
	if c == nil {
		return err
	}
	if err != nil {
		return &failure{code: exitUsage, err: fmt.Errorf("%w: %w", errChoice, err)}
	}
	found, err := gate.Found(ctx)
	if err != nil {
		return err
	}
	p.Compared, p.Changes, p.Topics = true, c.Changes, upgrade.CheckTopics(p.Plan, found)
	p.changed = c.Changed()
	if r := c.Recorded; r != nil {
		p.Recorded = &recordedPlan{r.Plan.Fingerprint, r.At, r.Version}
	}
	if err := c.Refused(); err != nil {
		p.Refused = err.Error()
	}
	counts := upgrade.Partitions(p.Plan, s.Counts)
	for name, n := range s.Counts {
		counts[name] = n
	}
	p.Plan.Text = plan.Text(counts)
	return nil
}

// printPlanned shows the plan, then what has changed.
func (a *app) printPlanned(p *planned) error {
	if a.output == outputJSON {
		return a.printJSON(p)
	}
	var out strings.Builder
	out.WriteString(p.Plan.Text)
	p.writeComparison(&out)
	_, err := fmt.Fprint(a.stdout, out.String())
	return err
}

func (p *planned) writeComparison(out *strings.Builder) {
	if !p.Compared {
		return
	}
	for i, t := range p.Topics {
		if i == 0 {
			out.WriteString("\nTopics of the cluster:\n")
		}
		sign := "+"
		if t.Fault {
			sign = "!"
		}
		fmt.Fprintf(out, "  %s %s %s\n", sign, t.Topic, t.Text)
	}
	if p.Recorded == nil {
		out.WriteString("\nNo plan is recorded: the pipeline has not run yet.\n")
	} else {
		fmt.Fprintf(out, "\nCompared with the plan recorded at %s by streamctl %s:\n", p.Recorded.At.Format(time.RFC3339), p.Recorded.Version)
	}
	for _, ch := range p.Changes {
		writeChange(out, ch)
	}
	switch {
	case p.Refused != "":
		fmt.Fprintf(out, "\nrun refuses this: %s\n", p.Refused)
	case p.Recorded != nil && !p.changed:
		out.WriteString("\nNothing has changed.\n")
	}
}

// writeChange writes one line of the comparison, and below it what differs.
func writeChange(out *strings.Builder, ch upgrade.Change) {
	sign := map[upgrade.Verdict]string{upgrade.Unchanged: "=", upgrade.New: "+", upgrade.Changed: "~", upgrade.Gone: "-"}[ch.Verdict]
	if ch.Refused {
		sign = "!"
	}
	fmt.Fprintf(out, "  %s %s %s", sign, ch.Kind, ch.Name)
	if ch.Effect != "" {
		fmt.Fprintf(out, ": %s", ch.Effect)
	}
	out.WriteByte('\n')
	for _, line := range ch.Differs {
		fmt.Fprintf(out, "      %s\n", line)
	}
	if len(ch.Left) > 0 {
		fmt.Fprintf(out, "      topics left behind: %s\n", strings.Join(ch.Left, ", "))
		for _, topic := range ch.Left {
			fmt.Fprintf(out, "      delete when nobody wants it back: kafka-topics.sh --bootstrap-server HOST:PORT --delete --topic %s\n", topic)
		}
	}
}

// runAdmitted runs the engine as soon as the gate lets it, and goes back to
// the gate when another plan turns out to be in the way.
func (a *app) runAdmitted(ctx context.Context, gate *upgrade.Gate, dir string, opts engine.Options, prepare func() error) (engine.Stats, error) {
	for {
		rows, err := gate.Admit(ctx)
		if err != nil {
			return engine.Stats{}, refusedPlan(err)
		}
		if err := prepare(); err != nil {
			return engine.Stats{}, err
		}
		opts.Plan, opts.Rows = gate.Plan.Fingerprint, rows
		opts.Joined = func(ctx context.Context) error { return gate.Joined(ctx, rows) }
		stats, err := supervise(ctx, dir, opts)
		switch {
		case errors.Is(err, engine.ErrOtherPlan):
			if err := gate.Wait(ctx, err.Error()); err != nil {
				return stats, err
			}
		case errors.Is(err, upgrade.ErrOvertaken): // look again
		default:
			return stats, refusedPlan(err)
		}
	}
}

// refusedPlan gives refusals their exit code.
func refusedPlan(err error) error {
	if errors.Is(err, upgrade.ErrRefused) || errors.Is(err, upgrade.ErrVersion) || errors.Is(err, state.ErrVersion) {
		return refuse(err)
	}
	return err
}
