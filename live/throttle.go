package live

import (
	"sync"
	"time"
)

// Bounds of a throttle.
const (
	// lateMax is how late the core may be with its ticks before a node has too
	// much to do. Beyond a section, 200 ms, UserBlocks miss their leader.
	lateMax = 80 * time.Millisecond
	// verifyingBusy is how many signature jobs may wait: some slots' UserBlocks.
	verifyingBusy = 32
	// throttlePeriod is how often a throttle looks at what it has done.
	throttlePeriod = 100 * time.Millisecond
	// throttleMin is the rate, a second, that is always let in, throttleFree
	// one that is while the core has not been late, and throttleBurst how many
	// may come at once.
	throttleMin   = 200
	throttleFree  = 4000
	throttleBurst = 4000
	// waitMax is how long transactions wait to be let in before more are refused.
	waitMax = 400 * time.Millisecond
)

// throttle bounds the rate at which clients' transactions are taken, so that a
// node with too much to do lets new work wait, and refuses what would wait for
// long, instead of missing what its peers wait for. The rate doubles in each
// period until the core is late, and is lowered while it is. Then it grows
// quickly to four fifths of what it was before, and slowly from there; but it
// stays below four times of what clients want, since what a node can do for
// long is known only from doing it.
type throttle struct {
	mu     sync.Mutex
	rate   float64 // a second
	tokens float64
	filled time.Time
	wary   bool // the core has been late
	// lowered tells whether the last period was one of lateness, before is
	// what was taken a second when the last lateness began.
	lowered bool
	before  float64

	since time.Time // of what follows
	late  time.Duration
	taken int
}

// note tells how late the core is.
func (t *throttle) note(late time.Duration) {
	t.mu.Lock()
	t.late = max(t.late, late)
	t.mu.Unlock()
}

// admit tells whether a transaction may come in.
func (t *throttle) admit(now time.Time) bool { return t.take(now, 1) == 1 }

// room returns how many transactions may wait to be let in: those of waitMax.
func (t *throttle) room() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(max(t.rate, throttleMin) * waitMax.Seconds())
}

// take lets in as many of n transactions as may come in.
func (t *throttle) take(now time.Time, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if past := now.Sub(t.since); past >= throttlePeriod {
		if past > 2*throttlePeriod {
			t.late = 0 // in a silence: it was not clients that made the node late
		}
		t.adjust(float64(t.taken) / past.Seconds())
		t.since, t.late, t.taken = now, 0, 0
	}
	t.tokens = min(t.tokens+t.rate*now.Sub(t.filled).Seconds(), max(throttleBurst, t.rate*throttlePeriod.Seconds()))
	t.filled = now
	n = min(n, int(t.tokens))
	t.tokens -= float64(n)
	t.taken += n
	return n
}

// adjust sets the rate after a period in which so many a second were taken.
func (t *throttle) adjust(took float64) {
	if t.late > lateMax {
		if !t.lowered {
			t.before = min(t.rate, took)
		}
		factor := 0.9
		if t.late > 4*lateMax {
			factor = 0.7
		}
		t.rate, t.wary, t.lowered = factor*min(t.rate, took), true, true
	} else {
		t.lowered = false
		switch {
		case !t.wary:
			t.rate *= 2
		case t.rate < 0.8*t.before:
			t.rate *= 1.15
		default:
			t.rate *= 1.03
		}
	}
	if t.rate > 4*took {
		t.rate, t.wary = 4*took, false
	}
	if t.wary {
		t.rate = max(t.rate, throttleMin)
	} else {
		t.rate = max(t.rate, throttleFree)
	}
	if t.late > lateMax {
		t.tokens = min(t.tokens, t.rate*throttlePeriod.Seconds())
	}
}
