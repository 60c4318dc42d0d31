// Command streamctl runs stream-processing pipelines that are declared in YAML
// files over Kafka topics. This package is wiring and printing only: one file
// per subcommand, and what they share in app.go (streams, exit codes, logs),
// connect.go (which broker) and load.go (pipeline files).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(mainWith(os.Args[1:]))
}

// mainWith runs the command line on the process's own streams and signals. The
// first TERM or INT ends the work in an orderly way; a second one ends the
// process. Signals stay caught until then: one that comes while everything is
// being closed must not cut that off.
func mainWith(args []string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailed)
	}()
	a := newApp(os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	return a.execute(ctx, args)
}
