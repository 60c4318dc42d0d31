// Package crash holds the tests that kill the real binary on a real Kafka: at
// random moments and at every named step of a commit, while data keeps coming,
// with and without the state directory; afterwards every record of the output,
// read as committed by another client, must be the one that a sequential model
// computes from the input. It has no code of its own for others to use.
//
// The short form runs with the other tests. STREAMCTL_SOAK=10m goes on killing
// for that long; STREAMCTL_SEED=n repeats a run's random choices.
package crash
