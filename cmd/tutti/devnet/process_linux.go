package devnet

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// clockTick is the unit of processor times in /proc, on every architecture
// that Go runs on.
const clockTick = time.Second / 100

// processAttributes has the kernel end a validator when the thread that
// started it does, and keeps the terminal's Ctrl-C from it.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// processUsage returns the processor time of a running process, and the
// largest resident set and its own memory now, in bytes: resident without
// files that are mapped, which the kernel takes back when it wants to.
func processUsage(pid int) (cpu time.Duration, rssMax, own uint64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	// The second field is a name in brackets that can hold anything; user and
	// system time are the 12th and 13th after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	for _, field := range fields[11:13] {
		n, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		cpu += time.Duration(n) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range bytes.Lines(status) {
		for name, into := range map[string]*uint64{"VmHWM:": &rssMax, "RssAnon:": &own} {
			size, ok := bytes.CutPrefix(line, []byte(name))
			if !ok {
				continue
			}
			if _, err := fmt.Sscanf(string(size), "%d kB", into); err != nil {
				return 0, 0, 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
			}
		}
	}
	return cpu, rssMax << 10, own << 10, nil
}
