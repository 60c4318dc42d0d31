package crashpoint

import (
	"strings"
	"testing"
	"time"
)

func TestWaitsTheFirstTimes(t *testing.T) {
	for spec, want := range map[string]time.Duration{"": 0, "after:3s": 3 * time.Second, "after:3s:2": 6 * time.Second} {
		var waited time.Duration
		hook, err := parseSlow(spec, steps, func(d time.Duration) { waited += d })
		if err != nil {
			t.Fatal(err)
		}
		if hook == nil {
			hook = func(string) {}
		}
		for _, step := range []string{"before", "after", "after", "after"} {
			hook(step)
		}
		if waited != want {
			t.Errorf("%q: waited %s, want %s", spec, waited, want)
		}
	}
}

func TestRefusesSlowPointsItDoesNotKnow(t *testing.T) {
	for spec, want := range map[string]string{
		"after":       "not name:duration",
		"after:1s:2:": "not name:duration",
		"aft:1s":      "no step \"aft\" (there are before, after)",
		"after:1":     "not a positive duration",
		"after:-1s":   "not a positive duration",
		"after:1s:0":  "not a positive number",
	} {
		if _, err := parseSlow(spec, steps, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestFromEnvTakesBoth(t *testing.T) {
	env := func(name string) string { return map[string]string{SlowEnv: "before:1ns"}[name] }
	if hook, err := FromEnv(env, steps); hook == nil || err != nil {
		t.Errorf("no hook, or error %v", err)
	}
	if hook, err := FromEnv(func(string) string { return "" }, steps); hook != nil || err != nil {
		t.Errorf("a hook, or error %v", err)
	}
	for _, name := range []string{Env, SlowEnv} {
		if _, err := FromEnv(func(asked string) string { return map[string]string{name: "nowhere:1s"}[asked] }, steps); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
