package kafkatest

import "syscall"

// DieWithParent makes the kernel kill the child when the thread that started
// it ends, so that a crashed test leaves no JVM behind.
func DieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
