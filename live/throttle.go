package live

import (
	"math"
	"sync"
	"time"
)

// Bounds of a throttle.
const (
	// lateMax is how late the core may be with its ticks, or its shreds with leaving
	// for most peers, before a node has too much to do. Beyond a section, 200 ms,
	// UserBlocks miss their leader.
	lateMax = 80 * time.Millisecond
	// verifyingBusy is how many signature jobs may wait: some slots' UserBlocks.
	verifyingBusy = 32
	// throttlePeriod is how often a throttle looks at what it has done.
	throttlePeriod = 100 * time.Millisecond
	// throttleMin is the rate, a second, that is always let in, throttleFree
	// one that is while the node has not been late, and throttleBurst how many
	// may come at once.
	throttleMin   = 200
	throttleFree  = 4000
	throttleBurst = 4000
	// waitMax says how many transactions wait to be let in before more are
	// refused: as many as may come in within it.
	waitMax = 400 * time.Millisecond
)

// throttle bounds the rate at which clients' transactions are taken, so that a
// node with too much to do lets new work wait, and refuses what would wait for
// long, instead of missing what its peers wait for. The rate doubles in each
// period until the node is late, and is lowered while it is. Then it grows
// quickly to four fifths of what it was before, and slowly from there; but it
// stays below four times of what clients want, since what a node can do for
// long is known only from doing it.
type throttle struct {
	mu     sync.Mutex
	rate   float64 // a second
	tokens float64
	filled time.Time
	wary   bool // the node has been late
	// lowered tells whether the last period was one of lateness, before is
	// the rate that was used when the last lateness began.
	lowered bool
	before  float64

	// demand is what clients want, a second. In the very period in which a node is
	// late little may have reached it, and all of that comes in the next: so it
	// falls by a tenth a period at most, and doubles at most.
	demand float64

	since  time.Time // of what follows
	late   time.Duration
	wanted int // by clients
}

// note tells how late the node is.
func (t *throttle) note(late time.Duration) {
	t.mu.Lock()
	t.late = max(t.late, late)
	t.mu.Unlock()
}

// admit tells whether a transaction that comes may go on at once.
func (t *throttle) admit(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted++
	t.pass(now)
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

// room tells whether a transaction that comes may wait behind so many others: no
// more wait than may go on within waitMax, at the rate of this moment.
func (t *throttle) room(now time.Time, waiting int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted++
	t.pass(now)
	return float64(waiting) < t.tokens+t.rate*waitMax.Seconds()
}

// take returns how many of so many transactions that wait may go on.
func (t *throttle) take(now time.Time, waiting int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass(now)
	n := min(waiting, int(t.tokens))
	t.tokens -= float64(n)
	return n
}

// put gives back what was taken too much.
func (t *throttle) put(n int) {
	t.mu.Lock()
	t.tokens += float64(n)
	t.mu.Unlock()
}

// pass lets time go on.
func (t *throttle) pass(now time.Time) {
	if past := now.Sub(t.since); past >= throttlePeriod {
		if past > 2*throttlePeriod {
			t.late = 0 // in a silence: it was not clients that made the node late
		}
		t.want(float64(t.wanted)/past.Seconds(), float64(past)/float64(throttlePeriod))
		t.adjust()
		t.since, t.late, t.wanted = now, 0, 0
	}
	t.tokens = min(t.tokens+t.rate*now.Sub(t.filled).Seconds(), max(throttleBurst, t.rate*throttlePeriod.Seconds()))
	t.filled = now
}

// want learns that clients wanted so many a second for so many periods.
func (t *throttle) want(wanted, periods float64) {
	t.demand = max(t.demand*math.Pow(0.9, periods), min(wanted, 2*max(t.demand, throttleFree/4)))
}

// adjust sets the rate after a period. Beside it what clients want counts; what was
// taken says less: nothing is while signatures of UserBlocks are verified.
func (t *throttle) adjust() {
	used := min(t.rate, t.demand)
	if t.late > lateMax {
		if !t.lowered {
			t.before = used
		}
		factor := 0.9
		if t.late > 4*lateMax {
			factor = 0.7
		}
		t.rate, t.wary, t.lowered = factor*used, true, true
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
	if t.rate > 4*t.demand {
		t.rate, t.wary = 4*t.demand, false
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
