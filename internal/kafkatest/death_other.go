//go:build !linux

package kafkatest

import "syscall"

// DieWithParent has no counterpart here: a crashed test may leave a JVM behind.
func DieWithParent() *syscall.SysProcAttr { return nil }
