package testkit

import (
	"syscall"
	"testing"
	"time"
)

// CPU measures what a benchmark costs in processor time, of all threads:
// unlike wall time that is much the same on a machine with other work to do.
//
//	cpu := testkit.StartCPU(b)
//	for b.Loop() { … }
//	cpu.Report("tx", perLoop)
type CPU struct {
	b     *testing.B
	began time.Duration
}

// StartCPU begins to measure; it comes right before the loop.
func StartCPU(b *testing.B) CPU { return CPU{b, cpuTime()} }

// Report reports the nanoseconds for each of the items of which one
// iteration handles that many, as cpu-ns/ITEM.
func (c CPU) Report(item string, perLoop int) {
	spent := cpuTime() - c.began
	c.b.ReportMetric(float64(spent.Nanoseconds())/float64(c.b.N)/float64(perLoop), "cpu-ns/"+item)
}

// cpuTime returns the processor time of this process so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("testkit: processor time: " + err.Error()) // the argument is right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
