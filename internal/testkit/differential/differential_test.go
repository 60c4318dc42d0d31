package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shortSeeds is how many seeds a plain run of the tests does, shortTime how
// long it may go on.
const (
	shortSeeds = 400
	shortTime  = 30 * time.Second
	// drawings is how many more pipelines a seed draws while there is nothing defined to compare.
	drawings = 4
)

// number reads an environment variable.
func number(t *testing.T, name string, otherwise uint64) (n uint64, set bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// drawCase draws the case of a seed.
func drawCase(seed uint64) *testCase {
	r := rand.New(rand.NewPCG(seed, 1))
	c := &testCase{seed: seed, settings: drawSettings(r), pipe: generate(r)}
	for c.anew = 0; c.anew < drawings && undefined(c.pipe.text()); c.anew++ {
		c.pipe = generate(r)
	}
	if c.pipe.scattered() || c.pipe.bunched() || c.pipe.searches() && c.pipe.timed() {
		c.settings.Partitions = 1
	}
	if c.text = c.pipe.text(); strings.Contains(c.text, "replicate: true") && r.IntN(2) == 0 {
		c.settings.Processes, c.settings.Partitions = 2, max(c.settings.Partitions, 2)
		if c.pipe.scattered() || c.pipe.bunched() {
			c.settings.Partitions = 1
		}
	}
	c.records = drawInput(r, c.pipe, c.settings.Partitions)
	return c
}

// undefined says that nothing is defined in a pipeline. What the
// compiler does not take, or fails at, is for try to tell.
func undefined(text string) (is bool) {
	defer func() {
		if recover() != nil {
			is = false
		}
	}()
	pipe, err := compile(text)
	return err == nil && !pipe.someDefined()
}

// verdict is what became of a case.
type verdict struct {
	problem string // "" = all is well
	skipped bool   // nothing defined to compare
	refused string // the compiler does not take it
	outputs int
}

// try runs a case on both sides.
func try(c *testCase) (v verdict) {
	defer func() { // of the compiler: the engine's goroutines end the test
		if p := recover(); p != nil {
			v = verdict{problem: fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	pipe, err := compile(c.text)
	if err != nil {
		return verdict{refused: err.Error()}
	}
	if !pipe.someDefined() {
		return verdict{skipped: true}
	}
	if c.settings.AtLeastOnce && pipe.countsAgain() {
		d := *c
		d.settings.Crashes = 0
		c = &d
	}
	m, err := expected(pipe, c)
	if err != nil {
		return verdict{problem: err.Error()}
	}
	out, err := execute(m, pipe, c)
	if err != nil {
		return verdict{problem: fmt.Sprintf("engine: %v\n%s", err, out.log)}
	}
	v.problem = compare(m, pipe, c, out)
	if v.problem != "" {
		v.problem += "\n" + out.log
	}
	for sink := range m.Sinks() {
		v.outputs += len(m.Outputs(sink))
	}
	return v
}

// TestDifferential compares seeds. STREAMCTL_SEEDS=n runs n seeds,
// STREAMCTL_SEED=n only that one, STREAMCTL_FIRST_SEED=n begins there;
// STREAMCTL_FAILURES=n goes on until n have failed.
func TestDifferential(t *testing.T) {
	seeds, many := number(t, "STREAMCTL_SEEDS", shortSeeds)
	first, _ := number(t, "STREAMCTL_FIRST_SEED", 0)
	failures, _ := number(t, "STREAMCTL_FAILURES", 1)
	if only, one := number(t, "STREAMCTL_SEED", 0); one {
		first, seeds, many = only, 1, true
	}
	began, compared, skipped, anew, outputs, failed := time.Now(), 0, 0, 0, 0, uint64(0)
	refused := map[string]int{}
	seed := first
	for ; seed < first+seeds && failed < failures; seed++ {
		if !many && time.Since(began) > shortTime {
			break
		}
		c := drawCase(seed)
		anew += c.anew
		v := try(c)
		switch {
		case v.problem != "":
			failed++
			report(t, c, v)
		case v.skipped:
			skipped++
		case v.refused != "":
			line, _, _ := strings.Cut(v.refused, "\n")
			if refused[line] == 0 && testing.Verbose() {
				t.Logf("seed %d is refused: %s\n%s", seed, v.refused, c.text)
			}
			refused[line]++
		default:
			compared++
			outputs += v.outputs
		}
	}
	lost := 0
	for line, n := range refused {
		t.Logf("%d refused: %s", n, line)
		lost += n
	}
	if lost*20 > compared+skipped+lost {
		t.Errorf("%d pipelines are refused: the generator does not know the language any more", lost)
	}
	t.Logf("seeds %d to %d: %d pipelines compared in %v, %d outputs; %d left out, %d drawn anew", first, seed-1, compared, time.Since(began).Round(time.Millisecond), outputs, skipped, anew)
	if !many && (compared < 20 || outputs == 0) && !t.Failed() {
		t.Error("too little was compared")
	}
}

// report shrinks a failing case and tells it.
func report(t *testing.T, c *testCase, v verdict) {
	t.Helper()
	small, v := shrink(c, v)
	t.Errorf("seed %d: %s\n%s\nto run it again: STREAMCTL_SEED=%d go test ./internal/testkit/differential -run 'TestDifferential$' -v\nwhen it is mended, keep it as a file of testdata/found",
		c.seed, v.problem, small.describe(), c.seed)
}
