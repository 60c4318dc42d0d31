package crashpoint

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

var steps = []string{"before", "after"}

func TestKillsAtTheCountedStepOnly(t *testing.T) {
	killed := 0
	hook, err := parse("after:2", steps, func() { killed++ })
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []string{"after", "before", "before", "after", "after"} {
		hook(step)
		if want := i >= 3; (killed == 1) != want {
			t.Fatalf("step %d (%s): killed %d times", i, step, killed)
		}
	}
}

func TestNothingAskedFor(t *testing.T) {
	if hook, err := Parse("", steps); hook != nil || err != nil {
		t.Errorf("got a hook or error %v", err)
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	for spec, want := range map[string]string{
		"befor":    "no step \"befor\" (there are before, after)",
		"before:0": "not a positive number",
		"before:x": "not a positive number",
	} {
		if _, err := Parse(spec, steps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestEndsTheProcessWithoutGoodbye(t *testing.T) {
	if os.Getenv(Env) != "" {
		hook, err := Parse(os.Getenv(Env), steps)
		if err != nil {
			t.Fatal(err)
		}
		hook("before")
		t.Fatal("still alive")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEndsTheProcessWithoutGoodbye$")
	cmd.Env = append(os.Environ(), Env+"=before")
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err == nil || !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v: %s", err, out)
	}
}
