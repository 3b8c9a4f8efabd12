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
)

// throttle bounds the rate at which clients' transactions are taken, so that a
// node with too much to do refuses new work instead of missing what its
// peers wait for. The rate doubles in each period until the core is
// late, is lowered while it is, and grows slowly from then on; but it stays
// below four times of what clients want, since what a node can do for long is
// known only from doing it.
type throttle struct {
	mu     sync.Mutex
	rate   float64 // a second
	tokens float64
	filled time.Time
	wary   bool // the core has been late

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
func (t *throttle) admit(now time.Time) bool {
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
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	t.taken++
	return true
}

// adjust sets the rate after a period in which so many a second were taken.
func (t *throttle) adjust(took float64) {
	switch {
	case t.late > 4*lateMax:
		t.rate, t.wary = 0.7*min(t.rate, took), true
	case t.late > lateMax:
		t.rate, t.wary = 0.9*min(t.rate, took), true
	case t.wary:
		t.rate *= 1.03
	default:
		t.rate *= 2
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
