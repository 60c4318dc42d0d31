// Package pipetest tests pipelines beside their files: it reads tests.yaml, runs
// each test on a pipeline without a broker, and says where what came differs from
// what was expected.
//
// It owns the language of tests.yaml, the comparison, and the small world in
// which a pipeline runs: the real compiler, the real engine, and the real state,
// on a log and a file system in memory and with a clock that stands still until
// a test moves it. It must know nothing of the command line and of terminals, and
// nothing of how an operator works: what a pipeline does is seen in its topics.
//
// The tour: find.go finds the files; parse.go and parse_steps.go make a Suite of
// one (suite.go); compile.go compiles its pipelines, and bind.go says what its names
// stand for. world.go is a cluster and a clock, running.go a pipeline in it,
// life.go one life of its process, between two restarts; gate.go is how it is known
// that a process has come to rest. run.go runs tests
// side by side, runner.go goes through the steps of one, check.go
// compares what came; pattern.go and match.go compare one value, sequence.go a list of
// records. result.go and junit.go are what comes out.
package pipetest
