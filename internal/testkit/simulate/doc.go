// Package simulate holds the tests that run whole pipelines, from their text
// on, over the in-memory log: with random settings, with commits, sends and
// fetches that fail at random, with power cuts, lost disks and compacted
// topics. The output must always be that of the sequential model. It has no
// code of its own for others to use.
//
// Each seed is one such run. STREAMCTL_SEEDS=n runs n of them,
// STREAMCTL_SEED=n only that one.
package simulate
