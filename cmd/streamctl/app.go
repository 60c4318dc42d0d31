package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"streamctl/internal/selfstat"
)

// Exit codes. They are part of the tool's interface.
const (
	exitOK      = 0
	exitFailed  = 1 // failed at run time
	exitUsage   = 2 // the command line is wrong
	exitInvalid = 3 // a pipeline file is invalid
	exitRefused = 5 // refused for safety
)

// failure is an error that says with which code the process ends.
type failure struct {
	code   int
	err    error
	silent bool // everything has been said already
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usagef(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func refuse(err error) error { return &failure{code: exitRefused, err: err} }

// app is what all subcommands share: streams, environment, and the flags that
// stand before them.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time

	output   string // text | json
	logLevel string
	level    slog.Level
	log      *slog.Logger
}

func newApp(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, now: time.Now}
}

// execute runs one command line and gives its exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	stop, err := selfstat.Start(a.getenv)
	if err != nil {
		return a.fail(err)
	}
	root := a.rootCommand()
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	err = errors.Join(err, stop(a.stderr))
	if err == nil {
		return exitOK
	}
	return a.fail(err)
}

// fail prints an error and gives its exit code.
func (a *app) fail(err error) int {
	code, silent := exitFailed, false
	var f *failure
	if errors.As(err, &f) {
		code, silent = f.code, f.silent
	}
	if silent {
		return code
	}
	if a.output == outputJSON {
		// An error value always encodes; a stream that cannot be written leaves the code.
		_ = json.NewEncoder(a.stderr).Encode(map[string]any{"error": err.Error(), "code": code})
	} else {
		fmt.Fprintf(a.stderr, "streamctl: %v\n", err)
		if code == exitUsage {
			fmt.Fprintln(a.stderr, "streamctl: try --help")
		}
	}
	return code
}

const (
	outputText = "text"
	outputJSON = "json"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "streamctl",
		Short: "Run declarative stream-processing pipelines over Kafka",
		Long: `streamctl runs pipelines that are declared in YAML files: it reads Kafka topics,
filters, joins and aggregates their records with local state, and writes the
results to Kafka topics, each effect exactly once.

Without a kafka: section in the file and without --brokers, everything runs on
an embedded broker that keeps its data under --data-dir.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
					return usagef("unknown command %q: did you mean %s?", args[0], strings.Join(like, " or "))
				}
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.prepare()
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", outputText, "what to print: text or json")
	flags.StringVar(&a.logLevel, "log-level", "info", "least level of log lines: debug, info, warn, error")
	root.AddCommand(
		a.runCommand(), a.testCommand(), a.planCommand(), a.validateCommand(), a.resetOffsetsCommand(), a.produceCommand(),
		a.consumeCommand(), a.generateCommand(), a.versionCommand(),
	)
	refuseUnknownShells(root)
	return root
}

// refuseUnknownShells makes the completion command tell a wrong shell from no
// shell: by itself it prints its help for both.
func refuseUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown shell %q: want bash, fish, powershell or zsh", args[0])
			}
			return nil
		}
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// prepare checks the common flags and makes the logger.
func (a *app) prepare() error {
	if a.output != outputText && a.output != outputJSON {
		bad := a.output
		a.output = outputText
		return usagef("--output %s: want text or json", bad)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usagef("--log-level %s: want debug, info, warn or error", a.logLevel)
	}
	a.level = level
	a.logTo(a.stderr)
	return nil
}

// logTo makes the logger: lines of text where people read, JSON elsewhere.
func (a *app) logTo(w io.Writer) {
	opts := &slog.HandlerOptions{Level: a.level}
	if isTerminal(a.stderr) {
		a.log = slog.New(slog.NewTextHandler(w, opts))
	} else {
		a.log = slog.New(slog.NewJSONHandler(w, opts))
	}
}

// exactArgs and someArgs are cobra's, with this tool's exit code.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("want %s, got %d arguments", what, len(args))
		}
		return nil
	}
}

func someArgs(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("want %s", what)
		}
		return nil
	}
}

// printJSON prints one value as one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// color says whether to colour what goes to w: only on a terminal, and not when NO_COLOR is set.
func (a *app) color(w io.Writer) bool {
	return a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb" && isTerminal(w)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
