package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"streamctl/internal/broker"
	"streamctl/pipeline"
)

// attachTimeout bounds the wait for an embedded broker that another process is
// starting, or ending.
const attachTimeout = 10 * time.Second

// brokerFlags say which broker a command uses.
type brokerFlags struct {
	brokers []string
	dataDir string
}

func (f *brokerFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.brokers, "brokers", nil, "brokers as HOST:PORT, separated by commas (default: those of the pipeline file, else the embedded broker)")
	flags.StringVar(&f.dataDir, "data-dir", ".streamctl", "directory of local state and of the embedded broker")
}

// stateDir is where the state of a pipeline lies.
func (f *brokerFlags) stateDir(pipelineName string) string {
	return filepath.Join(f.dataDir, "state", pipelineName)
}

func (f *brokerFlags) brokerDir() string { return filepath.Join(f.dataDir, "broker") }

// endpoint is a broker to connect to, ours for as long as it is not closed.
type endpoint struct {
	settings pipeline.KafkaSettings
	lease    *broker.Lease // nil: not embedded
}

func (e *endpoint) embedded() bool { return e.lease != nil }

// Close ends an embedded broker that was started for this endpoint.
func (e *endpoint) Close() error {
	if e.lease == nil {
		return nil
	}
	return e.lease.Close()
}

// endpoint finds the broker: --brokers before the file's kafka: section before
// the embedded broker. Of --brokers only the addresses count; how to log in
// still comes from the file.
func (a *app) endpoint(ctx context.Context, f *brokerFlags, fromFile *pipeline.KafkaSettings) (*endpoint, error) {
	e := new(endpoint)
	if fromFile != nil {
		e.settings = *fromFile
	}
	if len(f.brokers) > 0 {
		for _, b := range f.brokers {
			if !strings.Contains(b, ":") {
				return nil, usagef("--brokers %s: want HOST:PORT", b)
			}
		}
		e.settings.Brokers = f.brokers
	}
	if len(e.settings.Brokers) > 0 {
		return e, nil
	}
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	lease, err := broker.Attach(ctx, broker.Config{Dir: f.brokerDir(), Log: a.log})
	if err != nil {
		return nil, err
	}
	e.lease = lease
	e.settings.Brokers = []string{lease.Addr}
	a.log.Debug("embedded broker", "address", lease.Addr, "own", lease.Own != nil)
	return e, nil
}

// kafkaOptions are what a command adds to the settings of a connection.
type kafkaOptions struct {
	group    string
	instance string
	crash    func(step string)
	// commitInterval is how long a transaction is open at least; 0 = none will be.
	commitInterval time.Duration
}

// withSession connects, calls use, and closes everything again.
func (a *app) withSession(ctx context.Context, f *brokerFlags, fromFile *pipeline.KafkaSettings, opts kafkaOptions, use func(*endpoint, session) error) (err error) {
	e, err := a.endpoint(ctx, f, fromFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	s, err := connect(ctx, e.settings, opts, a.log)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", strings.Join(e.settings.Brokers, ", "), err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return use(e, s)
}
