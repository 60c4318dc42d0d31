package simulate

import (
	"fmt"
	"testing"
)

// found are seeds that have found a mistake, with what it was. A seed means
// another run when the engine takes other steps; the list keeps the runs that are
// known to lead into narrow places among those that are always tried.
var found = []struct {
	workload string
	seed     uint64
	what     string
}{
	{"join-moved", 45, "tasks began on a producer that was being replaced: what they sent was lost with it, their offsets were committed by the new one"},
	{"join", 103, "the assignor let equal tasks go in turn for as long as a warm-up took, and nobody came to work"},
	{"join", 187, "likewise"},
	{"join-at-least-once", 191, "the log of the tests took offsets of a member that had been expelled between two looks"},
	{"join", 91, "a standby was closed with the number of partitions noted and not written, and the process ended for it"},
	{"running", 40854, "a standby read on past the end of the changelog as its process had asked for it, and the promoted task was taken for one whose changelog had lost data"},
	{"chain", 63, "a process that had been expelled without its knowing took what its successor had purged for a gap in its input, and ended"},
	{"running-moved", 8, "a task that was given back while it was being closed was opened twice"},
	{"join-foreign", 62, "a bounded run stood at the end of a table's edits as it had found it; others loaded the table up to a later one, and both waited for ever"},
	{"join-foreign-bounded", 28, "likewise"},
	{"running-moved", 192, "a bounded run that the group gave no task never ended: nothing made it look"},
	{"join-streams", 78, "the log of the tests kept a member whose leaving had failed for ever"},
	{"join-streams-bounded", 1157, "of two bounded runs each had taken the end of one repartition topic before something was added that the other one waited for, so both waited for ever"},
	{"join-streams-bounded", 24, "a task that waited for a new producer was taken away, and its standby stayed open where it was: the next worker could not open the state"},
	{"join-streams-bounded-at-least-once", 5258, "rows that had expired while nobody ran the task were deleted at its start and the deletions not committed; taken away before a record came, it ended the process"},
	{"chain", 42, "two processes that were started together both created the internal topics, and one ended for it"},
}

// TestFound runs the seeds of the list.
func TestFound(t *testing.T) {
	list := workloads(t)
	for _, f := range found {
		t.Run(fmt.Sprint(f.workload, " ", f.seed), func(t *testing.T) {
			t.Parallel()
			for _, w := range list {
				if w.name == f.workload {
					check(t, w, f.seed, false, &tally{})
				}
			}
		})
	}
}
