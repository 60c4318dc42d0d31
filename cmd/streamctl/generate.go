package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"streamctl/internal/lines"
	"streamctl/internal/record"
	"streamctl/internal/sample"
)

type generateFlags struct {
	produceFlags
	count    int
	rate     int
	seed     uint64
	profiles int
	skew     float64
}

func (a *app) generateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make up page views or profile edits, for load and for trying things out",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("want page-views or profile-edits")
			}
			return usagef("unknown kind of data %q: want page-views or profile-edits", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(
		a.generateKind("page-views", "Make up page views, their viewers by a Zipf distribution", 1000, func(f *generateFlags) func() sample.Message {
			data := sample.New(sample.Config{Seed: f.seed, Profiles: f.profiles, Skew: f.skew})
			return data.View
		}),
		a.generateKind("profile-edits", "Make up one profile per member, then edits of them", 0, func(f *generateFlags) func() sample.Message {
			data := sample.New(sample.Config{Seed: f.seed, Profiles: f.profiles, Skew: f.skew})
			n := 0
			return func() sample.Message {
				m := data.Profile(1+n%f.profiles, n/f.profiles)
				n++
				return m
			}
		}),
	)
	return cmd
}

// generateKind is a subcommand for one kind of data. The count defaults to
// count, or to the number of profiles when that is 0.
func (a *app) generateKind(name, short string, count int, maker func(*generateFlags) func() sample.Message) *cobra.Command {
	f := new(generateFlags)
	cmd := &cobra.Command{
		Use:   name + " [TOPIC]",
		Short: short,
		Long:  short + ".\n\nThey go to TOPIC, or as lines of JSON to the standard output. Equal flags make equal data.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("want one TOPIC or none, got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.count == 0 {
				f.count = f.profiles
			}
			if err := f.validate(); err != nil {
				return err
			}
			next := f.paced(cmd.Context(), maker(f))
			if len(args) == 0 {
				return a.printGenerated(next)
			}
			return a.produceFrom(cmd.Context(), &f.produceFlags, args[0], next)
		},
	}
	f.add(cmd.Flags())
	f.addTopic(cmd)
	cmd.Flags().StringVarP(&f.pipeline, "pipeline", "p", "", "take the kafka: section of this pipeline file")
	cmd.Flags().IntVar(&f.count, "count", count, "records to make (0: one per profile)")
	cmd.Flags().IntVar(&f.rate, "rate", 0, "records per second (0: as fast as possible)")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the random numbers")
	cmd.Flags().IntVar(&f.profiles, "profiles", 1000, "members, numbered from 1")
	cmd.Flags().Float64Var(&f.skew, "skew", 1.1, "exponent of the Zipf distribution, above 1")
	return cmd
}

func (f *generateFlags) validate() error {
	switch {
	case f.count < 0:
		return usagef("--count %d: want a number from 0", f.count)
	case f.rate < 0:
		return usagef("--rate %d: want a number from 0", f.rate)
	case f.profiles < 1:
		return usagef("--profiles %d: want a number from 1", f.profiles)
	case f.skew <= 1:
		return usagef("--skew %v: want a number above 1", f.skew)
	}
	return nil
}

// paced gives count records, at most rate per second.
func (f *generateFlags) paced(ctx context.Context, make func() sample.Message) func() (lines.Parsed, error) {
	made := 0
	began := time.Now()
	return func() (lines.Parsed, error) {
		if made == f.count {
			return lines.Parsed{}, io.EOF
		}
		if f.rate > 0 {
			due := began.Add(time.Duration(made) * time.Second / time.Duration(f.rate))
			if wait := time.Until(due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return lines.Parsed{}, ctx.Err()
				}
			}
		}
		made++
		m := make()
		return lines.Parsed{
			Record:    record.Record{Key: m.Key, Value: m.Value, Time: m.Time},
			Partition: m.Partition,
		}, nil
	}
}

// printGenerated prints records in the form that produce takes.
func (a *app) printGenerated(next func() (lines.Parsed, error)) error {
	out := bufio.NewWriter(a.stdout)
	var line []byte
	for {
		p, err := next()
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		line = lines.AppendPlain(line[:0], &p.Record)
		if _, err := out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("print records: %w", err)
		}
	}
}
