//go:build unix && !linux

package devnet

import (
	"syscall"
	"time"
)

// processAttributes keeps the terminal's Ctrl-C from a validator.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// processUsage knows nothing here: only Linux has /proc.
func processUsage(int) (cpu time.Duration, rssMax, own uint64, err error) { return 0, 0, 0, nil }
