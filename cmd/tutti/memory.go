package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// cgroupMemory is where Linux says how much memory a container may use.
const cgroupMemory = "/sys/fs/cgroup/memory.max"

// limitMemory has the garbage collector work harder before a container's limit
// would kill the process: from three quarters of it on. Who sets GOMEMLIMIT
// has decided otherwise, and without a limit nothing changes.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	b, err := os.ReadFile(cgroupMemory)
	if err != nil {
		return // no container, or none that says
	}
	if limit, ok := memoryLimit(string(b)); ok {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit reads memory.max: a number of bytes, or "max".
func memoryLimit(s string) (limit int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n <= 0 {
		return 0, false
	}
	return n / 4 * 3, true
}
