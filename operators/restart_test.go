package operators_test

import (
	"fmt"
	"slices"
	"testing"
)

// input is one record of a script; "-" is null, as for rig.produce.
type input struct {
	topic, key, value string
	time              int64
}

// everyRestart runs a script record by record, then again with a restart behind
// each of its records, and once with one behind all of them: what comes out, in its
// order, must be the same. It returns the rig that had no restart.
func everyRestart(t *testing.T, src string, parts map[string]int, script []input, topics ...string) *rig {
	t.Helper()
	run := func(restart func(at int) bool) *rig {
		r := newRig(t, src, parts)
		for i, in := range script {
			r.produce(in.topic, in.key, in.value, in.time)
			r.mustRun()
			if restart(i) {
				r.reopen()
			}
		}
		return r
	}
	plain := run(func(int) bool { return false })
	same := func(r *rig, what string) {
		for _, topic := range topics {
			if got, want := r.show(topic), plain.show(topic); !slices.Equal(got, want) {
				expect(t, fmt.Sprintf("%s %s", topic, what), got, want...)
			}
		}
	}
	for at := range script {
		same(run(func(i int) bool { return i == at }), fmt.Sprintf("with a restart behind record %d", at))
	}
	same(run(func(int) bool { return true }), "with restarts behind all records")
	return plain
}
