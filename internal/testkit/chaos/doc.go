// Package chaos holds the black-box tests of many processes and many faults:
// several streamctl processes share pipelines on a real Kafka of three nodes, or
// on the embedded broker, while data keeps coming and processes, brokers and
// connections are killed, stopped and cut; afterwards every record that came out,
// read as committed by another client, must be the one that a sequential model
// computes from the input. It has no code of its own for others to use.
//
// Each test is a story and begins with newFleet: pipelines (jobs) with feed,
// model and watcher, and members, the processes that run all of them.
//
//	f := newFleet(t, fleetOptions{})        // 3 members, both jobs, three-node Kafka
//	f.startAll(); f.feed(); f.awaitCalm()   // ready, data flows, and it is known how fast
//	x := f.kill(1)                          // every fault gives a *fault
//	f.awaitServing(x, limit)                // every partition gives what was fed after x
//	f.start(1)
//	f.finish()                              // settle, stop, verify everything (the check V)
//
// fleet_test.go has the fleet and what can be done to its members, job_test.go
// the pipelines, verify_test.go what is checked at the end, main_test.go what
// the tests share and the table that is printed, rNN_*_test.go the stories.
// What a fault did is counted by f.fault(kind), which kill, pause and stop call
// themselves. Everything that members log is printed when a story fails.
//
// The short form runs with the other tests. STREAMCTL_SOAK=10m lets the stories
// with random faults go on for that long in sum, and each until it has struck at
// least longRounds (20) times, which may take longer; STREAMCTL_SEED=n repeats the random
// choices, STREAMCTL_CHAOS_SUMMARY=FILE writes the table of what was injected
// and checked (make chaos prints it).
package chaos
