// Package usecases holds the acceptance stories as tests: enrichment of page
// views, rewinding, compaction of changelogs, and what a failure must not lose.
// Each runs the built binary on the embedded broker and on a real Kafka, and
// compares complete outputs, per key and in order, with what must come. It has
// no code of its own for others to use.
//
// STREAMCTL_BIG=1 adds the first start with 100 000 profiles and 2 000 000 views.
package usecases
