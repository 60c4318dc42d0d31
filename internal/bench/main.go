// Command bench measures streamctl as its users run it: the built binary as a
// child process on a real Kafka and on the embedded broker, on the join that
// the project started with, a count per key, stored queries, the restore of a
// table and the start itself. Beside it, in the same run and on the same topics, a bare
// consume-produce copy with the fastest Go client shows what the wire alone
// costs. It prints one table in Markdown.
//
// It owns the method (docs/performance.md tells it) and the pipelines it
// measures; it knows the product by its command line, and its reader of
// Kafka alone, which is one of those that read bare.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	parts      string
	views      int
	profiles   int
	documents  int
	partitions int
	runs       int
	binary     string
	keep       bool
	verbose    bool
	profileDir string
	stateMB    int
	stormTime  time.Duration
	stormRate  int
}

// parts that are measured, in the order they run, and those of several
// processes, which are measured only when they are asked for.
var (
	allParts   = []string{"copy", "join", "count", "streamjoin", "match", "restore", "start", "embedded"}
	fleetParts = []string{"takeover", "restart", "scale", "storm", "restorebare"}
)

func main() {
	if len(os.Args) > 1 {
		for name, command := range map[string]func([]string) error{copyCommand: copyMain, readCommand: readMain} {
			if os.Args[1] != name {
				continue
			}
			if err := command(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, name+":", err)
				os.Exit(1)
			}
			return
		}
	}
	var o options
	flag.StringVar(&o.parts, "parts", strings.Join(allParts, ","), "what to measure; also "+strings.Join(fleetParts, ","))
	flag.IntVar(&o.views, "views", 2_000_000, "page views")
	flag.IntVar(&o.profiles, "profiles", 100_000, "profiles, and keys of the count")
	flag.IntVar(&o.documents, "documents", 100_000, "documents for the stored queries")
	flag.IntVar(&o.partitions, "partitions", 4, "partitions of every topic")
	flag.IntVar(&o.runs, "runs", 1, "runs of each measurement; the best by CPU is shown")
	flag.StringVar(&o.binary, "binary", "", "streamctl to measure; built from this tree when empty")
	flag.BoolVar(&o.keep, "keep", false, "keep the working directory and say where it is")
	flag.BoolVar(&o.verbose, "v", false, "show what the children print")
	flag.StringVar(&o.profileDir, "cpuprofile", "", "directory for CPU profiles of the children")
	flag.IntVar(&o.stateMB, "state-mb", 1000, "state of takeover, restart and restorebare, MB")
	flag.DurationVar(&o.stormTime, "storm", time.Minute, "length of the rebalance storm")
	flag.IntVar(&o.stormRate, "storm-rate", 50_000, "views per second that flow in during the storm")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// validate lists every fault of the flags.
func (o options) validate() error {
	var faults []string
	for _, p := range strings.Split(o.parts, ",") {
		if !slices.Contains(allParts, p) && !slices.Contains(fleetParts, p) {
			faults = append(faults, fmt.Sprintf("no part %q (there are %s)", p, strings.Join(slices.Concat(allParts, fleetParts), ", ")))
		}
	}
	if o.views < 1 || o.profiles < 1 || o.documents < 1 || o.partitions < 1 || o.runs < 1 {
		faults = append(faults, "views, profiles, documents, partitions and runs must be at least 1")
	}
	if len(faults) > 0 {
		return fmt.Errorf("check flags: %s", strings.Join(faults, "; "))
	}
	return nil
}

func (o options) wants(part string) bool {
	return slices.Contains(strings.Split(o.parts, ","), part)
}

func run(ctx context.Context, o options) error {
	if err := o.validate(); err != nil {
		return err
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	onKafka := slices.DeleteFunc(slices.Concat(allParts, fleetParts), func(p string) bool { return p == "embedded" || !o.wants(p) })
	if len(onKafka) > 0 {
		if err := b.onKafka(ctx); err != nil {
			return err
		}
	}
	if o.wants("embedded") {
		if err := b.onEmbedded(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d CPUs (%s), %s, %d views of %d B, %d profiles, %d partitions\n\n",
		runtime.NumCPU(), cpuModel(), runtime.Version(), o.views, b.viewBytes, o.profiles, o.partitions)
	b.results.print(os.Stdout)
	return nil
}
