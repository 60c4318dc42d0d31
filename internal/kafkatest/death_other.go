//go:build !linux

package kafkatest

import "syscall"

// dieWithParent has no counterpart here: a crashed test may leave a JVM behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
