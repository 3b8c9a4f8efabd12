package bench

import (
	"sync"
	"time"

	"tutti/cmd/tutti/load"
)

// counts adds up what becomes of transfers, by the step in which they were
// due, and by the second.
type counts struct {
	steps []load.Step

	mu      sync.Mutex
	start   time.Time
	levels  []level
	seconds []second

	method string   // how transfers were followed
	notes  []string // what a reader has to know about this run
	// What the meter counts itself.
	slots, skipped, mismatches uint64
	lagKnown                   bool
}

// level is a step's counts.
type level struct {
	// offered counts what was due in this generator's share, and followed
	// those of them whose fate is looked up; the others count by followed.
	offered, followed uint64
	outcomes          load.Outcomes
	recorded          load.Histogram
	confirmed         load.Histogram
	executed          load.Histogram
	late              load.Histogram
	skipped           uint64
	// every is by how many a followed transfer counts.
	every uint64
}

// second is one of the run.
type second struct {
	offered, landed, skipped uint64
	lag                      int
}

func newCounts(steps []load.Step) *counts {
	c := &counts{steps: steps, levels: make([]level, len(steps))}
	for i := range c.levels {
		c.levels[i].outcomes = load.NewOutcomes()
		c.levels[i].every = 1
	}
	last := steps[len(steps)-1]
	c.seconds = make([]second, (last.End()+drainTime)/time.Second+1)
	return c
}

func (c *counts) begin(start time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = start
}

// step returns the number of the step in which a time lies, that of the one
// before in a pause.
func (c *counts) step(at time.Time) int {
	after, k := at.Sub(c.start), 0
	for k+1 < len(c.steps) && c.steps[k+1].Start <= after {
		k++
	}
	return k
}

// second returns the counts of the second in which a time lies, nil if it
// lies outside of the run.
func (c *counts) second(at time.Time) *second {
	after := at.Sub(c.start)
	if after < 0 || int(after/time.Second) >= len(c.seconds) {
		return nil
	}
	return &c.seconds[after/time.Second]
}

// offered counts a transfer that is handed to its sender now.
func (c *counts) offered(due time.Time, followed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.levels[c.step(due)]
	l.offered++
	if followed {
		l.followed++
	}
	l.late.Add(time.Since(due))
	if s := c.second(due); s != nil {
		s.offered++
	}
}

// conclude counts a followed transfer's fate.
func (c *counts) conclude(f *load.Fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := time.Unix(0, f.At)
	l := &c.levels[c.step(due)]
	l.outcomes.Add(f)
	for _, x := range []struct {
		at int64
		to *load.Histogram
	}{{f.Recorded, &l.recorded}, {f.Confirmed, &l.confirmed}, {f.Executed, &l.executed}} {
		latency := load.LatencyMax
		if x.at != 0 {
			latency = time.Duration(x.at - f.At)
		}
		x.to.Add(latency)
	}
	if s := c.second(time.Unix(0, f.Executed)); s != nil && f.Landed() {
		s.landed += l.every
	}
}

// lag notes by how many blocks execution lags now.
func (c *counts) lag(blocks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lagKnown = true
	if s := c.second(time.Now()); s != nil {
		s.lag = max(s.lag, blocks)
	}
}

// skip counts slots of a time that have no block.
func (c *counts) skip(at time.Time, slots uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped += slots
	c.levels[c.step(at)].skipped += slots
	if s := c.second(at); s != nil {
		s.skipped += slots
	}
}
