// Package differential holds the engine to the meaning of the language: random
// pipelines over random inputs, compiled and run whole on an in-memory Kafka,
// must write what the interpreter of package model says. docs/testing.md tells
// how to reproduce a seed.
//
// It is tests only. The tour: generate_*_test.go write pipelines (pipe_test.go) and
// input_test.go records for them; plan_test.go compiles them and knows what has no
// order; rig_test.go runs a case on the engine under the circumstances that
// settings_test.go draws (restarts, kills, lost disks, several processes);
// compare_test.go compares; shrink_test.go makes a failing case small.
package differential
