// Package kafkatest runs a real Apache Kafka for tests and benchmarks: one
// broker and controller in one JVM, on loopback ports of its own and in a
// directory of its own, ready in one to two seconds; or a Cluster of such, of
// which single ones can be killed, paused and started again. It owns the jars in the
// user's cache directory and the child processes; it knows nothing of the
// product and speaks to the broker only to learn that it is up.
//
// Without Java or Maven nothing can be started: Launch then returns an error
// that wraps ErrUnavailable, and Start skips the test and says why.
package kafkatest
