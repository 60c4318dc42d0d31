package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"streamctl/internal/kafkatest"
)

// realKafka is one broker for all tests of this package that ask for it.
func realKafka(t *testing.T) string {
	t.Helper()
	return shared.Broker(t).Addr()
}

var shared = new(kafkatest.Shared) // of the test binary: TestMain must be able to end it

// testMain ends the shared broker when all tests have run: testscript ends the process itself.
type testMain struct{ m *testing.M }

func (t testMain) Run() int {
	defer shared.Close()
	return t.m.Run()
}

func TestMain(m *testing.M) {
	testscript.Main(testMain{m}, map[string]func(){
		"streamctl": func() { os.Exit(mainWith(os.Args[1:])) },
	})
}

// exitCode is a command of the scripts: `exitcode N command args...` expects
// the command to end with code N.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%v ended with code %d, want %d", args[1:], got, want)
	}
}

// TestScripts runs the command line as users do: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exitcode": exitCode,
		},
	})
}
