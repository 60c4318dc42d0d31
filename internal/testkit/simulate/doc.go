// Package simulate runs whole pipelines, from their text on, over the in-memory
// log: several processes with real engines and real stores, a virtual clock, and
// everything that can go wrong, all by one seed. The output must always be that
// of the sequential model, and some things must hold at every moment.
//
// A seed is one run, always the same (docs/adr/0015): TestSimulation runs some
// seeds of every workload; STREAMCTL_SEEDS=n runs n of each, STREAMCTL_SEED=n
// only that one and prints all that happens. docs/testing.md tells more.
//
// The tour: schedule_test.go decides who goes next; plan_test.go what a seed is
// made of and what goes wrong; process_test.go is one life of a process,
// disk_test.go its disk; input_test.go is what goes into the topics,
// workload_test.go and language_test.go the pipelines and what must come out; found_test.go lists
// the seeds that have found something. It has no code for others to use.
package simulate
