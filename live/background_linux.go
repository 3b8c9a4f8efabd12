package live

import (
	"runtime"
	"syscall"
)

// backgroundNice is the nice value of the threads that give way. It is
// moderate because the garbage collector has to stop all threads at times, and
// one that does not get a processor keeps the others waiting.
const backgroundNice = 5

// giveWay keeps the calling goroutine on a thread of its own that gives way to
// the node's other threads when there are not enough processors for all: what
// votes and blocks wait for comes before what only execution waits for.
func giveWay() {
	runtime.LockOSThread()
	// If it is refused the thread has the priority of all others.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), backgroundNice)
}
