package testkit

import (
	"syscall"
	"testing"
	"time"
)

// CPU measures what a benchmark costs in processor time, of all threads:
// unlike wall time that is much the same on a machine with other work to do.
//
//	cpu := testkit.StartCPU()
//	for b.Loop() { … }
//	cpu.Report(b, "tx", perLoop)
type CPU struct{ spent, began time.Duration }

// StartCPU returns a CPU that measures.
func StartCPU() *CPU {
	var c CPU
	c.Start()
	return &c
}

// Start begins to measure, again after Stop.
func (c *CPU) Start() { c.began = cpuTime() }

// Stop leaves out what comes until Start.
func (c *CPU) Stop() { c.spent, c.began = c.spent+cpuTime()-c.began, 0 }

// Report ends it and reports the nanoseconds for each of the items of which
// one iteration handles that many, as cpu-ns/ITEM.
func (c *CPU) Report(b *testing.B, item string, perLoop int) {
	if c.began != 0 {
		c.Stop()
	}
	b.ReportMetric(float64(c.spent.Nanoseconds())/float64(b.N)/float64(perLoop), "cpu-ns/"+item)
}

// cpuTime returns the processor time of this process so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("testkit: processor time: " + err.Error()) // the argument is right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
