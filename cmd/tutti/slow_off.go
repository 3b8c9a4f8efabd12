//go:build !planted

package main

import (
	"time"

	"tutti/bank"
	"tutti/cluster"
)

// canSlow says that validators of this binary cannot be slowed down.
const canSlow = false

func slowness(string, *cluster.Genesis) func(*bank.Block, time.Duration) time.Duration { return nil }
